"""``peer demo``: a whole federation on this machine, of real processes, that audits itself."""
