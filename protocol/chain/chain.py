"""The chain of one run, checked record by record.

`protocol.chain.rules` lists the rules and their reasons. `Chain.append` is the only way to trust a record: an audit, a
peer that catches up and the leader itself all go through it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from protocol.blocks.cid import CID, Block, BlockError, BlockSource, MissingBlock, checked_block
from protocol.chain import rules
from protocol.chain.epoch_rules import check_epoch, next_keys
from protocol.chain.exchange import (
    AnsweredMessage,
    InForce,
    OpenMessage,
    answered_messages,
    check_reply,
    client_at,
    opened_messages,
    private_of,
)
from protocol.chain.left_out import LateReply, LeftOutMessages, late_replies, left_out_messages
from protocol.chain.takeover import votes_of
from protocol.chain.takeover_dispute import dispute_of
from protocol.chain.takeover_warrant import warrant_of
from protocol.federation.manifest import PUBLIC, Manifest, manifest_at
from protocol.federation.readers import Reader
from protocol.federation.run_keys import RunKeys
from protocol.federation.voters import voters_before
from protocol.records.bodies import (
    INDEX_EVERY,
    Chained,
    Close,
    Collect,
    Dispatch,
    Federation,
    Index,
    Look,
    NewEnvironment,
    ReasonPrivate,
    Role,
    Roster,
    Run,
    RunPrivate,
    Takeover,
)
from protocol.records.environment import Environment
from protocol.records.signed_records import Record, WellSigned, checked_record, parse_record, typed_items
from protocol.replies.closing_rule import ClosingRule
from protocol.witnesses.needed import witnesses_needed

__all__ = ["AnsweredMessage", "Chain", "InForce", "OpenMessage", "Step", "check_reply"]


@dataclass(frozen=True, slots=True)
class Step:
    """What one appended record did."""

    record: Record
    opened: tuple[OpenMessage, ...] = ()
    answered: tuple[AnsweredMessage, ...] = ()
    left_out: tuple[OpenMessage, ...] = ()
    """Those of the answered messages whose replies were not waited for, by the run's own rule."""
    late: tuple[LateReply, ...] = ()
    """Replies to messages that were left out before."""
    manifest_changed: bool = False
    environment: Environment | None = None
    """In what the ServerApp runs from here on, if the record says so to this reader."""
    votes: tuple[Record, ...] = ()
    """Those that a takeover links."""
    dispute: tuple[Record, ...] = ()
    """The record that a takeover is against, and the words that contradict it."""
    warrant: tuple[Record, ...] = ()
    """That of a takeover, if an admin wanted it."""

    @property
    def took_over(self) -> bool:
        """Whether the record begins another term, in which its author leads."""
        return isinstance(self.record.body, Takeover)

    @property
    def height(self) -> int:
        """The record's height."""
        assert isinstance(self.record.body, Chained)
        return self.record.body.height

    @property
    def well_signed(self) -> tuple[CID, ...]:
        """The records whose signatures were found right: the record itself, its keys, its votes, what it disputes and
        with whose words, its warrant, and the replies that it takes, refuses or tells of. Manifests are verified
        apart."""
        body = self.record.body
        keys = (body.keys,) if isinstance(body, Run | Roster) and body.keys is not None else ()
        votes = (vote.cid for vote in (*self.votes, *self.dispute, *self.warrant))
        replies = (answer.recorded for answer in self.answered)
        late = (each.reply.cid for each in self.late)
        return (self.record.cid, *keys, *votes, *(reply for reply in replies if reply is not None), *late)


class Chain:
    """The trusted state of one run.

    Its memory grows with the members and the open messages, not with the length of the chain. ``run``, ``by`` and
    ``manifest`` are not set while ``head`` is None: the run record brings them.
    """

    run: CID
    """The CID of the run record's block."""
    by: bytes
    """The member id of the leader in ``term``."""
    manifest: Manifest
    """The manifest in force after the head."""

    def __init__(self, federation: CID, reader: Reader = PUBLIC, well_signed: WellSigned = frozenset()) -> None:
        """An empty chain of a run in ``federation`` (the CID of its manifest's version 1), for ``reader`` to read.
        Signatures of records in ``well_signed`` are not verified again; everything else is judged."""
        self.federation = federation
        self.well_signed = well_signed
        self.keys = RunKeys(reader)
        """The epochs that have begun, as far as the reader can read them."""
        self.head: CID | None = None
        self.height = -1
        self.term = 1
        self.closed = False
        self.closing: ClosingRule | None = None
        """When an exchange of the run closes early; None if it waits for all its replies."""
        self.manifest_since = 0
        """The height of the record that brought the manifest into force."""
        self.voters_before: frozenset[bytes] = frozenset()
        """By the manifest before the newest roster (`protocol.federation.voters.voters_before`)."""
        self.shows_disputed = False
        """Whether a takeover in it shows a record that it is against. What that sends may be nowhere any more: nobody
        needs it."""
        self._open: dict[bytes, OpenMessage] = {}
        self._left_out = LeftOutMessages()
        self._ordinals: Counter[int] = Counter()
        self._recent: deque[CID] = deque(maxlen=INDEX_EVERY)
        self._witnesses_asked = 0
        """How many witnesses the run itself asks for."""
        self._index_owed = False
        """Whether the head is a takeover at a height at which an index was due."""
        self.last_look: tuple[int, ...] = ()
        """The newest recorded answer of ``get_node_ids``. A resumed run waits for these nodes."""
        self.environment: Environment | None = None
        """In what the ServerApp ran when the head was written; None if that is for other readers."""
        self.environments = 0
        """In how many it ran, one after the other, as far as this reader can tell: the same again counts again."""

    def copy(self) -> Chain:
        """The chain as it is now. What is appended to one of the two is not in the other."""
        other = Chain.__new__(Chain)
        other.__dict__.update(self.__dict__)
        other._open, other._ordinals, other._recent = self._open.copy(), self._ordinals.copy(), self._recent.copy()
        other._left_out = self._left_out.copy()
        return other

    @property
    def open(self) -> Mapping[bytes, OpenMessage]:
        """The open messages by id, in the order they were sent."""
        return MappingProxyType(self._open)

    @property
    def left_out(self) -> Mapping[bytes, OpenMessage]:
        """The messages that were left out, to which a late reply may still be told of, by id."""
        return self._left_out.by_id

    def ordinal(self, node: int) -> int:
        """How many messages the run has sent to ``node``: the next one's ordinal (`protocol.records.message_ids`)."""
        return self._ordinals.get(node, 0)

    @property
    def in_force(self) -> InForce:
        """What the next record is judged by."""
        return InForce(self.run, self.manifest, self.keys, self.well_signed, self.closing, self.voters_before)

    @property
    def witnesses_needed(self) -> int:
        """How many servers besides the leader have to have recomputed a training message before it is answered."""
        return 0 if self.head is None else witnesses_needed(self._witnesses_asked, self.manifest)

    @property
    def index_due(self) -> bool:
        """Whether the next record has to be an `Index`, unless it is a `Takeover`."""
        height = self.height + 1
        return self._index_owed or (height > 0 and height % INDEX_EVERY == 0)

    @property
    def recent(self) -> tuple[CID, ...]:
        """The newest `INDEX_EVERY` records, oldest first: what an index here would link."""
        return tuple(self._recent)

    def append_block(self, block: Block, source: BlockSource) -> Step:
        """`append` the record in ``block``, and check its hash and encoding."""
        try:
            record = parse_record(checked_block(block.cid, block.data))
        except BlockError as error:
            raise rules.as_rule(error) from error
        return self.append(record, source)

    def append(self, record: Record, source: BlockSource) -> Step:
        """Check ``record`` by every rule and make it the head. If this raises, nothing has changed.

        Raises:
            protocol.chain.rules.BrokenRule: the rule that it breaks.
            protocol.blocks.cid.MissingBlock: if ``source`` lacks a block of `protocol.chain.closure.missing`.
        """
        body = record.body
        if not isinstance(body, Chained):
            raise rules.ChainedType(f"{record.cid} is a {body.TYPE}")
        try:
            self._check_place(body)
            manifest = self._manifest_for(body, source)
            self._check_author(record, body, manifest)
            last_look = self._check_looks(body, manifest, source)
            keys = self._next_keys(record, manifest, manifest, source) if isinstance(body, Run) else self.keys
            check_epoch(body, keys)
            run = body.run or record.cid
            in_force = InForce(run, manifest, keys, self.well_signed, self.closing, self.voters_before)
            step, after = self._judge(record, body, in_force, last_look, source)
            if isinstance(body, Roster):
                keys = self._next_keys(record, manifest, after, source)
        except MissingBlock:
            raise
        except BlockError as error:
            raise rules.as_rule(error) from error
        self._advance(step, body, after, keys)
        self.last_look = last_look
        return step

    def _check_place(self, body: Chained) -> None:
        if self.closed:
            raise rules.AfterClose(f"the chain closed at height {self.height}")
        if isinstance(body, Run) != (self.head is None):
            raise rules.RunFirst(f"a {body.TYPE} at height {self.height + 1}")
        if body.run != (None if self.head is None else self.run):
            raise rules.RunLink(f"it is of run {body.run}")
        if body.prev != self.head:
            raise rules.PrevLink(f"it links {body.prev}, not {self.head}")
        if body.height != self.height + 1:
            raise rules.Height(f"it claims height {body.height} at {self.height + 1}")
        takes_over = isinstance(body, Takeover)
        if body.term <= self.term if takes_over else body.term != self.term:
            raise rules.Term(f"a {body.TYPE} claims term {body.term} after one in {self.term}")
        if isinstance(body, Index) != self.index_due and not (takes_over and self.index_due):
            raise rules.IndexPlace(f"a {body.TYPE} at height {body.height}")

    def _manifest_for(self, body: Chained, source: BlockSource) -> Manifest:
        if isinstance(body, Run):
            return manifest_at(body.manifest, self.federation, source, reader=self.keys.reader)
        return self.manifest

    def _check_author(self, record: Record, body: Chained, manifest: Manifest) -> None:
        if self.head is not None and body.by != self.by and not isinstance(body, Takeover):
            raise rules.OneLeader(f"{manifest.called(self.by)} leads term {self.term}")
        leader = manifest.members.get(body.by)
        if leader is None or Role.SERVER not in leader.roles:
            raise rules.LeaderRole(f"{body.by.hex()} is no server in manifest {manifest.cid}")
        if record.signers != (leader.signing,):
            raise rules.LeaderKey(f"it is not signed with {manifest.called(leader.id)}'s key")
        rules.check_signed(record, self.well_signed)

    def _check_looks(self, body: Chained, manifest: Manifest, source: BlockSource) -> tuple[int, ...]:
        """Check the looks; return the newest answer."""
        seen, last = body.empties > 0, self.last_look
        for look in typed_items(body.looks, Look, source):
            seen, last = True, look.nodes
            if list(look.nodes) != sorted(set(look.nodes)):
                raise rules.LookNodes("a look's nodes are not in rising order")
            for node in look.nodes:
                if client_at(manifest, node) is None:
                    raise rules.LookNodes(f"node {node} is no client member in manifest {manifest.cid}")
        if seen and isinstance(body, Run):
            raise rules.RunFirst("the app has seen something before the run record")
        return last

    def _next_keys(self, record: Record, manifest: Manifest, after: Manifest, source: BlockSource) -> RunKeys:
        """The keys once ``after`` is in force. ``record`` is judged by ``manifest``."""
        body = record.body
        assert isinstance(body, Run | Roster)
        signing = manifest.members[body.by].signing
        return next_keys(body.keys, record, signing, after, self.keys, source, self.well_signed)

    def _judge(
        self, record: Record, body: Chained, in_force: InForce, last_look: tuple[int, ...], source: BlockSource
    ) -> tuple[Step, Manifest]:
        """What the record does, and the manifest in force after it."""
        manifest = in_force.manifest
        match body:
            case Run():
                private = private_of(body, RunPrivate, in_force.keys)
                began_in = None if private is None else private.environment
                return Step(record, manifest_changed=True, environment=began_in), manifest
            case NewEnvironment():
                return Step(record, environment=private_of(body, Environment, in_force.keys)), manifest
            case Dispatch():
                opened = opened_messages(
                    record,
                    body,
                    in_force,
                    ordinals=self._ordinals,
                    still_open=self._open,
                    last_look=last_look,
                    source=source,
                )
                return Step(record, opened=tuple(opened.values())), manifest
            case Collect():
                answered = answered_messages(body, in_force, still_open=self._open, source=source)
                left_out = tuple(left_out_messages(body, in_force, answered, self._open, source))
                late = tuple(late_replies(body, in_force, self.left_out, source))
                return Step(record, answered=tuple(answered.values()), left_out=left_out, late=late), manifest
            case Roster():
                _check_nothing_private(body)
                return Step(record, manifest_changed=True), self._newer(body, manifest, source)
            case Index():
                _check_nothing_private(body)
                if body.records != self.recent:
                    raise rules.IndexLinks(f"it does not link the {INDEX_EVERY} records before it in order")
                return Step(record), manifest
            case Takeover():
                _check_nothing_private(body)
                disputed = dispute_of(body, self.by, self.term, in_force, source)
                warrant = warrant_of(body, self.term, in_force, source)
                votes = votes_of(body, in_force, source)
                return Step(record, votes=votes, dispute=disputed, warrant=warrant), manifest
            case Close():
                private_of(body, ReasonPrivate, in_force.keys)
                return Step(record), manifest
            case _:
                raise rules.ChainedType(f"{record.cid} is a {body.TYPE}")

    def _newer(self, body: Roster, manifest: Manifest, source: BlockSource) -> Manifest:
        if body.manifest == manifest.cid and self.voters_before:
            return manifest  # nothing changes, but for that they have no say any more
        named = checked_record(body.manifest, source).body
        if isinstance(named, Federation) and named.version <= manifest.version:
            raise rules.RosterNewer(f"version {named.version}, and version {manifest.version} is in force already")
        return manifest_at(body.manifest, self.federation, source, known=manifest, reader=self.keys.reader)

    def _advance(self, step: Step, body: Chained, manifest: Manifest, keys: RunKeys) -> None:
        if isinstance(body, Run):
            self.run, self._witnesses_asked = step.record.cid, body.witnesses
            self.closing = body.closing_rule
        elif isinstance(body, Roster):
            self.voters_before = voters_before(self.manifest, manifest, self.run)
            self.manifest_since = body.height
        self.by, self.term = body.by, body.term
        self._index_owed = step.took_over and self.index_due
        self.head, self.height, self.manifest = step.record.cid, body.height, manifest
        self.keys = keys
        self.closed = isinstance(body, Close)
        self.shows_disputed |= bool(step.dispute)
        if step.environment is not None:
            self.environment, self.environments = step.environment, self.environments + 1
        self._recent.append(step.record.cid)
        for message in step.opened:
            self._open[message.id] = message
            self._ordinals[message.node] += 1
        for answer in step.answered:
            del self._open[answer.message.id]
        self._left_out.advance(step.left_out, step.late)


def _check_nothing_private(body: Chained) -> None:
    if body.epoch is not None or body.private:
        raise rules.PrivatePart(f"a {body.TYPE} has nothing private")
