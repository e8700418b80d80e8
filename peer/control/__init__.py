"""The control socket of a running peer: how other commands on this machine ask it, and what they may ask."""
