"""What a server that stood by in a run leads it with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.blocks.cid import Block
from protocol.roles.leader.app_process import ReplayingApp
from protocol.roles.leader.run_plan import ResumedRun, RunPlan, WonTerm
from protocol.wire.announcements import ReplyReady


@dataclass(frozen=True, slots=True)
class HeardReply:
    """That a client has answered an open message, in its own words."""

    by: bytes
    ready: ReplyReady
    blocks: tuple[Block, ...]
    """What came with them."""


@dataclass(frozen=True, slots=True)
class Succession:
    """The run as far as it came, and what has been made of it here."""

    run: ResumedRun
    plan: RunPlan
    won: WonTerm
    app: ReplayingApp | None
    """None if its process has to be started again."""
    replies: Sequence[HeardReply]
    """Heard already: their clients need not say it again."""
