"""A ServerApp run again from what is recorded."""
