"""Honest apps replay bit for bit, and what differs is told with its place: whole runs, in one process to be fast."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from flwr.serverapp import strategy as strategies
from recorded_app import RecordedApp, recorded_app

from protocol.app.calls import CloseEntry, CollectEntry, DispatchEntry, Diverged, Finished, Replayed
from strategy.contents.codec import ContentWriter, decode
from strategy.contents.difference import difference

STRATEGIES = sorted(set(strategies.__all__) - {"Result", "Strategy"})


def assert_equal(recorded: RecordedApp, errors: int = 0) -> None:
    """A replay ends as the run did, having compared every message; ``errors`` of the replies were errors."""
    assert recorded.errors == errors
    ending, pipe = recorded.replay()
    close = recorded.entries[-1]
    assert isinstance(close, CloseEntry)
    assert isinstance(ending, Finished), ending
    assert (ending.model, ending.error) == (close.model, "")
    dispatches = [entry for entry in recorded.entries if isinstance(entry, DispatchEntry)]
    assert pipe.compared == sum(len(entry.messages) for entry in dispatches)
    assert pipe.told == []


def test_there_are_eighteen_strategies() -> None:
    assert len(STRATEGIES) == 18


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if number % 4 == 3 else [pytest.mark.all]) for number, name in enumerate(STRATEGIES)],
)
def test_every_strategy_replays(name: str, tmp_path: Path) -> None:
    clients = 7 if name == "Bulyan" else 5  # it wants four more than thrice the malicious
    config = f'strategy="{name}" num-server-rounds=2 min-nodes={clients}'
    assert_equal(recorded_app("every_strategy", tmp_path, config, clients))


@pytest.mark.parametrize(
    ("app", "config"),
    [
        ("every_strategy", "fraction-train=0.5"),
        ("legacy_fedavg", ""),
        ("secagg", "num-server-rounds=2"),
        ("client_state", ""),
        ("query_first", ""),
        ("torch_server", ""),
        ("own_threads", 'mode="map"'),
        ("own_threads", 'mode="looks"'),
    ],
)
def test_every_kind_of_app_replays(app: str, config: str, tmp_path: Path) -> None:
    recorded = recorded_app(app, tmp_path, config, clients=3 if app == "secagg" else 5)
    assert_equal(recorded, errors=recorded.errors if app in ("client_state", "query_first") else 0)


@pytest.mark.parametrize("config", ["", "count=true", "pause=0.01"])
def test_an_app_that_polls_replays_with_as_many_vain_pulls(config: str, tmp_path: Path) -> None:
    recorded = recorded_app("polling", tmp_path, config, patience=4)
    assert any(entry.head.empties for entry in recorded.entries)  # type: ignore[union-attr]  # no ScriptEnd is in it
    assert_equal(recorded)


@pytest.mark.parametrize("mode", ["clock", "uuid", "pool"])
def test_an_app_that_does_not_do_the_same_thing_twice_diverges(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = recorded_app("own_threads", tmp_path, f'mode="{mode}"')
    monkeypatch.setenv("POOL_IN_ORDER", "1")
    ending, pipe = recorded.replay()
    assert isinstance(ending, Diverged)
    assert [each for each in pipe.told if isinstance(each, Diverged)] == [ending]


def test_a_script_that_ends_early_ends_the_replay(tmp_path: Path) -> None:
    recorded = recorded_app("every_strategy", tmp_path)
    ending, pipe = recorded.replay(recorded.entries[:4])
    assert ending == Replayed()
    assert pipe.told[0] == Replayed()
    assert pipe.compared == 10


# -- another reply than the one that came --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> RecordedApp:
    """Two rounds of FedAvg over three clients."""
    return recorded_app("every_strategy", tmp_path_factory.mktemp("scratch"), "num-server-rounds=2", clients=3)


def collect(recorded: RecordedApp) -> tuple[int, CollectEntry]:
    """Where the first round's replies are, and which they are."""
    return next((at, entry) for at, entry in enumerate(recorded.entries) if isinstance(entry, CollectEntry))


def replayed_with(recorded: RecordedApp, at: int, entry: CollectEntry | DispatchEntry | CloseEntry) -> Diverged:
    ending, _ = recorded.replay([*recorded.entries[:at], entry, *recorded.entries[at + 1 :]])
    assert isinstance(ending, Diverged)
    return ending


def test_a_dropped_reply_shows_in_the_next_dispatch(averaged: RecordedApp) -> None:
    at, entry = collect(averaged)
    *kept, dropped = entry.replies
    found = replayed_with(averaged, at, replace(entry, replies=tuple(kept), unanswered=(dropped.message,)))
    assert found.difference is not None
    assert (found.difference.record, found.difference.tensor) == ("arrays", "w")
    assert found.height == entry.head.height + 1
    assert found.difference.largest is not None
    assert found.difference.largest > 0


def test_replies_in_another_order_show(averaged: RecordedApp) -> None:
    at, entry = collect(averaged)
    first, second, third = entry.replies
    found = replayed_with(averaged, at, replace(entry, replies=(first, third, second)))
    assert found.difference is not None
    assert (found.difference.record, found.message) == ("arrays", 0)
    assert found.difference.largest is not None
    assert 0 < found.difference.largest < 1e-2  # rounding is all that differs, of half precision too


def test_a_changed_tensor_of_the_final_model_shows(averaged: RecordedApp) -> None:
    close = averaged.entries[-1]
    assert isinstance(close, CloseEntry)
    assert close.model is not None
    model = decode(close.model, averaged.store, None)["arrays"]
    model["wide"] = Array(model["wide"].numpy() + 0.25)
    other = ContentWriter(averaged.store).write(RecordDict({"arrays": ArrayRecord(dict(model))}), None)
    found = replayed_with(averaged, len(averaged.entries) - 1, replace(close, model=other))
    assert found.difference is not None
    assert (found.height, found.difference.record, found.difference.tensor) == (close.head.height, "arrays", "wide")
    assert found.difference.largest == pytest.approx(0.25)
    assert "final model" in found.what


def test_a_run_that_is_said_to_have_no_model_shows(averaged: RecordedApp) -> None:
    close = averaged.entries[-1]
    assert isinstance(close, CloseEntry)
    found = replayed_with(averaged, len(averaged.entries) - 1, replace(close, model=None))
    assert "no final model is recorded" in found.what


def test_what_the_app_raises_in_a_replay_alone_is_told_apart(averaged: RecordedApp, tmp_path: Path) -> None:
    other = replace(averaged, start=replace(averaged.start, run_config=()))
    ending, _ = other.replay()
    assert isinstance(ending, Diverged)
    assert "KeyError" in ending.raised


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("was", "now", "largest"),
    [([NAN, 1.0], [NAN, 3.0], 2.0), ([INF, 1.0], [INF, 1.5], 0.5), ([1.0], [NAN], INF), ([INF], [-INF], INF)],
)
def test_the_largest_difference_is_infinite_if_only_one_is_no_number(
    was: list[float], now: list[float], largest: float
) -> None:
    found = difference(*(RecordDict({"a": ArrayRecord({"x": Array(np.asarray(each))})}) for each in (was, now)))

    assert found is not None
    assert found.largest == largest


def test_the_first_element_that_differs_between_two_lists_is_told() -> None:
    was, now = [0] * 99 + [1], [0] * 99 + [2]
    found = difference(RecordDict({"c": ConfigRecord({"x": was})}), RecordDict({"c": ConfigRecord({"x": now})}))

    assert found is not None
    assert (found.tensor, found.what) == ("x[99]", "'c'/'x[99]' was 1 and is 2")
