"""A run whose clients wait for a witness: a server that cheats is stopped in the round in which it does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from federation import APPS, Federation, PeerProcess

from protocol.records.bodies import Role

APP = APPS / "cheating"


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    """A client, a server, and one that is to be its witness. It encrypts."""
    made = with_witnesses(tmp_path, "second")
    yield made
    made.end()


def with_witnesses(folder: Path, *names: str) -> Federation:
    """A client, a server, and the servers called ``names``."""
    made = Federation(folder, f"local:{folder / 'engine'}")
    made.add("one")
    made.add(*names, role=Role.SERVER)
    return made


def begin(federation: Federation, **cheats: dict[str, str]) -> tuple[PeerProcess, PeerProcess, PeerProcess]:
    """The witness, the server and the client of a run of three rounds that needs one witness."""
    witness = federation.start(
        "second", "--role", "server", "--standby", "--app", APP, "--once", **cheats.get("second", {})
    )
    rounds = ("--run-config", "num-server-rounds=3 min-nodes=1", "--witnesses", "1")
    server = federation.server(APP, *rounds, clients=1, **cheats.get("server", {}))
    return witness, server, federation.client("one", APP)


def judged(federation: Federation, home: str) -> tuple[int, Any]:
    """What ``peer audit`` says of the dispute that is written in a home."""
    file = federation.root / "dispute.car"
    federation.done(home, "dispute", "latest", "-o", file)
    auditor = federation.run("auditor", "audit", file, "--app", APP, "--home", federation.home("second").path, "--json")
    return auditor.code(), auditor.json["dispute"]


def test_a_server_that_scales_a_tensor_in_round_3_is_stopped_there_and_a_third_run_names_it(
    federation: Federation,
) -> None:
    _, server, client = begin(federation, server={"CHEAT": "scale"})
    assert server.code() == 1, server.said
    client.wait_for("contradicted", height=5)
    assert [each["round"] for each in client.events("task-answered")] == [1, 2]
    code, dispute = judged(federation, "one")
    assert (code, dispute["wrong"], dispute["height"]) == (1, "leader", 5)
    assert "is what the other server signs" in dispute["why"]


@pytest.mark.all
def test_a_witness_that_speaks_against_an_honest_server_stops_it_and_is_named(federation: Federation) -> None:
    witness, server, client = begin(federation, second={"CHEAT": "scale"})
    assert server.code() == 1, server.said
    client.wait_for("contradicted", height=5)
    code, dispute = judged(federation, "server")
    assert (code, dispute["wrong"], dispute["witness"]) == (1, "witness", "second")

    witness.kill()
    federation.done("server", "federation", "remove", "second", "--ipfs", federation.engine)
    refused = federation.server(APP, "--run-config", "num-server-rounds=3 min-nodes=1", clients=1)
    assert refused.code() == 2, refused.said  # no other server is left to vouch for it
    client.kill()


@pytest.mark.all
def test_an_honest_run_ends_although_its_witness_and_its_client_are_killed_in_between(federation: Federation) -> None:
    witness, server, client = begin(federation)
    witness.wait_for("recomputed", height=1)
    witness.kill()
    client.kill()
    again = federation.start("second", "--role", "server", "--standby", "--app", APP, "--once")
    client = federation.client("one", APP)
    assert [server.code(), client.code(), again.code()] == [0, 0, 0], server.said
    report = json.loads(federation.done("one", "audit", federation.exported("second"), "--json"))
    assert [each["recomputed_by"] for each in report["exchanges"]] == [["second"]] * 3


@pytest.mark.all
def test_two_witnesses_that_agree_against_a_server_lead_on_from_before_the_round_in_which_it_cheats(
    tmp_path: Path,
) -> None:
    made = with_witnesses(tmp_path, "second", "third")
    standby = ("--role", "server", "--standby", "--app", APP, "--once")
    witnesses = [made.start(name, *standby) for name in ("second", "third")]
    rounds = ("--run-config", "num-server-rounds=4 min-nodes=1", "--witnesses", "1")
    server = made.server(APP, *rounds, clients=1, CHEAT="scale")
    client = made.client("one", APP)
    assert server.code() == 1, server.said
    assert [each.code() for each in (*witnesses, client)] == [0, 0, 0], witnesses[0].said
    assert [each["round"] for each in client.events("task-answered")] == [1, 2, 3, 4]
    reader = "--home", made.home("second").path
    audit = made.run("auditor", "audit", made.exported("second"), "--replay", "--app", APP, *reader, "--json")
    assert audit.code() == 0, audit.said
    report = audit.json
    assert (report["verdict"], report["replay"]["outcome"]) == ("verified", "equal")
    first, then = report["reigns"]
    assert (first["leader"], first["until"], first["lost"] >= 5) == ("server", 4, True)
    assert (then["leader"] in ("second", "third"), then["since"], then["cause"]) == (True, 5, "dispute")
    made.end()
