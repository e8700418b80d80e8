"""The commands about who is in a federation: founding, joining, inviting, signing."""
