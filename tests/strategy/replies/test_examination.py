"""`strategy.replies.examination`: what a reply looks like, and what is found in it that no app asked for."""

from __future__ import annotations

import math
import struct
import tracemalloc
from collections.abc import Mapping
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from examined import Blocks, arrays
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.common import Code, FitRes, Parameters, Status
from hypothesis import given
from hypothesis import strategies as st

from protocol.blocks.cid import Block, MissingBlock, cbor_block, raw_block
from protocol.replies.checks_and_limits import Check, Examination
from protocol.replies.reply_layout import Arithmetic, Likeness, NotFinite, ReplyLayout
from strategy.contents.codec import SMALL_SIZE
from strategy.contents.npy import stored
from strategy.flower_compat import SECAGG_RECORD, recorddict_compat
from strategy.replies.examination import examine, opened_records, read_sent

Tensors = Mapping[str, np.ndarray]
MODEL: Tensors = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "large": np.ones(SMALL_SIZE, np.float32),
    "scalar": np.array(1.5),
    "empty": np.zeros((0, 4), np.float16),
    "steps": np.array(7, np.int64),
    "mask": np.array([True, False]),
}


def record(tensors: Tensors) -> RecordDict:
    """Tensors in a record called ``arrays``."""
    return RecordDict({"arrays": arrays(tensors)})


def found(
    sent: RecordDict | Tensors, reply: RecordDict | Tensors, *, update: bool = True, measure: bool = False
) -> Examination:
    """What is found in an answer."""
    blocks = Blocks()
    root, answer = (blocks.put(each if isinstance(each, RecordDict) else record(each)) for each in (sent, reply))
    return examine(
        answer,
        blocks,
        None,
        read_sent(root, blocks, None),
        lambda: opened_records(root, blocks, None),
        update=update,
        measure=measure,
    )[0]


def failed(sent: RecordDict | Tensors, reply: RecordDict | Tensors, *, update: bool = True) -> dict[Check, str]:
    return {each.check: each.what for each in found(sent, reply, update=update).failed}


def layout(sent: RecordDict | Tensors, reply: RecordDict | Tensors) -> ReplyLayout:
    given = found(sent, reply).layout
    assert given is not None
    return given


def likeness(sent: RecordDict | Tensors, reply: RecordDict | Tensors) -> Likeness:
    return layout(sent, reply).likeness


def change_of(sent: RecordDict | Tensors, reply: RecordDict | Tensors) -> float | None:
    """The norm, or None if a failed check says that there is none."""
    return found(sent, reply, measure=True).norm


# -- layout --------------------------------------------------------------------------------------------------------


def test_an_update_of_the_same_layout_is_as_dispatched() -> None:
    reply = {key: each.copy() for key, each in MODEL.items()}
    assert failed(MODEL, reply) == {}
    assert likeness(MODEL, reply) is Likeness.SAME


def test_a_layout_says_what_the_bytes_of_each_array_are() -> None:
    (given,) = layout(MODEL, MODEL).arrays
    assert [str(array) for array in given.arrays] == [
        "float32[2, 3]",
        f"float32[{SMALL_SIZE}]",
        "float64[]",
        "float16[0, 4]",
        "int64[]",
        "bool[2]",
    ]
    assert [array.arithmetic for array in given.arrays] == [Arithmetic.REAL] * 4 + [Arithmetic.WHOLE] * 2


@pytest.mark.parametrize(
    ("changed", "like"),
    [
        ({"weight": np.zeros((3, 2), np.float32)}, Likeness.NONE),
        ({"scalar": np.array([1.5])}, Likeness.NONE),
        ({"empty": np.zeros((0, 5), np.float16)}, Likeness.NONE),
        (
            {"weight": np.zeros((2, 3))},
            Likeness.IN_ORDER,
        ),
        ({"steps": np.array(7.0)}, Likeness.IN_ORDER),
        ({"weight": np.zeros((2, 3), ">f4")}, Likeness.SAME),
        ({"weight": np.asfortranarray(np.zeros((2, 3), np.float32))}, Likeness.SAME),
    ],
)
def test_another_shape_is_less_like_what_was_dispatched_than_another_type(changed: Tensors, like: Likeness) -> None:
    assert likeness(MODEL, {**MODEL, **changed}) is like


def test_keys_that_are_missing_or_new_or_in_another_order_are_less_like_it() -> None:
    some = dict(list(MODEL.items())[1:])
    assert likeness(MODEL, some) is likeness(some, MODEL) is Likeness.NONE
    assert likeness(MODEL, dict(reversed(MODEL.items()))) is Likeness.ANY_ORDER


def test_a_record_of_another_name_is_the_same_if_both_are_alone() -> None:
    reply = RecordDict({"trained": arrays(MODEL)})
    assert likeness(MODEL, reply) is Likeness.IN_ORDER
    assert change_of(MODEL, reply) == 0.0
    reply["more"] = arrays(MODEL)
    assert likeness(MODEL, reply) is Likeness.NONE


def test_what_an_array_declares_is_not_believed() -> None:
    lie = Array(dtype="float32", shape=(2, 3), stype="numpy.ndarray", data=Array(np.zeros(5)).data)
    reply = RecordDict({"arrays": ArrayRecord({"w": lie})})
    assert str(layout(MODEL, reply).arrays[0].arrays[0]) == "float64[5]"


@pytest.mark.parametrize(
    "data", [b"", b"\x93NUMPY", b"PK\x03\x04", b"\x80\x04N."], ids=["none", "cut", "zip", "pickle"]
)
def test_bytes_that_numpy_would_not_read_are_found(data: bytes) -> None:
    reply = RecordDict({"arrays": ArrayRecord({"w": Array("float32", (1,), "numpy.ndarray", data)})})
    assert layout(MODEL, reply).arrays[0].arrays[0].arithmetic is Arithmetic.UNREADABLE


def test_metrics_have_their_numbers_and_the_lengths_of_their_lists() -> None:
    given = MetricRecord({"num-examples": 2**64 - 1, "loss": -0.5, "each": [1.0, 2.0], "none": []})
    (metrics,) = layout(MODEL, RecordDict({"m": given})).metrics
    found = [(metric.length, metric.number) for metric in metrics.metrics]
    assert found == [(None, 2.0**64), (None, -0.5), (2, 0.0), (0, 0.0)]


def older_app(record: str, *tensors: np.ndarray) -> RecordDict:
    """Parameters as Flower's older apps send them: without dtypes and shapes."""
    data = [Array(tensor).data for tensor in tensors]
    parameters = Parameters(data, "numpy.ndarray" if data else "")
    return RecordDict({record: recorddict_compat.parameters_to_arrayrecord(parameters, keep_input=True)})


def test_the_parameters_of_older_apps_are_compared_though_their_records_have_two_names() -> None:
    sent = older_app("fitins.parameters", np.zeros((2, 3)), np.zeros(3))
    assert likeness(sent, older_app("fitres.parameters", np.ones((2, 3)), np.ones(3))) is Likeness.IN_ORDER
    assert likeness(sent, older_app("fitres.parameters", np.ones((2, 3)), np.ones(4))) is Likeness.NONE
    assert likeness(sent, older_app("fitres.parameters")) is Likeness.NONE


def fitres(code: Code = Code.OK) -> RecordDict:
    """What a client of an older app answers."""
    answer = FitRes(Status(code, ""), Parameters([], "numpy.ndarray"), 10, {"loss": 0.5})
    return recorddict_compat.fitres_to_recorddict(answer, keep_input=True)


def test_an_older_apps_reply_is_one_that_flower_can_read() -> None:
    sent = older_app("fitins.parameters", np.zeros(3))
    assert (layout(sent, fitres()).older, layout(sent, fitres()).declined) == ("", False)
    assert layout(sent, fitres(Code.FIT_NOT_IMPLEMENTED)).declined
    for name in fitres():
        reply = fitres()
        del reply[name]
        assert "Flower cannot read it as a fitres: KeyError" in layout(sent, reply).older, name


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("fitres.status", {"code": 77, "message": ""}),
        ("fitres.status", {"code": 0}),
        ("fitres.metrics", {"each": [1, 2]}),
    ],
)
def test_a_value_that_flower_cannot_read_of_an_older_app_is_found(name: str, config: dict[str, Any]) -> None:
    reply = fitres()
    reply[name] = ConfigRecord(config)
    assert "Flower cannot read it" in layout(older_app("fitins.parameters", np.zeros(3)), reply).older


def test_what_secure_aggregation_masks_says_so() -> None:
    sent = older_app("fitins.parameters", np.zeros(3))
    assert not layout(sent, RecordDict()).masked
    sent[SECAGG_RECORD] = ConfigRecord({"stage": "collect"})
    assert layout(sent, RecordDict()).masked


# -- finite --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "c8", "g"])
def test_numbers_that_are_not_finite_are_counted(dtype: str, bad: float) -> None:
    reply = np.zeros((2, 3), dtype)
    reply[1, 1:] = bad
    what = failed({"w": np.zeros((2, 3), dtype)}, {"w": reply})[Check.FINITE]
    assert what == "2 of the 6 numbers of 'arrays'/'w' are NaN or infinite"


def test_the_last_number_of_a_large_array_counts() -> None:
    large = np.zeros(200_001, np.float32)
    large[-1] = math.nan
    assert "1 of the 200001" in failed({"w": np.zeros_like(large)}, {"w": large})[Check.FINITE]


def bfloat16(*values: float) -> Array:
    """An array as ml_dtypes' bfloat16 comes out of ``numpy.save``: two bytes that numpy does not understand."""
    upper = np.frombuffer(struct.pack(f"<{len(values)}f", *values), np.uint16)[1::2]
    file = BytesIO()
    np.save(file, upper.copy().view("V2"))
    return Array("bfloat16", (len(values),), "numpy.ndarray", file.getvalue())


def test_a_bfloat16_is_a_number() -> None:
    def model(*values: float) -> RecordDict:
        return RecordDict({"arrays": ArrayRecord({"w": bfloat16(*values)})})

    assert failed(model(1.0, 2.0), model(3.0, -4.0)) == {}
    assert "1 of the 2" in failed(model(1.0, 2.0), model(math.nan, 2.0))[Check.FINITE]
    assert failed(model(math.nan, 2.0), model(math.nan, 3.0)) == {}
    assert change_of(model(1.0, 2.0), model(4.0, 6.0)) == 5.0


def test_what_was_not_finite_when_it_was_dispatched_need_not_be() -> None:
    sent = np.array([[0.0, -math.inf], [math.nan, 0.0]])
    assert failed({"w": sent}, {"w": np.asfortranarray(sent)}) == {}
    more = sent.copy()
    more[1] = math.inf
    assert failed({"w": sent}, {"w": more})[Check.FINITE] == "1 of the 4 numbers of 'arrays'/'w' are NaN or infinite"


def test_an_array_that_answers_none_is_compared_with_the_others() -> None:
    reply = {"own": np.array([math.nan, 1.0])}
    assert failed(MODEL, reply) == {}
    assert layout(MODEL, reply).not_finite == (NotFinite("arrays", "own", 1, 2),)


def test_only_updates_have_to_be_finite() -> None:
    assert failed({"w": np.zeros(1)}, {"w": np.array([math.nan])}, update=False) == {}


def test_a_diverged_loss_is_no_fault() -> None:
    reply = RecordDict({"arrays": arrays(MODEL), "metrics": MetricRecord({"loss": math.nan, "num-examples": 3})})
    assert failed(MODEL, reply) == {}


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
        RecordDict({"own": arrays({"w": np.zeros(3)}), "more": arrays({})}),
        RecordDict({"metrics": MetricRecord({"loss": 1.0})}),
    ):
        assert change_of({"w": np.zeros(3)}, reply) is None


def test_what_was_sent_without_arrays_has_no_change() -> None:
    examination = found(RecordDict({"config": ConfigRecord({"lr": 0.1})}), MODEL, measure=True)
    assert (examination.failed, examination.norm) == ((), None)


def test_a_change_without_end_has_a_norm_without_end() -> None:
    examination = found({"w": np.zeros(2)}, {"w": np.array([1e200, 0.0])}, measure=True)
    assert examination.norm == math.inf


# -- hostile contents ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [raw_block(b"a chunk"), cbor_block({"links": []}), cbor_block([1, []])])
def test_what_is_no_content_is_found(block: Block) -> None:
    blocks = Blocks({block.cid: block.data})
    sent = read_sent(blocks.put(RecordDict({"arrays": arrays(MODEL)})), blocks, None)
    (only,) = examine(block.cid, blocks, None, sent, RecordDict, update=True)[0].failed
    assert only.check is Check.READABLE


def test_a_block_that_is_away_fails_no_check() -> None:
    blocks = Blocks()
    root = blocks.put(RecordDict({"arrays": arrays(MODEL)}))
    sent = read_sent(root, blocks, None)
    del blocks[next(cid for cid in blocks if cid.is_raw)]
    with pytest.raises(MissingBlock):
        examine(root, blocks, None, sent, RecordDict, update=True)


@pytest.mark.parametrize("shape", [(2**60,), (2**31, 2**31, 2**31), (0, 2**62), (-1,)])
def test_a_declared_size_makes_room_for_nothing(shape: tuple[int, ...]) -> None:
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
    lie = RecordDict({"arrays": ArrayRecord({"w": Array("float64", shape, "numpy.ndarray", header.getvalue())})})
    tracemalloc.start()
    assert layout({"w": np.zeros(3)}, lie).arrays[0].arrays[0].arithmetic is Arithmetic.UNREADABLE
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_one_array_at_a_time_is_in_memory() -> None:
    size = 4 << 20
    model = {f"layer {at}": np.full(size, at, np.uint8).reshape(2, -1) for at in range(8)}
    blocks = Blocks()
    root = blocks.put(RecordDict({"arrays": arrays(model)}))
    tracemalloc.start()
    reopen = partial(opened_records, root, blocks, None)
    examine(root, blocks, None, read_sent(root, blocks, None), reopen, update=True, measure=True)
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
    name = "v" * 1_000
    (what,) = failed({name: np.zeros(3)}, {name: np.full(3, math.nan)}).values()
    assert len(what) < 200


def test_only_the_beginnings_of_what_was_sent_are_read() -> None:
    blocks = Blocks()
    root = blocks.put(RecordDict({"arrays": arrays({"w": np.arange(1 << 20)})}))
    for cid in [cid for cid, data in blocks.items() if cid.is_raw and not data.startswith(b"\x93NUMPY")]:
        del blocks[cid]
    sent = read_sent(root, blocks, None)
    assert str(sent.records["arrays"]["w"].named("w")) == "int64[1048576]"
    assert sent.size == 8 << 20
