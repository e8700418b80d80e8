"""`strategy.contents.codec`: what an app sends arrives as it was, whatever Flower takes; what is hostile is refused."""

from __future__ import annotations

import copy
import enum
import pickle
import random
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from any_records import Blocks, exact, records
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.symmetric import ChunkNonce
from protocol.blocks.cid import CHUNK_SIZE, CID, Block, MissingBlock, cbor_block, decode_cbor, encode_cbor, raw_block
from protocol.blocks.content import HEAD_SIZE, WHOLE_BODY, ContentError, ContentKey, write_manifest
from strategy.contents.array_files import ArrayFile, space_for
from strategy.contents.arrays import LazyArray
from strategy.contents.codec import (
    ALWAYS_INLINE,
    FEW_BYTES,
    FORMAT,
    MAX_ARRAYS,
    MAX_DIMENSIONS,
    MAX_NAME,
    MAX_VALUES,
    SHARED_ROOM,
    SMALL_SIZE,
    ContentWriter,
    Limits,
    ReadBytes,
    decode,
    encode,
)


def there_and_back(records: RecordDict) -> RecordDict:
    blocks = Blocks()
    return decode(blocks.keep(encode(records, None)), blocks, None)


# -- everything Flower can send ------------------------------------------------------------------------------------


@given(records)
@settings(max_examples=300)
def test_a_record_dict_arrives_as_through_flowers_own_protobuf(sent: RecordDict) -> None:
    received = there_and_back(sent)

    assert exact(received) == exact(recorddict_from_proto(recorddict_to_proto(sent)))
    assert encode(received, None).root == encode(sent, None).root


class Three(enum.IntEnum):
    THREE = 3


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        ("\ud800", "\ud800"),
        (np.str_("\0"), "\0"),
        (np.bytes_(b"a\0"), b"a\0"),
        ([1, True], [1, 1]),
        (Three.THREE, 3),
        ([], []),
        ([-1, 2**63], [-1, 2**63]),
    ],
)
def test_values_that_flower_cannot_send_or_flattens_arrive_too(value: object, arrives: object) -> None:
    received = there_and_back(RecordDict({"r": ConfigRecord({"x": value})}))

    assert exact(received["r"]["x"]) == exact(arrives)


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**400, [1, 10**5000]])
def test_an_integer_that_flower_does_not_send_is_refused_with_its_place(value: int | list[int]) -> None:
    with pytest.raises(ValueError, match=r"record 'r', key 'x': an integer of \d+ bits"):
        encode(RecordDict({"r": MetricRecord({"x": value})}), None)


def many(kind: str, count: int) -> object:
    entry = ["", [], "", b""] if kind == "array" else [0]
    return [["r", kind, [[str(number), *entry] for number in range(count)]]]


@pytest.mark.parametrize(
    ("kind", "most"), [("metric", MAX_VALUES), ("config", MAX_VALUES), ("array", MAX_ARRAYS)], ids=str
)
def test_more_entries_than_a_content_may_have_are_refused_before_any_is_read(
    kind: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, blocks = hostile([FORMAT, 0, many(kind, most + 1)], [])
    monkeypatch.setattr("strategy.contents.codec.decode_scalar", pytest.fail)

    with pytest.raises(ContentError, match=f"{most + 1} .* more than the {most} that a content may have"):
        decode(root, blocks, None)


def test_as_many_entries_as_a_content_may_have_arrive() -> None:
    metrics = MetricRecord({f"{number:0{MAX_NAME}}": 0.5 for number in range(100)})
    settings = ConfigRecord({str(number): number for number in range(MAX_VALUES - 100)})

    received = there_and_back(RecordDict({"m": metrics, "c": settings}))

    assert (len(received["m"]), len(received["c"])) == (100, MAX_VALUES - 100)


def test_an_app_that_sends_too_much_is_told_so() -> None:
    records = RecordDict({"m": MetricRecord({str(number): 0.5 for number in range(MAX_VALUES)}), "c": ConfigRecord()})
    encode(records, None)
    records["c"]["one"] = 1  # type: ignore[index]

    with pytest.raises(ValueError, match=f"{MAX_VALUES + 1} metrics and settings"):
        encode(records, None)


def test_nan_keeps_its_payload() -> None:
    (nan,) = struct.unpack(">d", bytes.fromhex("7ff8000000000123"))

    received = there_and_back(RecordDict({"r": MetricRecord({"x": nan, "y": [float("inf"), nan]})}))

    assert struct.pack(">d", received["r"]["x"]).hex() == "7ff8000000000123"


def test_a_value_that_flower_does_not_take_is_refused_with_its_place() -> None:
    config = ConfigRecord({"xs": [1]})
    config["xs"].append(None)

    with pytest.raises(TypeError, match="record 'r', key 'xs'"):
        encode(RecordDict({"r": config}), None)


# -- large contents ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE])
def test_large_arrays_lie_in_full_chunks(size: int) -> None:
    data = np.random.default_rng(1).bytes(size)
    encoded = encode(RecordDict({"r": ArrayRecord({"w": Array("", (), "x", data)})}), None)

    assert b"".join(piece.data for piece in encoded.pieces) == data
    assert {len(piece.data) for piece in encoded.pieces[:-1]} <= {CHUNK_SIZE}


def test_thousands_of_small_arrays_and_long_lists_overflow_the_manifest_block() -> None:
    sent = RecordDict(
        {
            "many": ArrayRecord({f"layer {n}": Array(np.full(40, n)) for n in range(3000)}),
            "long": ConfigRecord({"xs": [float(n) for n in range(200_000)], "blob": bytes(2 * CHUNK_SIZE)}),
            "big": ArrayRecord({"w": Array(np.arange(300_000.0))}),
        }
    )
    encoded = encode(sent, None)

    assert exact(there_and_back(sent)) == exact(sent)
    assert max(len(block.data) for block in encoded.blocks()) == CHUNK_SIZE
    assert len(encoded.manifest[0].data) < HEAD_SIZE + (70 << 10)


def test_equal_tensors_are_stored_once() -> None:
    class Store:
        def __init__(self) -> None:
            self.given: list[Block] = []

        def put_content(self, root: CID, blocks: object) -> None:
            self.given.extend(blocks)  # type: ignore[call-overload]

    store = Store()
    writer = ContentWriter(store)  # type: ignore[arg-type]
    model = np.random.default_rng(1).random(200_000)

    writer.write(RecordDict({"a": ArrayRecord([model, model])}), None)
    first = len(store.given)
    writer.write(RecordDict({"a": ArrayRecord([model]), "c": ConfigRecord({"round": 2})}), None)

    assert first == 3  # the manifest and two chunks
    assert len(store.given) == first + 1  # the other manifest


# -- lazy arrays ---------------------------------------------------------------------------------------------------


class Counting(Blocks):
    reads = 0

    def get(self, cid: CID) -> bytes:  # type: ignore[override]
        self.reads += cid.is_raw
        return super().get(cid)


def lazy() -> tuple[Array, Array, Counting]:
    plain = Array(np.arange(20_000.0))
    blocks = Counting()
    root = blocks.keep(encode(RecordDict({"r": ArrayRecord({"w": plain})}), None))
    return plain, decode(root, blocks, None).array_records["r"]["w"], blocks


def test_an_array_is_read_once_and_only_when_its_data_is_used() -> None:
    _, array, blocks = lazy()

    assert (array.dtype, array.shape, array.stype, blocks.reads) == ("float64", (20_000,), "numpy.ndarray", 0)
    assert array.data == array.data
    assert blocks.reads == 1
    assert type(array) is Array


@pytest.mark.parametrize(
    "same",
    [
        lambda plain, array: plain == array,
        lambda plain, array: array == plain,
        lambda plain, array: array == copy.copy(array),
        lambda plain, array: copy.deepcopy(array) == plain,
        lambda plain, array: pickle.loads(pickle.dumps(array)) == plain,  # noqa: S301  # our own bytes
        lambda plain, array: array.object_id == plain.object_id,
        lambda plain, array: repr(array) == repr(plain),
        lambda plain, array: (array.numpy() == plain.numpy()).all(),
        lambda plain, array: ArrayRecord({"w": array}) == ArrayRecord({"w": plain}),
        lambda plain, array: lazy()[1] == array,
    ],
)
def test_a_lazy_array_is_as_good_as_a_plain_one(same: object) -> None:
    plain, array, _ = lazy()

    assert same(plain, array)  # type: ignore[operator]


def test_data_set_before_it_was_read_stays() -> None:
    _, array, blocks = lazy()
    array.data = b"x"

    assert (array.data, blocks.reads) == (b"x", 0)


# -- hostile contents ----------------------------------------------------------------------------------------------


def hostile(body: object, chunks: list[Block] | None = None) -> tuple[CID, Blocks]:
    chunks = chunks or []
    root, blocks = write_manifest(encode_cbor(body), [chunk.cid for chunk in chunks])
    return root, Blocks({block.cid: block.data for block in [*blocks, *chunks]})


CHUNK = raw_block(b"c" * 5000)
W = ["w", "", [], "x", 5000]


@pytest.mark.parametrize(
    ("records", "chunks"),
    [
        ("no list", []),
        ([["r", "array"]], []),
        ([["r", "tensor", []]], []),
        ([["r", "array", []], ["r", "array", []]], []),
        ([[1, "array", []]], []),
        ([["r", "metric", [["x", True]]]], []),
        ([["r", "metric", [["x", "text"]]]], []),
        ([["r", "config", [["x", None]]]], []),
        ([["r", "config", [["x", [1, 1.0]]]]], []),
        ([["r", "config", [["x", [[1]]]]]], []),
        ([["r", "config", [["x", 1], ["x", 2]]]], []),
        ([["r", "config", [["x", {"int": b"\x01"}]]]], []),
        ([["r", "config", [["x", {"int": (2**63).to_bytes(10, "big")}]]]], []),
        ([["r", "config", [["x", {"int": (2**64).to_bytes(9, "big")}]]]], []),
        ([["r", "metric", [["x", {"int": (10**400).to_bytes(167, "big")}]]]], []),
        ([["r" * (MAX_NAME + 1), "config", []]], []),
        ([["r", "array", [["w", "", [1] * (MAX_DIMENSIONS + 1), "x", b""]]]], []),
        ([["r", "config", [["x", 2**63]]]], []),
        ([["r", "config", [["x", {"float": struct.pack(">d", 1.0)}]]]], []),
        ([["r", "config", [["x", {"float": b"1"}]]]], []),
        ([["r", "config", [["x", {"str": b"plain"}]]]], []),
        ([["r", "config", [["x", {"str": b"\xff"}]]]], []),
        ([["r", "config", [["x", {"int": b"\x01", "y": 1}]]]], []),
        ([["r", "array", [["w", "", [], "x"]]]], []),
        ([["r", "array", [["w", "", ["1"], "x", b""]]]], []),
        ([["r", "array", [["w", "", [], "x", ALWAYS_INLINE]]]], [CHUNK]),
        ([["r", "array", [["w", "", [], "x", True]]]], []),
        ([["r", "array", [["w", "", [], "x", bytes(SMALL_SIZE + 1)]]]], []),
        ([["r", "array", [W]]], []),
        ([["r", "array", [W]]], [CHUNK, CHUNK]),
        ([], [CHUNK]),
        ([["r", "array", [["w", "", [], "x", 2**62]]]], [CHUNK]),
    ],
)
def test_a_malformed_body_is_a_content_error(records: object, chunks: list[Block]) -> None:
    root, blocks = hostile([FORMAT, 0, records], chunks)

    with pytest.raises(ContentError):
        decode(root, blocks, None)


@pytest.mark.parametrize(("format", "inline"), [(1, ALWAYS_INLINE), (2, SMALL_SIZE)])
def test_what_an_earlier_release_wrote_is_read(format: int, inline: int) -> None:
    root, blocks = hostile([format, [["r", "array", [W, ["b", "", [], "x", bytes(inline)]]]]], [CHUNK])

    arrays = decode(root, blocks, None).array_records["r"]

    assert [array.data for array in arrays.values()] == [CHUNK.data, bytes(inline)]


@pytest.mark.parametrize(
    "body",
    [
        [1, [["r", "array", [["w", "", [], "x", bytes(ALWAYS_INLINE + 1)]]]]],
        [2, [["r", "array", [["w", "", [], "x", [5000]]]]]],
        [2, 5000, [["r", "array", [["w", "", [], "x", [5000]]]]]],
    ],
)
def test_what_no_earlier_release_wrote_is_a_content_error(body: object) -> None:
    with pytest.raises(ContentError):
        decode(*hostile(body, [CHUNK]), None)


@pytest.mark.parametrize(
    "body",
    [[FORMAT + 1, 0, []], [FORMAT, []], [0, []], [True, []], [FORMAT], [FORMAT, True, []], [FORMAT, -1, []], {}, 1],
)
def test_another_format_is_a_content_error(body: object) -> None:
    with pytest.raises(ContentError, match="format"):
        decode(*hostile(body), None)


def arrays_of(*sizes: int) -> RecordDict:
    """Arrays of so many bytes, each with other ones."""
    sizes_and_bytes = [(size, number.to_bytes(2, "big") * (size // 2)) for number, size in enumerate(sizes)]
    assert all(len(data) == size for size, data in sizes_and_bytes)
    return RecordDict({"r": ArrayRecord({str(n): Array("", (), "x", d) for n, (_, d) in enumerate(sizes_and_bytes)})})


def test_a_model_of_many_small_arrays_is_two_blocks() -> None:
    assert len(list(encode(arrays_of(*[50_000] * 20), None).blocks())) == 2


@pytest.mark.parametrize("key", [None, ContentKey(1, bytes(32), ChunkNonce.GMAC)], ids=["plain", "encrypted"])
def test_a_model_of_small_arrays_is_sent_again_with_other_settings_as_one_small_block(key: ContentKey | None) -> None:
    """As a model that was evaluated, and is trained on next."""
    evaluated, trained = (
        encode(RecordDict({**arrays_of(*[50_000] * 20), "config": ConfigRecord({"round": round})}), key)
        for round in (1, 2)
    )

    [again] = trained.blocks(without=set(evaluated.cids()))
    assert again.cid == trained.root
    assert len(again.data) < WHOLE_BODY


FULL = [SMALL_SIZE] * (SHARED_ROOM // SMALL_SIZE)


@pytest.mark.parametrize(
    ("sizes", "chunks"),
    [
        ([ALWAYS_INLINE] * 300, 0),
        ([FEW_BYTES // 2] * 2, 0),
        ([FEW_BYTES // 2] * 2 + [ALWAYS_INLINE + 2], 1),
        ([SMALL_SIZE], 1),
        ([SMALL_SIZE + 2], 1),
        ([SMALL_SIZE, SMALL_SIZE + 2], 2),
        (FULL, 1),
        ([*FULL, SMALL_SIZE], 2),
        ([*FULL, SHARED_ROOM % SMALL_SIZE], 1),
        ([*[50_000] * 21, SMALL_SIZE, ALWAYS_INLINE + 2], 3),  # what is over finds no room, but the last one does
    ],
)
@pytest.mark.parametrize("key", [None, ContentKey(1, bytes(32), ChunkNonce.GMAC)], ids=["plain", "encrypted"])
def test_small_arrays_share_a_chunk_as_long_as_it_has_room(
    sizes: list[int], chunks: int, key: ContentKey | None
) -> None:
    sent, blocks = arrays_of(*sizes), Blocks()
    encoded = encode(sent, key)

    assert len(encoded.pieces) == chunks
    assert all(len(block.data) <= CHUNK_SIZE for block in encoded.blocks())
    assert exact(decode(blocks.keep(encoded), blocks, key)) == exact(sent)


SHARED = raw_block(bytes(range(250)) * 40)
"""10,000 bytes that arrays share."""


def sharing(*sizes: object) -> list[object]:
    """Records with arrays that have so many bytes of a shared chunk each."""
    return [["r", "array", [[str(number), "", [], "x", [size]] for number, size in enumerate(sizes)]]]


def test_arrays_have_the_bytes_of_the_shared_chunk_in_order() -> None:
    root, blocks = hostile([FORMAT, 10_000, sharing(4_500, 5_500)], [SHARED])

    arrays = decode(root, blocks, None).array_records["r"].values()

    assert [array.data for array in arrays] == [SHARED.data[:4_500], SHARED.data[4_500:]]


@pytest.mark.parametrize(
    ("shared", "records", "chunks"),
    [
        (10_000, sharing(5_000), [SHARED]),
        (10_000, sharing(5_000, 5_001), [SHARED]),
        (10_000, sharing(4_096, 5_904), [SHARED]),
        (10_000, sharing(-5_000, 15_000), [SHARED]),
        (10_000, sharing(True, 9_999), [SHARED]),
        (10_000, sharing(5_000, 5_000), []),
        (10_000, sharing(5_000, 5_000), [SHARED, SHARED]),
        (10_000, [], [SHARED]),
        (10_001, sharing(5_000, 5_001), [SHARED]),
        (9_999, sharing(5_000, 4_999), [SHARED]),
        (0, sharing(5_000), [SHARED]),
        (SHARED_ROOM + 1, sharing(5_000, 5_000), [SHARED]),
        (SMALL_SIZE + 1, sharing(SMALL_SIZE + 1), [raw_block(bytes(SMALL_SIZE + 1))]),
        (10_000, [["r", "array", [["w", "", [], "x", [5_000, 5_000]]]]], [SHARED]),
        (10_000, [["r", "array", [["w", "", [], "x", []]]]], [SHARED]),
    ],
)
def test_a_shared_chunk_that_is_not_dealt_out_exactly_is_a_content_error(
    shared: int, records: object, chunks: list[Block]
) -> None:
    root, blocks = hostile([FORMAT, shared, records], chunks)

    with pytest.raises(ContentError):
        decode(root, blocks, None)


def test_a_shared_chunk_over_the_limit_is_not_read() -> None:
    root, blocks = hostile([FORMAT, 10_000, sharing(5_000, 5_000)], [SHARED])
    del blocks[SHARED.cid]

    with pytest.raises(ContentError, match="larger than the limit"):
        decode(root, blocks, None, Limits(arrays=9_999))


@pytest.mark.parametrize("sizes", [[FEW_BYTES], [50_000, 50_000]], ids=["in the body", "in a shared chunk"])
def test_a_small_array_moves_to_a_file_like_any_other(tmp_path: Path, sizes: list[int]) -> None:
    sent = arrays_of(*sizes)
    array = there_and_back(sent).array_records["r"]["0"]
    assert isinstance(array, LazyArray)

    assert ArrayFile(tmp_path, space_for([array]), hidden=False).move(array)

    assert not isinstance(array.source, ReadBytes)
    assert exact(array) == exact(sent["r"]["0"])


def test_a_chunk_of_another_size_than_declared_is_a_content_error_when_it_is_read() -> None:
    root, blocks = hostile([FORMAT, 0, [["r", "array", [["w", "", [], "x", 5001]]]]], [CHUNK])
    array = decode(root, blocks, None).array_records["r"]["w"]

    with pytest.raises(ContentError, match="5000 bytes, and should have 5001"):
        _ = array.data


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)


@given(
    st.binary(max_size=200)
    | plain.map(encode_cbor)
    | plain.map(lambda junk: encode_cbor([FORMAT, 0, [["r", "config", junk]]]))
)
@settings(max_examples=300)
def test_random_bodies_are_a_content_error_or_records_that_write_the_same_body(body: bytes) -> None:
    root, blocks = write_manifest(body, [])

    try:
        found = decode(root, Blocks({block.cid: block.data for block in blocks}), None)
    except ContentError:
        return
    assert encode(found, None).root == root or decode_cbor(body)[0] != FORMAT  # an earlier format is not written


@pytest.mark.parametrize("sizes", [[90_001], [66_000, 66_000]])
def test_arrays_over_the_limit_are_refused_before_a_chunk_is_read(sizes: list[int]) -> None:
    blocks = Counting()
    arrays = {str(number): Array("", (), "x", bytes(size)) for number, size in enumerate(sizes)}
    root = blocks.keep(encode(RecordDict({"r": ArrayRecord(arrays)}), None))

    with pytest.raises(ContentError, match="larger than the limit"):
        decode(root, blocks, None, Limits(arrays=90_000))
    assert blocks.reads == 0


def test_many_arrays_of_a_chunk_each_are_within_the_limit() -> None:
    blocks = Blocks()
    arrays = {str(number): Array("", (), "x", bytes(SMALL_SIZE + 1)) for number in range(1000)}
    root = blocks.keep(encode(RecordDict({"r": ArrayRecord(arrays)}), None))

    assert len(decode(root, blocks, None, Limits(arrays=1000 * (SMALL_SIZE + 1))).array_records["r"]) == 1000


def test_a_declared_size_allocates_nothing() -> None:
    manifest = cbor_block({"links": [], "epoch": None, "private": encode_cbor([2**40, bytes(HEAD_SIZE)])})
    blocks = Blocks({manifest.cid: manifest.data})
    tracemalloc.start()

    with pytest.raises(ContentError):
        decode(manifest.cid, blocks, None, Limits(body=2**41))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_a_missing_chunk_is_a_missing_block() -> None:
    root, blocks = hostile([FORMAT, 0, [["r", "array", [W]]]], [CHUNK])
    del blocks[CHUNK.cid]

    with pytest.raises(MissingBlock):
        _ = decode(root, blocks, None).array_records["r"]["w"].data


def test_blocks_are_copied_one_at_a_time_and_may_be_gone_through_again() -> None:
    size = 8 * CHUNK_SIZE
    encoded = encode(RecordDict({"r": ArrayRecord({"a": Array("", (), "x", random.Random(1).randbytes(size))})}), None)
    blocks = encoded.blocks()
    tracemalloc.start()
    try:
        for _ in range(2):
            assert sum(len(block.data) for block in blocks) > size
        assert tracemalloc.get_traced_memory()[1] < 3 * CHUNK_SIZE
    finally:
        tracemalloc.stop()
