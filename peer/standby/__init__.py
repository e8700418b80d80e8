"""A standby of this home: prepared from what its owner chose and its home remembers."""
