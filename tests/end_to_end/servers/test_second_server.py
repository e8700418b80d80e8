"""A second server recomputes a run as it goes on, or afterwards, and signs what it finds."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from federation import APPS, Federation

from protocol.records.bodies import Role

APP = APPS / "cheating"


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    """A client, and three servers, of which two may stand by."""
    made = Federation(tmp_path, f"local:{tmp_path / 'engine'}")
    made.add("one")
    made.add("second", "third", role=Role.SERVER)
    yield made
    made.end()


def run(federation: Federation, **variables: str) -> Any:
    """The standby of a run of three rounds, once that is over."""
    standby = federation.start("second", "--role", "server", "--standby", "--app", APP, "--once")
    standby.wait_for("app-bundled")
    server = federation.server(APP, "--run-config", "num-server-rounds=3 min-nodes=1", clients=1, **variables)
    client = federation.client("one", APP)
    assert [server.code(), client.code()] == [0, 0], server.said
    return standby


def audited(federation: Federation, name: str) -> Any:
    """What another member finds in the file that somebody exports. It ends with 0: one server's word is
    against another's."""
    return json.loads(federation.done("one", "audit", federation.exported(name), "--json"))


@pytest.mark.all
def test_an_honest_run_is_recomputed_as_it_goes_on_and_afterwards(federation: Federation) -> None:
    standby = run(federation)
    assert standby.code() == 0, standby.said
    assert [each["height"] for each in standby.events("recomputed")] == [1, 3, 5]

    head = str(federation.head("server").head)
    late = federation.start("third", "--role", "server", "--run", head, "--app", APP, "--once")
    assert late.code() == 0, late.said

    of_leader = audited(federation, "server")
    assert of_leader["contradicted"] == {}
    assert [each["recomputed_by"] for each in of_leader["exchanges"]] == [["second"]] * 3
    of_third = audited(federation, "third")
    assert of_third["recomputed"] == {"third": [[1, of_third["height"]]]}


@pytest.mark.all
def test_a_peer_that_stands_recomputes_the_runs_of_other_servers_whose_app_it_was_given(federation: Federation) -> None:
    home = str(federation.home("second").path)
    words = ("--role", "server", "--standby", "--app", APP, "--home", home, "--ipfs", federation.engine, "-v", "--json")
    standing = federation.run("second", "serve", *words)
    server = federation.server(APP, "--run-config", "num-server-rounds=2 min-nodes=1", clients=1)
    client = federation.client("one", APP)
    assert [server.code(), client.code()] == [0, 0], server.said
    standing.wait_for("recomputed", height=3)
    standing.signal(signal.SIGTERM)
    assert standing.code() == 0, standing.said
    report = audited(federation, "second")
    assert report["recomputed"]["second"][0][1] >= 3


@pytest.mark.all
def test_a_server_that_scales_a_tensor_is_contradicted_in_the_round_where_it_shows(federation: Federation) -> None:
    standby = run(federation, CHEAT="scale")
    assert standby.code() == 1, standby.said
    (told,) = standby.events("computed-otherwise")
    assert told["height"] == 5
    assert "the tensor 'arrays'/'b' differs" in told["why"]

    report = audited(federation, "second")
    assert [each["recomputed_by"] for each in report["exchanges"]] == [["second"], ["second"], []]
    assert [each["contradicted_by"] for each in report["exchanges"]] == [[], [], ["second"]]
    (remark,) = [remark for remark in report["remarks"] if remark["rule"] == "contradicted"]
    assert remark["height"] == 5
