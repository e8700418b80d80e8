"""A run played again: its app runs in a process of its own, and does what is recorded, or something else."""
