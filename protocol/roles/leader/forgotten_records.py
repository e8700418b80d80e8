"""What we, or our clients, have forgotten: a leader signs nothing before others have said what they know of its run.

A copy of our home may have been put back. Members have verified newer records of ours then. A member's word alone
counts for nothing: what it names is fetched, has to be signed with our key and to follow from our chain by every rule;
a word that comes to nothing keeps nobody waiting a second time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

from protocol.blocks.cid import CID, Block
from protocol.chain.chain import Step
from protocol.federation.manifest import node_id
from protocol.pacing.at_most_every import AtMostEvery
from protocol.pacing.backoff import FIRST_RETRY
from protocol.records.bodies import Chained, Role
from protocol.roles.catch_up import CatchUp, Lost
from protocol.roles.collecting.heard_replies import HeardReplies
from protocol.roles.effects import FetchRecord, KeepPlace, StopCause, What
from protocol.roles.leader.heard_acks import HeardAcks
from protocol.roles.leader.leader_states import LeaderState
from protocol.roles.leader.record_writer import RecordWriter
from protocol.roles.leader.run_plan import LeaderSettings
from protocol.roles.machine import Machine
from protocol.wire.announcements import Known, Position, Recall, Recalled

MOST_FALSE: Final = 64
"""Heads of one member that have come to nothing, after which no other of it is looked for: each may be an invention."""


class ForgottenRecords:
    """Asks, listens, answers, and takes up what comes of it."""

    taken_up: Callable[[float], None]
    """Called when records of ours that we had forgotten are on disk. The leader sets it."""

    def __init__(
        self,
        settings: LeaderSettings,
        replies: HeardReplies,
        acks: HeardAcks,
        writer: RecordWriter,
        machine: Machine[LeaderState],
    ) -> None:
        self._settings = settings
        self._replies = replies
        self._acks = acks
        self._writer = writer
        self._chain = chain = writer.chain
        self._machine = machine
        self._newest, self._outbox = machine.newest, machine.outbox
        self._expected = frozenset(chain.last_look) | {message.node for message in chain.open.values()}
        """The clients that may know more of a resumed run than we do."""
        if settings.waits_for_members and not self._expected:
            self._expected = frozenset(chain.manifest.nodes_of(Role.CLIENT))
        self._has_recalled = not self._newest.author.session or chain.head is None or chain.closed
        """Whether they have said so, or there was time enough."""
        self._listens_since = 0.0
        """When we could be heard first."""
        self._is_placed = self._has_recalled
        """Whether it is kept that this home is where it is."""
        self._may_answer = AtMostEvery(FIRST_RETRY)
        """Each client."""
        self._claims: dict[bytes, Position] = {}
        """What members say that they have, and we do not."""
        self._false: dict[bytes, set[CID]] = {}
        """Each member's words for heads that have come to nothing, at most `MOST_FALSE`: then it has no word more."""
        self._ahead: CatchUp | None = None
        """The way to what one of them says, ``_claimant``."""
        self._claimant = b""
        self._fetching: set[CID] = set()
        self._is_storing = False
        """Whether records that were taken up are on their way to disk."""

    # -- asking -----------------------------------------------------------------------------------------------------

    def knows_all(self) -> None:
        """A majority has voted for us with our newest record: nobody else need be asked."""
        self._has_recalled = True

    def begin(self, now: float) -> None:
        """We can be heard from now on: before we sign, others may say what we have forgotten."""
        self._listens_since = now

    @property
    def _recall_until(self) -> float:
        """When the clients that may know more of a resumed run have had time enough to say so."""
        if self._settings.waits_for_members:
            return math.inf
        return self._machine.offline.ends(self._listens_since, self._settings.grace)

    def ask(self, now: float) -> None:
        """Ask whether another process has our key, and, of a resumed run, what its clients know of it."""
        copies = self._machine.copies
        if copies.due(now, urgent=not self._has_recalled):
            self._machine.announcer.announce(copies.question(None if self._has_recalled else self._chain.run))

    def may_append(self, now: float) -> bool:
        """Go after records of ours that members have and we have not; whether we may append others."""
        if self._claims and not self._is_storing:
            self._take_up(now)
        return self.may_sign(now)

    def may_sign(self, now: float) -> bool:
        """Whether we have listened for long enough, and no client may have records of ours that we have not."""
        self._has_recalled = self._has_recalled or not self._silent or now >= self._recall_until
        may_sign = self._machine.copies.may_sign and self._has_recalled and not self.holds
        if may_sign and not self._is_placed:
            self._is_placed = True
            self._outbox.emit(KeepPlace(self._chain.run))
        return may_sign

    @property
    def holds(self) -> bool:
        """Whether nothing is to be appended: members may have newer records of ours, or some go to disk now. Once this
        process has signed one of its own, nothing can be taken up."""
        return self._is_storing or (bool(self._claims) and not self._writer.has_signed)

    def moments(self) -> Iterator[float]:
        """When we have waited for long enough."""
        if not self._has_recalled:
            yield self._recall_until

    @property
    def _silent(self) -> frozenset[int]:
        """The clients that have yet to say what they know of a resumed run."""
        return self._expected.intersection(self._newest.manifest.nodes_of(Role.CLIENT))

    @property
    def names_of_silent(self) -> tuple[str, ...]:
        """Their names."""
        manifest = self._newest.manifest
        members = (manifest.member_by_node(node) for node in sorted(self._silent))
        return tuple(sorted(manifest.name_of(member.id) for member in members if member is not None))

    # -- hearing ----------------------------------------------------------------------------------------------------

    def heard_client(self, by: bytes, position: Position | None, now: float) -> None:
        """A client says how far it has verified a run."""
        self._claim(by, position)
        if not self._has_recalled:
            self._machine.copies.met(now)

    def heard(self, by: bytes, said: Recall | Recalled, now: float) -> None:
        """A client asks what we have of it, or says what it has of us."""
        if isinstance(said, Recall):
            self._answer(by, said, now)
        elif said.to == self._newest.author.member and said.session == self._newest.author.session:
            self._expected -= {node_id(by)}
            self._claim(by, said.position)

    def _answer(self, by: bytes, asked: Recall, now: float) -> None:
        """Tell a client what we have of it, so that it signs nothing twice."""
        durable = self._writer.durable
        if durable is None or asked.run != durable.run or not self.may_sign(now) or not self._may_answer.take(by, now):
            return
        blocks: list[Block] = []
        answers: list[Known] = []
        for message in asked.messages:
            record, block = self._replies.reply_of(by, message)
            answers.append(Known(message, record))
            blocks += [block] if block is not None else []
        if (ack := self._acks.newest_of(by)) is not None:
            blocks.insert(0, ack)
        told = Recalled(by, asked.session, durable, tuple(answers), ack.cid if ack else None)
        self._machine.announcer.announce(told, blocks)

    def _claim(self, member: bytes, position: Position | None) -> None:
        """A member says how far it has verified, or heard of, a run."""
        chain = self._chain
        if chain.head is None or chain.closed or position is None or position.run != chain.run:
            return
        if position.term < chain.term:
            return  # what was led there after the takeover is lost
        false = self._false.get(member, set())
        if position.height > chain.height and position.head not in false and len(false) < MOST_FALSE:
            self._claims[member] = position

    # -- taking up --------------------------------------------------------------------------------------------------

    def _take_up(self, now: float) -> None:
        newest, chain = self._newest, self._chain
        if steps := self._steps():
            self._is_storing = True
            self._writer.adopt(steps, self._stored)
            newest.learn_in_force(chain.manifest, {cid: data for _, of in steps for cid, data in of.items()}, now)
        if self._ahead is None and self._claims:
            # the lowest first: a member that lies about the highest keeps us from nothing that others have
            self._claimant, position = min(self._claims.items(), key=lambda claim: claim[1].height)
            self._ahead = CatchUp(chain.run, newest.author.member, newest.manifest, newest.blocks, chain)
            self._ahead.hear(position, ())
        for cid in () if self._ahead is None else self._ahead.wanted():
            if cid not in self._fetching:
                self._fetching.add(cid)
                self._outbox.ask(FetchRecord, partial(self._fetched, cid), partial(self._lost, cid), cid, Chained)

    def _steps(self) -> list[tuple[Step, Mapping[CID, bytes]]]:
        """What can be appended now, and is: each record with the blocks it was checked with."""
        steps: list[tuple[Step, Mapping[CID, bytes]]] = []
        if self._ahead is not None:
            self._ahead.manifest = self._newest.manifest
            try:
                for step in self._ahead.steps():
                    steps.append(step)
            except Lost:
                self._give_up()
        if self._ahead is not None and self._ahead.is_idle:
            self._ahead = None
        self._claims = {member: at for member, at in self._claims.items() if at.height > self._chain.height}
        if self._claimant not in self._claims:
            self._ahead = None
        return steps

    def _fetched(self, cid: CID, blocks: Mapping[CID, bytes], now: float) -> None:
        self._fetching.discard(cid)
        if self._ahead is None or cid not in self._ahead.wanted():
            return
        if not isinstance(self._newest.author.own_body(Block(cid, blocks[cid])), Chained):
            self._give_up()
        elif self._writer.has_signed:
            why = f"a member has verified record {cid}, which we signed, and which this home does not have"
            self._outbox.cannot_go_on(why, now, StopCause.COPY)
        else:
            self._ahead.fetched(cid, blocks)

    def _lost(self, cid: CID, why: str, now: float) -> None:
        self._fetching.discard(cid)
        if self._ahead is not None and cid in self._ahead.wanted():
            self._give_up()
        self._outbox.report(What.FETCH_FAILED, cid=str(cid), why=why)

    def _give_up(self) -> None:
        self._ahead = None
        if (position := self._claims.pop(self._claimant, None)) is not None:
            self._false.setdefault(self._claimant, set()).add(position.head)

    def _stored(self, now: float) -> None:
        self._is_storing = False
        self._outbox.report(What.RECALLED, run=str(self._chain.run), height=self._chain.height)
        self._replies.forget_the_bad()
        self.taken_up(now)
