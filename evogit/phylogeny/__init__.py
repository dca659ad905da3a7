"""The commit graph as a phylogeny."""
