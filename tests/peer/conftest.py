"""Homes for the tests of commands, and the way to what writes runs for them."""

from __future__ import annotations

import sys
from pathlib import Path

from command_line import admin, peers

__all__ = ["admin", "peers"]

for other in ("protocol", "strategy"):  # for `chains` and `any_records`
    sys.path.append(str(Path(__file__).parent.parent / other))
