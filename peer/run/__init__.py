"""A running peer: a role's machine is fed events, and its effects are carried out."""
