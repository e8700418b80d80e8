"""The roles of members, and how many witnesses a run may have. `protocol.records.bodies` has them too: what shows a
status must not import all of those."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

MAX_WITNESSES: Final = 64
"""How many servers a run may ask to have recomputed what is trained on."""


class Role(StrEnum):
    """What a member may do: lead runs, train, read everything, or keep what it cannot read."""

    SERVER = "server"
    CLIENT = "client"
    AUDITOR = "auditor"
    KEEPER = "keeper"
    """It stores and serves runs, passes on what members announce, and has no key of a run. It is a member's only
    role."""
