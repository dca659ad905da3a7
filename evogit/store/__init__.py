"""Git is the database."""
