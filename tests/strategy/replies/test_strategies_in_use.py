"""What a strategy takes, learnt from its object, compared with what Flower's own code makes of the same replies."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from examined import Blocks, arrays
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.common import Parameters
from flwr.serverapp import strategy as newer
from hypothesis import given, settings
from hypothesis import strategies as st
from test_boosted_trees import model, saved

from protocol.replies.checks_and_limits import Admission, Check, Examination, FailedCheck
from protocol.replies.judged_replies import judge
from protocol.replies.reply_layout import Likeness
from protocol.replies.strategy_rule import Arrays, StrategyRule
from strategy.flower_compat import NORM_BIT, older_strategies, recorddict_compat, take_identity
from strategy.replies.examination import examine, opened_records, read_sent
from strategy.replies.strategies_in_use import StrategiesInUse, rule_of

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


def older_parameters(tensors: Mapping[str, np.ndarray]) -> ArrayRecord:
    """Arrays as Flower's older apps send them."""
    parameters = Parameters([Array(tensor).data for tensor in tensors.values()], "numpy.ndarray")
    return recorddict_compat.parameters_to_arrayrecord(parameters, keep_input=True)


def fitres(tensors: Mapping[str, np.ndarray], examples: float) -> RecordDict:
    """What a client of an older app answers."""
    return RecordDict(
        {
            "fitres.parameters": older_parameters(tensors),
            "fitres.num_examples": MetricRecord({"num_examples": examples}),
            "fitres.metrics": ConfigRecord(),
            "fitres.status": ConfigRecord({"code": 0, "message": ""}),
        }
    )


def refusals(
    strategy: object, replies: Sequence[RecordDict], *, train: bool = True, admission: Admission | None = None
) -> dict[int, FailedCheck]:
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


def taken(replies: Sequence[RecordDict], refused: Mapping[int, FailedCheck]) -> list[RecordDict]:
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


@st.composite
def varied(draw: st.DrawFn) -> list[RecordDict]:
    """Replies that differ in little: in one array, one metric, or a record more."""
    key, metric = draw(st.sampled_from(["a", "b"])), draw(st.sampled_from(["x", "num-examples"]))
    given, more = draw(tensors), draw(metrics)
    replies = []
    for _ in range(draw(st.integers(2, 4))):
        own, own_more = dict(given), dict(more)
        match draw(st.sampled_from(["array", "array", "metric", "record", "nothing"])):
            case "array":
                own[key] = np.ones(draw(st.sampled_from(SHAPES)), draw(st.sampled_from(DTYPES)))
            case "metric":
                own_more[metric] = draw(values if metric == "x" else weights)
        reply = RecordDict({"arrays": arrays(own), "metrics": MetricRecord(own_more)})
        if draw(st.integers(0, 9)) == 0:
            reply["config"] = draw(records)
            reply["other"] = reply.pop(draw(st.sampled_from(["arrays", "metrics"])))
        replies.append(reply)
    return replies


any_replies = st.one_of(varied(), varied(), st.lists(st.one_of(usual, odd), min_size=1, max_size=4))


@settings(max_examples=400)
@given(any_replies, st.booleans())
def test_fed_avg_raises_on_nothing_that_passes(replies: list[RecordDict], train: bool) -> None:
    left = taken(replies, refusals(newer.FedAvg(), replies, train=train))
    aggregates(newer.FedAvg(), left, train=train)


@settings(max_examples=400)
@given(any_replies, st.booleans())
def test_nothing_is_refused_that_fed_avg_takes(replies: list[RecordDict], train: bool) -> None:
    refused = refusals(newer.FedAvg(), replies, train=train)
    by_layout = [refusal for refusal in refused.values() if refusal.check is Check.STRUCTURE]
    assert not by_layout or raises(newer.FedAvg(), replies, train=train)


@settings(max_examples=100)
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


# -- older strategies, beside Flower's own code --------------------------------------------------------------------

older_records = st.one_of(tensors.map(older_parameters), st.builds(older_parameters, st.just({})))
older_usual = st.builds(fitres, tensors, weights)
older_odd = st.builds(
    lambda reply, name, record: RecordDict({**reply, name: record}),
    older_usual,
    st.sampled_from(["fitres.num_examples", "fitres.metrics", "fitres.status"]),
    st.sampled_from([MetricRecord({"num_examples": [1, 2]}), ConfigRecord({"code": 0}), ConfigRecord()]),
)
older_replies = st.lists(st.one_of(older_usual, older_odd), min_size=1, max_size=4)


def older_aggregates(strategy: older_strategies.Strategy, replies: Sequence[RecordDict]) -> None:
    """What Flower's older workflow does with these replies."""
    results = [(None, recorddict_compat.recorddict_to_fitres(reply, keep_input=True)) for reply in replies]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        strategy.aggregate_fit(1, results, [])  # type: ignore[arg-type]  # it reads no proxy


def older_raises(strategy: older_strategies.Strategy, replies: Sequence[RecordDict]) -> bool:
    try:
        older_aggregates(strategy, replies)
    except Exception:  # noqa: BLE001  # the question is whether there is any
        return True
    return False


def older_refusals(
    strategy: object, replies: Sequence[RecordDict], parameters: ArrayRecord | None = None
) -> dict[int, FailedCheck]:
    sent = RecordDict({"fitins.parameters": parameters or older_parameters(MODEL), "fitins.config": ConfigRecord()})
    verdicts = judge(Admission(), rule_of(strategy, MessageType.TRAIN), examined(sent, replies, train=True))
    return {id[0]: refusal for id, refusal in verdicts.refused.items()}


OLDER = [
    older_strategies.FedAvg,
    lambda: older_strategies.FedAvg(inplace=False),
    older_strategies.FedMedian,
    older_strategies.FaultTolerantFedAvg,
]


@settings(max_examples=150)
@given(older_replies, st.sampled_from(OLDER))
def test_no_older_strategy_raises_on_what_passes(
    replies: list[RecordDict], kind: Callable[[], older_strategies.Strategy]
) -> None:
    older_aggregates(kind(), taken(replies, older_refusals(kind(), replies)))


@settings(max_examples=150)
@given(older_replies)
def test_nothing_is_refused_that_the_older_fed_avg_takes(replies: list[RecordDict]) -> None:
    refused = older_refusals(older_strategies.FedAvg(), replies)
    by_layout = [refusal for refusal in refused.values() if refusal.check is Check.STRUCTURE]
    assert not by_layout or older_raises(older_strategies.FedAvg(), replies)


def test_an_older_apps_tensor_type_is_not_read() -> None:
    named = fitres(MODEL, 5)
    for array in named.array_records["fitres.parameters"].values():
        array.stype = "an app's own"
    assert not older_raises(older_strategies.FedAvg(), [named, fitres(MODEL, 5)])
    assert older_refusals(older_strategies.FedAvg(), [named, fitres(MODEL, 5)]) == {}


@pytest.mark.parametrize("place", range(3))
def test_bytes_that_are_no_trees_are_refused(place: int) -> None:
    replies = [of_trees(saved(model())) for _ in range(3)]
    replies[place] = of_trees(b"no JSON")
    sent = RecordDict({"arrays": arrays({"0": np.zeros(0, np.uint8)}), "config": ConfigRecord({"server-round": 1})})
    rule = rule_of(newer.FedXgbBagging(), MessageType.TRAIN)
    verdicts = judge(Admission(), rule, examined(sent, replies, train=True))
    (refusal,) = verdicts.refused.values()
    assert verdicts.refused.keys() == {bytes([place])}
    assert str(refusal).endswith("its array holds no boosted trees that can be added to others")


@pytest.mark.parametrize("place", range(3))
def test_an_older_apps_bytes_that_are_no_trees_are_refused(place: int) -> None:
    replies = [of_older_trees(saved(model())) for _ in range(3)]
    replies[place] = of_older_trees(b"no JSON")
    refused = older_refusals(older_strategies.FedXgbBagging(), replies, older_parameters({}))
    assert refused.keys() == {place}
    with pytest.raises(ValueError, match="Expecting value"):
        older_aggregates(older_strategies.FedXgbBagging(), replies)
    older_aggregates(older_strategies.FedXgbBagging(), taken(replies, refused))


def of_trees(data: bytes) -> RecordDict:
    """What a client of Flower's boosting examples answers."""
    return RecordDict(
        {"arrays": arrays({"0": np.frombuffer(data, np.uint8)}), "metrics": MetricRecord({"num-examples": 5})}
    )


def of_older_trees(data: bytes) -> RecordDict:
    trees = recorddict_compat.parameters_to_arrayrecord(Parameters([data], ""), keep_input=True)
    return RecordDict({**fitres(MODEL, 5), "fitres.parameters": trees})


# -- whose strategy it is ------------------------------------------------------------------------------------------


class HandsOn(newer.FedAvg):
    """As most apps' own strategies are."""

    def aggregate_train(self, server_round: int, replies: Any) -> Any:
        return super().aggregate_train(server_round, replies)


class Replaces(newer.FedAvg):
    """Makes something else of replies."""

    def aggregate_train(self, server_round: int, replies: Any) -> Any:
        return ArrayRecord(), MetricRecord()


class ReplacesTheCheck(newer.FedAvg):
    """Lets pass what Flower would not."""

    def _check_and_log_replies(self, replies: Any, is_train: bool, validate: bool = True) -> Any:
        return list(replies), []


def train_rule(strategy: object) -> StrategyRule:
    rule = rule_of(strategy, "train")
    assert rule is not None
    return rule


def test_a_strategy_that_hands_replies_on_is_flowers() -> None:
    assert train_rule(HandsOn()) == StrategyRule(
        "HandsOn",
        "num-examples",
        arrays=Arrays.MEAN,
        one_array_record=True,
        means_metrics=True,
        divides=True,
    )


@pytest.mark.parametrize("kind", [Replaces, ReplacesTheCheck])
def test_nothing_is_known_of_any_other_but_its_weights(kind: type[newer.FedAvg]) -> None:
    assert train_rule(kind(weighted_by_key="n")) == StrategyRule(kind.__name__, "n", own=True)


def test_a_function_of_the_apps_own_may_make_what_it_likes_of_metrics() -> None:
    strategy = newer.FedMedian(train_metrics_aggr_fn=lambda records, key: MetricRecord())
    assert not train_rule(strategy).means_metrics
    assert not train_rule(strategy).divides


def test_what_is_neither_training_nor_evaluation_is_not_the_strategys() -> None:
    assert rule_of(newer.FedAvg(), "query") is None
    assert rule_of(older_strategies.FedAvg(), "get_parameters") is not None


def test_each_thread_has_its_own_strategy_while_that_runs() -> None:
    strategies = StrategiesInUse()
    assert strategies.rule("train") is None
    with strategies.using(newer.FedAvg()):
        with ThreadPoolExecutor() as other:
            assert other.submit(strategies.rule, "train").result() is None
        with strategies.using(newer.FedMedian()):
            assert strategies.rule("train") == train_rule(newer.FedMedian())
        assert strategies.rule("train") == train_rule(newer.FedAvg())
    assert strategies.rule("train") is None


def test_a_private_strategy_takes_what_the_one_in_it_takes_and_computes_with_the_model() -> None:
    private = newer.DifferentialPrivacyServerSideFixedClipping(newer.FedMedian(), 0.1, 1.0, 3)
    rule = train_rule(private)
    assert (rule.arrays, rule.as_sent, rule.by_place) == (Arrays.STACK, Likeness.IN_ORDER, True)
    adaptive = newer.DifferentialPrivacyClientSideAdaptiveClipping(newer.FedAvg(), 0.1, 3)
    assert train_rule(adaptive).numbers == (NORM_BIT,)


def test_every_strategy_that_flower_has_is_known() -> None:
    """If Flower has a new strategy, look what it raises on."""
    known = {
        Arrays.MEAN: {"FedAvg", "FedProx", "FedAvgM", "FedAdagrad", "FedAdam", "FedYogi"},
        Arrays.STACK: {"FedMedian", "FedTrimmedAvg", "Krum", "MultiKrum", "Bulyan", "QFedAvg"},
        Arrays.TREES: {"FedXgbBagging"},
        Arrays.IGNORED: {"FedXgbCyclic"},
    }
    found: dict[Arrays, set[str]] = {arrays: set() for arrays in known}
    for name in newer.__all__:
        if name in ("Strategy", "Result") or name.startswith("DifferentialPrivacy"):
            continue
        options = {"client_learning_rate": 0.1} if name == "QFedAvg" else {}
        found[train_rule(getattr(newer, name)(**options)).arrays].add(name)
    assert found == known
