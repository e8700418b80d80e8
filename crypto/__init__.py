"""Identities, signatures, sealing and the locked key file format."""
