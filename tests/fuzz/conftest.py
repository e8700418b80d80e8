"""Lets these tests use the chains that the tests of `protocol` write."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "protocol"))
