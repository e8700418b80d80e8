"""Lets the tests find the simulated world, and what goes wrong in it."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path += [str(HERE / folder) for folder in ("world", "trouble")]
