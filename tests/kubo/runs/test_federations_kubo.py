"""One home in two federations: a standing server with a node in each private network."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from federation import APPS, Federation, PeerProcess, until

from peer.control.asking import ask
from peer.control.requests import Status
from peer.engine.kubo.node import running_at
from peer.engine.node_places import node_folder
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal
from peer.membership.changes import found_federation
from protocol.records.bodies import Role

pytestmark = [pytest.mark.kubo, pytest.mark.all]


@pytest.fixture
def federation(ipfs_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Federation]:
    """A server that is in another federation too."""
    made = Federation(tmp_path, "kubo")
    other = found_federation(
        made.admin,
        name="other",
        member_name="server",
        roles=[Role.SERVER],
        swarm_key=b"o" * 32,
        time=time.time(),
        encrypt=True,
    )
    FederationStore(made.home("server")).save(other)
    monkeypatch.setenv("POLLEN_KUBO", str(ipfs_program))
    yield made
    made.end()


def serve(federation: Federation, home: Home) -> PeerProcess:
    words = ["serve", "--max-runs", "2", "--home", home.path, "--ipfs", "kubo", "-v", "--json"]
    server = federation.run("server", *words)
    until(lambda: ask(home, Status()), lambda: f"it never stands:\n{server.said}")
    return server


def peer(home: Home, *arguments: str | Path) -> Any:
    words = [sys.executable, "-P", "-m", "peer", *map(str, arguments), "--home", str(home.path), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_runs_of_two_federations_go_on_side_by_side_also_after_the_server_was_killed(federation: Federation) -> None:
    home = federation.home("server")
    server = serve(federation, home)
    for name in ("trial", "other"):
        peer(home, "run", APPS / "numpy_fedavg", "--federation", name, "--name", name)
    server.wait_for("run-opened", 2)

    nodes = {node_folder(home, each) for each in FederationStore(home).all()}
    assert len(nodes) == 2
    assert all(running_at(folder / "ipfs") for folder in nodes)
    for name in ("trial", "other"):  # each is read from the node of its federation
        assert peer(home, "history", name)["federation"]

    server.kill()
    until(lambda: not federation.orphans(), lambda: "its children never end")
    server = serve(federation, home)
    server.wait_for("run-resumed", 2)
    with Journal(home.journal) as journal:
        assert len({head.federation for head in journal.heads()}) == 2
        assert [(job.ended, job.run is not None) for job in journal.jobs.all()] == [(None, True)] * 2
