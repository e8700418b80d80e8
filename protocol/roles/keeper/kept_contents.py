"""The contents that a keeper fetches and pins: those that verified records name, and those of replies to come.

Contents that records name are looked for as long as it takes. What a client says that it has is fetched before a
collect takes it, because the server may reach nobody else that has it. What one client claims keeps nobody else's
contents from being fetched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from typing import Final

from protocol.blocks.cid import CID
from protocol.pacing.backoff import SLOWEST_RETRY
from protocol.roles.effects import FetchContent, What
from protocol.roles.keeper.keeper_states import KeeperState
from protocol.roles.machine import Machine
from protocol.roles.unchecked_claims import UncheckedClaims

NAMED_AT_ONCE: Final = 6
"""Contents that records name, fetched side by side; less than there are threads, so that records never wait."""

SOUGHT_AT_ONCE: Final = 2
"""Those of them that could not be had before: each takes a whole time-out if nobody has it."""

CLAIMED_AT_ONCE: Final = 6
"""Contents of replies to come, fetched side by side."""

CLAIMS_OF_ONE: Final = 2
"""Replies of one client whose contents are fetched side by side; an app works on one after the other."""

FIRST_LOOK: Final = 5.0
LAST_LOOK: Final = 60.0
"""Seconds until a content that nobody had is looked for again: at first, and at most. A server that ends with its run
stays some minutes for us to have it all."""


@dataclass(slots=True)
class _Wanted:
    """A content that records name, and that is not here yet."""

    runs: dict[CID, int]
    """The height of the first record of each run that names it."""
    delay: float = FIRST_LOOK
    """How long to wait after the next time that nobody has it."""


@dataclass(slots=True)
class _Had:
    """What is here of a run that is followed."""

    contents: set[CID] = field(default_factory=set)
    lacking: int = 0


class KeptContents:
    """What is to be fetched, in order, and what is here."""

    def __init__(self, machine: Machine[KeeperState]) -> None:
        self._machine = machine
        self._outbox = machine.outbox
        self._wanted: dict[CID, _Wanted] = {}
        self._new: deque[CID] = deque()
        """Those that were not looked for yet, in the order in which they were named."""
        self._sought: list[tuple[float, CID]] = []
        """Those that nobody had, as a heap: when to look again."""
        self._under_way: dict[CID, bool] = {}
        """Those that are fetched now; whether nobody had them before."""
        self._of: dict[CID, _Had] = {}
        """By run."""
        self._claims = UncheckedClaims(CLAIMS_OF_ONE, SLOWEST_RETRY)
        self._claimed: set[CID] = set()
        """Those of replies to come that are fetched now."""

    # -- wanting ----------------------------------------------------------------------------------------------------

    def want(self, run: CID, content: CID, height: int) -> None:
        """A verified record of ``run``, at ``height``, names a content."""
        had = self._of.setdefault(run, _Had())
        if content in had.contents:
            return
        if content not in self._wanted:
            self._wanted[content] = _Wanted({})
            self._new.append(content)
        if run not in self._wanted[content].runs:
            self._wanted[content].runs[run] = height
            had.lacking += 1

    def may_claim(self, client: bytes, now: float) -> bool:
        """Whether a content that a client says it has is fetched now."""
        has_room = not self._machine.no_room and len(self._claimed) < CLAIMED_AT_ONCE
        return has_room and self._claims.may_open(client, now)

    def claim(self, client: bytes, run: CID, content: CID) -> None:
        """A client has answered a message of ``run`` with a content, which no collect takes yet."""
        if content in self._of.setdefault(run, _Had()).contents or content in self._claimed:
            return
        self._claims.open(client)
        self._claimed.add(content)
        done, failed = partial(self._claim_held, client, run, content), partial(self._claim_failed, client, content)
        self._outbox.ask(FetchContent, done, failed, content, of_reply=True)

    def _claim_held(self, client: bytes, run: CID, content: CID, now: float) -> None:
        self._claimed.discard(content)
        self._claims.held(client)
        if (had := self._of.get(run)) is not None:
            had.contents.add(content)
        self._is_here(content)

    def _claim_failed(self, client: bytes, content: CID, why: str, now: float) -> None:
        """Its client announces it again."""
        self._claimed.discard(content)
        self._claims.failed(client, now)
        self._outbox.report(What.FETCH_FAILED, cid=str(content), why=why)

    # -- fetching ---------------------------------------------------------------------------------------------------

    def go_on(self, now: float) -> None:
        """Begin to fetch what is due, as far as there is room: on the disk, too. Records are kept without that."""
        if self._machine.no_room:
            return
        while self._new and len(self._under_way) < NAMED_AT_ONCE:
            self._fetch(self._new.popleft(), sought=False)
        while self._may_seek() and self._sought[0][0] <= now:
            self._fetch(heappop(self._sought)[1], sought=True)

    def _may_seek(self) -> bool:
        """Whether there is room to look again for something that nobody had."""
        is_free = len(self._under_way) < NAMED_AT_ONCE and sum(self._under_way.values()) < SOUGHT_AT_ONCE
        return is_free and bool(self._sought)

    def _fetch(self, content: CID, *, sought: bool) -> None:
        # else it came as what a client claimed, or is fetched for a run that was left and is followed again
        if content in self._wanted and content not in self._under_way:
            self._under_way[content] = sought
            done, failed = partial(self._fetched, content), partial(self._not_fetched, content)
            self._outbox.ask(FetchContent, done, failed, content)

    def _fetched(self, content: CID, now: float) -> None:
        del self._under_way[content]
        self._is_here(content)

    def _is_here(self, content: CID) -> None:
        wanted = self._wanted.pop(content, None)
        for run in () if wanted is None else wanted.runs:
            if (had := self._of.get(run)) is not None:
                had.contents.add(content)
                had.lacking -= 1

    def _not_fetched(self, content: CID, why: str, now: float) -> None:
        del self._under_way[content]
        if (wanted := self._wanted.get(content)) is not None:
            heappush(self._sought, (now + wanted.delay, content))
            wanted.delay = min(2 * wanted.delay, LAST_LOOK)
            self._outbox.report(What.FETCH_FAILED, cid=str(content), why=why)

    def moments(self) -> Iterator[float]:
        """When something is to be looked for again."""
        if self._may_seek() and not self._machine.no_room:
            yield self._sought[0][0]

    # -- what is here -----------------------------------------------------------------------------------------------

    @property
    def lacking(self) -> int:
        """How many contents that records name are not here."""
        return len(self._wanted)

    def lacks(self, run: CID) -> int:
        """How many of those are of one run."""
        had = self._of.get(run)
        return 0 if had is None else had.lacking

    def forget(self, run: CID) -> None:
        """The run is not followed any more."""
        self._let_go(run, -1)
        self._of.pop(run, None)

    def fork(self, run: CID, height: int) -> None:
        """The records of a run above ``height`` are lost: nobody needs to have what they name."""
        self._let_go(run, height)

    def _let_go(self, run: CID, height: int) -> None:
        """Look for nothing more that only the records of a run above ``height`` name."""
        had = self._of.get(run)
        if had is None or not had.lacking:
            return
        for content, wanted in list(self._wanted.items()):
            if wanted.runs.get(run, -1) > height:
                del wanted.runs[run]
                had.lacking -= 1
                if not wanted.runs:
                    del self._wanted[content]
