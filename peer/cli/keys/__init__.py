"""The commands about keys: new, backup, restore, rotate, revoke."""
