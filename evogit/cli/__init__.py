"""The commands: the only code that knows Typer and Rich, and the only place errors become output."""
