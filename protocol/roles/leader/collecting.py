"""How a leader gathers: who is here, and whose reply has come."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from protocol.app.calls import Examine
from protocol.blocks.cid import CID, Block, BlockError
from protocol.chain.chain import check_reply
from protocol.chain.script import hand_over
from protocol.federation.manifest import node_id
from protocol.pacing.retry import FIRST_RETRY, SLOWEST_RETRY
from protocol.records.bodies import Member, Reply, Role
from protocol.records.equivocation import equivocation
from protocol.records.signed import Record, parse_record, record_block
from protocol.replies.admission import Admission, Check, Examination, is_update
from protocol.roles.claims import Claims
from protocol.roles.effects import FetchRecord, KeepPlace, What
from protocol.roles.leader.heard_acks import Confirming
from protocol.roles.leader.mailbox import Arrived, Collection, Mailbox
from protocol.roles.leader.plan import ResumedRun
from protocol.roles.leader.presence import AWAY_AFTER, Presence, Sighting
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.proofs import TIMES
from protocol.wire.announcements import (
    AckReady,
    Alive,
    Announcement,
    Beat,
    Bye,
    Head,
    Hello,
    Known,
    ManifestRef,
    PeerState,
    Position,
    Proof,
    Recall,
    Recalled,
    ReplyReady,
)

LEAVE_TIMEOUT: Final = 60.0
"""Seconds that a client which said goodbye has to come back: enough to start it again with another option."""

REPLIES_SIDE_BY_SIDE: Final = 2
"""Answers of one client that are looked into at a time; an app works on one after the other."""


MAX_UNKNOWN_RUNS: Final = 4
"""Runs unknown to this home of which people are told."""


@dataclass(frozen=True, slots=True)
class LeaderSettings:
    """The owner's choices. Times are in seconds."""

    min_clients: int
    client_timeout: float
    """From a message's dispatch until it is given up."""
    leave_timeout: float = LEAVE_TIMEOUT
    """The same from when its client said goodbye: it may come back."""
    admission: Admission = field(default_factory=Admission)
    away_after: float = AWAY_AFTER
    grace: float = 10.0
    """How long a resumed run waits for the clients of its last look."""
    waits_for_members: bool = False
    """Whether it waits for them without end, before it signs: its home may be an older copy of itself."""
    known_runs: frozenset[CID] = frozenset()
    """The runs that its home knows of, led here or followed."""
    linger: float = 10.0
    """How long a closed run waits for its clients to verify the last record."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is being looked into: whose it is, and its record."""

    by: bytes
    record: CID


class Gathering(Confirming):
    """A recorder that listens to its clients."""

    def __init__(self, author: Author, trusted: TrustedManifest, run: ResumedRun, settings: LeaderSettings) -> None:
        super().__init__(author, trusted, run)
        self._settings = settings
        self._presence = presence = Presence(settings.away_after, self._deafness)
        self._mailbox = Mailbox(
            run.chain.open,
            settings.client_timeout,
            settings.admission,
            self._proofs.distrust,
            presence,
            settings.leave_timeout,
            self._deafness,
        )
        self._looked_into: dict[bytes, Answer] = {}
        """The messages whose answers are being looked into."""
        self._expected = frozenset(run.chain.last_look) | {message.node for message in run.chain.open.values()}
        """The clients that may know more of a resumed run than we do."""
        if settings.waits_for_members and not self._expected:
            self._expected = frozenset(run.chain.manifest.nodes_of(Role.CLIENT))
        self._has_recalled = not author.session or run.chain.head is None or run.chain.closed
        """Whether they have said so, or there was time enough."""
        self._listens_since = 0.0
        """When we could be heard first."""
        self._is_placed = self._has_recalled
        """Whether it is kept that this home is where it is."""
        self._recalled: dict[bytes, float] = {}
        """When each client was last told what we have of it."""
        self._claims_to_answer = Claims(REPLIES_SIDE_BY_SIDE, SLOWEST_RETRY)
        self._rounds: dict[bytes, int] = {}
        """Of open messages that this process has sent, where the app names their round: for people."""
        self._answers: dict[bytes, Record] = {}
        """The first good answer to an open message: another one is equivocation, and not fetched."""
        self._said_unbounded = False
        self._unknown_runs: set[CID] = set()
        """Runs in which clients were, and which this home does not know; a few, as anybody can name many."""

    def _present(self, kind: type[Hello] | type[Beat]) -> Hello | Beat:
        return kind(ManifestRef(self.manifest.cid, self.manifest.version), PeerState.LEADING, self._durable)

    def _listed(self) -> tuple[int, ...]:
        """The nodes that the app is told of."""
        manifest = self.chain.manifest
        distrusted = self._proofs.distrust.nodes(manifest)
        return tuple(node for node in self._presence.listed(manifest) if node not in distrusted)

    def _distrusts(self, member: Member, proof: CID, now: float) -> None:
        """Its replies are not taken any more: `Mailbox` sees to that, and `_listed` to its being asked no more."""

    def _said(self, announcement: Announcement, now: float) -> None:
        match announcement.body:
            case Hello() | Beat() as body:
                self._heard_of_client(announcement.by, body, now)
            case ReplyReady() as body:
                self._presence.still_here(announcement.by, now)
                self._heard_of_reply(announcement.by, body, announcement.blocks, now)
            case AckReady() as body:
                self._presence.still_here(announcement.by, now)
                self._heard_of_ack(announcement.by, body, announcement.blocks, now)
            case Proof() as body:
                self._proofs.heard(body, announcement.blocks, now)
            case Bye():
                if self._presence.left(announcement.by, now):
                    self._is_away(announcement.by, now, What.PEER_LEFT)
            case Recall() | Recalled() as body:
                self._heard_of_past(announcement.by, body, now)
            case Head() | Alive():
                pass  # another leader's run is none of ours

    # -- what we, or our clients, have forgotten ---------------------------------------------------------------------

    def _begin_to_listen(self, now: float) -> None:
        """We can be heard from now on: before we sign, others may say what we have forgotten."""
        self._copies.begin(now)
        self._listens_since = now

    @property
    def _recall_until(self) -> float:
        """When the clients that may know more of a resumed run have had time enough to say so."""
        if self._settings.waits_for_members:
            return math.inf
        return self._deafness.ends(self._listens_since, self._settings.grace)

    def _ask(self, now: float) -> None:
        """Ask whether another process has our key, and, of a resumed run, what its clients know of it."""
        if self._copies.due(now, urgent=not self._has_recalled):
            run = None if self._has_recalled else self.chain.run
            self._voice.announce(self._copies.question(run))

    def _may_sign(self, now: float) -> bool:
        """Whether we have listened for long enough, and no client may have records of ours that we have not."""
        self._has_recalled = self._has_recalled or not self._silent or now >= self._recall_until
        may_sign = self._copies.may_sign and self._has_recalled and not self._taking_up.holds
        if may_sign and not self._is_placed:
            self._is_placed = True
            self._outbox.emit(KeepPlace())
        return may_sign

    @property
    def _silent(self) -> frozenset[int]:
        """The clients that have yet to say what they know of a resumed run."""
        return self._expected.intersection(self.manifest.nodes_of(Role.CLIENT))

    @property
    def _names_of_silent(self) -> str:
        members = (self.manifest.member_by_node(node) for node in sorted(self._silent))
        return ", ".join(sorted(self.manifest.name_of(member.id) for member in members if member is not None))

    def _heard_of_past(self, by: bytes, said: Recall | Recalled, now: float) -> None:
        if isinstance(said, Recall):
            self._answer_recall(by, said, now)
        elif said.to == self.author.member and said.session == self.author.session:
            self._expected -= {node_id(by)}
            self._taking_up.told(by, said.position)

    def _answer_recall(self, by: bytes, asked: Recall, now: float) -> None:
        """Tell a client what we have of it, so that it signs nothing twice."""
        known = self._recalled.get(by, -FIRST_RETRY)
        if self._durable is None or asked.run != self.chain.run or not self._may_sign(now) or now < known + FIRST_RETRY:
            return
        self._recalled[by] = now
        blocks: list[Block] = []
        answers: list[Known] = []
        for message in asked.messages:
            record, block = self._answer_of(by, message)
            answers.append(Known(message, record))
            blocks += [block] if block is not None else []
        if (ack := self._newest_acks.get(by)) is not None:
            blocks.insert(0, ack)
        told = Recalled(by, asked.session, self._durable, tuple(answers), ack.cid if ack else None)
        self._voice.announce(told, blocks)

    def _answer_of(self, by: bytes, message: bytes) -> tuple[CID | None, Block | None]:
        """The client's reply to a message, and its block where that is here."""
        if (first := self._answers.get(message)) is not None:
            return (first.cid, record_block(first)) if first.body.by == by else (None, None)
        looked_into = self._looked_into.get(message)
        return self._mailbox.reply_to(message) or (looked_into.record if looked_into else None), None

    def _is_away(self, client: bytes, now: float, what: What = What.PEER_AWAY) -> None:
        """Say so, and for how many seconds its answers are still waited for, where it owes any."""
        node = node_id(client)
        owed = (message.id for message in self.chain.open.values() if message.node == node)
        until = max(self._mailbox.deadlines(owed), default=now)
        left = max(0.0, until - now)
        self._outbox.report(what, name=self.manifest.name_of(client), answer_within=left or None)

    def _heard_of_client(self, by: bytes, body: Hello | Beat, now: float) -> None:
        head = body.position.head if body.position else None
        self._taking_up.told(by, body.position)
        if not self._has_recalled:
            self._copies.met(now)
        if self._presence.heard(by, Sighting(now, body.state, head, body.note)):
            self._outbox.report(What.PEER_HERE, name=self.manifest.name_of(by))
            self._look_for_an_unknown_run(by, body.position)
        elif body.state is PeerState.REFUSED:
            self._outbox.report(What.RUN_REFUSED, name=self.manifest.name_of(by), why=body.note)
        if isinstance(body, Hello):
            self._voice.beat_soon(now)
            self._proofs.tell_newcomer(now)

    def _look_for_an_unknown_run(self, by: bytes, position: Position | None) -> None:
        """Say so where a client was in a run that this home does not know: it may be put back from before that run of
        ours, and what we begin is another one."""
        ours = None if self.chain.head is None else self.chain.run
        if position is None or position.run == ours or position.run in self._settings.known_runs:
            return
        if position.run not in self._unknown_runs and len(self._unknown_runs) < MAX_UNKNOWN_RUNS:
            self._unknown_runs.add(position.run)
            others = len(self.manifest.nodes_of(Role.SERVER)) - 1
            self._outbox.report(
                What.RUN_UNKNOWN, name=self.manifest.name_of(by), run=str(position.run), other_servers=others
            )

    def _heard_of_reply(self, author: bytes, ready: ReplyReady, inline: tuple[Block, ...], now: float) -> None:
        """Look into an answer that whoever was asked says it has. Nobody else's word counts: what it names may be
        nobody's, and the true answer would have to wait for that."""
        if self.chain.head is None or ready.run != self.chain.run:
            return
        taken = self._mailbox.reply_to(ready.message)
        if taken is not None and taken != ready.record:
            self._proofs.compare(taken, ready.record, inline, now)
        asked = self.chain.open.get(ready.message)
        if asked is None:  # its client has not heard of the collect
            self._remind(now)
            return
        known = self._mailbox.has(ready.message) or ready.message in self._looked_into
        if asked.node == node_id(author) and not known and self._claims_to_answer.may_open(author, now):
            self._claims_to_answer.open(author)
            self._looked_into[ready.message] = Answer(author, ready.record)
            block = next((block for block in inline if block.cid == ready.record), None)
            if block is not None:
                self._judge_reply(ready.message, block, now)
            else:
                done = partial(self._fetched_reply, ready)
                self._outbox.ask(FetchRecord, done, partial(self._lost_reply, ready.message), ready.record, Reply)

    def _fetched_reply(self, ready: ReplyReady, blocks: Mapping[CID, bytes], now: float) -> None:
        self._judge_reply(ready.message, Block(ready.record, blocks[ready.record]), now)

    def _judge_reply(self, message: bytes, block: Block, now: float) -> None:
        """Take a reply that would be good in a collect made now; fetch its content and have it examined first."""
        try:
            arrived = Arrived(parse_record(block), block)
        except BlockError as error:
            self._refuse_reply(message, str(error), now)
            return
        why = self._is_good(message, arrived)
        if why is None:
            why = self._why_not_first(message, arrived.record, now)
        if why is not None:
            self._refuse_reply(message, why, now)
            return
        if arrived.body.content is None:
            self._reply_is_here(message, arrived, now)
        else:
            self._examine(message, arrived, arrived.body.content)

    def _why_not_first(self, message: bytes, reply: Record, now: float) -> str | None:
        """Why a good reply is refused that is not the first one to its message: both together are a proof."""
        if len(self._answers) > 2 * len(self.chain.open):
            self._answers = {open: first for open, first in self._answers.items() if open in self.chain.open}
        first = self._answers.setdefault(message, reply)
        if first.id == reply.id:
            return None
        if (found := equivocation(first, reply)) is not None:
            self._proofs.convict(found, TIMES, now)
        return "its client has answered the message before, otherwise"

    def _examine(self, message: bytes, arrived: Arrived, content: CID) -> None:
        admission, asked = self._settings.admission, self.chain.open[message]
        update = is_update(asked.type)
        self._outbox.ask(
            Examine,
            partial(self._examined, message, arrived),
            partial(self._lost_reply, message),
            message=message,
            sent=asked.content,
            sent_key=self.chain.keys.content(asked.epoch),
            reply=content,
            reply_key=self.chain.keys.reply_content(arrived.body),
            limits=admission.limits(self.chain.manifest.settings.max_content_bytes),
            update=update,
            measure=update and admission.bound is not None,
        )

    def _examined(self, message: bytes, arrived: Arrived, found: Examination, now: float) -> None:
        """A manifest that came into force meanwhile may have taken its author or key out."""
        why = self._is_good(message, arrived)
        if why is not None:
            self._refuse_reply(message, why, now)
            return
        self._reply_is_here(message, replace(arrived, found=found), now)

    def _is_good(self, message: bytes, arrived: Arrived) -> str | None:
        """Why the reply would be refused, None where it would not."""
        if message not in self.chain.open:
            return "the message is no longer open"
        try:
            check_reply(arrived.record, self.chain.open[message], self.chain.in_force)
        except BlockError as error:
            return str(error)
        return None

    def _refuse_reply(self, message: bytes, why: str, now: float) -> None:
        self._claims_to_answer.failed(self._looked_into.pop(message).by, now)
        self._refused(message, why)

    def _refused(self, message: bytes, why: str) -> None:
        asked = self.chain.open.get(message)
        member = self.chain.manifest.member_by_node(asked.node) if asked else None
        name = self.chain.manifest.name_of(member.id) if member else "somebody"
        self._outbox.report(What.REPLY_REFUSED, name=name, message=message.hex(), why=why)

    def _tell_of_checks(self, got: Collection) -> None:
        """Say which option is at fault, perhaps, where it refuses all; and once, where one does nothing."""
        for check, replies in got.all_failed:
            option = "--max-update-norm" if check is Check.NORM else "--admission"
            self._outbox.report(What.ALL_REFUSED, replies=replies, check=check.value, option=option)
        if got.unbounded and not self._said_unbounded:
            self._said_unbounded = True
            self._outbox.report(What.BOUND_UNUSED, bound=str(self._settings.admission.bound), why=got.unbounded)

    def _lost_reply(self, message: bytes, why: str, now: float) -> None:
        """Its client announces it again."""
        self._claims_to_answer.failed(self._looked_into.pop(message).by, now)
        self._outbox.report(What.FETCH_FAILED, message=message.hex(), why=why)

    def _reply_is_here(self, message: bytes, arrived: Arrived, now: float) -> None:
        self._claims_to_answer.held(self._looked_into.pop(message).by)
        self._mailbox.arrived(message, arrived)
        self._outbox.report(What.REPLY_ARRIVED, name=self.manifest.name_of(arrived.body.by), message=message.hex())
        if arrived.body.code is not None:
            handed = hand_over(arrived.record.cid, arrived.body, self.chain.keys)
            self._outbox.report(What.REPLY_FAILED, **self._asked(message), code=arrived.body.code, why=handed.reason)

    def _asked(self, message: bytes) -> dict[str, str | int | None]:
        """What people know an open message by."""
        asked = self.chain.open[message]
        member = self.chain.manifest.member_by_node(asked.node)
        name = self.chain.manifest.name_of(member.id) if member else "a client that was removed"
        return {"name": name, "message": message.hex(), "type": asked.type, "round": self._rounds.get(message)}
