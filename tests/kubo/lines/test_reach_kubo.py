"""Where a home's own node listens and is announced, with real nodes on loopback."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from command_line import Peer

from peer.base.errors import ExitCode
from peer.engine import open_engine
from peer.engine.kubo.node import KuboNode
from peer.engine.kubo.reach import AskedReach, Reach
from protocol.joining.tickets import Ticket

pytestmark = pytest.mark.kubo

KEY = bytes(range(32))


@pytest.fixture
def port() -> int:
    """A TCP port of loopback that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def admin(peers: Callable[[str], Peer], ipfs_program: Path, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """An admin whose home's own node can be started."""
    monkeypatch.setenv("POLLEN_KUBO", str(ipfs_program))
    founder = peers("admin").named("hospital-a")
    assert founder("federation", "init", "trial").code == ExitCode.DONE
    return founder


def invite(admin: Peer, *options: str) -> list[str]:
    """The addresses in a ticket."""
    invited = admin("federation", "invite", "--name", f"b{time.monotonic_ns()}", "--role", "client", *options)
    assert invited.code == ExitCode.DONE, invited.err
    return list(Ticket.parse(invited.out.strip().splitlines()[-1]).addresses)


def reach(*listen: str) -> Reach:
    return AskedReach.parse(listen, [], None).over(Reach())


@pytest.fixture
def listening(ipfs_program: Path, tmp_path: Path, port: int) -> Iterator[str]:
    """The address of a node that listens over WebSocket alone."""
    with KuboNode(tmp_path / "listening", KEY, reach(f"ws://127.0.0.1:{port}")) as node:
        with closing(open_engine(node.api, managed=True)) as engine:
            (address,) = engine.addresses()
            yield address
        assert "ERROR" not in node.log.read_text()


def peers_of(home: Path, key: bytes, address: str) -> int:
    """How many others a new node has after it has called ``address``."""
    with KuboNode(home, key) as node, closing(open_engine(node.api, managed=True)) as engine:
        engine.connect([address])
        return engine.status().peers


def test_nodes_of_a_private_network_talk_over_websocket_and_no_others(
    listening: str, tmp_path: Path, port: int
) -> None:
    assert listening.startswith(f"/ip4/127.0.0.1/tcp/{port}/ws/p2p/")
    assert peers_of(tmp_path / "stranger", KEY[::-1], listening) == 0
    assert peers_of(tmp_path / "member", KEY, listening) == 1


def test_a_home_remembers_where_its_node_listens_and_is_announced(admin: Peer, port: int) -> None:
    first = invite(admin, "--listen", f"127.0.0.1:{port}", "--announce", "wss://peers.hospital.org")
    assert [address.rpartition("/p2p/")[0] for address in first] == ["/dns/peers.hospital.org/tcp/443/tls/ws"]
    assert invite(admin) == first
    (listens,) = invite(admin, "--announce", "none")
    assert listens.startswith(f"/ip4/127.0.0.1/tcp/{port}/p2p/")


def test_a_port_that_another_program_has_is_refused_and_not_remembered(admin: Peer, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        refused = admin("federation", "invite", "--name", "b", "--role", "client", "--listen", f"127.0.0.1:{port}")
    assert refused.code != ExitCode.DONE
    assert "ss -ltnp" in refused.err
    assert f"/tcp/{port}/" not in invite(admin)[0]


def test_a_running_node_is_not_asked_to_listen_elsewhere(admin: Peer, port: int) -> None:
    daemon = admin("doctor", "--start-daemon", "--json").json["daemon"]
    try:
        refused = admin("federation", "invite", "--name", "b", "--role", "client", "--listen", f"127.0.0.1:{port}")
        assert refused.code == ExitCode.WRONG_USE
        assert "runs already: it listens at 127.0.0.1" in refused.err
        assert invite(admin, "--listen", "127.0.0.1")
    finally:
        import os
        import signal

        os.kill(daemon, signal.SIGTERM)


def test_a_ticket_for_this_machine_alone_says_so_unless_an_address_is_given(admin: Peer) -> None:
    invited = admin("federation", "invite", "--name", "b", "--role", "client")
    assert "it works on this machine alone" in invited.err
    (address,) = invite(admin, "--address", "peers.hospital.org:4001")
    assert address.startswith("/dns/peers.hospital.org/tcp/4001/p2p/12D3KooW")


def test_no_ticket_is_made_if_nothing_could_be_reached(
    peers: Callable[[str], Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLLEN_KUBO", "/nowhere/ipfs")
    founder = peers("founder").named("hospital-a")
    assert founder("federation", "init", "trial").code == ExitCode.DONE
    refused = founder("federation", "invite", "--name", "b", "--role", "client")
    assert (refused.code, refused.out) != (ExitCode.DONE, "")
    assert "pollen-ticket" not in refused.out
    assert founder("federation", "approve", "--json").json == {"invitations": []}
