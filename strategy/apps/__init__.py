"""The folder of an app: its configuration, what travels of it, what it needs."""
