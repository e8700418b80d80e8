"""What a role state machine wants done. The peer process carries it out and nothing else.

Effects with an ``id`` are answered by `Done` or `Failed` (a `FetchRecord` by `Fetched` or `Failed`, an `Examine` by
`Examined` or `Failed`) with that id; the others are not answered. `Store`, `WriteHead`, `KeepReply`, `KeepProof`,
`KeepAcks`, `KeepVote`, `KeepPlace`, `KeepWatched`, `KeepWhole`, `KeepManifest` and `AskOwner` are carried out in the
order given, so that a head is never on disk before its record; after one that failed none is carried out. All others in
any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from crypto.symmetric import SymmetricKey
from protocol.app.calls import Examine, ToApp
from protocol.blocks.bundle import NamedBundle
from protocol.blocks.cid import CID, Block
from protocol.records.bodies import Body
from protocol.records.environment import Numerics
from protocol.records.equivocation import Equivocation


@dataclass(frozen=True, slots=True)
class Store:
    """Put blocks on disk and pin each of them alone. ``own``: records we signed, journalled besides."""

    id: int
    blocks: tuple[Block, ...]
    own: bool


@dataclass(frozen=True, slots=True)
class WriteHead:
    """Replace the run's head atomically, and keep with it which signatures were found right."""

    id: int
    run: CID
    head: CID
    height: int
    term: int
    closed: bool
    leader: bytes
    """Who leads it in that term: a member id."""
    well_signed: tuple[CID, ...]
    """The records that were verified since the head before, and those they link (`protocol.chain.chain.Step`)."""


@dataclass(frozen=True, slots=True)
class KeepReply:
    """Keep, together and atomically, the reply to a message and the `Context.state` after it."""

    id: int
    run: CID
    message: bytes
    reply: CID
    state: CID | None
    anew: bool = False
    """Whether it is the answer that is kept already, signed anew: it takes that one's place, and the state stays."""


@dataclass(frozen=True, slots=True)
class KeepProof:
    """Keep a proof of equivocation in the journal and the engine: shown, exported, and known at the next start."""

    id: int
    found: Equivocation


@dataclass(frozen=True, slots=True)
class KeepAcks:
    """Keep acks beside their run, in the journal and the engine."""

    id: int
    run: CID
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class KeepVote:
    """Keep our vote in a run, in place of the one in a lower term: no other is ever signed in this term or below."""

    id: int
    run: CID
    term: int
    vote: Block


@dataclass(frozen=True, slots=True)
class KeepPlace:
    """Keep that this home is where it is now: whoever may know what it has forgotten of the run has been heard."""

    run: CID


@dataclass(frozen=True, slots=True)
class KeepWatched:
    """Keep that another server follows the run that we lead: when we start again, it may lead that by then."""

    run: CID


@dataclass(frozen=True, slots=True)
class KeepWhole:
    """Keep that all of a closed run is here: at the next start, nothing of it is looked for."""

    run: CID


@dataclass(frozen=True, slots=True)
class KeepManifest:
    """Keep a newer manifest, already verified, for the next start."""

    cid: CID
    blocks: Mapping[CID, bytes]
    key: SymmetricKey | None = None
    """The manifest key, if it is encrypted and readable here."""


@dataclass(frozen=True, slots=True)
class FetchRecord:
    """Get a record and everything needed to verify it (`protocol.chain.closure.missing`)."""

    id: int
    cid: CID
    kind: type[Body] | None
    """What it has to be: no more is fetched of anything else, whoever says that it is one. None: any record, of which
    its own block is enough."""
    trusted: CID | None = None
    """A manifest that is known already; no more is fetched of what it follows from."""


@dataclass(frozen=True, slots=True)
class FetchContent:
    """Make a content local, and pin it with all it links to."""

    id: int
    cid: CID
    of_reply: bool = False
    """Whether only a client says that it has it: then the search keeps nothing else waiting."""
    root: Block | None = field(default=None, repr=False)
    """Its root block, if that came with the record that names it."""


@dataclass(frozen=True, slots=True)
class PinRun:
    """Pin the closed run's head with all it links to."""

    id: int
    head: CID
    may_lack: bool
    """Whether the run links what may be nowhere (`protocol.chain.chain.Chain.shows_disputed`): then all else stays
    pinned piece by piece, as it was before."""


@dataclass(frozen=True, slots=True)
class Publish:
    """Send an announcement."""

    topic: str
    data: bytes
    subject: str = ""
    """What it is about: a newer one about the same takes its place if others ask for it (`protocol.wire.asking`)."""


@dataclass(frozen=True, slots=True)
class PassOn:
    """Let those that ask hear what another member announced, as it came (`protocol.wire.asking`). Pubsub passes on by
    itself what it carries."""

    by: bytes
    data: bytes
    subject: str


@dataclass(frozen=True, slots=True)
class Connect:
    """Connect to an engine that a member named as its own."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnpackApp:
    """Fetch an approved app's bundle, of at most ``limit`` bytes of files, and unpack it where `StartApp` looks."""

    id: int
    bundle: NamedBundle
    limit: int


@dataclass(frozen=True, slots=True)
class ReadBundle:
    """Read the list of files of an app that is not ours, to say in what it differs: `Fetched` has its blocks."""

    id: int
    bundle: NamedBundle


@dataclass(frozen=True, slots=True)
class AskOwner:
    """Keep, for the owner to see, that the ``run`` waits for approval of its ``app``, called ``name`` there."""

    app: CID
    name: str
    run: CID


@dataclass(frozen=True, slots=True)
class AsRecorded:
    """How the ServerApp of a run computes, by its record."""

    seed: bytes = field(repr=False)
    threads: int
    numerics: Numerics


@dataclass(frozen=True, slots=True)
class StartApp:
    """Start a fresh process of an unpacked app; `AppReady` follows. The one there is ends, and nothing of it is handed
    in any more."""

    app: CID
    as_recorded: AsRecorded | None = None
    """How it is to compute; None: as its role began with."""


@dataclass(frozen=True, slots=True)
class Hand:
    """Give something to the app process."""

    value: ToApp


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send `Due` at this time; it replaces the moment asked for before."""

    at: float


class What(StrEnum):
    """The events people and logs see. Each is one line of the log."""

    APP_BUNDLED = "app-bundled"
    """What of the owner's folder is the app, and goes along with a run."""
    APP_FILES_STAY = "app-files-stay"
    """What of the folder does not, and might be missed."""
    RUN_OPENED = "run-opened"
    RUN_FOLLOWED = "run-followed"
    RUN_REFUSED = "run-refused"
    RUN_KEPT = "run-kept"
    """A keeper has begun to keep a run."""
    RUN_WHOLE = "run-whole"
    """A closed run is all here, at a keeper."""
    KEEPERS_AWAITED = "keepers-awaited"
    """A leader stays for keepers to have all of a closed run."""
    RUN_LOST = "run-lost"
    LEADER_CHANGED = "leader-changed"
    """Another server leads a run that is followed, or the same one in a new term."""
    LAID_DOWN = "laid-down"
    """Most servers contradict a dispatch together: it and all after it are not followed any more."""
    RECORDS_LOST = "records-lost"
    """A takeover leads around the newest records that were verified of a run."""
    CLAIM_REFUSED = "claim-refused"
    """A server said that it was elected to lead a run, and was not."""
    RUN_CLOSED = "run-closed"
    RUN_RESUMED = "run-resumed"
    TOOK_OVER = "took-over"
    """We lead a run that another server led, or led ourselves before, in a higher term."""
    TAKEN_OVER = "taken-over"
    """Another server leads our run."""
    ENVIRONMENT_CHANGED = "environment-changed"
    """A resumed run goes on in another environment, as its chain will say: a replay may differ."""
    REPLAYED = "replayed"
    DIVERGED = "diverged"
    RECOMPUTED = "recomputed"
    """A standby's app did what is recorded."""
    COMPUTED_OTHERWISE = "computed-otherwise"
    """It did something else, and the standby signs that."""
    NOT_TOLD = "not-told"
    """It did, or could do, something else, and the standby cannot tell whose doing that is."""
    NOT_SIGNED = "not-signed"
    """A standby signs nothing of a closed run."""
    CONTRADICTED = "contradicted"
    """Another server's app did something else than this leader recorded."""
    WITNESSES_AWAITED = "witnesses-awaited"
    """Clients wait for other servers to recompute what they are to train on, for so long that the run pauses."""
    WITNESSED = "witnessed"
    """Those servers have: the run goes on."""
    PEER_HERE = "peer-here"
    PEER_AWAY = "peer-away"
    PEER_LEFT = "peer-left"
    """A client said goodbye."""
    BUILT_IN_APP_UNFIT = "built-in-app-unfit"
    WAITING_FOR_CLIENTS = "waiting-for-clients"
    APP_WAITS_FOR_CLIENTS = "app-waits-for-clients"
    """It does nothing but look at the nodes."""
    WAITING = "waiting"
    """For what it names (`protocol.roles.waiting.Awaited`)."""
    DISPATCHED = "dispatched"
    REPLY_ARRIVED = "reply-arrived"
    REPLY_REFUSED = "reply-refused"
    REPLY_FAILED = "reply-failed"
    """A client's reply is an error: what its app raised, say."""
    MESSAGE_GIVEN_UP = "message-given-up"
    """No reply came in time, or none can come; the app has an error instead."""
    LEFT_OUT = "left-out"
    """An exchange did not wait for these clients, by the run's own rule."""
    REPLY_LATE = "reply-late"
    """A reply came to a message that was left out."""
    CLOSING_UNUSED = "closing-unused"
    """The app pulls by itself, so the run's rule for early closing does nothing."""
    CLOSING_OVER_MEMBERS = "closing-over-members"
    """It asks for more replies than the federation has clients."""
    ALL_AWAITED = "all-awaited"
    """The rule asks for more replies than the exchange has messages."""
    ALL_REFUSED = "all-refused"
    """Every reply of an exchange, by one check that the owner may leave out."""
    BOUND_UNUSED = "bound-unused"
    """The owner's bound is of something that the app's replies do not have."""
    ACK_REFUSED = "ack-refused"
    COLLECTED = "collected"
    RUN_UNKNOWN = "run-unknown"
    """A client was in a run that this home does not know."""
    HOME_MOVED = "home-moved"
    """It is in another place: it was copied, or put back, and may be older than what it signed."""
    RECALLED = "recalled"
    """A record of our own, which this home had forgotten, is taken up."""
    TASK_STARTED = "task-started"
    TASK_ANSWERED = "task-answered"
    TASK_FAILED = "task-failed"
    """It was answered with an error: the app raised, was lost, or could not be loaded."""
    TASK_COLLECTED = "task-collected"
    TASK_LATE = "task-late"
    """A collect tells of our reply as late."""
    TASK_ABANDONED = "task-abandoned"
    """The dispatch of the message that the app worked on is lost, and others are to be answered instead."""
    SIGNED_ANEW = "signed-anew"
    """A reply to a message whose dispatch is lost, for its successor."""
    APP_UNAPPROVED = "app-unapproved"
    APP_LOST = "app-lost"
    APP_LACKS = "app-lacks"
    """Packages that it says it needs are not installed."""
    APP_PROGRESS = "app-progress"
    """What the app process says of the replies that its app was handed."""
    JOINED = "joined"
    JOIN_PENDING = "join-pending"
    JOIN_REFUSED = "join-refused"
    KEYS_DESTROYED = "keys-destroyed"
    """The keys of shredded runs are destroyed in this home."""
    KEYS_TO_DESTROY = "keys-to-destroy"
    """They are not yet, and why."""
    KEYS_LISTED = "keys-listed"
    """The manifest lists the new keys of members that destroy their old ones."""
    MANIFEST_IN_FORCE = "manifest-in-force"
    MEMBER_BEHIND = "member-behind"
    """It was told of our manifest, in what only it can open; or why it could not be."""
    EQUIVOCATION = "equivocation"
    """Somebody signed two records at one place: there is a proof, and that signer is followed no more."""
    FETCH_FAILED = "fetch-failed"
    PAUSED = "paused"
    """The disk has no room for another exchange, by the home's budget: none is begun."""
    UNPAUSED = "unpaused"
    """There is room again."""
    VOTED = "voted"
    """For another leader of a run, or for ourselves."""
    STANDS = "stands"
    """A standby hears the leader no more, and asks who would vote for it."""
    STANDS_NO_MORE = "stands-no-more"
    """It does not lead: why."""
    ELECTED = "elected"
    """A majority has voted for us."""
    WARRANTED = "warranted"
    """An admin wants this server to lead the run that another one leads."""
    TO_HAND_OVER = "to-hand-over"
    """An admin wants another server to lead the run that this one leads."""
    HANDED_OVER = "handed-over"
    """To a standby: the leader wants it to lead."""
    NOT_HANDED_OVER = "not-handed-over"
    """A leader goes on itself: whom it wanted to lead was not elected."""
    VOTERS_LACKING = "voters-lacking"
    """Too few of a run's voters are heard: its leader appends nothing, because another may lead by now."""
    VOTERS_BACK = "voters-back"
    NO_TAKEOVER = "no-takeover"
    """If a run's leader is lost, nobody else can lead it: why."""
    TAKEOVER_POSSIBLE = "takeover-possible"
    CLOSE_UNSETTLED = "close-unsettled"
    """A leader leaves its closed run before a majority has confirmed that."""
    PUBSUB_REFUSED = "pubsub-refused"
    """The engine lets nothing of its own be heard."""
    PUBSUB_UNHEARD = "pubsub-unheard"
    """A node does not hear ours by pubsub."""
    PUBSUB_NOT_HEARING = "pubsub-not-hearing"
    """Ours does not hear a node by pubsub."""
    ASKING_OFF = "asking-off"
    """Members cannot be asked for what pubsub does not bring."""


@dataclass(frozen=True, slots=True)
class Report:
    """Something for people and logs; never a rule."""

    what: What
    fields: Mapping[str, str | int | float | None]


class StopCause(Enum):
    """What a machine that cannot go on lacks."""

    MEANS = auto()
    """Disk, engine or peers."""
    APP = auto()
    """An app process that stays alive."""
    REMOVED = auto()
    """Its part in the federation: an admin took it away."""
    REPLAY = auto()
    """An app that does again what its chain says it did."""
    DISPUTE = auto()
    """Another server's agreement with what it recorded."""
    OWNER = auto()
    """The will of its owner, who stopped a run that had not begun."""
    COPY = auto()
    """Its key to itself: another process has it, or had."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The machine is at its end: the run is closed and heard of, or it cannot go on (``why`` is then not empty)."""

    why: str
    cause: StopCause = StopCause.MEANS


Durable = (
    Store
    | WriteHead
    | KeepReply
    | KeepProof
    | KeepAcks
    | KeepVote
    | KeepManifest
    | KeepPlace
    | KeepWatched
    | KeepWhole
    | AskOwner
)
"""What keeps something for good. These are carried out one after the other, in the order given."""

Effect = (
    Durable
    | FetchRecord
    | FetchContent
    | Examine
    | PinRun
    | Publish
    | PassOn
    | Connect
    | UnpackApp
    | ReadBundle
    | StartApp
    | Hand
    | WakeAt
    | Report
    | Stop
)
