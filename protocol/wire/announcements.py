"""Announcements: the small signed messages on pubsub.

An announcement says "there is a newer thing at this CID". It is only a hint: getting it twice, late or not at all is
harmless. On the wire it is msgpack ``[payload, key, signature]``. ``payload`` is the msgpack map `_Payload`, and the
signature is over DSSE's pre-authentication encoding. There is one way to write each announcement; other bytes are
malformed. A federation that encrypts seals the whole announcement (`protocol.wire.announcement_seals`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from crypto.dsse import sign as dsse_sign
from crypto.keys import SigningKey
from protocol.blocks.cid import CID, Block, MalformedCid, cbor_data_block
from protocol.blocks.packing import NotPacked, packed, unpacked
from protocol.records.bodies import MAX_ADDRESS as MAX_ADDRESS  # exported here too, beside what it bounds
from protocol.records.bodies import MAX_ADDRESSES as MAX_ADDRESSES
from protocol.records.bodies import Key, MessageId, Natural, SignatureBytes

ANNOUNCEMENT_TYPE: Final = "application/vnd.pollen.announcement+msgpack"
"""The DSSE payload type of every announcement."""

MAX_ANNOUNCEMENT: Final = 512 << 10
"""Bytes; Kubo's pubsub carries 1 MiB."""

INLINE_BUDGET: Final = 128 << 10
"""The most bytes of inline blocks that `sign_announcement` sends: pubsub carries them to all, wanted or not."""

PROOF_BUDGET: Final = 448 << 10
"""As `INLINE_BUDGET`, for a `Proof`: proofs are rare, and nobody fetches what they name."""

MAX_BLOCKS: Final = 64
MAX_NOTE: Final = 500
"""Characters of a note."""
MAX_ASKED: Final = 32
"""Messages that one `Recall` asks about."""
KNOWN: Final = 256
"""How many announcements are remembered as they were parsed, because the same bytes come to a process again: pubsub
repeats, and several peers may be in one process."""
MAX_KNOWN: Final = 8 << 10
"""Bytes of the largest that are remembered: all together have 2 MB, and some ten times as much parsed, at worst."""
_FIRST_SECOND: Final = 1_577_836_800
"""2020-01-01, in seconds since 1970: counters stay below 2^63 until 2088."""

_MAX_BODY: Final = 4 << 10
"""Bytes of a body. They are few because msgspec decodes it less strictly than the rest: CIDs are a type of our own."""


class Drop(StrEnum):
    """Why an announcement was dropped."""

    TOO_LARGE = "too-large"
    MALFORMED = "malformed"
    WRONG_FEDERATION = "wrong-federation"
    STRANGER = "stranger"
    BAD_SIGNATURE = "bad-signature"
    UNSEALED = "unsealed"
    """Not sealed, in a federation that encrypts."""
    UNREADABLE = "unreadable"
    """Sealed under a key that we lack (it may be for somebody else), or changed on the way."""
    REPLAYED = "replayed"
    RATE_LIMITED = "rate-limited"


class AnnouncementError(Exception):
    """Bytes that are no announcement, or one that is dropped for ``reason``."""

    def __init__(self, reason: Drop, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class PeerState(StrEnum):
    """What the author is doing."""

    LEADING = "leading"
    """A server leads the run of its position, or gathers clients to begin a run."""
    IDLE = "idle"
    """Ready, nothing to do."""
    WORKING = "working"
    """Its app is working on a message."""
    REFUSED = "refused"
    """It will not take part in the run of its position; the note says why."""


@dataclass(frozen=True, slots=True)
class Position:
    """The newest head of a run that the author has: the leader's own, or the head that a client has verified.

    For the leader, a client's position acknowledges all records up to that head.
    """

    run: CID
    head: CID
    height: Natural
    term: Natural
    """The head record's own."""


@dataclass(frozen=True, slots=True)
class ManifestRef:
    """The newest manifest the author has."""

    cid: CID
    version: Natural


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """What `Hello` and `Beat` say."""

    manifest: ManifestRef
    state: PeerState
    position: Position | None = None
    note: Annotated[str, Meta(max_length=MAX_NOTE)] = ""
    """For people, and readable by members only: why the author refused, or how far it is."""


@dataclass(frozen=True, slots=True)
class Hello(PeerStatus):
    """The author has come, or come back: whoever has news for it should say so now."""


@dataclass(frozen=True, slots=True)
class Beat(PeerStatus):
    """The author is here. It says so every `beat_interval` seconds."""


@dataclass(frozen=True, slots=True)
class Head:
    """The leader has a newer head. Its record and some before it may be inline."""

    position: Position


@dataclass(frozen=True, slots=True)
class ReplyReady:
    """A client has answered a message. ``record``, the block of its `protocol.records.bodies.Reply`, may be inline."""

    run: CID
    message: MessageId
    record: CID


@dataclass(frozen=True, slots=True)
class AckReady:
    """A member has confirmed a head. ``record``, the block of its `protocol.records.bodies.Ack`, is inline."""

    run: CID
    record: CID


@dataclass(frozen=True, slots=True)
class Proof:
    """One signer has signed these two records at one place; both are inline (`protocol.records.equivocation`)."""

    first: CID
    """The record with the lower id."""
    second: CID


Session = Annotated[bytes, Meta(min_length=16, max_length=16)]
"""Random bytes that name one process."""


@dataclass(frozen=True, slots=True)
class Recall:
    """The author has started, and may have forgotten what it signed: whoever has some of it should say so now
    (`protocol.roles.client.forgotten_replies`).

    So a restored home learns its newest records, and two processes of one member hear of each other.
    """

    session: Session
    """The author's process. Answers name it, so that no older answer passes for a new one."""
    run: CID | None
    """The run that it asks about; None if it only asks whether another process has its key."""
    messages: Annotated[tuple[MessageId, ...], Meta(max_length=MAX_ASKED)] = ()
    """The messages that a client may have answered."""


@dataclass(frozen=True, slots=True)
class Known:
    """A message in a `Recall`, and the reply of its author; None if there is no reply."""

    message: MessageId
    record: CID | None


@dataclass(frozen=True, slots=True)
class Recalled:
    """The answer to the `Recall` that member ``to`` sent with ``session``."""

    to: Key
    session: Session
    position: Position | None
    """The newest head of the run that the author knows."""
    answers: Annotated[tuple[Known, ...], Meta(max_length=MAX_ASKED)] = ()
    """From a leader, for each message of the `Recall`. The replies are inline, as far as they fit."""
    ack: CID | None = None
    """From a leader: the newest ack of ``to``, inline."""


@dataclass(frozen=True, slots=True)
class Alive:
    """The answer to another process with the author's own key, which sent a `Recall`: this process has the key too."""

    to: Session
    """The process that sent the `Recall`."""
    session: Session
    since: Natural
    """The counter of this process's first announcement. The process with the lower one is older."""
    settled: bool
    """Whether this process has listened for others, as it must before it signs."""


@dataclass(frozen=True, slots=True)
class ProposalReady:
    """From an admin's desk (`protocol.desk.desk`): a change of the manifest waits for signatures, or the author does
    not sign it. Without a ``proposal``: the desk is here, and ``manifest`` is the newest that it has."""

    manifest: ManifestRef
    proposal: CID | None
    """The proposal's id."""
    record: CID | None
    """Its block, with the signatures that the author knows. It may be inline, with what it takes to verify it. None if
    the author rejects the proposal, or names none."""


class Refusal(StrEnum):
    """Why a member does not vote for a candidate (`protocol.votes.voter`)."""

    NO_VOTE = "no-vote"
    """The member has none in this run, as its manifest has it."""
    NO_CANDIDATE = "no-candidate"
    """The author of the question is no server in force with a vote, or has signed two records at one place."""
    LEADER_HEARD = "leader-heard"
    """The member still hears the run's leader, or is it."""
    CLOSED = "closed"
    """The run is."""
    OLD_TERM = "old-term"
    """It is not above the highest that the member has promised or seen."""
    LEAP = "leap"
    """It is too far above that."""
    BEHIND = "behind"
    """The candidate's head is behind the member's newest."""
    AHEAD = "ahead"
    """The member has not verified the candidate's head yet."""
    FORKED = "forked"
    """The candidate's head is another than the member's, and neither is behind."""
    OTHER_MANIFEST = "other-manifest"
    """Another manifest is in force after that head."""
    FORGOTTEN = "forgotten"
    """The member's home may have forgotten a vote, and the term may be one that it has promised."""
    COPIED = "copied"
    """Another process may have the member's key."""
    DISPUTED = "disputed"
    """The candidate stands against a record that the member has not laid down, or not against the one that it has."""


class Candidature(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `Canvass` and `VoteAsked` say: with what the author would lead a run, or means to."""

    position: Position
    """The newest head of the run that the author has verified."""
    manifest: CID
    """The one in force after that head."""
    term: Natural
    """The term in which it would lead."""
    against: CID | None = None
    """The dispatch after ``position`` that most servers contradict, if that is why (`Vote.against`). If there is none
    the field is left out."""


class Canvass(Candidature, frozen=True, omit_defaults=True):
    """Who would vote for the author? It binds nobody. A member that may have forgotten its own votes asks as well, to
    hear of which terms the others know."""


@dataclass(frozen=True, slots=True)
class Canvassed:
    """The answer to a `Canvass`, or to a `VoteAsked` if there is no vote; also what a leader of a lower term is told by
    a member that has promised a higher one."""

    to: Key
    run: CID
    term: Natural
    """The one asked for."""
    highest: Natural
    """The highest term in the run that the author has promised or seen."""
    refusal: Refusal | None
    """None if it would vote so."""
    position: Position | None
    """The newest head of the run that it has verified; None if there is none."""


class VoteAsked(Candidature, frozen=True, omit_defaults=True):
    """The author asks for votes, and has voted for itself."""


@dataclass(frozen=True, slots=True)
class VoteReady:
    """The author has voted. ``record``, the block of its `protocol.records.bodies.Vote`, is inline."""

    run: CID
    candidate: Key
    term: Natural
    record: CID


@dataclass(frozen=True, slots=True)
class HandsOver:
    """The leader of a run wants another server to lead it: it writes nothing after ``position``, nobody need hear it
    any more to vote for another, and ``to`` is to stand at once. It means nothing in any other term than that of
    ``position``, nor by anybody else."""

    position: Position
    to: Key


@dataclass(frozen=True, slots=True)
class WarrantReady:
    """An admin wants another server to lead a run. ``record``, the block of its `protocol.records.bodies.Warrant`, is
    inline. Any member may say it: the candidate does, so that all voters have it."""

    run: CID
    record: CID


@dataclass(frozen=True, slots=True)
class Bye:
    """The author is leaving; ``note`` says why, for people."""

    note: Annotated[str, Meta(max_length=MAX_NOTE)] = ""


Said = (
    Hello
    | Beat
    | Head
    | ReplyReady
    | AckReady
    | Proof
    | Recall
    | Recalled
    | Alive
    | ProposalReady
    | Canvass
    | Canvassed
    | VoteAsked
    | VoteReady
    | HandsOver
    | WarrantReady
    | Bye
)
"""The body of an announcement."""

KINDS: Final[dict[str, type[Said]]] = {
    "hello": Hello,
    "beat": Beat,
    "head": Head,
    "reply": ReplyReady,
    "ack": AckReady,
    "proof": Proof,
    "recall": Recall,
    "recalled": Recalled,
    "alive": Alive,
    "proposal": ProposalReady,
    "canvass": Canvass,
    "canvassed": Canvassed,
    "vote-asked": VoteAsked,
    "vote": VoteReady,
    "hands-over": HandsOver,
    "warrant": WarrantReady,
    "bye": Bye,
}
"""The kinds that this version writes."""
_KIND_OF: Final = {body: kind for kind, body in KINDS.items()}


@dataclass(frozen=True, slots=True)
class Announcement:
    """One announcement, as its author means it."""

    federation: CID
    by: bytes
    """The author's member id."""
    counter: int
    """Higher with each announcement of the author, across restarts (see `first_counter`)."""
    body: Said
    addresses: tuple[str, ...] = ()
    """Where others reach the author's engine."""
    blocks: tuple[Block, ...] = ()
    """Record blocks, most useful first, to save a fetch. They hash to their CIDs; nothing else is checked."""

    @property
    def kind(self) -> str:
        """The kind of the body."""
        return _KIND_OF[type(self.body)]


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """The bytes on the wire, parsed only so far that the sender's key is known."""

    payload: bytes
    key: Key
    signature: SignatureBytes


@dataclass(frozen=True, slots=True)
class SignedAnnouncement:
    """A parsed announcement whose signature is not checked yet: `protocol.wire.inbox.Inbox` does that."""

    announcement: Announcement
    envelope: Envelope


def topic_all(federation: CID) -> str:
    """The topic that every member listens to: heads, the leader's hello, beat and bye, and what candidates ask."""
    return f"/pollen/1/{federation}"


def topic_leader(federation: CID) -> str:
    """The topic that servers listen to, and nobody else: replies, votes, and the other members' hello, beat and bye."""
    return f"/pollen/1/{federation}/leader"


def beat_interval(members: int) -> float:
    """Seconds between two beats of one member: 2, or more in a large federation, so that all send 20 a second."""
    return max(2.0, members / 20)


def next_start(last: int, now: float) -> int:
    """The number of a process, higher than that of any process before it: higher than ``last``, the newest in its home.
    If the home is a restored older copy, the clock makes it higher (``now``, in seconds since 1970)."""
    return max(last + 1, int(now) - _FIRST_SECOND)


def first_counter(start: int) -> int:
    """The counter of the first announcement of a process with the number ``start`` (`next_start`). Each later one adds
    1. A late announcement of an earlier process is then far below the inbox's window, and is dropped."""
    return start << 32


def counter_above(counter: int) -> int:
    """A counter to be heard with, although another process of the same member has counted up to ``counter``."""
    return first_counter((counter >> 32) + 1)


def sign_announcement(announcement: Announcement, key: SigningKey) -> bytes:
    """The announcement on the wire, cut to the limits: too many blocks or addresses and the end of a long note are left
    out."""
    payload = packed(_Payload.of(announcement))
    return packed(Envelope(payload, key.verify_key.raw, dsse_sign(key, ANNOUNCEMENT_TYPE, payload)))


def fit_blocks(blocks: Sequence[Block], budget: int) -> tuple[Block, ...]:
    """Those of ``blocks`` that fit into ``budget`` bytes and `MAX_BLOCKS`, in order. A block too large is left out."""
    fitting: list[Block] = []
    for block in blocks:
        if len(block.data) <= budget and len(fitting) < MAX_BLOCKS:
            fitting.append(block)
            budget -= len(block.data)
    return tuple(fitting)


def parse_announcement(data: bytes) -> SignedAnnouncement:
    """The announcement in ``data``.

    Raises:
        AnnouncementError: if there is none, or it is over a limit. Nothing else is raised, whatever the bytes.
    """
    envelope = parse_envelope(data)
    return SignedAnnouncement(parse_payload(envelope.payload), envelope)


def parse_envelope(data: bytes) -> Envelope:
    """The envelope in ``data``. Cheap, and enough to know whose the rest would be. Raises as `parse_announcement`."""
    if len(data) > MAX_ANNOUNCEMENT:
        raise AnnouncementError(Drop.TOO_LARGE, f"{len(data)} bytes are more than {MAX_ANNOUNCEMENT}")
    return _known_envelope(data) if len(data) <= MAX_KNOWN else _envelope(data)


def parse_payload(payload: bytes) -> Announcement:
    """What an envelope's payload says. Raises as `parse_announcement`."""
    return _known_announcement(payload) if len(payload) <= MAX_KNOWN else _announcement(payload)


def _envelope(data: bytes) -> Envelope:
    try:
        return unpacked(data, Envelope)
    except NotPacked as error:
        raise AnnouncementError(Drop.MALFORMED, f"not an announcement: {error}") from error


def _announcement(payload: bytes) -> Announcement:
    try:
        return unpacked(payload, _Payload).announcement()
    except (NotPacked, ValueError, MalformedCid) as error:
        raise AnnouncementError(Drop.MALFORMED, f"not an announcement: {error}") from error


_known_envelope = lru_cache(maxsize=KNOWN)(_envelope)
_known_announcement = lru_cache(maxsize=KNOWN)(_announcement)
"""The newest that were parsed, by all their bytes, so that those that come twice are parsed once. An error is not
remembered."""


# -- the wire ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Payload:
    """The signed map, its fields in this order.

    Every field except ``body`` has a type of msgpack's own, so a few hostile bytes cannot decode to a large list of
    lists.
    """

    federation: Annotated[bytes, Meta(min_length=36, max_length=36)]
    by: Key
    kind: str
    counter: Natural
    addresses: Annotated[tuple[Annotated[str, Meta(max_length=MAX_ADDRESS)], ...], Meta(max_length=MAX_ADDRESSES)]
    body: msgspec.Raw
    blocks: Annotated[tuple[bytes, ...], Meta(max_length=MAX_BLOCKS)]

    @classmethod
    def of(cls, announcement: Announcement) -> _Payload:
        """What to sign for ``announcement``, cut to the limits."""
        body = announcement.body
        if isinstance(body, Hello | Beat | Bye):
            body = replace(body, note=body.note[:MAX_NOTE])
        usable = [address for address in announcement.addresses if len(address) <= MAX_ADDRESS]
        return cls(
            bytes(announcement.federation),
            announcement.by,
            announcement.kind,
            announcement.counter,
            tuple(usable[:MAX_ADDRESSES]),
            msgspec.Raw(packed(body)),
            tuple(block.data for block in fit_blocks(announcement.blocks, _budget(body)))[: _most_blocks(body)],
        )

    def announcement(self) -> Announcement:
        """The announcement in it.

        Raises:
            NotPacked, ValueError, MalformedCid: if there is none.
        """
        if len(self.body) > _MAX_BODY:
            raise ValueError(f"a body of {len(self.body)} bytes")
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind[:20]!r} is no kind of announcement")
        body = unpacked(self.body, KINDS[self.kind])
        if len(self.blocks) > _most_blocks(body) or sum(map(len, self.blocks)) > _budget(body):
            raise ValueError(f"a {self.kind} with {len(self.blocks)} blocks, too many or too large")
        blocks = tuple(cbor_data_block(data) for data in self.blocks)
        return Announcement(CID(self.federation), self.by, self.counter, body, self.addresses, blocks)


def _budget(body: Said) -> int:
    """Bytes of all blocks that may come with ``body``."""
    return PROOF_BUDGET if isinstance(body, Proof) else INLINE_BUDGET


def _most_blocks(body: Said) -> int:
    """How many blocks may come with ``body``."""
    match body:
        case Hello() | Beat() | Recall() | Alive() | Canvass() | Canvassed() | VoteAsked() | HandsOver() | Bye():
            return 0
        case VoteReady() | WarrantReady():
            return 1
        case Proof():
            return 2
        case Recalled():
            return MAX_ASKED + 1
        case Head() | ReplyReady() | AckReady() | ProposalReady():
            return MAX_BLOCKS
