"""Reading runs: walking back from a head, verifying forward, and saying what is there. Nothing here changes a run."""
