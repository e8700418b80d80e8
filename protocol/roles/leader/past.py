"""What we, or our clients, have forgotten: a leader signs nothing before others have said what they know of its run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from protocol.blocks.cid import CID, Block
from protocol.chain.closure import missing
from protocol.federation.manifest import node_id
from protocol.pacing.retry import FIRST_RETRY
from protocol.records.bodies import Chained, Federation, Role
from protocol.roles.catch_up import NotedBlocks
from protocol.roles.copies import Copies
from protocol.roles.deafness import Deafness
from protocol.roles.effects import Cause, FetchRecord, KeepPlace, What
from protocol.roles.leader.forgotten_records import Rival, TakingUp
from protocol.roles.leader.heard_acks import Acks
from protocol.roles.leader.heard_replies import HeardReplies
from protocol.roles.leader.leader_settings import LeaderSettings
from protocol.roles.leader.plan import ResumedRun
from protocol.roles.leader.writer import Writer
from protocol.roles.newest_manifest import NewestManifest
from protocol.roles.outbox import Outbox
from protocol.roles.voice import Voice
from protocol.wire.announcements import Known, Position, Recall, Recalled


class Past:
    """Asks, listens, answers, and takes up what comes of it."""

    taken_up: Callable[[float], None]
    """Called when records of ours that we had forgotten are on disk. The leader sets it."""

    def __init__(
        self,
        run: ResumedRun,
        settings: LeaderSettings,
        writer: Writer,
        replies: HeardReplies,
        acks: Acks,
        copies: Copies,
        deafness: Deafness,
        newest: NewestManifest,
        voice: Voice,
        outbox: Outbox,
    ) -> None:
        self._settings = settings
        self._writer = writer
        self._replies = replies
        self._acks = acks
        self._copies = copies
        self._deafness = deafness
        self._newest = newest
        self._voice = voice
        self._outbox = outbox
        chain = run.chain
        self.taking_up = TakingUp(writer, newest)
        self._expected = frozenset(chain.last_look) | {message.node for message in chain.open.values()}
        """The clients that may know more of a resumed run than we do."""
        if settings.waits_for_members and not self._expected:
            self._expected = frozenset(chain.manifest.nodes_of(Role.CLIENT))
        self._has_recalled = not newest.author.session or chain.head is None or chain.closed
        """Whether they have said so, or there was time enough."""
        self._listens_since = 0.0
        """When we could be heard first."""
        self._is_placed = self._has_recalled
        """Whether it is kept that this home is where it is."""
        self._answered: dict[bytes, float] = {}
        """When each client was last told what we have of it."""

    # -- asking -----------------------------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """We can be heard from now on: before we sign, others may say what we have forgotten."""
        self._copies.begin(now)
        self._listens_since = now

    @property
    def _recall_until(self) -> float:
        """When the clients that may know more of a resumed run have had time enough to say so."""
        if self._settings.waits_for_members:
            return math.inf
        return self._deafness.ends(self._listens_since, self._settings.grace)

    def ask(self, now: float) -> None:
        """Ask whether another process has our key, and, of a resumed run, what its clients know of it."""
        if self._copies.due(now, urgent=not self._has_recalled):
            self._voice.announce(self._copies.question(None if self._has_recalled else self._writer.chain.run))

    def may_append(self, now: float) -> bool:
        """Go after records of ours that members have and we have not; whether we may append others."""
        if self.taking_up.claims and not self.taking_up.is_storing:
            self._take_up(now)
        return self.may_sign(now)

    def may_sign(self, now: float) -> bool:
        """Whether we have listened for long enough, and no client may have records of ours that we have not."""
        self._has_recalled = self._has_recalled or not self._silent or now >= self._recall_until
        may_sign = self._copies.may_sign and self._has_recalled and not self.taking_up.holds
        if may_sign and not self._is_placed:
            self._is_placed = True
            self._outbox.emit(KeepPlace())
        return may_sign

    def moments(self) -> Iterator[float]:
        """When we have waited for long enough."""
        if not self._has_recalled:
            yield self._recall_until

    @property
    def _silent(self) -> frozenset[int]:
        """The clients that have yet to say what they know of a resumed run."""
        return self._expected.intersection(self._newest.manifest.nodes_of(Role.CLIENT))

    @property
    def names_of_silent(self) -> str:
        """Who they are."""
        manifest = self._newest.manifest
        members = (manifest.member_by_node(node) for node in sorted(self._silent))
        return ", ".join(sorted(manifest.name_of(member.id) for member in members if member is not None))

    # -- hearing ----------------------------------------------------------------------------------------------------

    def heard_client(self, by: bytes, position: Position | None, now: float) -> None:
        """A client says how far it has verified a run."""
        self.taking_up.told(by, position)
        if not self._has_recalled:
            self._copies.met(now)

    def heard(self, by: bytes, said: Recall | Recalled, now: float) -> None:
        """A client asks what we have of it, or says what it has of us."""
        if isinstance(said, Recall):
            self._answer(by, said, now)
        elif said.to == self._newest.author.member and said.session == self._newest.author.session:
            self._expected -= {node_id(by)}
            self.taking_up.told(by, said.position)

    def _answer(self, by: bytes, asked: Recall, now: float) -> None:
        """Tell a client what we have of it, so that it signs nothing twice."""
        last = self._answered.get(by, -FIRST_RETRY)
        durable = self._writer.durable
        if durable is None or asked.run != durable.run or not self.may_sign(now) or now < last + FIRST_RETRY:
            return
        self._answered[by] = now
        blocks: list[Block] = []
        answers: list[Known] = []
        for message in asked.messages:
            record, block = self._replies.reply_of(by, message)
            answers.append(Known(message, record))
            blocks += [block] if block is not None else []
        if (ack := self._acks.newest_of(by)) is not None:
            blocks.insert(0, ack)
        self._voice.announce(Recalled(by, asked.session, durable, tuple(answers), ack.cid if ack else None), blocks)

    # -- taking up --------------------------------------------------------------------------------------------------

    def _take_up(self, now: float) -> None:
        taking_up = self.taking_up
        if steps := taking_up.steps():
            taking_up.is_storing = True
            self._writer.adopt(steps, self._stored)
            manifest, blocks = self._writer.chain.manifest, {cid: data for _, of in steps for cid, data in of.items()}
            if manifest.version > self._newest.manifest.version:
                noted = NotedBlocks(blocks, self._newest.blocks)
                missing(manifest.cid, noted, self._newest.manifest.cid, Federation)
                needed = {cid: blocks[cid] for cid in noted.read if cid in blocks}
                self._newest.learn(manifest.cid, needed, now)
        for cid in taking_up.wanted():
            if cid not in taking_up.fetching:
                taking_up.fetching.add(cid)
                self._outbox.ask(FetchRecord, partial(self._here, cid), partial(self._lost, cid), cid, Chained)

    def _here(self, cid: CID, blocks: Mapping[CID, bytes], now: float) -> None:
        self.taking_up.fetching.discard(cid)
        try:
            self.taking_up.fetched(cid, blocks)
        except Rival as error:
            self._outbox.cannot_go_on(str(error), now, Cause.COPY)

    def _lost(self, cid: CID, why: str, now: float) -> None:
        self.taking_up.fetching.discard(cid)
        self.taking_up.lost(cid)
        self._outbox.report(What.FETCH_FAILED, cid=str(cid), why=why)

    def _stored(self, now: float) -> None:
        self.taking_up.is_storing = False
        chain = self._writer.chain
        self._outbox.report(What.RECALLED, run=str(chain.run), height=chain.height)
        self._replies.forget_the_bad()
        self.taken_up(now)
