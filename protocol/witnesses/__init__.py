"""Witnessed rounds: which servers recompute what clients are to train on, before they do."""
