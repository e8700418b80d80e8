"""CARv1 files: many blocks in one stream (https://ipld.io/specs/transport/car/carv1/).

A header (``{"roots": [CID...], "version": 1}`` in dag-cbor), then sections of a CID and its bytes. The length of each
stands before it, as an unsigned LEB128 varint. Reading and writing hold one block in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from protocol.blocks.cid import CID, MAX_BLOCK_SIZE, Block, BlockError, checked_block, decode_cbor, encode_cbor

MAX_HEADER_SIZE: Final = 64 << 10
"""Bytes of a CAR header at most: room for about 1,600 roots."""

_CID_SIZE: Final = 36
_MAX_SECTION_SIZE: Final = _CID_SIZE + MAX_BLOCK_SIZE
_VARINT_SIZE: Final = 4
"""Bytes of a length at most: enough for every length allowed here."""


class ByteStream(Protocol):
    """What a CAR is read from: a file, a pipe, the body of an answer."""

    def read(self, size: int, /) -> bytes:
        """``size`` bytes or fewer; no bytes only at the end."""


class CarError(BlockError):
    """Not a CARv1 of Pollen's blocks. ``offset`` is the byte at which the broken part begins."""

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(f"bad CAR at byte {offset}: {what}")
        self.offset = offset


class CarCutShort(CarError):
    """The stream ends in the middle of something."""

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(offset, f"cut short in {what}")


def write_car(roots: Sequence[CID], blocks: Iterable[Block]) -> Iterator[bytes]:
    """The bytes of a CARv1 with ``roots`` and ``blocks``, piece by piece.

    Raises:
        ValueError: if the header would be too large for `read_car`.
    """
    header = encode_cbor({"roots": list(roots), "version": 1})
    if len(header) > MAX_HEADER_SIZE:
        raise ValueError(f"{len(roots)} roots are too many for the header of one CAR")
    yield _varint(len(header)) + header
    for block in blocks:
        yield _varint(_CID_SIZE + len(block.data)) + bytes(block.cid)
        yield block.data


def read_car(stream: ByteStream) -> tuple[tuple[CID, ...], Iterator[Block]]:
    """The roots of the CAR in ``stream``, and its blocks, each checked against its CID as it is read.

    Raises:
        CarError: now for a bad header, from the iterator for a bad section; `CarCutShort` if the stream ends too soon.
    """
    roots, sections = read_sections(stream)
    return roots, map(_checked, sections)


@dataclass(frozen=True, slots=True)
class Section:
    """One section as it stands in the file, unchecked."""

    offset: int
    """Where the section begins in the file, at its length."""
    data_offset: int
    cid: bytes
    """36 bytes, or fewer if the section is shorter; perhaps no CID."""
    data: bytes


def read_sections(stream: ByteStream) -> tuple[tuple[CID, ...], Iterator[Section]]:
    """The roots of the CAR in ``stream`` and its sections, unchecked: for an audit, which reports all that is wrong.

    Raises:
        CarError: as `read_car`, but not for a section whose bytes do not match its CID.
    """
    reader = _Reader(stream)
    return _read_header(reader), _read_sections(reader)


class _Reader:
    """Reads whole lengths and sections, and counts the bytes read."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self.offset = 0

    def read(self, size: int) -> bytes:
        """``size`` bytes, or fewer at the end of the stream. (A raw stream may give fewer at any time.)"""
        data = self._stream.read(size)
        while len(data) < size and (more := self._stream.read(size - len(data))):
            data += more
        self.offset += len(data)
        return data

    def framed(self, what: str, limit: int) -> bytes | None:
        """The bytes after the next length; None at the end of the stream."""
        start = self.offset
        size = 0
        for position in range(_VARINT_SIZE):
            byte = self.read(1)
            if not byte:
                if position == 0:
                    return None
                raise CarCutShort(start, f"the length of {what}")
            size |= (byte[0] & 0x7F) << (7 * position)
            if byte[0] < 0x80:
                if position and byte[0] == 0:
                    raise CarError(start, f"the length of {what} is not written in its shortest form")
                break
        else:
            raise CarError(start, f"the length of {what} is no varint of {_VARINT_SIZE} bytes or fewer")
        if size > limit:
            raise CarError(start, f"{what} has {size} bytes, more than {limit}")
        data = self.read(size)
        if len(data) < size:
            raise CarCutShort(start, f"{what}: {len(data)} of {size} bytes")
        return data


def _read_header(reader: _Reader) -> tuple[CID, ...]:
    data = reader.framed("the header", MAX_HEADER_SIZE)
    if data is None:
        raise CarCutShort(0, "the header: the stream is empty")
    try:
        header = decode_cbor(data)
    except BlockError as error:
        raise CarError(0, f"the header is {error}") from error
    roots = header.get("roots") if isinstance(header, dict) else None
    if not isinstance(roots, list) or not all(isinstance(root, CID) for root in roots):
        raise CarError(0, "the header has no list of roots")
    if encode_cbor({"roots": roots, "version": 1}) != data:
        raise CarError(0, "the header is not that of a CAR of version 1")
    return tuple(roots)


def _read_sections(reader: _Reader) -> Iterator[Section]:
    while True:
        start = reader.offset
        section = reader.framed("a section", _MAX_SECTION_SIZE)
        if section is None:
            return
        data = section[_CID_SIZE:]
        yield Section(start, reader.offset - len(data), section[:_CID_SIZE], data)


def _checked(section: Section) -> Block:
    try:
        return checked_block(CID(section.cid), section.data)
    except BlockError as error:
        raise CarError(section.offset, str(error)) from error


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
