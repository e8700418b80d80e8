"""What every part of the peer's process stands on: errors, clock, configuration, logs, the terminal."""
