"""How a child is scored: evaluator, sandbox, fork server, workspaces."""
