"""What a strategy takes, learnt from its object, compared with what Flower's own code makes of the same replies."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from examined import Blocks, arrays
from flwr.app import ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import strategy as newer
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.admission import Admission, Check, Examination, Refusal
from protocol.judging import judge
from strategy.admission import examine, opened_records, read_sent
from strategy.flower_compat import take_identity
from strategy.strategy_rules import rule_of

MODEL = {"a": np.zeros((2, 3), np.float32), "b": np.zeros(3)}
MEANS = [newer.FedAvg, newer.FedProx, newer.FedAvgM, newer.FedAdam, newer.FedYogi, newer.FedAdagrad]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    take_identity(1, 1)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def update(tensors: Mapping[str, np.ndarray] = MODEL, record: str = "arrays", **metrics: Any) -> RecordDict:
    """An ordinary update."""
    given = {"num-examples": 10, "loss": 0.5, **metrics}
    values = MetricRecord({key.replace("_", "-"): value for key, value in given.items() if value is not None})
    return RecordDict({record: arrays(tensors), "metrics": values})


def examined(sent: RecordDict, replies: Sequence[RecordDict], *, train: bool) -> dict[bytes, Examination]:
    blocks = Blocks()
    root = blocks.put(sent)
    known = read_sent(root, blocks, None)
    return {
        bytes([at]): examine(
            blocks.put(reply), blocks, None, known, lambda: opened_records(root, blocks, None), update=train
        )[0]
        for at, reply in enumerate(replies)
    }


def refusals(
    strategy: object, replies: Sequence[RecordDict], *, train: bool = True, admission: Admission | None = None
) -> dict[int, Refusal]:
    """Which of these replies are refused, by their place."""
    sent = RecordDict({"arrays": arrays(MODEL), "config": ConfigRecord({"server-round": 1})})
    rule = rule_of(strategy, MessageType.TRAIN if train else MessageType.EVALUATE)
    verdicts = judge(admission or Admission(), rule, examined(sent, replies, train=train))
    return {id[0]: refusal for id, refusal in verdicts.refused.items()}


def aggregates(strategy: Any, replies: Sequence[RecordDict], *, train: bool = True) -> None:
    """Let Flower's strategy do its work; raises what it raises."""
    messages = []
    for node, content in enumerate(replies, 1):
        asked = Message(RecordDict(), node, "train")
        asked.metadata.__dict__["_message_id"] = str(node)
        copy = RecordDict({name: type(record)(dict(record)) for name, record in content.items()})
        messages.append(Message(copy, reply_to=asked))
    if train and isinstance(strategy, newer.FedAvg):
        strategy.configure_train(1, arrays(MODEL), ConfigRecord(), Nodes())  # type: ignore[arg-type]  # all it asks
    with np.errstate(all="ignore"):
        (strategy.aggregate_train if train else strategy.aggregate_evaluate)(1, messages)


class Nodes:
    """A Grid with two nodes."""

    def get_node_ids(self) -> list[int]:
        return [1, 2]


def raises(strategy: Any, replies: Sequence[RecordDict], *, train: bool = True) -> bool:
    try:
        aggregates(strategy, replies, train=train)
    except Exception:  # noqa: BLE001  # the question is whether there is any
        return True
    return False


def taken(replies: Sequence[RecordDict], refused: Mapping[int, Refusal]) -> list[RecordDict]:
    return [reply for at, reply in enumerate(replies) if at not in refused]


# -- any replies, beside Flower's own code -------------------------------------------------------------------------

SHAPES = [(), (1,), (3,), (1, 3), (2, 3), (2, 1), (0,), (0, 3)]
DTYPES = ["f2", "f4", ">f8", "i8", "u1", "?", "c8", "U1"]
NAMES = ["arrays", "metrics", "config"]

tensors = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.builds(lambda shape, dtype: np.ones(shape, dtype), st.sampled_from(SHAPES), st.sampled_from(DTYPES)),
    max_size=2,
)
values = st.one_of(
    st.sampled_from([0, 1, 5, 2.5, 0.0, 2**64 - 1, float("nan"), float("inf")]),
    st.lists(st.sampled_from([1.0, float("nan")]), max_size=2),
    st.lists(st.sampled_from([1, 2**64 - 1]), max_size=2),
)
weights = st.sampled_from([0, 1, 3, 2.5, 5e-324, 1e300])
metrics = st.builds(
    lambda more, weight: {"num-examples": weight, **more}, st.dictionaries(st.sampled_from(["x", "y"]), values), weights
)
records = st.one_of(
    tensors.map(arrays),
    metrics.map(MetricRecord),
    st.dictionaries(st.sampled_from(["a", "b", "x", "num-examples"]), st.just("text")).map(ConfigRecord),
)
odd = st.dictionaries(st.sampled_from(NAMES), records, max_size=3).map(RecordDict)
usual = st.builds(
    lambda given, more: RecordDict({"arrays": arrays(given), "metrics": MetricRecord(more)}), tensors, metrics
)
any_replies = st.lists(st.one_of(usual, odd), min_size=1, max_size=4)


@settings(max_examples=400, deadline=None)
@given(any_replies, st.booleans())
def test_fed_avg_raises_on_nothing_that_passes(replies: list[RecordDict], train: bool) -> None:
    left = taken(replies, refusals(newer.FedAvg(), replies, train=train))
    aggregates(newer.FedAvg(), left, train=train)


@settings(max_examples=400, deadline=None)
@given(any_replies, st.booleans())
def test_nothing_is_refused_that_fed_avg_takes(replies: list[RecordDict], train: bool) -> None:
    refused = refusals(newer.FedAvg(), replies, train=train)
    by_layout = [refusal for refusal in refused.values() if refusal.check is Check.STRUCTURE]
    assert not by_layout or raises(newer.FedAvg(), replies, train=train)


@settings(max_examples=100, deadline=None)
@given(usual, odd, st.integers(0, 3), st.sampled_from([*MEANS, newer.FedMedian, newer.FedTrimmedAvg, newer.Krum]))
def test_one_odd_reply_of_four_does_not_end_the_run(
    usual: RecordDict, odd: RecordDict, place: int, kind: Callable[[], newer.FedAvg]
) -> None:
    replies = [usual] * 3
    if raises(kind(), replies):
        return  # the app's own fault, or the strategy's
    replies.insert(place, odd)
    left = taken(replies, refusals(kind(), replies))
    assert len(left) >= 3
    aggregates(kind(), left)
