"""Verifying runs: every record by every rule, by replay, and what a verdict rests on. Nothing here changes a run."""
