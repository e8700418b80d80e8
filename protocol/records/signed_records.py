"""Signed record blocks: made, parsed and read. `protocol.records.bodies` has the bodies in them.

A record block is ``{"body": {...}, "sigs": [{"by": key, "sig": signature}]}``. Links (``prev`` and all others) name
record *blocks*, so that plain IPFS tools follow them. A record's *id* is the CID of its body, so that one more
signature does not make another record.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from crypto.dsse import BadSignature, verify
from crypto.dsse import sign as dsse_sign
from crypto.keys import BadKey, SigningKey, VerifyKey
from crypto.remembered import Remembered
from protocol.blocks.cid import (
    CID,
    MAX_BLOCK_SIZE,
    Block,
    BlockError,
    BlockSource,
    cbor_block,
    checked_block,
    decode_cbor,
    encode_cbor,
    few_containers,
)
from protocol.blocks.listing import Listing
from protocol.blocks.typed import ShapeError, from_plain, to_plain
from protocol.keeping.plan import KEEP_EVERYTHING, PlanError
from protocol.records.bodies import (
    BODIES,
    MAX_ADMINS,
    VERSION,
    Body,
    Chained,
    Collect,
    GridError,
    Key,
    RecomputedAck,
    RecordType,
    Run,
    SignatureBytes,
    TakenReply,
)
from protocol.replies.closing_rule import ClosingError, parse_closing

RECORD_TYPE: Final = "application/vnd.pollen.record+dag-cbor"
"""The DSSE payload type of every record."""

MAX_MANIFEST_SIGNATURES: Final = 2 * MAX_ADMINS
"""The most that a version of a manifest has: its admins sign it, and those of the version before. Any other record has
one signature."""

MIN_CONTAINERS: Final = 256
BYTES_A_CONTAINER: Final = 7
"""A record has at most `MIN_CONTAINERS` lists and maps, and one more for each `BYTES_A_CONTAINER` bytes. The densest
record that an app can cause has looks at no nodes: two in 15 bytes. A denser one costs more to read than to send."""

MAX_PARSED: Final = 2 << 20
"""Bytes of blocks whose records are remembered. Parsed, each byte takes some ten in memory, 60 at worst."""
MAX_PARSED_BLOCK: Final = 32 << 10

WellSigned = Container[CID]
"""Records whose signatures were found right before. A CID names all bytes of a record, with its keys and signatures, so
they stay right for ever. Whether those keys count is judged each time."""

P = TypeVar("P")


class RecordError(BlockError):
    """Bytes that are not a record."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature over DSSE's pre-authentication encoding of the body."""

    by: Key
    sig: SignatureBytes


@dataclass(frozen=True, slots=True)
class Record:
    """A parsed record block. Its signatures are not yet checked: `check_signatures` does that."""

    cid: CID
    """The CID of the whole block: what links name."""
    id: CID
    """The CID of the body: what is compared, voted on and countersigned."""
    body: Body
    signatures: tuple[Signature, ...]
    """One; perhaps more for a `protocol.records.bodies.Federation`, which several admins sign."""
    body_bytes: bytes

    @property
    def signers(self) -> tuple[bytes, ...]:
        """The keys that the record says signed it. Nothing is verified here, so asking is free."""
        return tuple(signature.by for signature in self.signatures)

    def check_signatures(self, known: WellSigned = frozenset()) -> None:
        """Check every signature, unless the record is ``known``. Each costs a verification: check first that the
        `signers` are those that matter.

        Raises:
            crypto.dsse.BadSignature: if a signature is wrong, or is not by a valid key.
        """
        if self.cid in known:
            return
        for signature in self.signatures:
            try:
                key = VerifyKey.parse(signature.by)
            except BadKey as error:
                raise BadSignature(str(error)) from error
            verify(key, RECORD_TYPE, self.body_bytes, signature.sig)


_PARSED: Final = Remembered[Record](MAX_PARSED)
"""The newest parsed records. A peer meets each several times, on its way back from a head and forward again."""


def parse_record(block: Block) -> Record:
    """The record in a checked block.

    Raises:
        RecordError: if the block is not exactly one record.
    """
    if (known := _PARSED.get(block)) is not None:
        return known
    record = _parse(block)
    if len(block.data) <= MAX_PARSED_BLOCK:
        _PARSED.add(block, record, len(block.data))
    return record


def read_record(cid: CID, source: BlockSource) -> Record:
    """The record that is the block ``cid`` of ``source``.

    Raises:
        RecordError: if the block is not exactly one record.
        protocol.blocks.cid.BlockError: if ``source`` cannot give it.
    """
    return parse_record(Block(cid, source.get(cid)))


def checked_record(cid: CID, source: BlockSource) -> Record:
    """As `read_record`, of a source that is not trusted.

    Raises:
        protocol.blocks.cid.BlockError: also if the block does not hash to ``cid``, or is too large.
    """
    return parse_record(checked_block(cid, source.get(cid)))


def read_chained(cid: CID, source: BlockSource) -> Chained:
    """The body of a record in a chain. Raises as `read_record`, and if the record belongs in no chain."""
    body = read_record(cid, source).body
    if not isinstance(body, Chained):
        raise RecordError(f"{cid} is a {body.TYPE}, which is in no chain")
    return body


def _parse(block: Block) -> Record:
    if not few_containers(block.data, MIN_CONTAINERS + len(block.data) // BYTES_A_CONTAINER):
        raise RecordError("it has more lists and maps than any record")
    value = decode_cbor(block.data)
    match value:
        case {"body": dict(body), "sigs": list(sigs)} if len(value) == 2 and sigs:
            pass
        case _:
            raise RecordError("a record block is not {body, sigs}")
    if len(sigs) > (most := MAX_MANIFEST_SIGNATURES if body.get("type") == RecordType.FEDERATION else 1):
        raise RecordError(f"it has {len(sigs)} signatures, and may have {most}")
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
    if kind == RecordType.ACK and "recomputed" in fields:
        return from_plain(fields, RecomputedAck)
    parsed = from_plain(fields, BODIES[kind])
    if isinstance(parsed, Run) and parsed.keep:
        _check_plan(parsed)
    if isinstance(parsed, Run) and parsed.closing:
        _check_closing(parsed)
    return parsed


def _check_plan(run: Run) -> None:
    """Raise RecordError unless the plan is written in the one way, and is one that has to be said."""
    try:
        plan = run.plan
    except PlanError as error:
        raise RecordError(f"keep: {error}") from error
    if plan == KEEP_EVERYTHING or str(plan) != run.keep:
        raise RecordError(f"keep: {run.keep!r} is not written in its one way")


def _check_closing(run: Run) -> None:
    """Raise RecordError unless the rule for early closing is one, written in the one way."""
    try:
        parse_closing(run.closing)
    except ClosingError as error:
        raise RecordError(f"closing: {error}") from error


def body_value(body: Body) -> dict[str, Any]:
    """The body as the plain map that is signed."""
    return {"v": VERSION, "type": body.TYPE.value, **to_plain(body)}


def sign_record(body: Body, keys: Sequence[SigningKey]) -> Block:
    """The record block of ``body``, signed with each key."""
    data = encode_cbor(body_value(body))
    return assemble(body, {key.verify_key.raw: dsse_sign(key, RECORD_TYPE, data) for key in keys})


def assemble(body: Body, signatures: dict[bytes, bytes]) -> Block:
    """The record block of ``body`` with ``signatures`` made elsewhere, by key.

    Raises:
        RecordError: if it is larger than a block may be. (A part that can grow belongs in a `Listing`.)
    """
    sigs = [{"by": key, "sig": signatures[key]} for key in sorted(signatures)]
    block = cbor_block({"body": body_value(body), "sigs": sigs})
    if len(block.data) > MAX_BLOCK_SIZE:
        raise RecordError(f"a {body.TYPE} record of {len(block.data)} bytes is over {MAX_BLOCK_SIZE}")
    return block


def record_block(record: Record) -> Block:
    """The block that ``record`` was parsed from."""
    sigs = [{"by": signature.by, "sig": signature.sig} for signature in record.signatures]
    return cbor_block({"body": decode_cbor(record.body_bytes), "sigs": sigs})


def private_bytes(value: object) -> bytes:
    """A private part as the plain dag-cbor that ``epoch: null`` means."""
    return encode_cbor(to_plain(value))


def typed_items(listing: Listing, kind: type[P], source: BlockSource) -> Iterator[P]:
    """The items of ``listing`` as ``kind``.

    Raises:
        RecordError: if an item is not a ``kind``.
        protocol.blocks.cid.MissingBlock: if a block of the tree is not here.
    """
    try:
        if listing.link is None:
            yield from listing.typed(kind, lambda item: from_plain(item, kind))
        else:
            for item in listing.items(source):
                yield from_plain(item, kind)
    except ShapeError as error:
        raise RecordError(str(error)) from error


def answers(collect: Collect, source: BlockSource) -> Iterator[TakenReply | GridError]:
    """The answers of a collect, in order. Raises as `typed_items`."""
    try:
        if collect.answers.link is None:
            yield from collect.answers.typed(_answer, _answer)
        else:
            yield from map(_answer, collect.answers.items(source))
    except ShapeError as error:
        raise RecordError(str(error)) from error


def _answer(item: object) -> TakenReply | GridError:
    kind: type[TakenReply | GridError] = TakenReply if isinstance(item, dict) and "reply" in item else GridError
    return from_plain(item, kind)
