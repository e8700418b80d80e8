"""A target for each decoder of bytes from outside."""

from __future__ import annotations

from typing import Final

from fuzzing import Target
from targets_announced import ANNOUNCED
from targets_blocks import BLOCKS
from targets_files import FILES

TARGETS: Final[dict[str, Target]] = {**BLOCKS, **ANNOUNCED, **FILES}
