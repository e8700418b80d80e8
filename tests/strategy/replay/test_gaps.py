"""A replay of a run of which some replies are not kept: it compares what it can, and accuses nobody of the rest."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

import pytest
from cheating_server import a_server_that_cheats, untouched
from flwr.serverapp import strategy as flower
from recorded_app import RecordedApp, ScriptPipe, run_of

from protocol.app.calls import CollectEntry, DispatchEntry, Diverged, Finished, Replayed, ScriptEntry
from protocol.blocks.cid import CID
from protocol.replay.differences import Cause, Outcome, judged
from protocol.replay.gaps import Gaps

ROUNDS = 4
"""Each is two exchanges: it trains, then it evaluates."""


def dispatches(recorded: RecordedApp) -> list[DispatchEntry]:
    return [entry for entry in recorded.entries if isinstance(entry, DispatchEntry)]


def updates(recorded: RecordedApp, rounds: Container[int]) -> set[CID]:
    """What clients answered when they trained in these rounds."""
    collects = [entry for entry in recorded.entries if isinstance(entry, CollectEntry)][::2]
    found = [entry for number, entry in enumerate(collects, start=1) if number in rounds]
    return {reply.content for entry in found for reply in entry.replies if reply.content is not None}


def sent(recorded: RecordedApp, exchange: int) -> CID:
    """What was sent in an exchange, from 1."""
    return dispatches(recorded)[exchange - 1].messages[0].message.content


def replayed(recorded: RecordedApp, gone: set[CID]) -> tuple[Finished | Diverged | Replayed, ScriptPipe, list[int]]:
    """How the replay ended, what it told, and the numbers of the exchanges that are loose."""
    gaps = Gaps(gone.__contains__)
    marked: list[ScriptEntry] = [gaps.marked(entry) for entry in recorded.entries]
    sent = [entry for entry in marked if isinstance(entry, DispatchEntry)]
    loose = [number for number, entry in enumerate(sent, start=1) if entry.loose]
    return *recorded.replay(marked, Cause.ROUNDING), loose


@pytest.mark.parametrize("strategy", ["FedAvg", pytest.param("Krum", marks=pytest.mark.all)])
def test_what_is_kept_is_judged_by_itself_and_is_equal_bit_for_bit(strategy: str, tmp_path: Path) -> None:
    recorded = run_of(strategy, tmp_path, ROUNDS)
    ending, pipe, loose = replayed(recorded, updates(recorded, {1, 2}))
    assert isinstance(ending, Finished), ending
    assert loose == [2, 4]  # each evaluation sends the model that was made of the updates before
    assert not pipe.differences


def test_where_a_model_is_not_kept_either_nothing_is_compared_up_to_the_next_that_is(tmp_path: Path) -> None:
    recorded = run_of("FedAvg", tmp_path, ROUNDS)
    model = sent(recorded, 2)
    del recorded.store[model]
    ending, pipe, loose = replayed(recorded, {*updates(recorded, {1}), model})
    assert isinstance(ending, Finished), ending
    assert loose == [2, 3]
    assert not pipe.differences


def test_a_server_that_cheats_where_replies_are_kept_is_found(tmp_path: Path) -> None:
    with a_server_that_cheats("FedAvg", untouched, 1.001):
        recorded = run_of("FedAvg", tmp_path, ROUNDS)
    ending, _, _ = replayed(recorded, updates(recorded, {1}))
    assert isinstance(ending, Diverged), ending
    assert ending.height == dispatches(recorded)[3].head.height
    assert judged(ending.difference, Cause.ROUNDING, flowers_own=ending.flowers_own) is Outcome.BEYOND


def test_a_server_that_cheats_where_they_are_not_kept_is_not_compared(tmp_path: Path) -> None:
    with a_server_that_cheats("FedAvg", untouched, 1.001):
        recorded = run_of("FedAvg", tmp_path, ROUNDS)
    ending, pipe, loose = replayed(recorded, updates(recorded, {1, 2}))
    assert isinstance(ending, Finished), ending
    assert 4 in loose
    assert not pipe.differences


@pytest.mark.parametrize("strategy", ["FedAdam", pytest.param("FedAvgM", marks=pytest.mark.all)])
def test_a_strategy_that_keeps_something_of_the_replies_accuses_nobody(strategy: str, tmp_path: Path) -> None:
    recorded = run_of(strategy, tmp_path, ROUNDS)
    ending, pipe, _ = replayed(recorded, updates(recorded, {1}))
    assert isinstance(ending, Finished), ending
    assert pipe.differences
    for compared in pipe.differences:
        assert judged(compared.difference, Cause.ROUNDING, flowers_own=False) is Outcome.UNDECIDED


REGISTRY = [name for name in flower.__all__ if name not in ("Result", "Strategy")]


@pytest.mark.all
@pytest.mark.parametrize("strategy", REGISTRY)
def test_no_strategy_of_flowers_accuses_an_honest_server(strategy: str, tmp_path: Path) -> None:
    recorded = run_of(strategy, tmp_path, ROUNDS)
    first = sent(recorded, 2)
    for rounds, model in (({1}, None), ({1, 2}, None), ({1}, first)):
        gone = updates(recorded, rounds)
        if model is not None:
            del recorded.store[model]
            gone.add(model)
        ending, pipe, loose = replayed(recorded, gone)
        if isinstance(ending, Diverged):  # where nothing is compared: FedXgbBagging decodes what stands in
            assert ending.height in {dispatches(recorded)[number - 1].head.height for number in loose}
        for compared in pipe.differences:
            assert judged(compared.difference, Cause.ROUNDING, flowers_own=False) is Outcome.UNDECIDED
