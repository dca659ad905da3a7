"""EvoGit: a population of asynchronous coding agents evolves a code base inside a Git repository."""

__version__ = "0.1.0"
