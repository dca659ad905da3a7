"""What a person decides and takes home."""
