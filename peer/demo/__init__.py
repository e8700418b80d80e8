"""``peer demo``: a whole federation of real processes on this machine, and the audit of its run."""
