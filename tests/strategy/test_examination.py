"""`strategy.admission`: each way in which an update is not as it was asked, and what honest apps send all the same."""

from __future__ import annotations

import math
import struct
import tracemalloc
from collections.abc import Mapping
from io import BytesIO

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.common import Parameters
from hypothesis import given
from hypothesis import strategies as st

from protocol.admission import Check, Examination
from protocol.blocks import CID, Block, MissingBlock, cbor_block, raw_block
from strategy.admission import examine, opened_records, read_sent
from strategy.content import INLINE_SIZE, encode
from strategy.flower_compat import SECAGG_RECORD, recorddict_compat
from strategy.npy import stored

Tensors = Mapping[str, np.ndarray]
MODEL: Tensors = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "large": np.ones(INLINE_SIZE, np.float32),
    "scalar": np.array(1.5),
    "empty": np.zeros((0, 4), np.float16),
    "steps": np.array(7, np.int64),
    "mask": np.array([True, False]),
}


class Blocks(dict[CID, bytes]):
    """A block source in memory."""

    def get(self, cid: CID) -> bytes:  # type: ignore[override]
        if cid not in self:
            raise MissingBlock(cid)
        return self[cid]

    def put(self, records: RecordDict) -> CID:
        encoded = encode(records, None)
        self.update((block.cid, block.data) for block in encoded.blocks())
        return encoded.root


def arrays(tensors: Tensors, **more: Array) -> ArrayRecord:
    return ArrayRecord({**{key: Array(each) for key, each in tensors.items()}, **more})


def found(
    sent: RecordDict | Tensors, reply: RecordDict | Tensors, *, update: bool = True, measure: bool = False
) -> Examination:
    """What is found in an answer; tensors are in a record called ``arrays``."""
    blocks = Blocks()
    root, answer = (
        blocks.put(each if isinstance(each, RecordDict) else RecordDict({"arrays": arrays(each)}))
        for each in (sent, reply)
    )
    measured = opened_records(root, blocks, None) if measure else None
    return examine(answer, blocks, None, read_sent(root, blocks, None), update=update, measured=measured)[0]


def findings(sent: RecordDict | Tensors, reply: RecordDict | Tensors, *, update: bool = True) -> dict[Check, str]:
    return {finding.check: finding.what for finding in found(sent, reply, update=update).findings}


def change_of(sent: RecordDict | Tensors, reply: RecordDict | Tensors) -> float | None:
    """The norm, or None where a finding says that there is none."""
    examination = found(sent, reply, measure=True)
    return None if examination.findings else examination.norm


# -- structure -----------------------------------------------------------------------------------------------------


def test_an_update_of_the_same_layout_is_as_dispatched() -> None:
    assert findings(MODEL, {key: each.copy() for key, each in MODEL.items()}) == {}


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        (
            {"weight": np.zeros((3, 2), np.float32)},
            "'arrays'/'weight' is float32[3, 2] where float32[2, 3] was dispatched",
        ),
        ({"weight": np.zeros((2, 3))}, "'arrays'/'weight' is float64[2, 3] where float32[2, 3] was dispatched"),
        ({"weight": np.zeros((2, 3), np.complex64)}, "is complex64[2, 3] where"),
        ({"steps": np.array(7.0)}, "is float64[] where int64[] was dispatched"),
        ({"scalar": np.array([1.5])}, "is float64[1] where float64[] was dispatched"),
        ({"empty": np.zeros((0, 5), np.float16)}, "is float16[0, 5] where"),
        ({"weight": np.array([["a", "b", "c"]] * 2)}, "is <U1[2, 3] where"),
    ],
)
def test_another_shape_or_a_wider_type_is_found(changed: Tensors, what: str) -> None:
    assert what in findings(MODEL, {**MODEL, **changed})[Check.STRUCTURE]


@pytest.mark.parametrize(
    "changed",
    [
        {"weight": np.zeros((2, 3), np.float16)},
        {"scalar": np.array(3)},  # Flower's mean of a counter is a float, of which a model makes a counter again
        {"weight": np.zeros((2, 3), ">f4")},
        {"weight": np.asfortranarray(np.zeros((2, 3), np.float32))},
    ],
    ids=["narrower", "integer", "big-endian", "fortran"],
)
def test_a_type_that_loses_nothing_in_the_dispatched_one_is_as_dispatched(changed: Tensors) -> None:
    assert findings(MODEL, {**MODEL, **changed}) == {}


def test_keys_that_are_missing_new_or_in_another_order_are_found() -> None:
    some = dict(list(MODEL.items())[1:])
    assert findings(MODEL, some)[Check.STRUCTURE] == "'arrays' lacks 'weight', which was dispatched"
    assert findings(some, MODEL)[Check.STRUCTURE] == "'arrays' has 'weight', which was not dispatched"
    turned = dict(reversed(MODEL.items()))
    assert findings(MODEL, turned)[Check.STRUCTURE] == "the arrays of 'arrays' are in another order than was dispatched"


def test_what_an_array_declares_is_not_believed() -> None:
    lie = Array(dtype="float32", shape=(2, 3), stype="numpy.ndarray", data=Array(np.zeros(5)).data)
    reply = RecordDict({"arrays": ArrayRecord({"w": lie})})
    assert Check.STRUCTURE in findings({"w": np.zeros((2, 3), np.float32)}, reply)


@pytest.mark.parametrize(
    "data", [b"", b"\x93NUMPY", b"PK\x03\x04", b"\x80\x04N."], ids=["none", "cut", "zip", "pickle"]
)
def test_bytes_that_numpy_would_not_read_are_found(data: bytes) -> None:
    reply = RecordDict({"arrays": ArrayRecord({"w": Array("float32", (1,), "numpy.ndarray", data)})})
    assert Check.STRUCTURE in findings({"w": np.zeros(1, np.float32)}, reply)


def test_a_row_of_bytes_may_have_any_length() -> None:
    sent, reply = ({"trees": np.frombuffer(text, np.uint8)} for text in (b"two", b"three"))
    assert findings(sent, reply) == {}


def test_records_that_were_not_dispatched_are_the_apps_own() -> None:
    reply = RecordDict({"gradients": arrays({"g": np.zeros(9)}), "metrics": MetricRecord({"loss": math.nan})})
    assert findings(MODEL, reply) == {}


def test_only_updates_have_to_be_as_dispatched() -> None:
    assert findings(MODEL, {"other": np.zeros(3)}, update=False) == {}


def older_app(record: str, *tensors: np.ndarray) -> RecordDict:
    """Parameters as Flower's older apps send them: without dtypes and shapes."""
    data = [Array(tensor).data for tensor in tensors]
    parameters = Parameters(data, "numpy.ndarray" if data else "")
    return RecordDict({record: recorddict_compat.parameters_to_arrayrecord(parameters, keep_input=True)})


def test_the_parameters_of_older_apps_are_compared_though_their_records_have_two_names() -> None:
    sent = older_app("fitins.parameters", np.zeros((2, 3)), np.zeros(3))
    assert findings(sent, older_app("fitres.parameters", np.ones((2, 3)), np.ones(3))) == {}
    assert Check.STRUCTURE in findings(sent, older_app("fitres.parameters", np.ones((2, 3)), np.ones(4)))
    assert Check.STRUCTURE in findings(sent, older_app("fitres.parameters"))


def test_a_model_that_is_yet_to_be_made_is_nothing_to_compare_with() -> None:
    assert findings(older_app("fitins.parameters"), older_app("fitres.parameters", np.zeros(3))) == {}


def test_what_secure_aggregation_takes_out_is_not_missed() -> None:
    reply = RecordDict({"fitres.parameters": ArrayRecord()})
    sent = older_app("fitins.parameters", np.zeros(3))
    assert Check.STRUCTURE in findings(sent, reply)
    sent[SECAGG_RECORD] = ConfigRecord({"stage": "collect"})
    assert findings(sent, reply) == {}


def test_arrays_that_are_not_numpys_are_compared_by_what_they_declare() -> None:
    def own(shape: tuple[int, ...], stype: str = "own") -> RecordDict:
        return RecordDict({"arrays": ArrayRecord({"w": Array("float32", shape, stype, b"NaN")})})

    assert findings(own((3,)), own((3,))) == {}
    assert Check.STRUCTURE in findings(own((3,)), own((4,)))
    assert Check.STRUCTURE in findings(own((3,)), own((3,), "other"))


# -- finite --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "c8", "g"])
def test_numbers_that_are_not_finite_are_counted(dtype: str, bad: float) -> None:
    reply = np.zeros((2, 3), dtype)
    reply[1, 1:] = bad
    what = findings({"w": np.zeros((2, 3), dtype)}, {"w": reply})[Check.FINITE]
    assert what == "2 of the 6 numbers of 'arrays'/'w' are NaN or infinite"


def test_the_last_number_of_a_large_array_counts() -> None:
    large = np.zeros(200_001, np.float32)
    large[-1] = math.nan
    assert "1 of the 200001" in findings({"w": np.zeros_like(large)}, {"w": large})[Check.FINITE]


def bfloat16(*values: float) -> Array:
    """An array as ml_dtypes' bfloat16 comes out of ``numpy.save``: two bytes that numpy does not understand."""
    upper = np.frombuffer(struct.pack(f"<{len(values)}f", *values), np.uint16)[1::2]
    file = BytesIO()
    np.save(file, upper.copy().view("V2"))
    return Array("bfloat16", (len(values),), "numpy.ndarray", file.getvalue())


def test_a_bfloat16_is_a_number() -> None:
    def record(*values: float) -> RecordDict:
        return RecordDict({"arrays": ArrayRecord({"w": bfloat16(*values)})})

    assert findings(record(1.0, 2.0), record(3.0, -4.0)) == {}
    assert "1 of the 2" in findings(record(1.0, 2.0), record(math.nan, 2.0))[Check.FINITE]
    assert change_of(record(1.0, 2.0), record(4.0, 6.0)) == 5.0


def test_an_update_is_finite_in_records_of_its_own_too() -> None:
    reply = RecordDict({"own": arrays({"w": np.array([math.nan])})})
    assert Check.FINITE in findings(MODEL, reply)
    assert findings(MODEL, reply, update=False) == {}


def test_a_diverged_loss_is_no_fault() -> None:
    reply = RecordDict({"arrays": arrays(MODEL), "metrics": MetricRecord({"loss": math.nan, "num-examples": 3})})
    assert findings(MODEL, reply) == {}


# -- the norm of the change ------------------------------------------------------------------------------------------


def test_the_norm_is_over_all_numbers() -> None:
    sent = {"a": np.zeros((2, 2), np.float32), "b": np.array(1.0), "c": np.zeros(70_000, ">f8")}
    reply = {"a": np.full((2, 2), 1, np.float32), "b": np.array(3.0), "c": np.zeros(70_000)}
    reply["c"][-1] = 1.0
    assert change_of(sent, reply) == 3.0


@pytest.mark.parametrize(
    ("sent", "reply"),
    [
        (np.array([3, 250], np.uint8), np.array([6, 246], np.uint8)),
        (np.array([True, False, False] * 8 + [True]), np.zeros(25, bool)),
        (np.array([0j]), np.array([3 + 4j])),
    ],
    ids=["unsigned", "truth", "complex"],
)
def test_the_change_of_any_kind_of_number_is_measured(sent: np.ndarray, reply: np.ndarray) -> None:
    expected = math.sqrt(float(np.sum(np.abs(reply.astype(complex) - sent.astype(complex)) ** 2)))
    assert change_of({"w": sent}, {"w": reply}) == pytest.approx(expected)


def test_the_order_of_the_axes_in_memory_does_not_matter() -> None:
    matrix = np.arange(6.0).reshape(2, 3)
    assert change_of({"w": matrix}, {"w": np.asfortranarray(matrix)}) == 0.0


def test_what_cannot_be_compared_cannot_be_measured() -> None:
    for reply in (
        {"w": np.zeros(4)},
        {"v": np.zeros(3)},
        {"w": np.array(["a", "b", "c"])},
        RecordDict({"own": arrays({"w": np.zeros(3)})}),
        RecordDict({"metrics": MetricRecord({"loss": 1.0})}),
    ):
        assert change_of({"w": np.zeros(3)}, reply) is None


def test_what_was_sent_without_arrays_has_no_change() -> None:
    examination = found(RecordDict({"config": ConfigRecord({"lr": 0.1})}), MODEL, measure=True)
    assert examination == Examination((), None)


def test_a_change_without_end_has_a_norm_without_end() -> None:
    examination = found({"w": np.zeros(2)}, {"w": np.array([1e200, 0.0])}, measure=True)
    assert examination.norm == math.inf


# -- hostile contents ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [raw_block(b"a chunk"), cbor_block({"links": []}), cbor_block([1, []])])
def test_what_is_no_content_is_found(block: Block) -> None:
    blocks = Blocks({block.cid: block.data})
    sent = read_sent(blocks.put(RecordDict({"arrays": arrays(MODEL)})), blocks, None)
    (finding,) = examine(block.cid, blocks, None, sent, update=True)[0].findings
    assert finding.check is Check.READABLE


def test_a_block_that_is_away_is_no_finding() -> None:
    blocks = Blocks()
    root = blocks.put(RecordDict({"arrays": arrays(MODEL)}))
    sent = read_sent(root, blocks, None)
    del blocks[next(cid for cid in blocks if cid.is_raw)]
    with pytest.raises(MissingBlock):
        examine(root, blocks, None, sent, update=True)


@pytest.mark.parametrize("shape", [(2**60,), (2**31, 2**31, 2**31), (0, 2**62), (-1,)])
def test_a_declared_size_makes_room_for_nothing(shape: tuple[int, ...]) -> None:
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
    lie = RecordDict({"arrays": ArrayRecord({"w": Array("float64", shape, "numpy.ndarray", header.getvalue())})})
    tracemalloc.start()
    assert Check.STRUCTURE in findings({"w": np.zeros(3)}, lie)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_one_array_at_a_time_is_in_memory() -> None:
    size = 4 << 20
    model = {f"layer {at}": np.full(size, at, np.uint8).reshape(2, -1) for at in range(8)}
    blocks = Blocks()
    root = blocks.put(RecordDict({"arrays": arrays(model)}))
    tracemalloc.start()
    examine(root, blocks, None, read_sent(root, blocks, None), update=True, measured=opened_records(root, blocks, None))
    assert tracemalloc.get_traced_memory()[1] < 5 * size
    tracemalloc.stop()


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x03\x00"]))
def test_any_bytes_are_an_array_or_none(data: bytes, start: bytes) -> None:
    stored(Array("float32", (1,), "numpy.ndarray", start + data))


@given(st.text("{}()[]',:<f84descrshape_fortrandeTrue0123456789 ", max_size=120))
def test_any_header_is_read_or_refused(text: str) -> None:
    header = f"{text}\n".encode()
    stored(Array("", (), "numpy.ndarray", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header))


def test_a_long_name_is_cut() -> None:
    (what,) = findings({"w": np.zeros(3)}, {"v" * 1_000: np.zeros(3), "w": np.zeros(3)}).values()
    assert len(what) < 200


def test_of_what_was_sent_only_the_beginnings_are_read() -> None:
    blocks = Blocks()
    root = blocks.put(RecordDict({"arrays": arrays({"w": np.arange(1 << 20)})}))
    for cid in [cid for cid, data in blocks.items() if cid.is_raw and not data.startswith(b"\x93NUMPY")]:
        del blocks[cid]
    sent = read_sent(root, blocks, None)
    assert str(sent.records["arrays"]["w"]) == "int64[1048576]"
    assert sent.size == 8 << 20
