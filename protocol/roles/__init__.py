"""The two roles: state machines without I/O, each a table that owns its parts."""
