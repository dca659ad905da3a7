"""Measurements of the framework's own cost."""
