"""The commands that read runs: audit, log, model, diff, show."""
