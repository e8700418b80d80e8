"""Blocks: bytes named by their CID.

Pollen uses two kinds only, both CIDv1 with sha2-256: ``raw`` for the bytes of tensors and files, ``dag-cbor`` for
everything that has a structure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

import cbrrr

CHUNK_SIZE: Final = 1 << 20
"""Bytes in a full raw chunk."""

MAX_BLOCK_SIZE: Final = 1 << 20
"""No Pollen block is larger; Kubo's own limit is 2 MiB."""

MAX_DEPTH: Final = 32
"""How deeply lists and maps may nest in a dag-cbor block."""

MAX_CONTAINERS: Final = 1 << 20
"""How many lists and maps a value larger than a block may have. An empty one is one byte here, and 60 or more in
memory."""

LEAST_INTEGER: Final = -(2**63)
"""The lowest integer in a dag-cbor block. Kubo reads none below, so what links a block with one could not be pinned."""

_RAW_PREFIX: Final = b"\x01\x55\x12\x20"
_CBOR_PREFIX: Final = b"\x01\x71\x12\x20"


class BlockError(Exception):
    """A block or a CID that cannot be what it claims to be."""


class MalformedCid(BlockError):
    """Not a CIDv1 with sha2-256 and one of Pollen's two codecs."""


class BlockMismatch(BlockError):
    """The bytes do not hash to the CID they came under. Carries both, for audits."""

    def __init__(self, cid: CID, data: bytes) -> None:
        super().__init__(f"block {cid} holds other bytes than its CID says")
        self.cid = cid
        self.data = data


class MalformedBlock(BlockError):
    """Not canonical dag-cbor, too large, or too deeply nested."""


class MissingBlock(BlockError):
    """A block source does not hold the block. Carries its ``cid``."""

    def __init__(self, cid: CID) -> None:
        super().__init__(f"block {cid} is not here")
        self.cid = cid


LABEL: Final = 14
"""Characters of a CID's label: 35 bits of its digest."""


class CID(cbrrr.CID):
    """A content identifier of one of Pollen's two kinds; anything else does not construct."""

    def __init__(self, cid_bytes: bytes) -> None:
        if len(cid_bytes) != 36 or cid_bytes[:4] not in (_RAW_PREFIX, _CBOR_PREFIX):
            raise MalformedCid(f"not a CIDv1 (raw or dag-cbor, sha2-256): {cid_bytes[:40].hex()}")
        super().__init__(cid_bytes)

    @classmethod
    def parse(cls, text: str) -> CID:
        """The CID written as ``text`` (base32, as ``ipfs`` prints it).

        Raises:
            MalformedCid: if ``text`` is no such CID.
        """
        try:
            cid = cls(bytes(cbrrr.CID.decode(text)))
        except ValueError as error:
            raise MalformedCid(f"not a CID: {text[:80]!r}") from error
        # the decoder ignores case, and the last two bits: a slip there would name what nobody wrote
        if str(cid) != text:
            raise MalformedCid(f"not a CID: {text[:80]!r}; {cid} is one")
        return cid

    @property
    def is_raw(self) -> bool:
        """Whether the block is raw bytes rather than dag-cbor."""
        return bytes(self)[1] == 0x55

    @property
    def digest(self) -> bytes:
        """The sha2-256 digest, 32 bytes."""
        return bytes(self)[4:]

    @property
    def label(self) -> str:
        """Its first characters, for people: 7 are the same in all CIDs of records, and 7 tell them apart."""
        return str(self)[:LABEL]

    def __str__(self) -> str:
        return _text(bytes(self))

    def __lt__(self, other: CID) -> bool:
        return bytes(self) < bytes(other)


@lru_cache(64)
def _text(cid: bytes) -> str:
    """A CID in base32. A file is named so each time that it is looked for, and Python's base32 is slow."""
    return cbrrr.CID(cid).encode()


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes and the CID they hash to. Make one only with the functions below: they see to that."""

    cid: CID
    data: bytes


class BlockSource(Protocol):
    """Where blocks are read from: an engine, a CAR file, a dictionary in a test."""

    def get(self, cid: CID) -> bytes:
        """The bytes of ``cid``, already checked against it.

        Raises:
            MissingBlock: if the source does not hold it.
        """


def raw_cid(data: bytes | memoryview) -> CID:
    """The CID of the raw block of ``data``."""
    return CID(_RAW_PREFIX + hashlib.sha256(data).digest())


def raw_block(data: bytes) -> Block:
    """The raw block of ``data``, at most ``CHUNK_SIZE`` bytes."""
    return Block(raw_cid(data), data)


def cbor_block(value: object) -> Block:
    """The canonical dag-cbor block of ``value`` (maps, lists, strings, bytes, numbers, None and CIDs)."""
    return cbor_data_block(encode_cbor(value))


def cbor_data_block(data: bytes) -> Block:
    """The block of bytes that are said to be dag-cbor. Only `decode_cbor` checks that they are."""
    return Block(CID(_CBOR_PREFIX + hashlib.sha256(data).digest()), data)


def checked_block(cid: CID, data: bytes) -> Block:
    """A block from outside.

    Raises:
        MalformedBlock: if it is over ``MAX_BLOCK_SIZE``.
        BlockMismatch: if ``data`` does not hash to ``cid``.
    """
    if len(data) > MAX_BLOCK_SIZE:
        raise MalformedBlock(f"block {cid} has {len(data)} bytes, more than {MAX_BLOCK_SIZE}")
    if hashlib.sha256(data).digest() != cid.digest:
        raise BlockMismatch(cid, data)
    return Block(cid, data)


def encode_cbor(value: object) -> bytes:
    """``value`` as canonical dag-cbor."""
    return cbrrr.encode_dag_cbor(value, cid_type=CID)  # type: ignore[arg-type]  # cbrrr itself refuses other types


def decode_cbor(data: bytes, *, limit: int = MAX_BLOCK_SIZE) -> Any:  # the caller parses it into a type
    """The value of canonical dag-cbor; CIDs in it are ours.

    ``limit`` is in bytes; a value that spans several blocks needs a higher one.

    Raises:
        MalformedBlock: if the bytes are not canonical, too many, or nested too deeply.
    """
    if len(data) > limit:
        raise MalformedBlock(f"{len(data)} bytes of dag-cbor are more than {limit}")
    if len(data) > MAX_BLOCK_SIZE and not few_containers(data, MAX_CONTAINERS):
        raise MalformedBlock(f"more than {MAX_CONTAINERS} lists and maps in {len(data)} bytes of dag-cbor")
    try:
        value = cbrrr.decode_dag_cbor(data, cid_ctor=CID)
    except (ValueError, BlockError, RecursionError, OverflowError, MemoryError) as error:
        raise MalformedBlock(f"not dag-cbor: {error}") from error
    if _depth_over(value, MAX_DEPTH):
        raise MalformedBlock(f"nested more than {MAX_DEPTH} deep")
    if _PERHAPS_TOO_LOW.search(data) and _has_too_low(value):
        raise MalformedBlock(f"an integer below {LEAST_INTEGER}")
    if encode_cbor(value) != data:
        raise MalformedBlock("not the canonical dag-cbor of its value")
    return value


_PERHAPS_TOO_LOW: Final = re.compile(rb"\x3b[\x80-\xff]")
"""How an integer below `LEAST_INTEGER` begins, and other bytes that look alike."""

_SHORT: Final = b"|".join(rb"[\x%02x\x%02x].{%d}" % (0x40 + n, 0x60 + n, n) for n in range(24))
_SCALARS: Final = re.compile(
    rb"(?:[\x00-\x17\x20-\x37\xf4-\xf6]|[\x18\x38].|[\x19\x39].{2}|[\x1a\x3a].{4}|[\x1b\x3b\xfb].{8}|"
    + _SHORT
    + rb")++",
    re.DOTALL,
)
"""A run of numbers and short strings. It is passed over in one step, because there may be many millions of them."""

_HEADERS: Final = bytes(range(0x80, 0xC0))
"""The first bytes of lists and maps."""
_PIECE: Final = 1 << 16


def _bytes_like_headers(data: bytes) -> int:
    """How many bytes may begin a list or a map. Counted in pieces, so that no large copy is made."""
    pieces = (data[at : at + _PIECE] for at in range(0, len(data), _PIECE))
    return sum(len(piece) - len(piece.translate(None, _HEADERS)) for piece in pieces)


def few_containers(data: bytes, most: int) -> bool:
    """Whether dag-cbor holds ``most`` lists and maps or fewer, counted by their headers.

    The decoder, not this, refuses what is malformed.
    """
    if _bytes_like_headers(data) <= most:
        return True  # even if each of these bytes began a list or a map; some stand in strings
    at = found = 0
    while at < len(data):
        if run := _SCALARS.match(data, at):
            at = run.end()
            continue
        kind, size = data[at] >> 5, data[at] & 31
        extra = 0 if size < 24 else 1 << (size - 24) if size < 28 else len(data)
        length = size if size < 24 else int.from_bytes(data[at + 1 : at + 1 + extra], "big")
        at += 1 + extra + (length if kind in (2, 3) else 0)
        found += kind in (4, 5)
        if found > most:
            return False
    return True


def _depth_over(value: object, limit: int) -> bool:
    """Whether lists and maps nest more than ``limit`` deep. Level by level, because each level may hold very many."""
    level = [value]
    for _ in range(limit + 1):
        level = [
            child
            for each in level
            if type(each) is dict or type(each) is list
            for child in (each.values() if type(each) is dict else each)
        ]
        if not level:
            return False
    return True


def _has_too_low(value: object) -> bool:
    """Whether an integer in it is below `LEAST_INTEGER`."""
    pending = [value]
    while pending:
        each = pending.pop()
        if type(each) is int and each < LEAST_INTEGER:
            return True
        if type(each) is dict:
            pending.extend(each.values())
        elif type(each) is list:
            pending.extend(each)
    return False


class ReadBlocks:
    """A source, and what has been read from it."""

    def __init__(self, source: BlockSource) -> None:
        self._source = source
        self.read: dict[CID, bytes] = {}

    def get(self, cid: CID) -> bytes:
        """A block of the source. Raises what the source raises."""
        data = self.read[cid] = self._source.get(cid)
        return data


class MemoryBlocks:
    """A `BlockSource` over blocks in memory. The first mapping that holds a block gives it."""

    def __init__(self, *blocks: Mapping[CID, bytes]) -> None:
        self._blocks = blocks

    def get(self, cid: CID) -> bytes:
        """The bytes of ``cid``; `MissingBlock` if no mapping has it."""
        for blocks in self._blocks:
            if cid in blocks:
                return blocks[cid]
        raise MissingBlock(cid)
