"""Whole runs of Flower's strategies in which one client of several sends what would end the run under Flower."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from recorded_app import RecordedApp, Recorder
from small_leader import APPS, Member, MemoryStore, start_for

from protocol.app.calls import Answered, CloseEntry, ErrorCode, Finished, Outgoing, Start
from protocol.replies.strategy_rule import StrategyRule
from strategy.contents.codec import ContentWriter, decode
from strategy.flower_compat import SUPERLINK_NODE_ID
from strategy.hosting.client_host import ClientHost
from strategy.hosting.server_host import run_server_app

Spoil = Callable[[RecordDict], object]

ODD = 12
"""The node that sends it."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@dataclass
class OddMember(Member):
    """A client whose answers to messages of a type are changed after its app made them."""

    store: MemoryStore = field(default_factory=MemoryStore)
    type: str = "train"
    spoil: Spoil = lambda records: None

    def answer(self, message_id: bytes, message: Outgoing, created: float) -> Answered:
        answered = Member.answer(self, message_id, message, created)
        if message.type != self.type or answered.content is None:
            return answered
        records = decode(answered.content, self.store, None)
        self.spoil(records)
        return replace(answered, content=ContentWriter(self.store).write(records, None))


class Judging(Recorder):
    """A leader that refuses what a peer would."""

    def __init__(self, store: MemoryStore, members: dict[int, Member]) -> None:
        super().__init__(store, members)
        self.reasons: list[str] = []

    def _check_admitted(self, messages: Iterable[bytes], rules: Mapping[str, StrategyRule]) -> None:
        for id, why in self.refusals(messages, rules).items():
            self.reasons.append(why)
            self.ready[id] = replace(self.ready[id], content=None, code=ErrorCode.REPLY_MESSAGE_UNAVAILABLE, reason=why)


@dataclass
class Outcome:
    finished: Finished
    leader: Judging
    recorded: RecordedApp

    @property
    def replays(self) -> bool:
        """Whether a replay, which judges nothing, comes to the same end."""
        end, _ = self.recorded.replay()
        return isinstance(end, Finished) and replace(end, call=self.finished.call) == self.finished

    @property
    def model(self) -> ArrayRecord:
        assert self.finished.model is not None
        return decode(self.finished.model, self.leader.store, None).array_records["arrays"]


def run(
    scratch: Path, spoil: Spoil, config: str = "", *, app: str = "every_strategy", type: str = "train", **start: bool
) -> Outcome:
    """Run an app with five clients, one of whose answers are spoiled."""
    folder, store = APPS / app, MemoryStore()
    members: dict[int, Member] = {}
    for number in range(5):
        begins = start_for(folder, 11 + number, config, **{"partition-id": number, "num-partitions": 5})
        host = ClientHost(folder, begins, store)
        odd = OddMember(host, store=store, type=type, spoil=spoil)
        members[begins.node] = odd if begins.node == ODD else Member(host)
    leader = Judging(store, members)
    server: Start = replace(start_for(folder, SUPERLINK_NODE_ID, config), **start)
    finished = run_server_app(folder, server, leader, store, scratch)
    assert isinstance(finished, Finished)
    close = CloseEntry(0, leader.head(), raised=bool(finished.error), model=finished.model)
    return Outcome(finished, leader, RecordedApp(folder, server, store, [*leader.entries, close], scratch))


# -- what it sends ---------------------------------------------------------------------------------------------------


def no_arrays(records: RecordDict) -> None:
    del records["arrays"]


def renamed(records: RecordDict) -> None:
    records["arrayz"] = records.pop("arrays")


def doubled(records: RecordDict) -> None:
    records["more"] = ArrayRecord(dict(records.array_records["arrays"]))


def no_metrics(records: RecordDict) -> None:
    del records["metrics"]


def other_metrics(records: RecordDict) -> None:
    records.metric_records["metrics"]["more"] = 1.0


def no_loss(records: RecordDict) -> None:
    del records.metric_records["metrics"]["train_loss"]


def no_weight(records: RecordDict) -> None:
    del records.metric_records["metrics"]["num-examples"]


def listed_weight(records: RecordDict) -> None:
    records.metric_records["metrics"]["num-examples"] = [10, 10]


def longer_list(records: RecordDict) -> None:
    records.metric_records["metrics"]["pair"] = [0.1, 0.2, 0.3]


def number_for_list(records: RecordDict) -> None:
    records.metric_records["metrics"]["pair"] = 0.1


def other_shape(records: RecordDict) -> None:
    arrays = records.array_records["arrays"]
    for key, array in list(arrays.items()):
        arrays[key] = Array(np.zeros((*array.numpy().shape, 7)))


def other_keys(records: RecordDict) -> None:
    arrays = records.array_records["arrays"]
    records["arrays"] = ArrayRecord({f"{key}.0": array for key, array in arrays.items()})


def texts(records: RecordDict) -> None:
    arrays = records.array_records["arrays"]
    for key, array in list(arrays.items()):
        arrays[key] = Array(np.full(array.numpy().shape, "text"))


def no_numpy(records: RecordDict) -> None:
    arrays = records.array_records["arrays"]
    for key in list(arrays):
        arrays[key] = Array("float32", (3,), "numpy.ndarray", b"no array")


def weight(value: float) -> Spoil:
    def spoil(records: RecordDict) -> None:
        records.metric_records["metrics"]["num-examples"] = value

    spoil.__name__ = f"weight {value}"
    return spoil


ODDITIES = [
    no_arrays,
    renamed,
    doubled,
    no_metrics,
    other_metrics,
    no_weight,
    listed_weight,
    longer_list,
    number_for_list,
    other_shape,
    other_keys,
    texts,
    no_numpy,
    weight(-199),
    weight(float("nan")),
    weight(float("inf")),
]
STRATEGIES = ["FedAvg", "FedAvgM", "FedAdam", "FedMedian", "FedTrimmedAvg", "Krum", "MultiKrum", "Bulyan", "QFedAvg"]


@pytest.mark.parametrize("spoil", ODDITIES, ids=lambda spoil: spoil.__name__)
def test_an_odd_reply_is_refused_and_the_run_goes_on(spoil: Spoil, tmp_path: Path) -> None:
    done = run(tmp_path, spoil, 'strategy="FedAvg"')

    assert done.finished.error == ""
    assert len(done.leader.reasons) >= 2  # one a round
    assert all(np.isfinite(array.numpy()).all() for array in done.model.values())
    assert done.replays


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_strategy_of_flowers_raises_on_one_odd_reply(strategy: str, tmp_path: Path) -> None:
    done = run(tmp_path, no_loss if strategy == "QFedAvg" else other_shape, f'strategy="{strategy}"')

    assert done.finished.error == ""
    assert len(done.leader.reasons) >= 2


def loss(value: float) -> Spoil:
    def spoil(records: RecordDict) -> None:
        records.metric_records["metrics"]["train_loss"] = value

    spoil.__name__ = f"loss {value}"
    return spoil


@pytest.mark.parametrize(
    "spoil",
    [loss(float("nan")), *(pytest.param(loss(value), marks=pytest.mark.all) for value in (float("inf"), -3))],
    ids=lambda spoil: spoil.__name__,
)
def test_a_loss_is_a_weight_if_the_strategy_weights_by_it(spoil: Spoil, tmp_path: Path) -> None:
    done = run(tmp_path, spoil, 'strategy="QFedAvg"')

    assert done.finished.error == ""
    assert len(done.leader.reasons) >= 2
    assert all(np.isfinite(array.numpy()).all() for array in done.model.values())


def test_any_loss_is_a_metric_like_others_elsewhere(tmp_path: Path) -> None:
    done = run(tmp_path, loss(float("nan")), 'strategy="FedAvg"')

    assert (done.finished.error, done.leader.reasons) == ("", [])


def in_bytes(data: bytes) -> Spoil:
    def spoil(records: RecordDict) -> None:
        records["arrays"] = ArrayRecord([np.frombuffer(data, np.uint8)])

    spoil.__name__ = repr(data[:20])
    return spoil


_HALF_A_TREE = b'{"learner": {"gradient_booster": {"model": {"gbtree_model_param": {"num_trees": "1"}}}}}'


@pytest.mark.parametrize(
    "spoil",
    [in_bytes(b""), in_bytes(b"{"), in_bytes(b"\xff\xfe"), in_bytes(b"{" * 100_000), in_bytes(_HALF_A_TREE)],
    ids=lambda spoil: spoil.__name__,
)
def test_what_is_no_tree_does_not_end_the_run_of_those_that_are(spoil: Spoil, tmp_path: Path) -> None:
    done = run(tmp_path, spoil, 'strategy="FedXgbBagging"')

    assert done.finished.error == ""
    assert len(done.leader.reasons) >= 2
    assert all("holds no boosted trees" in reason for reason in done.leader.reasons)
    assert done.replays


@pytest.mark.parametrize("spoil", [no_metrics, other_metrics, no_weight, listed_weight, weight(-1)])
def test_evaluations_are_judged_as_well(spoil: Spoil, tmp_path: Path) -> None:
    done = run(tmp_path, spoil, 'strategy="FedAvg"', type="evaluate")

    assert done.finished.error == ""
    assert len(done.leader.reasons) >= 2


def test_an_older_apps_odd_reply_is_refused(tmp_path: Path) -> None:
    def no_examples(records: RecordDict) -> None:
        del records["fitres.num_examples"]

    def fewer(records: RecordDict) -> None:
        records.array_records["fitres.parameters"].pop("0")

    def negative(records: RecordDict) -> None:
        records["fitres.num_examples"] = MetricRecord({"num_examples": -5})

    for spoil in (no_examples, fewer, negative):
        done = run(tmp_path, spoil, 'kind="scalars"', app="older_traffic")
        assert (done.finished.error, spoil.__name__) == ("", spoil.__name__)
        assert len(done.leader.reasons) >= 1


# -- what nobody could have refused ----------------------------------------------------------------------------------


def test_a_model_that_is_lost_ends_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, lambda records: None, "rounds=3 after=2", app="losing")

    assert "round 3: the model that the app was about to send out is lost: 1 of the 4 numbers" in done.finished.error
    assert len(done.leader.pushes) == 2  # of three rounds
    assert done.finished.model is None
    assert done.replays


def test_a_final_model_that_is_lost_ends_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, lambda records: None, "rounds=2 after=2", app="losing")

    assert "'the final model'/'w' have become NaN or infinite" in done.finished.error
    assert done.replays


def test_an_owner_may_let_a_lost_model_go_out(tmp_path: Path) -> None:
    done = run(tmp_path, lambda records: None, "rounds=3 after=1", app="losing", any_model=True)

    assert done.finished.error == ""
    assert done.replays


def test_an_app_may_swallow_what_it_likes_and_is_at_its_end_all_the_same(tmp_path: Path) -> None:
    done = run(tmp_path, lambda records: None, "rounds=3 after=1 swallow=true", app="losing")

    assert "is lost" in done.finished.error


def test_what_the_first_model_had_may_stay(tmp_path: Path) -> None:
    done = run(tmp_path, lambda records: None, "rounds=2 after=9 masked=true", app="losing")

    assert done.finished.error == ""
    assert np.isnan(done.model["w"].numpy()[0])


def test_a_run_in_which_no_training_reply_was_valid_says_so(tmp_path: Path) -> None:
    done = run(tmp_path, lambda records: None, "rounds=2 after=9 weight=0", app="losing")

    assert done.finished.error.startswith(
        "no training reply was ever valid, of 10 that were asked for; the last one, of round 2: "
    )
    assert "add up to 0" in done.finished.error
    assert done.finished.model is None
    assert done.replays


def test_one_valid_reply_is_enough(tmp_path: Path) -> None:
    done = run(tmp_path, weight(5), "rounds=2 after=9 weight=0", app="losing")

    assert (done.finished.error, done.leader.reasons) == ("", [])
