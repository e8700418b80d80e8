"""What a leader is to lead, a new run or one that was left open, and how its owner wants that done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from crypto.symmetric import SymmetricKey
from protocol.blocks.bundle import NamedBundle
from protocol.blocks.cid import CID, Block
from protocol.blocks.content import ContentKey, KeyedContent
from protocol.blocks.listing import pack
from protocol.chain.chain import Chain
from protocol.federation.epochs import CHUNK_NONCE
from protocol.federation.run_keys import Epoch, RunKeys, private_fields
from protocol.keeping.best import BestBy
from protocol.keeping.plan import KEEP_EVERYTHING, KeepPlan
from protocol.records.bodies import Ack, RecomputedAck, Run, RunConfig, RunPrivate, TakeoverCause, Warrant
from protocol.records.contexts import RunPlace, SentContent, content_key
from protocol.records.environment import Environment
from protocol.records.signed_records import parse_record
from protocol.replies.checks_and_limits import Admission
from protocol.replies.closing_rule import ClosingRule
from protocol.roles.effects import AsRecorded
from protocol.roles.leader.presence import AWAY_AFTER
from protocol.witnesses.agreement import Agreement

FIRST_TERM: Final = 1
FIRST_EPOCH: Final = 1
"""Of a run that is encrypted."""
SERVER_NODE: Final = 1
"""The node id a ServerApp sees as its own, as under Flower's SuperLink."""


LEAVE_TIMEOUT: Final = 60.0
"""Seconds that a client which said goodbye has to come back: enough to start it again with another option."""

WITNESS_TIMEOUT: Final = 300.0
"""Seconds that other servers have to recompute what was sent: enough to start one again, and for it to replay some
rounds. Nothing is lost by waiting longer, as the run goes on by itself once they are done."""

KEEPERS_MAY_TAKE: Final = 600.0
"""Seconds that a server which ends with its run gives the keepers here for the last contents: its node ends, too."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a run record says that is known before the app process is there."""

    bundle: NamedBundle
    """Stored already, under ``model_key`` if the run is encrypted."""
    seed: bytes = field(repr=False)
    name: str
    version: str
    config: RunConfig
    replay_format: int
    node_config: RunConfig = ()
    """Of this machine alone (where its data is, say): handed to the app, not recorded."""
    initial_model: KeyedContent | None = None
    """A stored content with the arrays that the app is to begin with; None if it makes its own."""
    model_key: SymmetricKey | None = None
    """Of epoch 1: bundle and initial model are encrypted with it. None if nothing is, or the run has begun."""
    keep: KeepPlan = KEEP_EVERYTHING
    """Which contents of it stay."""
    best_by: BestBy | None = None
    """By which metric its best model is marked; None if none is."""
    closing: ClosingRule | None = None
    """When an exchange closes early, as the run record says; None if each waits for all its replies."""
    witnesses: int = 0
    """How many servers besides the leader have to have recomputed what is trained on, as the run record says."""
    began_in: Environment | None = None
    """How the run computes by its record, if another server has led any of it; None if all of it was led here."""

    @property
    def as_recorded(self) -> AsRecorded | None:
        """How its app process is to compute; None: as this process began with."""
        began = self.began_in
        return None if began is None else AsRecorded(self.seed, began.threads, began.numerics)


@dataclass(frozen=True, slots=True)
class LeaderSettings:
    """The owner's choices. Times are in seconds."""

    min_clients: int
    client_timeout: float
    """From a message's dispatch until it is given up."""
    leave_timeout: float = LEAVE_TIMEOUT
    """The same from when its client said goodbye: it may come back."""
    admission: Admission = field(default_factory=Admission)
    witness_timeout: float = WITNESS_TIMEOUT
    """How long a message waits for other servers to recompute it until no new exchange is begun."""
    witnesses: int | None = None
    """How many of them a new run asks for; None says nothing of it, so its federation's setting holds."""
    away_after: float = AWAY_AFTER
    grace: float = 10.0
    """How long a resumed run waits for the clients of its last look."""
    waits_for_members: bool = False
    """Whether it waits for them without end, before it signs: its home may be an older copy of itself."""
    remembers: Callable[[CID], bool] = lambda _run: True
    """Whether its home has forgotten nothing that it signed in a run: it is where it always was."""
    known_runs: frozenset[CID] = frozenset()
    """The runs that its home knows of, led here or followed."""
    keep: KeepPlan | None = None
    """Which contents of a new run stay; None says nothing of it, so all do."""
    best_by: BestBy | None = None
    """By which metric the best model of a new run is marked; None says nothing of it."""
    closing: ClosingRule | None = None
    """When an exchange of a new run closes early; None says nothing of it, so each waits for all."""
    closes: str | None = None
    """Why its owner wants the run closed: then it is as soon as a record may be signed, and its app is not started."""
    linger: float = 10.0
    """How long a closed run waits for its clients to verify the last record."""
    linger_for_keepers: float = 10.0
    """How long it waits for the keepers that are here to have all of it. They take their time if the peer, and with it
    its node, ends with the run."""


@dataclass(frozen=True, slots=True)
class TermStart:
    """Where a term begins."""

    height: int
    """Of its first record."""
    term: int


@dataclass(frozen=True, slots=True)
class WonTerm:
    """A term for which a majority of the voters has voted."""

    term: int
    cause: TakeoverCause
    head: CID
    """The record after which it begins: the votes name it."""
    votes: tuple[Block, ...]
    """In rising order of voter."""
    disputed: Agreement | None = None
    """The dispatch that it leaves behind, if that is why it begins."""
    warrant: Block | None = None
    """By which an admin wanted it; None if none did."""

    def at(self, now: float) -> WonTerm:
        """It, as it is told ``now``: without a warrant that has expired since."""
        if self.warrant is None:
            return self
        said = parse_record(self.warrant).body
        is_good = isinstance(said, Warrant) and now < said.expires
        return self if is_good else replace(self, warrant=None)


@dataclass(frozen=True, slots=True)
class ResumedRun:
    """A run that was left open: its verified chain, and its records from the first on."""

    chain: Chain
    records: Sequence[CID]
    acks: Sequence[Block] = ()
    """What members have confirmed of it, as far as it was kept."""
    terms: Sequence[TermStart] = (TermStart(0, FIRST_TERM),)
    """The terms of its records, in rising order."""
    watched: bool = False
    """Whether the home has kept that a standby was heard."""

    @property
    def was_taken_over(self) -> bool:
        """Whether another server may have led a part of it: what that was handed may not be here."""
        return len(self.terms) > 1

    @property
    def had_standby(self) -> bool:
        """Whether a standby was heard, as far as is known: one that has confirmed something of it was."""
        return self.watched or any(isinstance(parse_record(each).body, RecomputedAck) for each in self.acks)

    def standing_acks(self) -> Iterator[Block]:
        """The acks of records that are in the chain: others confirm, or contradict, what was left behind."""
        for block in self.acks:
            ack = parse_record(block).body
            if isinstance(ack, Ack) and ack.height < len(self.records) and self.records[ack.height] == ack.head:
                yield block


@dataclass(frozen=True, slots=True)
class NewKeys:
    """Keys just made, in a federation that encrypts: the block of their record, and their epoch."""

    record: CID
    epoch: Epoch


def run_body(
    plan: RunPlan,
    environment: Environment,
    *,
    manifest: CID,
    seed: CID,
    keys: NewKeys | None,
    member: bytes,
    now: float,
) -> Run:
    """The first record of a run; ``seed`` is the block with the plan's (`protocol.federation.epochs.seed_block`)."""
    private = _private(plan, environment)
    empty, _ = pack([])
    return Run(
        by=member,
        time=now,
        **private_fields(private, None if keys is None else keys.epoch, Run.TYPE, 0),
        run=None,
        prev=None,
        height=0,
        term=FIRST_TERM,
        looks=empty,
        empties=0,
        manifest=manifest,
        bundle=plan.bundle.content,
        seed=seed,
        initial_model=None if plan.initial_model is None else plan.initial_model.content,
        keys=None if keys is None else keys.record,
        keep=plan.keep.text_if_any,
        witnesses=plan.witnesses,
        closing="" if plan.closing is None else str(plan.closing),
    )


def _private(plan: RunPlan, environment: Environment) -> RunPrivate:
    return RunPrivate(
        name=plan.name,
        version=plan.version,
        config=plan.config,
        app=plan.bundle.app,
        replay_format=plan.replay_format,
        environment=environment,
        best="" if plan.best_by is None else str(plan.best_by),
    )


def first_content_key(model: SymmetricKey, federation: CID, leader: bytes) -> ContentKey:
    """What a run's app and initial model are encrypted with before there is a run: ``model`` is its first model key."""
    place = RunPlace(federation, leader, model.commitment())
    return content_key(model, SentContent(place, FIRST_EPOCH), CHUNK_NONCE)


def named_bundle(body: Run, private: RunPrivate, keys: RunKeys) -> NamedBundle:
    """The app of a run, as its record says to those who read it."""
    return NamedBundle(private.app, body.bundle, keys.content(body.epoch))


def initial_content(body: Run, keys: RunKeys) -> KeyedContent | None:
    """What the app of a run begins with, as the record says to those who read it."""
    return None if body.initial_model is None else KeyedContent(body.initial_model, keys.content(body.epoch))


def recorded_plan(
    body: Run,
    private: RunPrivate,
    keys: RunKeys,
    seed: bytes,
    node_config: RunConfig,
    *,
    elsewhere: bool,
) -> RunPlan:
    """The plan of a run that has begun, as its record says to those who read it. ``node_config``, the settings of this
    machine, is in no record. ``elsewhere``: another server has led any of it (`ResumedRun.was_taken_over`)."""
    return RunPlan(
        bundle=named_bundle(body, private, keys),
        seed=seed,
        name=private.name,
        version=private.version,
        config=private.config,
        replay_format=private.replay_format,
        node_config=node_config,
        initial_model=initial_content(body, keys),
        keep=body.plan,
        best_by=private.best_by,
        closing=body.closing_rule,
        witnesses=body.witnesses,
        began_in=private.environment if elsewhere else None,
    )
