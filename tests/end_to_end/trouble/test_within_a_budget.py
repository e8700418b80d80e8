"""A home's budget, while its runs go on: real processes, one directory of blocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from federation import APPS, Federation

from peer.home.journal import Journal

APP = APPS / "numpy_fedavg"

pytestmark = [pytest.mark.slow, pytest.mark.all]


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    made = Federation(tmp_path, f"local:{tmp_path / 'engine'}")
    made.add("alice", "bob")
    yield made
    made.end()


def test_a_run_pauses_for_its_budget_and_goes_on_once_the_owner_gives_more(federation: Federation) -> None:
    assert federation.run("owner", "keep", "--budget", "1K", "--home", federation.home("server").path).code() == 0
    server = federation.server(APP)
    clients = [federation.client(name, APP) for name in federation.names]

    why = server.wait_for("paused")["why"]
    status = federation.run("owner", "status", "--json", "--home", federation.home("server").path)
    assert status.code() == 0
    assert [wait["lack"] for wait in status.json["parts"][0]["role"]["waits"]] == ["room"]
    assert why.endswith("its budget is 1 kB")
    assert server.events("dispatched") == []

    assert federation.run("owner", "keep", "--budget", "1G", "--home", federation.home("server").path).code() == 0
    server.wait_for("unpaused")
    assert [peer.code() for peer in (server, *clients)] == [0, 0, 0]


def test_a_run_that_drops_its_updates_is_verified_and_is_not_resumed(federation: Federation) -> None:
    server = federation.server(APP, "--drop-updates", "--keep", "models=last:2 updates=last:1")
    clients = [federation.client(name, APP) for name in federation.names]
    assert [peer.code() for peer in (server, *clients)] == [0, 0, 0]

    with Journal(federation.home("server").journal) as journal:
        (run,) = journal.heads()
        gone = journal.contents.gone(run.run)
    with federation.blocks() as engine:
        assert gone
        assert all(engine.has(content) for content in gone)  # the first block, with what was measured
    home = federation.home("server").path
    audited = federation.run("auditor", "audit", "latest", "--json", "--home", home)
    assert audited.code() == 0
    assert audited.json["verdict"] == "verified"
    again = federation.run("owner", "resume", "latest", "--home", home)
    assert again.code() != 0
