"""CARv1: what is written reads back; anything else ends in a `CarError` that says where."""

import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.blocks.car import MAX_HEADER_SIZE, CarCutShort, CarError, read_car, write_car
from protocol.blocks.cid import CID, MAX_BLOCK_SIZE, Block, cbor_block, raw_block

blocks_of_a_run = st.lists(
    st.one_of(st.binary(max_size=300).map(raw_block), st.integers(0, 99).map(lambda n: cbor_block({"n": n}))),
    max_size=6,
)


class OneByteAtATime(io.RawIOBase):
    """A stream that gives less than it is asked for, as sockets do."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._inner.read(min(size, 1))


def written(roots: list[CID], blocks: list[Block]) -> bytes:
    return b"".join(write_car(roots, blocks))


def read_all(data: bytes) -> tuple[tuple[CID, ...], list[Block]]:
    roots, blocks = read_car(io.BytesIO(data))
    return roots, list(blocks)


@given(blocks_of_a_run)
def test_what_is_written_reads_back_in_order(blocks: list[Block]) -> None:
    roots = [block.cid for block in blocks[:2]]
    assert read_all(written(roots, blocks)) == (tuple(roots), blocks)


def test_a_stream_that_gives_little_at_a_time_reads_the_same() -> None:
    block = raw_block(b"chunk" * 100)
    roots, blocks = read_car(OneByteAtATime(written([block.cid], [block])))
    assert (roots, list(blocks)) == ((block.cid,), [block])


def test_the_bytes_are_those_of_the_specification() -> None:
    block = raw_block(b"hi")
    head = bytes.fromhex("3aa265726f6f747381d82a5825000155") + bytes(block.cid)[2:] + b"\x67version\x01"
    assert written([block.cid], [block]) == head + b"\x26" + bytes(block.cid) + b"hi"


@given(blocks_of_a_run, st.data())
def test_a_car_cut_anywhere_but_between_sections_is_cut_short(blocks: list[Block], data: st.DataObject) -> None:
    car = written([], blocks)
    whole = {len(written([], blocks[:n])) for n in range(len(blocks) + 1)}
    end = data.draw(st.integers(0, len(car) - 1).filter(lambda n: n not in whole))
    with pytest.raises(CarCutShort):
        read_all(car[:end])


def test_cut_short_says_where_the_broken_section_begins() -> None:
    first, second = raw_block(b"first"), raw_block(b"second")
    with pytest.raises(CarCutShort, match=r"cut short in a section: 41 of 42 bytes") as raised:
        read_all(written([], [first, second])[:-1])
    assert raised.value.offset == len(written([], [first]))


def test_bytes_that_do_not_match_their_cid_are_refused_with_their_place() -> None:
    car = bytearray(written([], [raw_block(b"first")]))
    car[-1] ^= 1
    with pytest.raises(CarError, match="holds other bytes than its CID says") as raised:
        read_all(bytes(car))
    assert raised.value.offset == len(written([], []))


@given(st.binary(max_size=200))
def test_no_input_raises_anything_but_a_car_error(data: bytes) -> None:
    with contextlib.suppress(CarError):
        read_all(data)


@given(blocks_of_a_run, st.data())
def test_no_flipped_byte_goes_unseen_or_raises_anything_else(blocks: list[Block], data: st.DataObject) -> None:
    car = bytearray(written([raw_block(b"root").cid], blocks))
    car[data.draw(st.integers(0, len(car) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(CarError):
        assert read_all(bytes(car)) != read_all(written([raw_block(b"root").cid], blocks))


EMPTY = written([], [])


@pytest.mark.parametrize(
    ("car", "why"),
    [
        (b"", "the stream is empty"),
        (b"\xff\xff\xff\x7f" + b"x" * 10, "more than 65536"),
        (b"\x80\x80\x80\x80\x01", "no varint"),
        (b"\x80\x00", "shortest form"),
        (b"\x05hello", "the header is not dag-cbor"),
        (b"\x01\xa0", "no list of roots"),
        (EMPTY[:-1] + b"\x02", "not that of a CAR of version 1"),
        (EMPTY + b"\x03abc", "not a CIDv1"),
        (EMPTY + b"\x00", "not a CIDv1"),
        (EMPTY + b"\xff\xff\xff\x01", f"more than {MAX_BLOCK_SIZE + 36}"),
    ],
)
def test_what_is_no_car_is_refused(car: bytes, why: str) -> None:
    with pytest.raises(CarError, match=why):
        read_all(car)


def test_a_length_beyond_the_limit_is_refused_before_anything_is_read() -> None:
    stream = io.BytesIO(EMPTY + b"\xff\xff\xff\x7f" + b"x" * (1 << 20))
    _, blocks = read_car(stream)
    with pytest.raises(CarError):
        next(blocks)
    assert stream.tell() == len(EMPTY) + 4


def test_more_roots_than_a_reader_takes_are_not_written() -> None:
    roots = [raw_block(bytes([n & 255, n >> 8])).cid for n in range(MAX_HEADER_SIZE // 40)]
    with pytest.raises(ValueError, match="too many"):
        written(roots, [])
