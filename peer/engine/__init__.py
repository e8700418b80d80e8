"""Engines store blocks and carry announcements."""
