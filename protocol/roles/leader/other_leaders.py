"""Whether another server leads our run by now: a majority has voted for it in a higher term.

Its word alone counts for nothing: what it announces is looked into on a copy of our chain, as whoever follows a run
does (`protocol.roles.catch_up`). Only once the takeover is verified, with its votes, we yield.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from protocol.blocks.cid import CID, Block
from protocol.pacing.backoff import SLOWEST_RETRY
from protocol.records.bodies import Chained, Role
from protocol.roles.catch_up import CatchUp, Lost, keep_step
from protocol.roles.catching_up.held_records import ClaimedRecords
from protocol.roles.effects import FetchRecord, What
from protocol.roles.leader.leader_states import LeaderState
from protocol.roles.leader.record_writer import RecordWriter
from protocol.roles.machine import Machine
from protocol.roles.unchecked_claims import UncheckedClaims
from protocol.votes.voter import rank
from protocol.wire.announcements import Position


class OtherLeaders:
    """What other servers say of our run, one at a time."""

    found: Callable[[float], None]
    """Called once another leads, and that is on its way to disk. The leader sets it."""

    def __init__(self, writer: RecordWriter, machine: Machine[LeaderState]) -> None:
        self._writer = writer
        self._newest, self._outbox = machine.newest, machine.outbox
        self._claims = UncheckedClaims(1, SLOWEST_RETRY)
        self._run: CatchUp | None = None
        """The way to what was said."""
        self._by = b""
        """Whoever said so."""
        self._announced: Position | None = None
        """The newest that it has said since."""
        self._why = ""
        """Why it has come to nothing."""
        self._fetching: set[CID] = set()
        """For whomever it was begun: the next one may need the same record."""
        self._claimed = ClaimedRecords()
        self.newest: Position | None = None
        """The other leader's newest record, once it is verified."""

    @property
    def leader(self) -> bytes:
        """Who leads now; call it once `newest` is set."""
        assert self._run is not None
        return self._run.chain.by

    @property
    def announced(self) -> Position | None:
        """A newer head that it has announced meanwhile; call it once `newest` is set. Nobody may say it again: a run
        may be closed, and its leader gone, before its takeover was fetched."""
        return self._announced if self._by == self.leader else None

    def heard(self, by: bytes, position: Position, blocks: tuple[Block, ...], now: float) -> bool:
        """A server says how far it has come with a run that it leads. Whether that is ours, and is looked into."""
        return self._is_server(by) and self._look_into(by, position, blocks, now)

    def named_by_voter(self, by: bytes, position: Position, now: float) -> None:
        """A voter refuses us its vote, and names the head that it has verified. Nobody may announce that any more: a
        run that another has closed is led by none."""
        self._look_into(by, position, (), now)

    def _look_into(self, by: bytes, position: Position, blocks: tuple[Block, ...], now: float) -> bool:
        chain = self._writer.chain
        if chain.head is None or position.run != chain.run or position.term <= chain.term:
            return False
        if self._run is not None and by == self._by:
            self._announced = max(self._announced or position, position, key=rank)
        if self._is_busy(by) or not self._claims.may_open(by, now):
            return False
        if self._run is not None:
            self._run.put_aside(self._by, "")
            self._claims.failed(self._by, now)
        self._claims.open(by)
        newest = self._newest
        author, manifest = newest.author.member, newest.manifest
        run = self._run = CatchUp(chain.run, author, manifest, newest.blocks, chain.copy(), claimed=self._claimed)
        self._by, self._announced = by, None
        run.forks, run.ended = lambda _fork: None, partial(self._looked_into, run)
        run.claim(by, position, blocks)
        self._go_on(run, now)
        return True

    def _is_busy(self, by: bytes) -> bool:
        """Whether what ``by`` says has to wait. What a server says waits for no client, or a client that names a head
        which nobody has would keep us from yielding."""
        return self._run is not None and (self._is_server(self._by) or not self._is_server(by))

    def _is_server(self, member_id: bytes) -> bool:
        return member_id in self._newest.manifest.ids_of(Role.SERVER)

    def _looked_into(self, run: CatchUp, server: bytes, why: str) -> None:
        """The server's way to the lead is verified, or ``why`` it has come to nothing."""
        if why:
            self._why = why

    def _go_on(self, run: CatchUp, now: float) -> None:
        run.manifest = self._newest.manifest
        term = self._writer.chain.term
        try:
            for step, blocks in run.steps():
                if run.chain.term > term:
                    keep_step(self._outbox, run.run, step, blocks)
        except Lost as error:
            self._why = str(error)
        chain = run.chain
        if self._why:
            self._give_up(run, now)
        elif chain.head is not None and chain.term > term and chain.by == self._newest.author.member:
            self._run = None  # we were elected and have forgotten it: `forgotten_records` takes that up
            self._claims.held(self._by)
        elif chain.head is not None and chain.term > term:
            self.newest = Position(run.run, chain.head, chain.height, chain.term)
            name = self._newest.manifest.name_of(chain.by)
            self._outbox.report(What.TAKEN_OVER, run=str(run.run), name=name, term=chain.term)
            self.found(now)
        elif run.wanted():
            self._fetch(run)
        else:
            self._why = "we were elected anew meanwhile"
            self._give_up(run, now)

    def _fetch(self, run: CatchUp) -> None:
        for cid in run.wanted():
            if cid not in self._fetching:
                self._fetching.add(cid)
                self._outbox.ask(FetchRecord, partial(self._here, cid), partial(self._lost, cid), cid, Chained)

    def _here(self, cid: CID, blocks: Mapping[CID, bytes], now: float) -> None:
        self._fetching.discard(cid)
        if (run := self._run) is not None and self.newest is None:
            run.fetched(cid, blocks)
            self._go_on(run, now)

    def _lost(self, cid: CID, why: str, now: float) -> None:
        self._fetching.discard(cid)
        run = self._run
        if run is not None and self.newest is None and (run.not_fetched(cid, why) or self._why):
            self._why = self._why or why
            self._give_up(run, now)

    def _give_up(self, run: CatchUp, now: float) -> None:
        """Its server says it again, if it is so."""
        name, why, self._run, self._why = self._newest.manifest.name_of(self._by), self._why, None, ""
        self._claims.failed(self._by, now)
        self._outbox.report(What.CLAIM_REFUSED, run=str(run.run), name=name, why=why)
