"""The votes of one member: shared by all its machines in a process, because a member has one vote."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from protocol.blocks.cid import CID
from protocol.votes.promise import KeptVote, Promise
from protocol.votes.reports import Reports

NONE: Final[Mapping[CID, KeptVote]] = MappingProxyType({})


class OwnVotes:
    """The newest vote in each run, and what others have told of terms if our home may have forgotten one."""

    def __init__(self, votes: Mapping[CID, KeptVote] = NONE) -> None:
        """``votes`` are those of earlier processes."""
        self._newest = dict(votes)
        self._keeping: set[CID] = set()
        """The votes that are on their way to disk."""
        self.reports: dict[CID, Reports] = {}
        """By run."""
        self.willing: dict[CID, int] = {}
        """The highest term in which we would have voted, by run, as we have told a candidate."""
        self.began: float | None = None
        """When this process could be heard first, in seconds since 1970."""

    def promise(self, run: CID) -> Promise | None:
        """What the newest vote in a run promises, be it on disk or on its way."""
        kept = self._newest.get(run)
        return None if kept is None else kept.promise

    def on_disk(self, run: CID) -> KeptVote | None:
        """The newest vote in a run, which may be given again; None if it is on its way to disk, or there is none."""
        newest = self._newest.get(run)
        return None if newest is None or newest.block.cid in self._keeping else newest

    def sign(self, run: CID, vote: KeptVote) -> None:
        """A vote is signed, and on its way to disk. There is one a term: two would be a proof."""
        known = self._newest.get(run)
        assert known is None or known.promise.term < vote.promise.term
        self._newest[run] = vote
        self._keeping.add(vote.block.cid)

    def is_kept(self, vote: KeptVote) -> None:
        """A vote is on disk; there may be a newer one in its run, which is not."""
        self._keeping.discard(vote.block.cid)
