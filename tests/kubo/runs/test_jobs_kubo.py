"""A run that is asked for on another machine, over real Kubo nodes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from federation import APPS, Federation, until

from peer.engine.kubo.node import running_at
from peer.home.federations import FederationStore
from protocol.records.bodies import Role

pytestmark = [pytest.mark.kubo, pytest.mark.all]


@pytest.fixture
def federation(ipfs_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Federation]:
    """Two servers, each with a managed node."""
    made = Federation(tmp_path, "kubo")
    made.add("second", role=Role.SERVER)
    monkeypatch.setenv("POLLEN_KUBO", str(ipfs_program))
    yield made
    made.end()


def test_a_server_takes_a_run_that_another_asks_for_and_takes_it_once(federation: Federation) -> None:
    home = federation.home("server")
    words = ["serve", "--accept-runs-of", "second", "--home", home.path, "--ipfs", "kubo", "-v", "--json"]
    server = federation.run("server", *words)
    api = until(lambda: (home.path / "peer.sock").exists() and running_at(home.path / "ipfs"), lambda: server.said)
    with federation.blocks(api) as engine:
        addresses = engine.addresses()
    FederationStore(federation.home("second")).add_addresses(federation.stored.id, addresses)

    asked = [ask(federation), ask(federation)]
    assert asked[0] == asked[1]
    server.wait_for("run-opened")


def test_whoever_asks_may_follow_the_run_to_its_end(federation: Federation) -> None:
    federation.add("one", "two")
    federation.names.append("second")
    home = federation.home("server")
    FederationStore(federation.home("second")).save(federation.stored)
    words = ["serve", "--accept-runs-of", "second", "--home", home.path, "--ipfs", "kubo", "-v", "--json"]
    server = federation.run("server", *words)
    api = until(lambda: (home.path / "peer.sock").exists() and running_at(home.path / "ipfs"), lambda: server.said)
    with federation.blocks(api) as engine:
        addresses = engine.addresses()
    for name in federation.names:
        FederationStore(federation.home(name)).add_addresses(federation.stored.id, addresses)
    federation.names.remove("second")
    clients = [federation.client(name, APPS / "numpy_fedavg") for name in federation.names]

    command = ["run", APPS / "numpy_fedavg", "--on", "server", "--follow", "--timeout", "90"]
    options = ["--home", federation.home("second").path, "--ipfs", "kubo"]
    asker = federation.run("second", *command, *options)
    assert asker.code() == 0, asker.said
    assert "is done" in asker.said
    assert "Starting FedAvg strategy" in asker.printed
    assert [client.code() for client in clients] == [0, 0]


def ask(federation: Federation) -> Any:
    command = ["run", APPS / "numpy_fedavg", "--on", "server", "--key", "00" * 16, "--timeout", "90"]
    options = ["--home", federation.home("second").path, "--ipfs", "kubo", "--json"]
    words = [sys.executable, "-P", "-m", "peer", *map(str, [*command, *options])]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
