"""The folder of an app: its configuration, which files travel, what it needs."""
