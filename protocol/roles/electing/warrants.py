"""The warrants that this role has heard of: an admin wants another server to lead the run, though its leader is heard.

A warrant is judged when it is heard and again when it counts, by the chain rule (`protocol.chain.takeover_warrant`) and
our clock: whenever its author says that it was signed, it counts for no longer than such a one is good. It ends one
term of one run, for one server. So it is spent with the next takeover, whoever leads then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from protocol.blocks.cid import Block, BlockError
from protocol.chain.takeover_warrant import LONGEST_WARRANT, check_warrant
from protocol.records.bodies import Warrant
from protocol.records.signed_records import parse_record
from protocol.roles.electing.voted_run import VotedRun
from protocol.roles.machine import Machine
from protocol.wire.announcements import WarrantReady


class Warrants:
    """Of the run that a role leads or follows: one of each admin."""

    def __init__(self, run: Callable[[], VotedRun | None], machine: Machine[Any]) -> None:
        self._run = run
        self._newest = machine.newest
        self._of: dict[bytes, Block] = {}
        """The newest, by the admin's key."""

    def heard(self, ready: WarrantReady, inline: Iterable[Block], now: float) -> Warrant | None:
        """A member shows a warrant. What it says, if it counts now and was not heard before."""
        block = next((block for block in inline if block.cid == ready.record), None)
        if block is None or block in self._of.values() or (said := self._read(block, now)) is None:
            return None
        known = self._of.get(said.by)
        if known is not None and (before := self._read(known, now)) is not None and before.time >= said.time:
            return None  # an older one that is said again
        self._of[said.by] = block
        return said

    def block(self, candidate: bytes, now: float) -> Block | None:
        """The warrant by which ``candidate`` is to lead now; None if there is none."""
        for block in self._of.values():
            if (said := self._read(block, now)) is not None and said.candidate == candidate:
                return block
        return None

    def counts(self, candidate: bytes, now: float) -> bool:
        """Whether ``candidate`` is to lead now."""
        return self.block(candidate, now) is not None

    def _read(self, block: Block, now: float) -> Warrant | None:
        run, newest = self._run(), self._newest.manifest
        if run is None or run.is_closed:
            return None
        known = () if block not in self._of.values() else (block.cid,)
        try:
            said = check_warrant(parse_record(block), run.position.run, run.position.term, run.manifest, known)
        except BlockError:
            return None
        counts = (
            now < said.expires <= now + LONGEST_WARRANT and said.by in newest.admins and said.candidate != run.leader
        )
        return said if counts and said.candidate in run.electorate(newest).candidates else None
