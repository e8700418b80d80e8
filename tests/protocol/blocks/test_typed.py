"""Plain values become dataclasses only if they are exactly that."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.blocks.cid import CID, decode_cbor, encode_cbor, raw_block
from protocol.blocks.listing import Listing
from protocol.blocks.typed import ShapeError, from_plain, left_out, to_plain

LINK = raw_block(b"").cid


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Inner:
    number: int


@dataclass(frozen=True, slots=True)
class Thing:
    count: int
    ratio: float
    either: int | float
    data: bytes
    link: CID | None
    colours: tuple[Colour, ...]
    inner: Inner
    listing: Listing


@dataclass(frozen=True, slots=True)
class Grown:
    number: int
    later: int = left_out(0)


THING = Thing(1, 0.5, 2.0, b"x", LINK, (Colour.RED,), Inner(3), Listing((1,)))
PLAIN = {
    "count": 1,
    "ratio": 0.5,
    "either": 2.0,
    "data": b"x",
    "link": LINK,
    "colours": ["red"],
    "inner": {"number": 3},
    "listing": [1],
}


def test_a_dataclass_goes_to_plain_values_and_back():
    assert to_plain(THING) == PLAIN
    assert from_plain(decode_cbor(encode_cbor(PLAIN)), Thing) == THING


def test_a_union_of_int_and_float_keeps_which_it_was():
    whole = from_plain(PLAIN | {"either": 2}, Thing)
    assert type(whole.either) is int
    assert type(from_plain(PLAIN, Thing).either) is float


def test_a_listing_may_be_a_link():
    assert from_plain(PLAIN | {"listing": LINK}, Thing).listing == Listing(LINK)


SPOILED = {
    "a field that is not known": PLAIN | {"more": 1},
    "a field left out": {key: value for key, value in PLAIN.items() if key != "count"},
    "a whole number for a float": PLAIN | {"ratio": 1},
    "a float for a whole number": PLAIN | {"count": 1.0},
    "a truth value for a number": PLAIN | {"count": True},
    "text for bytes": PLAIN | {"data": "x"},
    "bytes for a link": PLAIN | {"link": bytes(LINK)},
    "a link for bytes": PLAIN | {"data": LINK},
    "an enum's name": PLAIN | {"colours": ["RED"]},
    "a field in an inner map": PLAIN | {"inner": {"number": 3, "more": 1}},
    "a map for a listing": PLAIN | {"listing": {}},
    "a list for the whole": list(PLAIN.values()),
    "nothing": None,
}


@pytest.mark.parametrize("value", SPOILED.values(), ids=SPOILED.keys())
def test_a_value_of_another_shape_is_refused(value: object):
    with pytest.raises(ShapeError):
        from_plain(value, Thing)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.text() | st.just(LINK),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(list(PLAIN)), inner),
)


@given(VALUES)
def test_no_value_makes_it_raise_anything_else(value: object):
    with pytest.raises(ShapeError):
        from_plain(value, Thing)


@given(st.sampled_from(list(PLAIN)), VALUES)
def test_whatever_is_accepted_writes_the_same_value_again(field: str, value: object):
    changed = PLAIN | {field: value}
    try:
        thing = from_plain(changed, Thing)
    except ShapeError:
        return
    assert encode_cbor(to_plain(thing)) == encode_cbor(changed)


@pytest.mark.parametrize("plain", [{"number": 1}, {"number": 1, "later": 2}])
def test_a_field_that_came_later_is_left_out_unless_it_says_something(plain):
    assert to_plain(from_plain(plain, Grown)) == plain
    with pytest.raises(ShapeError):
        from_plain({"number": 1, "later": 0}, Grown)
