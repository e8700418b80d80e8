"""A peer is killed while it recovers, at any instant, or when the run is over: nothing is lost."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from disturbed import Disturbed, Told
from safetensors.numpy import load_file

from peer.base.faults import Fault, Step, Victim, When

AN_INSTANT = 4.0
"""Seconds from its start within which a peer is killed: a run takes about as long."""


@pytest.mark.all  # the rule: tests/simulation, where a peer crashes up to six times at any step, also of its recovery
@pytest.mark.parametrize("when", [When.BEFORE, When.AFTER])
@pytest.mark.parametrize("peer", ["server", "one"])
def test_a_peer_killed_while_it_reads_the_chain_again(
    peer: str, when: When, disturbed: Disturbed, undisturbed: Told
) -> None:
    disturbed.start_all({peer: Fault(Victim.PEER, Step.WRITE_HEAD, When.AFTER, 5)})
    disturbed.await_death(peer)
    disturbed.start_one(peer, Fault(Victim.PEER, Step.FETCH_RECORD, when, 1))
    disturbed.await_death(peer)

    disturbed.start_one(peer)
    disturbed.await_all()

    assert disturbed.told() == undisturbed


@pytest.mark.all
def test_an_app_process_killed_while_it_replays(disturbed: Disturbed, undisturbed: Told) -> None:
    disturbed.start_all({"server": Fault(Victim.PEER, Step.WRITE_HEAD, When.AFTER, 5)})
    disturbed.await_death("server")

    server = disturbed.start_one("server", Fault(Victim.APP, Step.FETCH_RECORD, When.AFTER, 3))
    disturbed.await_all()

    assert server.events("app-lost")
    assert disturbed.told() == undisturbed


@pytest.mark.all
def test_a_server_killed_once_its_run_is_closed_writes_the_model_at_the_next_start(
    disturbed: Disturbed, undisturbed: Told, tmp_path: Path
) -> None:
    model = tmp_path / "model.safetensors"
    disturbed.start_all({"server": Fault(Victim.PEER, Step.WRITE_HEAD, When.AFTER, 14)})
    disturbed.await_death("server")
    assert disturbed.head("server").closed

    disturbed.start_one("server", None, "--save-path", str(model))
    disturbed.await_all()

    assert disturbed.told() == undisturbed
    assert load_file(model)["w"].shape == (8, 8)


@pytest.mark.all
@pytest.mark.parametrize(
    ("victims", "seed"),
    [(victims, seed) for victims in (("server",), ("one",), ("server", "one")) for seed in range(4)],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else f"seed-{value}",
)
def test_peers_killed_at_a_random_instant(
    victims: tuple[str, ...], seed: int, disturbed: Disturbed, undisturbed: Told
) -> None:
    """Wherever the kill comes, even before anything began or after all is done."""
    instants = random.Random(f"{victims} {seed}")
    disturbed.start_all()
    for victim in victims:
        time.sleep(instants.uniform(0.0, AN_INSTANT))
        disturbed.kill(victim)
    disturbed.await_all()

    assert disturbed.told() == undisturbed


@pytest.mark.all
def test_a_client_killed_once_it_knows_that_its_run_is_closed_is_done_at_the_next_start(disturbed: Disturbed) -> None:
    disturbed.start_all({"one": Fault(Victim.PEER, Step.WRITE_HEAD, When.AFTER, 14)})
    disturbed.await_death("one")
    assert disturbed.head("one").closed
    disturbed.peers["server"].kill()  # nobody is there to tell it of the run

    client = disturbed.start_one("one")

    assert client.code() == 0
    assert [closed["run"] for closed in client.events("run-closed")] == [str(disturbed.head("one").run)]


@pytest.mark.all
def test_a_client_that_left_its_run_waits_for_the_next(disturbed: Disturbed) -> None:
    disturbed.start_all()
    disturbed.await_all()

    disturbed.start_one("server", None, "--seed", "2")
    for name in disturbed.names:
        disturbed.start_one(name)
    disturbed.await_all()

    assert [head.closed for head in disturbed.heads("one")] == [True, True]
