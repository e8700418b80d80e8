"""Changing who is in a federation: by admins alone, together, or with a ticket."""
