"""The commands about what is vouched for to people outside: attestations and model files."""
