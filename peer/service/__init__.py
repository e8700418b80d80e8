"""A peer that systemd starts, watches and stops."""
