"""Lets the tests import what the benchmarks share."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent.parent / "scripts" / "benchmarks"))
