"""The ``local`` engine: one directory that the peers of one machine share."""
