"""What the tests of commands over Kubo share with those in tests/peer."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path += [str(HERE.parent / "peer"), str(HERE.parent / "protocol")]

from command_line import peers  # noqa: E402  # found by the path above

__all__ = ["peers"]
