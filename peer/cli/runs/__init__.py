"""The commands that make runs, or move them: start, demo, export, import."""
