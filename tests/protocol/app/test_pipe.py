"""`protocol.app.pipe`: every value comes out as it went in, whatever the pieces it comes in; all else is a
`PipeError`."""

from __future__ import annotations

from contextlib import suppress
from typing import get_args

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.app.calls import Finished, GetNodes, Nodes, Outgoing, Push, Start
from protocol.app.pipe import Framed, FrameReader, PipeError, encode
from protocol.blocks.cid import CID, raw_block
from protocol.records.bodies import Look
from protocol.records.environment import Environment

SOME_CID = raw_block(b"content").cid
text = st.text(st.characters(blacklist_categories=("Cs",)), max_size=10)
integers = st.integers(-(2**63), 2**64 - 1)

st.register_type_strategy(CID, st.binary(max_size=4).map(lambda data: raw_block(data).cid))
st.register_type_strategy(str, text)
st.register_type_strategy(int, integers)
st.register_type_strategy(Environment, lambda kind: st.builds(kind, threads=st.integers(1, 2**16)))
st.register_type_strategy(Look, lambda kind: st.builds(kind, nodes=st.just((1, 2)), count=st.integers(1, 2**16)))
values = st.one_of([st.from_type(kind) for kind in get_args(Framed)])


def read(stream: bytes) -> list[Framed]:
    return list(FrameReader().feed(stream))


def frame(name: object, value: object) -> bytes:
    return msgpack.packb([name, msgpack.packb(value)])


@given(values)
def test_a_value_comes_out_as_it_went_in(value: Framed) -> None:
    assert repr(read(encode(value))) == repr([value])  # repr tells 1 from 1.0 and True, and NaN is NaN


@given(st.lists(values, max_size=4), st.integers(1, 30))
def test_frames_come_out_in_order_whatever_the_pieces(sent: list[Framed], piece: int) -> None:
    stream = b"".join(map(encode, sent))
    reader = FrameReader()

    received = [value for at in range(0, len(stream), piece) for value in reader.feed(stream[at : at + piece])]

    assert repr(received) == repr(sent)


def test_a_frame_that_is_cut_short_gives_nothing_yet() -> None:
    assert read(encode(GetNodes(1))[:-1]) == []


def test_a_value_over_the_limit_is_refused() -> None:
    with pytest.raises(PipeError, match="101 exceeds"):
        list(FrameReader(limit=100).feed(msgpack.packb(["GetNodes", bytes(101)])))


def test_a_value_without_end_is_refused_once_it_is_over_the_limit() -> None:
    reader = FrameReader(limit=1 << 20)
    assert list(reader.feed(b"\x92\xa8GetNodes\xc6\xff\xff\xff\xff")) == []

    assert list(reader.feed(bytes(1 << 20))) == []
    with pytest.raises(PipeError):
        list(reader.feed(bytes(1 << 18)))


@given(st.binary(max_size=60))
def test_random_bytes_are_no_value(data: bytes) -> None:
    with suppress(PipeError):
        assert read(data) == []  # they may begin a frame


@pytest.mark.parametrize(
    "stream",
    [
        msgpack.packb(1),
        msgpack.packb([]),
        msgpack.packb(["GetNodes"]),
        msgpack.packb(["GetNodes", msgpack.packb({"call": 1}), 2]),
        msgpack.packb(["GetNodes", {"call": 1}]),
        frame(["GetNodes"], {"call": 1}),
        frame("Unknown", {"call": 1}),
        frame("x" * 65, {"call": 1}),
        b"\x92\xa8GetNodes\xc1",
    ],
)
def test_what_is_no_frame_is_refused(stream: bytes) -> None:
    with pytest.raises(PipeError):
        read(stream)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GetNodes", {}),
        ("GetNodes", {"call": 1, "more": 2}),
        ("GetNodes", [1]),
        ("GetNodes", {"call": "1"}),
        ("GetNodes", {"call": True}),
        ("GetNodes", {"call": 1.0}),
        ("Finished", {"call": 1, "model": "a", "error": "", "epoch": None}),
        ("Finished", {"call": 1, "model": b"short", "error": "", "epoch": None}),
        ("Push", {"call": 1, "messages": [{"content": bytes(SOME_CID)}], "epoch": None}),
    ],
)
def test_what_is_no_value_is_refused(name: str, value: object) -> None:
    with pytest.raises(PipeError):
        read(frame(name, value))


def test_unknown_fields_are_refused() -> None:
    sent = Push(1, (Outgoing(SOME_CID, "train", "1", 5, 7),))
    name, packed = msgpack.unpackb(encode(sent))
    push = msgpack.unpackb(packed)
    assert read(frame(name, push)) == [sent]
    push["messages"][0]["more"] = 1

    with pytest.raises(PipeError, match="the one way"):
        read(frame(name, push))


def test_a_longer_way_to_write_a_number_is_refused() -> None:
    name, packed = msgpack.unpackb(encode(GetNodes(5)))

    with pytest.raises(PipeError, match="the one way"):
        read(msgpack.packb([name, packed.replace(b"\x05", b"\xcc\x05")]))


@pytest.mark.parametrize(
    "value",
    [
        Nodes(1, (2**64,)),
        Finished(1, None, "\ud800"),
        Start(SOME_CID, 1, bytes(32), (("x", 2**70),)),
        Finished(1, None, type("Text", (str,), {})("an app's own")),
    ],
)
def test_what_does_not_go_into_a_frame_is_refused(value: Framed) -> None:
    with pytest.raises(PipeError):
        encode(value)
