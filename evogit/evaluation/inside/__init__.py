"""What runs inside the sandbox: the fork server and what it forks. The standard library only, for that is all there is.

Inside, this package is called `inside`; so its modules import one another relatively.
"""
