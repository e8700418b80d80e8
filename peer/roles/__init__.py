"""The roles of this home: each prepared from what its owner chose and its home remembers, ready to run."""
