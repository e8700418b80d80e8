"""The bodies of records: what each type says. `protocol.records.signed_records` has the blocks they are in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from crypto.symmetric import ChunkNonce
from protocol.blocks.cid import CID
from protocol.blocks.listing import EMPTY, Listing
from protocol.blocks.typed import left_out
from protocol.keeping.best import LONGEST_TEXT, BestBy, parse_best
from protocol.keeping.plan import KEEP_EVERYTHING, LONGEST, KeepPlan, parse_plan
from protocol.records.environment import EarlierEnvironment, Environment
from protocol.records.roles import MAX_WITNESSES as MAX_WITNESSES  # parts of bodies, by themselves for what needs
from protocol.records.roles import Role as Role  # no others
from protocol.replies.closing_rule import LONGEST_RULE, ClosingRule, parse_closing

VERSION: Final = 1

MAX_ADMINS: Final = 64
"""How many admins a federation may have. All may have to sign a version, and every reader verifies every signature."""

MAX_ADDRESSES: Final = 16
"""Addresses in a manifest, an announcement or a ticket."""

MAX_ADDRESS: Final = 256
"""Characters of one of them."""

MAX_SHREDDED: Final = 1_024
"""Runs in a manifest whose keys are to be destroyed."""

MAX_SHREDDED_REASON: Final = 200
"""Characters of why."""

MAX_NAMED_RUNS: Final = 64
"""Runs in a manifest whose voters are named."""

MAX_NAMED_VOTERS: Final = 64
"""Voters that are named for one run."""

INDEX_EVERY: Final = 256
"""Every record whose height is a multiple of this is an `Index`, except at height 0."""

Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""A member id or an Ed25519 public key, 32 bytes."""
SignatureBytes = Annotated[bytes, Meta(min_length=64, max_length=64)]
MessageId = Annotated[bytes, Meta(min_length=32, max_length=32)]
Natural = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Node = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A Flower node id."""
RunConfig = tuple[tuple[str, bool | int | float | str], ...]
"""A Flower run or node config as pairs, in order."""


class RecordType(StrEnum):
    """The types this version writes."""

    FEDERATION = "federation"
    RUN = "run"
    DISPATCH = "dispatch"
    REPLY = "reply"
    COLLECT = "collect"
    ROSTER = "roster"
    ENVIRONMENT = "environment"
    INDEX = "index"
    CLOSE = "close"
    KEYS = "keys"
    GRANT = "grant"
    ACK = "ack"
    ERASURE = "erasure"
    TAKEOVER = "takeover"
    VOTE = "vote"
    WARRANT = "warrant"


class Outcome(StrEnum):
    """How a ServerApp ended."""

    RETURNED = "returned"
    RAISED = "raised"
    STOPPED = "stopped"
    """The server's owner closed the run before the app had ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What every body has. ``private`` is plain dag-cbor if ``epoch`` is None; otherwise `protocol.federation.run_keys`
    opens it."""

    TYPE: ClassVar[RecordType]

    by: Key
    time: float
    epoch: Natural | None = None
    private: bytes = b""


# -- the manifest --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionKeyText:
    """An encryption key as the manifest carries it."""

    suite: str
    key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """A member's two signatures under its newest change of keys: one with the old signing key, one with the new."""

    old: SignatureBytes
    new: SignatureBytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An identity listed in the manifest. ``id`` is its first signing key and never changes."""

    id: Key
    signing: Key
    encryption: EncryptionKeyText
    roles: tuple[Role, ...]
    proof: SignatureBytes | None = None
    """The member's signature over its first keys, as in its KEY, so that nobody lists another encryption key for it.
    None once it has changed its keys: then it has a ``handover``."""
    handover: Handover | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrap:
    """A secret sealed for one member (`crypto.sealing`)."""

    to: Key
    """The member's id."""
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A symmetric key for several members, and the commitment that each of them checks it against."""

    commitment: Annotated[bytes, Meta(min_length=32, max_length=32)]
    """`crypto.symmetric.SymmetricKey.commitment`."""
    wraps: Listing
    """Of `Wrap`, in rising order of member."""


class Voting(StrEnum):
    """Which members vote for the leader of a run."""

    ALL = "servers-and-clients"
    SERVERS = "servers"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunVoters:
    """The voters of one run, if an admin has named them."""

    run: CID
    voters: Annotated[tuple[Key, ...], Meta(min_length=1, max_length=MAX_NAMED_VOTERS)]
    """Member ids, in rising order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation(Body):
    """One version of a federation's manifest; the federation's id is the CID of version 1's block."""

    TYPE: ClassVar[RecordType] = RecordType.FEDERATION

    version: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    prev: CID | None
    admins: Annotated[tuple[Key, ...], Meta(max_length=MAX_ADMINS)]
    """Signing keys, in rising order."""
    threshold: Annotated[int, Meta(ge=1)]
    members: Listing
    """Of `Member`, in rising order of id."""
    revoked: Listing
    """Of signing keys that never count again, in rising order."""
    key: WrappedKey | None
    """The *manifest key*, wrapped for every member. It encrypts names, settings and announcements. None if the
    federation does not encrypt. ``epoch`` is the version that brought it."""
    voting: Voting = left_out(Voting.ALL)
    """Who votes for the leader of a run. All can read it, since all judge votes (`protocol.federation.voters`)."""
    voters: Annotated[tuple[RunVoters, ...], Meta(max_length=MAX_NAMED_RUNS)] = left_out(())
    """Those of single runs, in rising order of run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationPrivate:
    """What a manifest tells members only."""

    name: str
    names: tuple[tuple[Key, str], ...]
    """Member id and name, in rising order of id."""
    settings: tuple[tuple[str, int], ...]
    """See `protocol.federation.manifest.Settings`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressedFederationPrivate:
    """`FederationPrivate` of a manifest that also says where members' nodes are reached. One that does not is written
    without the field, as all were before there was one."""

    name: str
    names: tuple[tuple[Key, str], ...]
    settings: tuple[tuple[str, int], ...]
    addresses: Annotated[
        tuple[Annotated[str, Meta(max_length=MAX_ADDRESS)], ...], Meta(min_length=1, max_length=MAX_ADDRESSES)
    ]
    """Multiaddrs in rising order (`protocol.wire.node_address`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstShredded:
    """A run, and the first of its epochs whose keys every member is to destroy: `protocol.federation.shreddings`."""

    run: CID
    epoch: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    reason: Annotated[str, Meta(max_length=MAX_SHREDDED_REASON)]
    """For people; may be empty."""


ShreddedEpochs = tuple[FirstShredded, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShreddingFederationPrivate:
    """`FederationPrivate` of a manifest that orders members to destroy keys. One that does not is written without the
    field, as all were before there was one."""

    name: str
    names: tuple[tuple[Key, str], ...]
    settings: tuple[tuple[str, int], ...]
    addresses: Annotated[tuple[Annotated[str, Meta(max_length=MAX_ADDRESS)], ...], Meta(max_length=MAX_ADDRESSES)]
    """As in `AddressedFederationPrivate`; here there may be none."""
    shredded: Annotated[ShreddedEpochs, Meta(min_length=1, max_length=MAX_SHREDDED)]
    """In rising order of run, each once."""


FederationPrivates = FederationPrivate | AddressedFederationPrivate | ShreddingFederationPrivate
"""What the private part of a manifest may be."""


# -- the chain of a run --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """An answer of ``get_node_ids``, and how many times in a row the app got it."""

    nodes: tuple[Node, ...]
    count: Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chained(Body):
    """A record in the chain of a run. ``run`` and ``prev`` are None only in the `Run` record."""

    run: CID | None
    prev: CID | None
    height: Natural
    term: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    looks: Listing
    """Of `Look`: what the app saw since the record before."""
    empties: Natural
    """Pulls that gave nothing since the record before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Chained):
    """The first record of a run."""

    TYPE: ClassVar[RecordType] = RecordType.RUN

    manifest: CID
    """The `Federation` record in force."""
    bundle: CID
    """The content with the app's files (`protocol.blocks.bundle`)."""
    seed: CID
    """A block of its own, for servers and auditors."""
    initial_model: CID | None
    """A content with the arrays that the app begins with; None if the app makes its own."""
    keys: CID | None
    """The `Keys` of epoch 1; None if the federation does not encrypt."""

    keep: Annotated[str, Meta(max_length=LONGEST)] = left_out("")
    """The text of its leader's plan (`protocol.keeping.plan`), for all: who holds ciphertext alone has to know it too.
    Empty if everything stays."""
    witnesses: Annotated[int, Meta(ge=0, le=MAX_WITNESSES)] = left_out(0)
    """How many servers besides the leader have to have recomputed what is trained on; the federation may ask for more
    (`protocol.witnesses.needed`)."""
    closing: Annotated[str, Meta(max_length=LONGEST_RULE)] = left_out("")
    """The text of the rule by which an exchange closes early (`protocol.replies.closing_rule`), for all; empty if each
    waits for all its replies."""

    @property
    def closing_rule(self) -> ClosingRule | None:
        """When an exchange closes early; None if it waits for all its replies."""
        return parse_closing(self.closing) if self.closing else None

    @property
    def plan(self) -> KeepPlan:
        """Which contents its leader keeps."""
        return parse_plan(self.keep) if self.keep else KEEP_EVERYTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPrivate:
    """What a run record tells readers only."""

    name: str
    version: str
    config: RunConfig
    app: CID
    """The app's id: the CID of its plain bundle."""
    replay_format: Natural
    environment: Environment

    best: Annotated[str, Meta(max_length=LONGEST_TEXT)] = left_out("")
    """The text of a `protocol.keeping.best.BestBy`; empty if its best model is not marked."""

    @property
    def best_by(self) -> BestBy | None:
        """By which metric its best model is marked; None if none is."""
        return parse_best(self.best) if self.best else None


EARLIER_FORMATS: Final = (1, 2)
"""The replay formats of the runs that are `EarlierRunPrivate`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierRunPrivate:
    """`RunPrivate`, as runs of `EARLIER_FORMATS` say it."""

    name: str
    version: str
    config: RunConfig
    app: CID
    replay_format: Natural
    environment: EarlierEnvironment

    def as_now(self) -> RunPrivate:
        """The same as today's type."""
        return RunPrivate(
            name=self.name,
            version=self.version,
            config=self.config,
            app=self.app,
            replay_format=self.replay_format,
            environment=self.environment.as_now(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Consecutive messages that differ only in their addressee. ``kind`` is an index into the private kinds."""

    content: CID
    ttl: int | float
    kind: Natural
    to: tuple[tuple[MessageId, Node], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch(Chained):
    """One ``push_messages``. Its ``time`` is the ``created_at`` the app sees."""

    TYPE: ClassVar[RecordType] = RecordType.DISPATCH

    groups: Listing
    """Of `Group`, in the order of the messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchPrivate:
    """The distinct (message type, group id) pairs of a dispatch."""

    kinds: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply(Body):
    """A client's answer to one message. Not itself in the chain: a `Collect` links it."""

    TYPE: ClassVar[RecordType] = RecordType.REPLY

    run: CID
    message: MessageId
    dispatch: CID
    created: float
    """The reply message's ``created_at``."""
    ttl: int | float
    content: CID | None
    code: Natural | None
    """A Flower error code if there is no content."""
    key: bytes
    """The client's own key for its content and ``private`` in this epoch, sealed to the epoch's update key. Empty if
    the federation does not encrypt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonPrivate:
    """Why a reply is an error, or what an app raised; empty if neither happened."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenReply:
    """A reply that the app got."""

    reply: CID


@dataclass(frozen=True, slots=True, kw_only=True)
class GridError:
    """An error that the Grid made for a message. ``why`` is an index into the private reasons."""

    message: MessageId
    code: Natural
    why: Natural
    created: float
    refused: CID | None
    """The refused reply; None if there was no reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collect(Chained):
    """The answers of one pull or one finished wait, in the order the app got them."""

    TYPE: ClassVar[RecordType] = RecordType.COLLECT

    answers: Listing
    """Of `TakenReply` and `GridError`."""
    unanswered: Listing
    """Of message ids that the app asked for and did not get this time. They stay open."""
    messages_left_out: Listing = left_out(EMPTY)
    """Of message ids that are answered here with an error because the run's rule did not wait for their replies."""
    late_replies: Listing = left_out(EMPTY)
    """Of reply records, as the bytes of their blocks: to messages left out before (`protocol.chain.left_out`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectPrivate:
    """The distinct reasons of the errors of a collect."""

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster(Chained):
    """A newer manifest is in force after this record."""

    TYPE: ClassVar[RecordType] = RecordType.ROSTER

    manifest: CID
    keys: CID | None
    """The `Keys` of the next epoch, for the readers in the new manifest; None as in `Run`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEnvironment(Chained):
    """The ServerApp goes on in another environment, having done there again what is recorded before this record.

    Its private part is that `Environment`. It is written only if the environment may change a result.
    """

    TYPE: ClassVar[RecordType] = RecordType.ENVIRONMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Index(Chained):
    """Links to the `INDEX_EVERY` records before it, so that a long chain is fetched side by side."""

    TYPE: ClassVar[RecordType] = RecordType.INDEX

    records: tuple[CID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Close(Chained):
    """The ServerApp returned or raised, or was stopped. Nothing follows this record."""

    TYPE: ClassVar[RecordType] = RecordType.CLOSE

    outcome: Outcome
    model: CID | None
    """The final model's content."""


class TakeoverCause(StrEnum):
    """Why another leader, or the same one anew, leads from here on. It takes the votes in any case."""

    SILENCE = "silence"
    """The leader was not heard any more."""
    HANDOVER = "handover"
    """On purpose: an admin or the leader itself wanted it."""
    DISPUTE = "dispute"
    """Most servers came to one and the same content, and it is not what the leader recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover(Chained):
    """The first record of a term after the first. Its author leads in that term."""

    TYPE: ClassVar[RecordType] = RecordType.TAKEOVER

    cause: TakeoverCause
    votes: Listing
    """Of links to a `Vote` each, in rising order of voter."""
    against: CID | None = left_out(None)
    """If the cause is a dispute, the dispatch of the leader before that is contradicted: it followed ``prev``."""
    words: Listing = left_out(EMPTY)
    """Of links to the `RecomputedAck` of each server that contradicts it, in rising order of server."""
    warrant: CID | None = left_out(None)
    """If an admin wanted it, the `Warrant`."""


# -- beside the chain ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateKey:
    """An epoch's update key pair. Clients seal to its public half; servers and auditors hold the private half."""

    public: EncryptionKeyText
    wraps: Listing
    """Of `Wrap`, of the private half (32 bytes), in rising order of member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys(Body):
    """The keys of one epoch of a run, linked by the `Run` or the `Roster` that begins it."""

    TYPE: ClassVar[RecordType] = RecordType.KEYS

    number: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    """The epoch's number, from 1."""
    model: WrappedKey
    """Encrypts what the server sends; every member has it."""
    update: UpdateKey
    """Encrypts what clients send; servers and auditors can decrypt it."""
    model_before: bytes
    """The model key of the epoch before, encrypted under this epoch's; empty in epoch 1."""
    update_before: bytes
    """The private update key of the epoch before, encrypted under a key derived from this epoch's; empty in epoch 1."""
    chunk_nonce: ChunkNonce = left_out(ChunkNonce.HMAC)
    """How the nonces are made of the chunks of contents that are encrypted in this epoch. All runs of before there was
    a choice have HMAC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant(Body):
    """The keys of one epoch for one more reader, given later. It is in no chain; an export has it as a root."""

    TYPE: ClassVar[RecordType] = RecordType.GRANT

    run: CID
    number: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    """The epoch's number."""
    manifest: CID
    """The version that lists the reader."""
    to: Key
    """The reader's member id."""
    model: bytes
    """The model key, sealed for the reader."""
    update: bytes
    """The private update key, sealed for the reader; empty if the reader may not read updates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack(Body):
    """A member has verified the chain up to a head, so nobody can show it another history later."""

    TYPE: ClassVar[RecordType] = RecordType.ACK

    run: CID
    term: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    height: Natural
    head: CID
    replies: Listing
    """Of links: the member's own replies since its last ack."""


class Comparison(StrEnum):
    """What a member that has replayed a run signs of it. One that cannot tell signs neither."""

    EQUAL = "equal"
    """Its app did what is recorded, bit for bit."""
    DIVERGED = "diverged"
    """It did something else, each time, and no other machine can cause that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """What its author's own ServerApp made of the recorded replies."""

    since: Natural
    """The height of the first record that this is about; it ends with the ack's head."""
    comparison: Comparison
    """Whether everything there is equal, or the head differs."""
    message: Natural | None
    """Which message of the dispatch differs, from 0; None if none does, or something else."""
    content: CID | None
    """What the author's app made in its place, or in that of the final model; None if no content differs."""

    def __post_init__(self) -> None:
        """Raises ValueError if it says where something differs that is equal."""
        if self.comparison is Comparison.EQUAL and (self.message is not None or self.content is not None):
            raise ValueError("what is equal has nothing that differs")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecomputedAck(Ack):
    """An `Ack` by a member that has also replayed the run. One that has not is written without the field, as all were
    before there was one."""

    recomputed: Recomputed

    def __post_init__(self) -> None:
        """Raises ValueError if what it is about begins after its head."""
        if self.recomputed.since > self.height:
            raise ValueError("what was recomputed begins after the head")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote(Body):
    """A member wants another leader, and in this term no second one. It is signed with the member's key in the manifest
    in force."""

    TYPE: ClassVar[RecordType] = RecordType.VOTE

    run: CID
    term: Annotated[int, Meta(ge=2, le=2**63 - 1)]
    """The term that the candidate is to lead."""
    candidate: Key
    """The member id of a server."""
    head: CID
    """The record after which it is to go on: the ``prev`` of its `Takeover`."""
    height: Natural
    """That record's."""
    manifest: CID
    """The one in force after ``head``. It says who votes."""
    against: CID | None = left_out(None)
    """The record that the voter leaves behind, with all after it, because most servers contradict it
    (`Takeover.against`). Such a vote promises nothing about how far its author had verified the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warrant(Body):
    """An admin wants another server to lead a run: whoever votes need not wait until its leader is silent. ``by`` is
    the admin's key in the manifest in force, which signs it."""

    TYPE: ClassVar[RecordType] = RecordType.WARRANT

    run: CID
    term: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    """The term that it ends: while the run is led in any other, it means nothing."""
    candidate: Key
    """The member id of the server that is to lead."""
    expires: float
    """Seconds since 1970."""


# -- beside the manifest -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure(Body):
    """How far a member is with destroying what the manifest orders to be destroyed. The newest counts. It is signed
    with the newest signing key of ``key``."""

    TYPE: ClassVar[RecordType] = RecordType.ERASURE

    manifest: CID
    """The newest version of the manifest that the member knew: it means all shreddings up to there."""
    version: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    """That version's number."""
    destroyed: bool
    """Whether the member says that it has destroyed the keys. If not, it has made the new keys of ``key``, and waits
    until the manifest lists them."""
    key: Annotated[str, Meta(max_length=8_192)]
    """Its KEY for this federation (`crypto.identity`): the keys that it has from then on."""


BODIES: Final[dict[str, type[Body]]] = {
    kind.TYPE: kind
    for kind in (
        Federation,
        Run,
        Dispatch,
        Reply,
        Collect,
        Roster,
        NewEnvironment,
        Index,
        Close,
        Keys,
        Grant,
        Ack,
        Erasure,
        Takeover,
        Vote,
        Warrant,
    )
}
