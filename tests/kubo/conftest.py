"""What the tests over Kubo share with those in tests/peer and tests/end_to_end."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path += [str(HERE.parent / name) for name in ("peer", "protocol", "end_to_end")]

from command_line import peers  # noqa: E402  # found by the path above

__all__ = ["peers"]
