"""A module with the name of one of Pollen's packages."""

OWN = "the app's strategy"
