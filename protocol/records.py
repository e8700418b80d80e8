"""Records: what each type says, and the signed block it is in (design section 6).

A record block is ``{"body": {...}, "sigs": [{"by": key, "sig": signature}]}``. Links (``prev`` and all others) name
record *blocks*, so that plain IPFS tools follow them; a record's *id* is the CID of its body alone, so that one more
signature makes no other record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final, TypeVar

from msgspec import Meta

from crypto.dsse import BadSignature, verify
from crypto.dsse import sign as dsse_sign
from crypto.keys import BadKey, SigningKey, VerifyKey
from protocol.app_calls import Environment, RunConfig
from protocol.blocks import (
    CID,
    MAX_BLOCK_SIZE,
    Block,
    BlockError,
    BlockSource,
    cbor_block,
    decode_cbor,
    encode_cbor,
)
from protocol.trees import Listing
from protocol.typed import ShapeError, from_plain, to_plain

RECORD_TYPE: Final = "application/vnd.pollen.record+dag-cbor"
"""The DSSE payload type of every record."""

VERSION: Final = 1

INDEX_EVERY: Final = 256
"""Every record whose height is a multiple of this (but 0) is an `Index`."""

Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""A member id or an Ed25519 public key, 32 bytes."""
MessageId = Annotated[bytes, Meta(min_length=32, max_length=32)]
Natural = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Node = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A Flower node id."""


P = TypeVar("P")


class RecordError(BlockError):
    """Bytes that are not a record."""


class RecordType(StrEnum):
    """The types this version writes."""

    FEDERATION = "federation"
    RUN = "run"
    DISPATCH = "dispatch"
    REPLY = "reply"
    COLLECT = "collect"
    ROSTER = "roster"
    INDEX = "index"
    CLOSE = "close"


class Role(StrEnum):
    """What a member may do: lead runs, train, or read everything."""

    SERVER = "server"
    CLIENT = "client"
    AUDITOR = "auditor"


class Outcome(StrEnum):
    """How a ServerApp ended."""

    RETURNED = "returned"
    RAISED = "raised"


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What every body has. ``private`` is plain dag-cbor where ``epoch`` is None."""

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
class Member:
    """An identity listed in the manifest. ``id`` is its first signing key and never changes."""

    id: Key
    signing: Key
    encryption: EncryptionKeyText
    roles: tuple[Role, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation(Body):
    """One version of a federation's manifest; the federation's id is the CID of version 1's block."""

    TYPE: ClassVar[RecordType] = RecordType.FEDERATION

    version: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    prev: CID | None
    admins: tuple[Key, ...]
    """Signing keys, in rising order."""
    threshold: Annotated[int, Meta(ge=1)]
    members: Listing
    """Of `Member`, in rising order of id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationPrivate:
    """What a manifest says to members only."""

    name: str
    names: tuple[tuple[Key, str], ...]
    """Member id and name, in rising order of id."""
    settings: tuple[tuple[str, int], ...]
    """See `protocol.manifest.Settings`."""


# -- the chain of a run --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """An answer of ``get_node_ids`` and how many times in a row it was given."""

    nodes: tuple[Node, ...]
    count: Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chained(Body):
    """A record in the chain of a run. ``run`` and ``prev`` are None in the `Run` record alone."""

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
    app: CID
    """The app bundle."""
    seed: CID
    """A block of its own, for servers and auditors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPrivate:
    """What a run record says to readers."""

    name: str
    version: str
    config: RunConfig
    replay_format: Natural
    environment: Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Consecutive messages that are alike but for their addressee. ``kind`` is an index into the private kinds."""

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
    """A Flower error code where there is no content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonPrivate:
    """Why a reply is an error, or an app raised; empty where it did not."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenReply:
    """A reply handed to the app."""

    reply: CID


@dataclass(frozen=True, slots=True, kw_only=True)
class GridError:
    """An error the Grid made for a message. ``why`` is an index into the private reasons."""

    message: MessageId
    code: Natural
    why: Natural
    created: float
    refused: CID | None
    """The reply that was refused, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collect(Chained):
    """The answers of one pull or one finished wait, in the order the app got them."""

    TYPE: ClassVar[RecordType] = RecordType.COLLECT

    answers: Listing
    """Of `TakenReply` and `GridError`."""
    unanswered: Listing
    """Of message ids: what the app asked for and did not get this time. They stay open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectPrivate:
    """The distinct reasons of the errors of a collect."""

    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster(Chained):
    """A newer manifest is in force after this record."""

    TYPE: ClassVar[RecordType] = RecordType.ROSTER

    manifest: CID


@dataclass(frozen=True, slots=True, kw_only=True)
class Index(Chained):
    """Links to the `INDEX_EVERY` records before it, so that a long chain is fetched side by side."""

    TYPE: ClassVar[RecordType] = RecordType.INDEX

    records: tuple[CID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Close(Chained):
    """The ServerApp returned or raised; nothing comes after."""

    TYPE: ClassVar[RecordType] = RecordType.CLOSE

    outcome: Outcome
    model: CID | None
    """The final model's content."""


BODIES: Final[dict[str, type[Body]]] = {
    kind.TYPE: kind for kind in (Federation, Run, Dispatch, Reply, Collect, Roster, Index, Close)
}


# -- signed blocks -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature over DSSE's pre-authentication encoding of the body."""

    by: Key
    sig: Annotated[bytes, Meta(min_length=64, max_length=64)]


@dataclass(frozen=True, slots=True)
class Record:
    """A parsed record block. Its signatures are not yet checked: `valid_signers` does that."""

    cid: CID
    """Of the whole block: what links name."""
    id: CID
    """Of the body alone: what is compared, voted on and countersigned."""
    body: Body
    signatures: tuple[Signature, ...]
    body_bytes: bytes

    def valid_signers(self) -> frozenset[bytes]:
        """The keys whose signature is right.

        Raises:
            crypto.dsse.BadSignature: where any signature is wrong, or a key is none.
        """
        for signature in self.signatures:
            try:
                key = _verify_key(signature.by)
            except BadKey as error:
                raise BadSignature(str(error)) from error
            verify(key, RECORD_TYPE, self.body_bytes, signature.sig)
        return frozenset(signature.by for signature in self.signatures)


@lru_cache(maxsize=4_096)
def _verify_key(raw: bytes) -> VerifyKey:
    """`VerifyKey.parse`, which costs as much as verifying a signature: a chain is by few keys."""
    return VerifyKey.parse(raw)


def parse_record(block: Block) -> Record:
    """The record in a checked block.

    Raises:
        RecordError: where it is not exactly one.
    """
    value = decode_cbor(block.data)
    match value:
        case {"body": dict(body), "sigs": list(sigs)} if len(value) == 2 and sigs:
            pass
        case _:
            raise RecordError("a record block is not {body, sigs}")
    try:
        signatures = tuple(from_plain(signature, Signature) for signature in sigs)
        parsed = _parse_body(body)
    except ShapeError as error:
        raise RecordError(str(error)) from error
    keys = [signature.by for signature in signatures]
    if keys != sorted(set(keys)):
        raise RecordError("signatures are not sorted by key, a key once")
    whole = cbor_block(body)
    return Record(block.cid, whole.cid, parsed, signatures, whole.data)


def _parse_body(body: dict[str, Any]) -> Body:
    fields = dict(body)
    version = fields.pop("v", None)
    if type(version) is not int or version != VERSION:  # 1.0 and True equal 1
        raise RecordError(f"version {version!r} is not {VERSION}")
    kind = fields.pop("type", None)
    if not isinstance(kind, str) or kind not in BODIES:
        raise RecordError(f"{kind!r} is no record type")
    return from_plain(fields, BODIES[kind])


def body_value(body: Body) -> dict[str, Any]:
    """The body as the plain map that is signed."""
    return {"v": VERSION, "type": body.TYPE.value, **to_plain(body)}


def sign_record(body: Body, keys: Sequence[SigningKey]) -> Block:
    """The record block of ``body``, signed with each key."""
    data = encode_cbor(body_value(body))
    return assemble(body, {key.verify_key.raw: dsse_sign(key, RECORD_TYPE, data) for key in keys})


def assemble(body: Body, signatures: dict[bytes, bytes]) -> Block:
    """The record block of ``body`` with signatures made elsewhere, by key.

    Raises:
        RecordError: where it is larger than a block may be; what can grow belongs in a `Listing`.
    """
    sigs = [{"by": key, "sig": signatures[key]} for key in sorted(signatures)]
    block = cbor_block({"body": body_value(body), "sigs": sigs})
    if len(block.data) > MAX_BLOCK_SIZE:
        raise RecordError(f"a {body.TYPE} record of {len(block.data)} bytes is over {MAX_BLOCK_SIZE}")
    return block


def private_bytes(value: object) -> bytes:
    """A private part as the plain dag-cbor that ``epoch: null`` means."""
    return encode_cbor(to_plain(value))


def read_private(body: Body, kind: type[P]) -> P | None:
    """The private part of ``body``, None where it is encrypted.

    Raises:
        RecordError: where it is not a ``kind``.
    """
    if body.epoch is not None:
        return None
    try:
        return from_plain(decode_cbor(body.private), kind)
    except ShapeError as error:
        raise RecordError(str(error)) from error


def typed_items(listing: Listing, kind: type[P], source: BlockSource) -> Iterator[P]:
    """The items of ``listing`` as ``kind``.

    Raises:
        RecordError: where one is not; `protocol.blocks.MissingBlock` where a block of the tree is not here.
    """
    for item in listing.items(source):
        try:
            yield from_plain(item, kind)
        except ShapeError as error:
            raise RecordError(str(error)) from error


def answers(collect: Collect, source: BlockSource) -> Iterator[TakenReply | GridError]:
    """The answers of a collect, in order; errors as `typed_items`."""
    for item in collect.answers.items(source):
        kind: type[TakenReply | GridError] = TakenReply if isinstance(item, dict) and "reply" in item else GridError
        try:
            yield from_plain(item, kind)
        except ShapeError as error:
            raise RecordError(str(error)) from error
