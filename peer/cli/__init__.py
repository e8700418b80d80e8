"""The peer command."""
