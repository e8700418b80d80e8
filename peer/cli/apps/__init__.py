"""The commands about the apps of runs: show, approve."""
