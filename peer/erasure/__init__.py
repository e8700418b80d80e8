"""Destroying keys for good: what a home does about the shreddings that its federations' admins order."""
