"""A leader is lost for good, and a server that stands by leads its run to the end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from federation import GATED, Federation, Gate, PeerProcess

from peer.home.federations import FederationStore
from peer.membership.changes import add_member, change_admin
from protocol.records.bodies import Role

CLIENTS = ("one",)


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    """A client, and two servers: of these three voters, two are left."""
    made = Federation(tmp_path, f"local:{tmp_path / 'engine'}")
    made.add(*CLIENTS)
    made.add("second", role=Role.SERVER)
    yield made
    made.end()


def config(gate: Gate, rounds: int) -> str:
    return f'gate="{gate.folder}" rounds={rounds} clients={len(CLIENTS)}'


def in_round_2(federation: Federation, gate: Gate, rounds: int) -> list[PeerProcess]:
    """A standby, the leader and the clients of a run whose second round waits for replies."""
    gate.open("round-1", "train-1", "round-2")
    standby = federation.start("second", "--role", "server", "--standby", "--app", GATED, "--once")
    standby.wait_for("app-bundled")
    server = federation.server(GATED, "--run-config", config(gate, rounds), clients=len(CLIENTS))
    clients = [federation.client(name, GATED, f'gate="{gate.folder}"') for name in CLIENTS]
    server.wait_for("dispatched", round=2)
    standby.wait_for("recomputed", height=3)
    return [standby, server, *clients]


def test_a_standby_leads_the_run_of_a_killed_leader_which_stands_by_when_it_is_back(
    federation: Federation, gate: Gate
) -> None:
    standby, server, *clients = in_round_2(federation, gate, rounds=3)
    server.kill()
    standby.wait_for("took-over", term=2)
    gate.open("train-2")
    standby.wait_for("collected", replies=len(CLIENTS))
    model = federation.root / "model.npz"
    back = federation.server(GATED, "--run-config", config(gate, rounds=3), "--save-path", model, clients=len(CLIENTS))
    back.wait_for("recomputed", height=3)
    gate.open("round-3", "train-3")
    assert [each.code() for each in (standby, back, *clients)] == [0] * 3, standby.said

    assert not standby.events("close-unsettled"), "a majority has confirmed the close"
    assert model.exists()
    replayed = ("--replay", "--app", GATED, "--unconfined", "--json")
    report = json.loads(federation.done("second", "audit", federation.exported("second"), *replayed))
    assert (report["verdict"], report["rounds"], report["replay"]["exchanges"]) == ("verified", 3, 3)
    assert report["settled"]["height"] > 4, "a majority has confirmed what comes after the takeover"
    assert [(each["term"], each["leader"]) for each in report["reigns"]] == [(1, "server"), (2, "second")]
    assert report["recomputed"]["server"] == [[1, report["height"]]], "from the first record on, also its own"


@pytest.mark.all
def test_a_leader_hands_its_run_over_to_who_stands_by_and_stands_by_itself(federation: Federation, gate: Gate) -> None:
    standby, server, *clients = in_round_2(federation, gate, rounds=2)
    told = json.loads(federation.done("server", "lead", "latest", "--json"))
    assert (told["to"], told["term"]) == ("second", 2)
    gate.open("train-2")
    assert [each.code() for each in (standby, server, *clients)] == [0] * 3, standby.said

    report = json.loads(federation.done("server", "audit", federation.exported("server"), "--json"))
    assert report["verdict"] == "verified"
    assert [(each["leader"], each["cause"]) for each in report["reigns"]] == [("server", None), ("second", "handover")]


@pytest.mark.all
def test_an_admin_at_a_home_that_took_no_part_has_a_standby_lead_while_the_leader_is_heard(
    federation: Federation, gate: Gate
) -> None:
    public = federation.identity("office").public_for(bytes(federation.stored.id))
    admin, now = federation.admin, time.time()
    stored = add_member(federation.stored, admin, public, name="office", roles=[Role.AUDITOR], time=now)
    stored = change_admin(stored, admin, "office", office=True, time=now)
    for name in ("server", "second", "office", *CLIENTS):
        FederationStore(federation.home(name)).join(stored)
    standby, server, *clients = in_round_2(federation, gate, rounds=2)
    run = str(federation.head("server").run)
    refused = json.loads(federation.done("second", "lead", run, "--to", "second", "--json", code=2))
    assert "no admin" in refused["error"]
    told = json.loads(federation.done("office", "lead", run, "--ipfs", federation.engine, "--json"))
    assert (told["to"], told["term"]) == ("second", 2)
    gate.open("train-2")
    assert [each.code() for each in (standby, server, *clients)] == [0] * 3, standby.said

    report = json.loads(federation.done("server", "audit", federation.exported("server"), "--json"))
    assert [(each["leader"], each["warrant"]) for each in report["reigns"]] == [("server", None), ("second", "office")]
