"""A run of 30 rounds whose leader, whoever that is, is killed in each fifth, and stands by when it is back."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import pytest
from federation import GATED, Gate, until
from servers import FIRST, SECOND, Servers, with_servers

from protocol.blocks.cid import CID

pytestmark = pytest.mark.all

THIRD: Final = "third"
ROUNDS: Final = 30
FIFTH: Final = 5
"""Rounds in each of which one leader is killed."""

MOMENTS: Final = ("clients train", "clients answer", "their replies are collected")


def gated(run: Servers, gate: Gate) -> Servers:
    """The run, once all its peers are started; its rounds and clients wait for files."""
    run.words = ("--run-config", f'gate="{gate.folder}" rounds={ROUNDS} clients=2')
    run.app = GATED
    config = f'gate="{gate.folder}"'
    return run.begin(SECOND, THIRD, one=config, two=config)


def opened(gate: Gate, numbers: range, *what: str) -> None:
    gate.open(*(f"{each}-{number}" for number in numbers for each in what or ("round", "train")))


def undisturbed(origin: Path, root: Path, gate: Gate) -> CID:
    """The final model of a run to which nothing happens. Its settings are the same, the gate's folder too: clients draw
    from what follows from the run record."""
    run = Servers.in_copies(origin, root)
    try:
        gated(run, gate).await_all()
        return run.final_model(FIRST)
    finally:
        run.end()


def told(run: Servers) -> dict[int, str]:
    """Who has led in which term, as their logs tell. On a busy machine a leader may be taken over from that lives."""
    taken_over = {each["term"]: peer.name for peer in run.processes for each in peer.events("took-over")}
    return {1: FIRST} | taken_over


def have_come_to(run: Servers, moment: str, number: int, gate: Gate) -> None:
    """Wait until that is so in a round, whoever leads."""

    def heights(event: str, **fields: int) -> list[int]:
        found = (each for peer in run.processes for each in peer.events(event) if fields.items() <= each.items())
        return [each["height"] for each in found]

    def said() -> str:
        return "\n".join(peer.said for peer in run.peers.values())

    (height, *_) = until(lambda: heights("dispatched", round=number), said)
    if moment != MOMENTS[0]:
        opened(gate, range(number, number + 1), "train")
    if moment == MOMENTS[2]:
        until(lambda: max(heights("collected"), default=0) > height, said)


def kill_leader(run: Servers) -> str:
    """Kill who leads, and wait until another does. Its name."""
    term = max(told(run))
    lost = told(run)[term]
    run.lose(lost)
    until(lambda: max(told(run)) > term, lambda: "\n".join(peer.said for peer in run.peers.values()))
    return lost


@pytest.mark.parametrize("seed", [13])
def test_thirty_rounds_in_each_fifth_of_which_a_leader_is_killed_end_in_the_undisturbed_model(
    seed: int, tmp_path: Path
) -> None:
    draw = random.Random(seed)
    origin = with_servers(tmp_path / "homes", SECOND, THIRD)
    run, gate = Servers.in_copies(origin, tmp_path / "run"), Gate(tmp_path / "gate")
    gate.open()
    try:
        gated(run, gate)
        for first in range(1, ROUNDS + 1, FIFTH):
            at, moment = first + draw.randrange(FIFTH - 1), draw.choice(MOMENTS)
            opened(gate, range(first, at))
            opened(gate, range(at, at + 1), "round")
            have_come_to(run, moment, at, gate)
            lost = kill_leader(run)
            opened(gate, range(at, at + 1), "train")
            run.start_server(lost).wait_for("recomputed")
            opened(gate, range(at + 1, first + FIFTH))
        run.await_all()
        terms = told(run)
        report = run.audited(terms[max(terms)], "--replay", "--app", GATED, "--unconfined")
        model = run.final_model(terms[max(terms)])
    finally:
        run.end()
    assert (report["rounds"], report["replay"]["exchanges"]) == (ROUNDS, ROUNDS)
    reigns = {each["term"]: each["leader"] for each in report["reigns"]}
    assert reigns.items() <= terms.items()
    assert len(reigns) > ROUNDS // FIFTH
    assert model == undisturbed(origin, tmp_path / "undisturbed", gate)
