"""A standing server's queue: jobs are accepted, begin when their turn comes, and survive the process."""
