"""Records of every kind that Flower can send, and where their blocks are kept in a test."""

from __future__ import annotations

import struct

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import strategies as st

from protocol.blocks.cid import CID, MissingBlock
from strategy.contents.codec import ALWAYS_INLINE, SMALL_SIZE, Encoded


class Blocks(dict[CID, bytes]):
    """A block source in memory."""

    def get(self, cid: CID) -> bytes:  # type: ignore[override]
        if cid not in self:
            raise MissingBlock(cid)
        return self[cid]

    def keep(self, encoded: Encoded) -> CID:
        self.update((block.cid, block.data) for block in encoded.blocks())
        return encoded.root


def exact(value: object) -> object:
    """``value`` in a form that is equal only if type and bits are."""
    match value:
        case RecordDict() | ArrayRecord() | ConfigRecord() | MetricRecord():
            return type(value).__name__, [(key, exact(item)) for key, item in value.items()]
        case Array():
            return value.dtype, value.shape, value.stype, value.data
        case list():
            return [exact(item) for item in value]
        case float():
            return type(value).__name__, struct.pack(">d", value)
    return type(value).__name__, value


ints = st.integers(-(2**63), 2**64 - 1)
floats = st.floats()
text = st.text(alphabet=st.characters(blacklist_categories=("Cs",)), max_size=5)
numbers = st.one_of(
    ints,
    floats,
    floats.map(np.float64),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    st.lists(st.integers(0, 2**64 - 1), max_size=4),
    st.lists(floats, max_size=4),
)
values = st.one_of(
    numbers,
    st.booleans(),
    text,
    text.map(np.str_),
    st.binary(max_size=5),
    st.lists(st.booleans(), max_size=3),
    st.lists(text, max_size=3),
    st.lists(st.binary(max_size=3), max_size=3),
)
shapes = st.lists(st.integers(0, 3), max_size=3)
dtypes = st.sampled_from(["float32", "float16", "int64", "bool", "complex128", "uint8"])
arrays = st.one_of(
    st.builds(lambda dtype, shape: Array(np.ones(shape, dtype)), dtypes, shapes),
    st.binary(max_size=20).map(lambda data: Array("", (), "numpy.ndarray", data)),
    st.one_of(st.integers(ALWAYS_INLINE - 1, ALWAYS_INLINE + 2), st.integers(SMALL_SIZE - 1, SMALL_SIZE + 2)).map(
        lambda size: Array("", (), "x", bytes(size))
    ),
)
records = st.dictionaries(
    text,
    st.one_of(
        st.dictionaries(text, numbers, max_size=4).map(MetricRecord),
        st.dictionaries(text, values, max_size=4).map(ConfigRecord),
        st.dictionaries(text, arrays, max_size=3).map(ArrayRecord),
    ),
    max_size=4,
).map(RecordDict)
