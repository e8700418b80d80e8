"""A module with the name of one of Pollen's packages."""

import sys

OWN = "the app's crypto"
SEES_PROTOCOL = "protocol" in sys.modules
