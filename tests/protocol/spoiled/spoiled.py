"""For each chain rule, records that break it and nothing else."""

from __future__ import annotations

import spoiled_blocks
import spoiled_disputes
import spoiled_epochs
import spoiled_exchanges
import spoiled_left_out
import spoiled_places
import spoiled_takeovers
import spoiled_warrants
from spoiling import CASES, Case

__all__ = [
    "CASES",
    "Case",
    "spoiled_blocks",
    "spoiled_disputes",
    "spoiled_epochs",
    "spoiled_exchanges",
    "spoiled_left_out",
    "spoiled_places",
    "spoiled_takeovers",
    "spoiled_warrants",
]
