"""Whole runs over real Kubo nodes, one for each peer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from federation import GATED, Federation, Gate, PeerProcess, until

from peer.engine import open_engine
from peer.engine.kubo.config import environment
from peer.engine.kubo.node import KuboNode

pytestmark = pytest.mark.kubo


@pytest.fixture
def federation(ipfs_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Federation]:
    """A server and two clients, each with a managed node, that know where the server's is."""
    made = Federation(tmp_path, "kubo")
    made.add("one", "two")
    monkeypatch.setenv("POLLEN_KUBO", str(ipfs_program))
    yield made
    made.end()


def node_of(federation: Federation, name: str) -> int:
    """The process id of a peer's node."""
    repository = f"IPFS_PATH={federation.home(name).path / 'ipfs'}".encode()

    def found() -> int:
        for process in federation.orphans():
            arguments = Path(f"/proc/{process}/cmdline").read_bytes()
            if b"daemon" in arguments and repository in Path(f"/proc/{process}/environ").read_bytes().split(b"\0"):
                return process
        return 0

    return int(until(found, lambda: f"{name} has no node"))


def kill_node(federation: Federation, peer: PeerProcess) -> None:
    os.kill(node_of(federation, peer.name), signal.SIGKILL)
    peer.wait_for("node-started-again")


def test_a_run_goes_on_though_nodes_are_killed_and_plain_ipfs_reads_it(
    federation: Federation, tmp_path: Path, ipfs_program: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    gate.open("round-1")
    granted = ("--allow-read", gate.folder)
    server = federation.server(GATED, "--run-config", f'rounds=2 gate="{gate.folder}"', "--confine", *granted)
    federation.meet(server)
    options = (["--confine", *granted], [])
    clients = [
        federation.client(name, GATED, f'gate="{gate.folder}"', *more)
        for name, more in zip(federation.names, options, strict=True)
    ]
    clients[0].wait_for("task-started")
    kill_node(federation, server)
    kill_node(federation, clients[0])
    gate.open("train-1", "round-2", "train-2")
    assert [peer.code() for peer in (server, *clients)] == [0, 0, 0], server.said

    assert [fields["errors"] for fields in server.events("collected")] == [0, 0]
    head = server.json["head"]
    with (
        KuboNode(federation.home("server").path, bytes(32)) as kept,
        KuboNode(federation.home("elsewhere").path, bytes(32)) as node,
    ):
        for engine, other in ((node, kept), (kept, node)):
            near, far = open_engine(engine.api), open_engine(other.api)
            near.connect(far.addresses())
            near.close()
            far.close()

        def ipfs(*arguments: str) -> bytes:
            command = [str(ipfs_program), "--api", _multiaddress(node.api), *arguments]
            return subprocess.run(command, env=environment(node.repository), check=True, capture_output=True).stdout

        home = federation.home("server").path
        replayed = federation.run("auditor", "audit", head, "--replay", "--app", GATED, *granted, "--home", home)
        assert replayed.code() == 0, replayed.said
        assert b'"close"' in ipfs("dag", "get", head)
        assert head.encode() in ipfs("pin", "add", head)
        car = tmp_path / "run.car"
        car.write_bytes(ipfs("dag", "export", head))
    assert json.loads(federation.done("elsewhere", "audit", car, "--json"))["verdict"] == "verified"


def _multiaddress(api: str) -> str:
    return f"/unix{api.removeprefix('unix:')}"
