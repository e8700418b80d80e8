"""Lets the tests in the folders below find the modules beside this one, and the records that break a rule."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "spoiled"))
