"""What is believed: the chain of a run, and the rules each record has to keep."""
