"""A run read back from its blocks: walked from a head, rounds told, moved as a CAR. Nothing here changes a run."""
