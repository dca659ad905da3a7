"""How a child is made: offline operators on syntax, lines and numbers, merges; models and coding tools come later."""
