"""Models of a run as files, and what became of their numbers."""
