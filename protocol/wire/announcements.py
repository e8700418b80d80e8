"""Announcements: the small signed messages on pubsub.

One says "there is a newer thing at this CID" and is never the truth: getting it twice, late or not at all is
harmless. On the wire it is msgpack ``[payload, key, signature]``, where ``payload`` is the msgpack map `_Payload` and
the signature is over DSSE's pre-authentication encoding. There is one way to write each announcement; other bytes are
malformed. A federation that encrypts seals the whole of it (`protocol.wire.seals`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from crypto.dsse import sign as dsse_sign
from crypto.keys import SigningKey
from protocol.blocks.cid import CID, Block, MalformedCid, cbor_data_block
from protocol.records.bodies import Key, MessageId, Natural

ANNOUNCEMENT_TYPE: Final = "application/vnd.pollen.announcement+msgpack"
"""The DSSE payload type of every announcement."""

MAX_ANNOUNCEMENT: Final = 512 << 10
"""Bytes; Kubo's pubsub carries 1 MiB."""

INLINE_BUDGET: Final = 128 << 10
"""The most bytes of inline blocks that `sign_announcement` sends: pubsub carries them to all, wanted or not."""

PROOF_BUDGET: Final = 448 << 10
"""As `INLINE_BUDGET`, for a `Proof`: it is rare, and who hears of it fetches nothing."""

MAX_BLOCKS: Final = 64
MAX_ADDRESSES: Final = 16
MAX_ADDRESS: Final = 256
"""Characters of one address."""
MAX_NOTE: Final = 500
"""Characters of a note."""
MAX_ASKED: Final = 32
"""Messages that one `Recall` asks about."""
_FIRST_SECOND: Final = 1_577_836_800
"""2020-01-01, in seconds since 1970: counters stay below 2^63 until 2088."""

_MAX_BODY: Final = 4 << 10
"""Bytes of a body, which msgspec decodes less strictly than the rest: CIDs are a type of our own."""


class Drop(StrEnum):
    """Why an announcement was dropped."""

    TOO_LARGE = "too-large"
    MALFORMED = "malformed"
    WRONG_FEDERATION = "wrong-federation"
    STRANGER = "stranger"
    BAD_SIGNATURE = "bad-signature"
    UNSEALED = "unsealed"
    """In the clear, in a federation that encrypts."""
    UNREADABLE = "unreadable"
    """Sealed under a key that is not ours (it may be for somebody else), or changed on the way."""
    REPLAYED = "replayed"
    RATE_LIMITED = "rate-limited"


class AnnouncementError(Exception):
    """Bytes that are no announcement. ``reason`` says why in a word."""

    def __init__(self, reason: Drop, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Kind(StrEnum):
    """The kinds this version writes."""

    HELLO = "hello"
    BEAT = "beat"
    HEAD = "head"
    REPLY = "reply"
    ACK = "ack"
    PROOF = "proof"
    RECALL = "recall"
    RECALLED = "recalled"
    ALIVE = "alive"
    BYE = "bye"


class PeerState(StrEnum):
    """What the author is doing."""

    LEADING = "leading"
    """A server: it leads the run of its position, or gathers clients to begin one."""
    IDLE = "idle"
    """Ready, nothing to do."""
    WORKING = "working"
    """Its app has a message in hand."""
    REFUSED = "refused"
    """It will not take part in the run of its position; the note says why."""


@dataclass(frozen=True, slots=True)
class Position:
    """The newest head of a run that the author has: the leader's own, or what a client has verified.

    To the leader, a client's position is its acknowledgement of all records up to it.
    """

    run: CID
    head: CID
    height: Natural
    term: Natural


@dataclass(frozen=True, slots=True)
class ManifestRef:
    """The newest manifest the author has."""

    cid: CID
    version: Natural


@dataclass(frozen=True, slots=True)
class Presence:
    """What `Hello` and `Beat` say."""

    manifest: ManifestRef
    state: PeerState
    position: Position | None = None
    note: Annotated[str, Meta(max_length=MAX_NOTE)] = ""
    """For people, and private to members: why it refused, or how far it is."""


@dataclass(frozen=True, slots=True)
class Hello(Presence):
    """I have come, or come back: whoever has news for me, say it now."""


@dataclass(frozen=True, slots=True)
class Beat(Presence):
    """I am here, every `beat_interval`."""


@dataclass(frozen=True, slots=True)
class Head:
    """The leader has a newer head. Its record, and perhaps some before it, may be inline."""

    position: Position


@dataclass(frozen=True, slots=True)
class ReplyReady:
    """A client has answered a message: ``record`` is the block of its `protocol.records.bodies.Reply`, perhaps
    inline."""

    run: CID
    message: MessageId
    record: CID


@dataclass(frozen=True, slots=True)
class AckReady:
    """A member has confirmed a head: ``record`` is the block of its `protocol.records.bodies.Ack`, inline."""

    run: CID
    record: CID


@dataclass(frozen=True, slots=True)
class Proof:
    """One signer has signed two records at one place: these, both inline (`protocol.records.equivocation`)."""

    first: CID
    """The one whose id is the lower."""
    second: CID


Session = Annotated[bytes, Meta(min_length=16, max_length=16)]
"""Random, and another one for each process."""


@dataclass(frozen=True, slots=True)
class Recall:
    """I have started, and may have forgotten what I signed: who has some of it, say so now
    (`protocol.roles.client.forgotten_replies`).

    So a restored home learns its newest, and one process of a member's hears of another.
    """

    session: Session
    """The author's process: an answer names it, so that no older answer passes for one."""
    run: CID | None
    """The run that is asked about; None: nothing is, but whether another process has the author's key."""
    messages: Annotated[tuple[MessageId, ...], Meta(max_length=MAX_ASKED)] = ()
    """A client's: those that it may have answered."""


@dataclass(frozen=True, slots=True)
class Known:
    """A message that was asked about, and the asker's reply to it; None: there is none."""

    message: MessageId
    record: CID | None


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the author has of ``to``'s, who asked with ``session``."""

    to: Key
    session: Session
    position: Position | None
    """The newest that the author has heard of the run: a leader's own head, or what a client follows it to."""
    answers: Annotated[tuple[Known, ...], Meta(max_length=MAX_ASKED)] = ()
    """A leader's, one for each message that was asked about; the replies are inline, as far as they fit."""
    ack: CID | None = None
    """A leader's: the newest ack that it has of the asker; inline."""


@dataclass(frozen=True, slots=True)
class Alive:
    """The answer to a `Recall` of the author's own key that another process sent: this one has it, too."""

    to: Session
    """Who asked."""
    session: Session
    since: Natural
    """The counter of its first announcement: the process with the lower one is the older."""
    settled: bool
    """Whether it has listened for others before it signs."""


@dataclass(frozen=True, slots=True)
class Bye:
    """The author is leaving; ``note`` says why, for people."""

    note: Annotated[str, Meta(max_length=MAX_NOTE)] = ""


Said = Hello | Beat | Head | ReplyReady | AckReady | Proof | Recall | Recalled | Alive | Bye
"""The body of an announcement."""

_KINDS: Final[dict[Kind, type[Said]]] = {
    Kind.HELLO: Hello,
    Kind.BEAT: Beat,
    Kind.HEAD: Head,
    Kind.REPLY: ReplyReady,
    Kind.ACK: AckReady,
    Kind.PROOF: Proof,
    Kind.RECALL: Recall,
    Kind.RECALLED: Recalled,
    Kind.ALIVE: Alive,
    Kind.BYE: Bye,
}
_KIND_OF: Final = {body: kind for kind, body in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class Announcement:
    """One announcement, as its author means it."""

    federation: CID
    by: bytes
    """The author's member id."""
    counter: int
    """One more with each announcement of the author's, restarts included (see `first_counter`)."""
    body: Said
    addresses: tuple[str, ...] = ()
    """Where the author's engine is reached."""
    blocks: tuple[Block, ...] = ()
    """Record blocks, most useful first, to save a fetch. They hash to their CIDs; no more is checked of them."""

    @property
    def kind(self) -> Kind:
        """The kind of the body."""
        return _KIND_OF[type(self.body)]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is on the wire, read no further than to see who may have sent it."""

    payload: bytes
    key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedAnnouncement:
    """A parsed announcement whose signature is not yet checked: `protocol.wire.inbox.Inbox` does that."""

    announcement: Announcement
    envelope: Envelope


def topic_all(federation: CID) -> str:
    """The topic that every member listens to: heads, the leader's hello, beat and bye."""
    return f"/pollen/1/{federation}"


def topic_leader(federation: CID) -> str:
    """The topic that the leader alone listens to: replies, and the other members' hello, beat and bye."""
    return f"/pollen/1/{federation}/leader"


def beat_interval(members: int) -> float:
    """Seconds between two beats of one member: 2, or more in a large federation, where all send 20 a second."""
    return max(2.0, members / 20)


def next_start(last: int, now: float) -> int:
    """The number of a process, higher than that of any before it: after ``last``, the newest that its home remembers,
    and, where the home is an older copy of itself, by the clock (``now``, in seconds since 1970)."""
    return max(last + 1, int(now) - _FIRST_SECOND)


def first_counter(start: int) -> int:
    """The counter of a process's first announcement (`next_start`); it counts on by ones, as the window of the inbox
    needs: what a process before it said, and comes late, is passed over by whoever has heard this one."""
    return start << 32


def counter_above(counter: int) -> int:
    """A counter for whoever has to be heard though another process of the same member's has counted as far."""
    return first_counter((counter >> 32) + 1)


def sign_announcement(announcement: Announcement, key: SigningKey) -> bytes:
    """The announcement on the wire.

    It is a hint: blocks past `INLINE_BUDGET` or `MAX_BLOCKS`, addresses past their limits and the end of a long note
    are left out.
    """
    payload = _encode(_Payload.of(announcement))
    signature = dsse_sign(key, ANNOUNCEMENT_TYPE, payload)
    return msgspec.msgpack.encode((payload, key.verify_key.raw, signature))


def fit_blocks(blocks: Sequence[Block], budget: int) -> tuple[Block, ...]:
    """Those of ``blocks`` that fit into ``budget`` bytes and `MAX_BLOCKS`, in order; one too large is passed over."""
    fitting: list[Block] = []
    for block in blocks:
        if len(block.data) <= budget and len(fitting) < MAX_BLOCKS:
            fitting.append(block)
            budget -= len(block.data)
    return tuple(fitting)


def parse_announcement(data: bytes) -> SignedAnnouncement:
    """The announcement in ``data``.

    Raises:
        AnnouncementError: if there is none, or it is over a limit; nothing else, whatever the bytes.
    """
    envelope = parse_envelope(data)
    return SignedAnnouncement(parse_payload(envelope.payload), envelope)


def parse_envelope(data: bytes) -> Envelope:
    """The envelope in ``data``: it costs little, and says whose the rest would be. Raises as `parse_announcement`."""
    if len(data) > MAX_ANNOUNCEMENT:
        raise AnnouncementError(Drop.TOO_LARGE, f"{len(data)} bytes are more than {MAX_ANNOUNCEMENT}")
    try:
        signed = _ENVELOPE.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise AnnouncementError(Drop.MALFORMED, f"not an announcement: {error}") from error
    if msgspec.msgpack.encode(signed) != data:
        raise AnnouncementError(Drop.MALFORMED, "not the one way to write this announcement")
    return Envelope(*signed)


def parse_payload(payload: bytes) -> Announcement:
    """What an envelope's payload says. Raises as `parse_announcement`."""
    try:
        wire = _PAYLOAD.decode(payload)
        announcement = wire.announcement()
    except (msgspec.DecodeError, ValueError, MalformedCid, RecursionError) as error:
        raise AnnouncementError(Drop.MALFORMED, f"not an announcement: {error}") from error
    if _encode(wire) != payload:
        raise AnnouncementError(Drop.MALFORMED, "not the one way to write this announcement")
    return announcement


# -- the wire ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Payload:
    """The signed map, its fields in this order.

    Every field but ``body`` has a type of msgpack's own, so decoding makes nothing that is not asked for: a few hostile
    bytes cannot become a large list of lists.
    """

    federation: Annotated[bytes, Meta(min_length=36, max_length=36)]
    by: Key
    kind: Kind
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
            msgspec.Raw(_encode(body)),
            tuple(block.data for block in fit_blocks(announcement.blocks, _budget(body)))[: _most_blocks(body)],
        )

    def announcement(self) -> Announcement:
        """The announcement it says.

        Raises:
            ValueError, MalformedCid, msgspec.DecodeError: if it says none.
        """
        if len(self.body) > _MAX_BODY:
            raise ValueError(f"a body of {len(self.body)} bytes")
        body = msgspec.msgpack.decode(self.body, type=_KINDS[self.kind], dec_hook=_decode_cid)
        if _encode(body) != bytes(self.body):
            raise ValueError("not the one way to write its body")
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
        case Hello() | Beat() | Recall() | Alive() | Bye():
            return 0
        case Proof():
            return 2
        case Recalled():
            return MAX_ASKED + 1
        case Head() | ReplyReady() | AckReady():
            return MAX_BLOCKS


_ENVELOPE: Final = msgspec.msgpack.Decoder(
    tuple[bytes, Key, Annotated[bytes, Meta(min_length=64, max_length=64)]]  # payload, key, signature
)
_PAYLOAD: Final = msgspec.msgpack.Decoder(_Payload)


def _encode(value: object) -> bytes:
    return msgspec.msgpack.encode(value, enc_hook=_encode_cid)


def _encode_cid(value: object) -> bytes:
    if isinstance(value, CID):
        return bytes(value)
    raise TypeError(f"{type(value).__name__} does not go into an announcement")


def _decode_cid(kind: type, value: object) -> CID:
    if kind is CID and isinstance(value, bytes):
        return CID(value)
    raise ValueError(f"expected a CID, got {type(value).__name__}")
