"""Asking over libp2p streams that Kubo mounts: which nodes are reached, and what hostile users can do."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_engine_kubo import users_node

from peer.engine import open_engine
from peer.engine.interface import AskingOff, Engine, Streams, Unanswered
from peer.engine.kubo.address import KuboAddress
from peer.engine.kubo.config import environment
from peer.engine.kubo.node import KuboNode
from peer.engine.kubo.streams import Listening

pytestmark = pytest.mark.kubo


@pytest.fixture
def engines(kubo_nodes: tuple[KuboNode, KuboNode]) -> Iterator[tuple[Engine, Engine]]:
    one, two = (open_engine(node.api) for node in kubo_nodes)
    one.connect(two.addresses())
    yield one, two
    one.close()
    two.close()


@pytest.fixture
def streams(engines: tuple[Engine, Engine]) -> tuple[Streams, Streams]:
    one, two = (engine.streams for engine in engines)
    assert one is not None
    assert two is not None
    return one, two


def mounted(program: Path, node: KuboNode) -> str:
    listed = subprocess.run(
        [program, "p2p", "ls"], env=environment(node.repository), capture_output=True, text=True, check=True
    )
    return listed.stdout


def port_of(listening: object) -> int:
    assert isinstance(listening, Listening)
    return int(listening._server.getsockname()[1])


def test_whoever_asks_is_known_by_its_node_and_answered(streams: tuple[Streams, Streams]) -> None:
    one, two = streams
    with contextlib.closing(two.listen("a", lambda node, question: f"{node} asks {len(question)}".encode())):
        for question in (b"", b"x", bytes(1 << 20)):
            assert one.ask(two.own_name, "a", question) == f"{one.own_name} asks {len(question)}".encode()


def test_two_peers_that_share_a_node_ask_each_other(kubo_nodes: tuple[KuboNode, KuboNode]) -> None:
    with contextlib.closing(open_engine(kubo_nodes[0].api)) as one, contextlib.closing(open_engine(one.address)) as two:
        assert one.streams is not None
        assert two.streams is not None
        node = one.streams.own_name
        assert node in one.streams.nodes()
        with contextlib.closing(two.streams.listen("a", lambda asks, question: asks.encode() + question)):
            assert one.streams.ask(node, "a", b"!") == f"{node}!".encode()
            with pytest.raises(Unanswered):
                one.streams.ask(node, "b", b"!")
        with pytest.raises(Unanswered):
            one.streams.ask(node, "a", b"!")


def test_nobody_answers_under_another_name_nor_any_more(
    streams: tuple[Streams, Streams], kubo_nodes: tuple[KuboNode, KuboNode], ipfs_program: Path
) -> None:
    one, two = streams
    with contextlib.closing(two.listen("a", lambda node, question: b"yes")), pytest.raises(Unanswered):
        one.ask(two.own_name, "b", b"x")
    with pytest.raises(Unanswered):
        one.ask(two.own_name, "a", b"x")
    assert [mounted(ipfs_program, node) for node in kubo_nodes] == ["", ""]


def test_a_question_that_gets_no_answer_is_hung_up_on(streams: tuple[Streams, Streams]) -> None:
    one, two = streams
    with contextlib.closing(two.listen("a", lambda node, question: None)), pytest.raises(Unanswered):
        one.ask(two.own_name, "a", b"x")


def test_an_answer_that_raises_ends_no_listening(streams: tuple[Streams, Streams]) -> None:
    one, two = streams
    answers = iter([b"yes"])

    def answer(node: str, question: bytes) -> bytes:
        if question == b"bad":
            raise RuntimeError("on purpose")
        return next(answers)

    with contextlib.closing(two.listen("a", answer)):
        with pytest.raises(Unanswered):
            one.ask(two.own_name, "a", b"bad")
        assert one.ask(two.own_name, "a", b"good") == b"yes"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"no line feed",
        b"x" * 1000,
        b"name\n",
        b"name\n\xff\xff\xff\xff",
        b"name\n\0\0\0\x09short",
        b"\xff\n\0\0\0\1x",
    ],
)
def test_what_other_users_of_the_machine_say_to_the_port_ends_nothing(
    streams: tuple[Streams, Streams], said: bytes
) -> None:
    one, two = streams
    with contextlib.closing(two.listen("a", lambda node, question: b"yes")) as listening:
        with socket.create_connection(("127.0.0.1", port_of(listening))) as wire, contextlib.suppress(OSError):
            wire.sendall(said)
        assert one.ask(two.own_name, "a", b"x") == b"yes"


def test_those_that_connect_and_say_nothing_take_a_bounded_number_of_places(
    monkeypatch: pytest.MonkeyPatch, streams: tuple[Streams, Streams]
) -> None:
    monkeypatch.setattr("peer.engine.kubo.streams._WAITING", 3)
    with contextlib.closing(streams[1].listen("a", lambda node, question: b"yes")) as listening:
        wires = [socket.create_connection(("127.0.0.1", port_of(listening))) for _ in range(4)]
        assert wires[3].recv(1) == b""  # hung up on
        for wire in wires:
            wire.close()


def test_a_place_to_ask_is_there_again_when_its_node_is(ipfs_program: Path, tmp_path: Path) -> None:
    nodes = [KuboNode(tmp_path / name, bytes(32)) for name in ("one", "two")]
    with nodes[0], nodes[1]:
        one, two = (open_engine(node.api) for node in nodes)
        assert one.streams is not None
        assert two.streams is not None
        listening = two.streams.listen("a", lambda node, question: b"yes")
        nodes[1].stop()
        nodes[1].start()
        one.connect(two.addresses())
        while True:
            with contextlib.suppress(Unanswered):
                assert one.streams.ask(two.streams.own_name, "a", b"x") == b"yes"
                break
        listening.close()
        one.close()
        two.close()


def test_a_node_of_the_users_that_mounts_no_streams_says_how_to_turn_that_on(
    ipfs_program: Path, tmp_path: Path
) -> None:
    with users_node(ipfs_program, tmp_path / "ipfs", {"Experimental": {"Libp2pStreamMounting": False}}) as url:
        engine = open_engine(url)
        assert engine.streams is not None
        with pytest.raises(AskingOff, match="has stream mounting off") as raised:
            engine.streams.listen("a", lambda node, question: None)
        assert raised.value.fix.startswith("ipfs config --json Experimental.Libp2pStreamMounting true")
        engine.close()


@pytest.mark.parametrize(
    ("address", "is_near"),
    [
        ("http://127.0.0.1:5001", True),
        ("http://localhost:5001", True),
        ("http://[::1]:5001", True),
        ("unix:/run/ipfs.sock", True),
        ("http://10.0.0.7:5001", False),
        ("https://node.example/kubo", False),
    ],
)
def test_a_node_on_another_machine_cannot_reach_our_ports(address: str, is_near: bool) -> None:
    assert KuboAddress.parse(address).is_near is is_near


def test_the_configuration_of_a_managed_node_mounts_streams(kubo_nodes: tuple[KuboNode, KuboNode]) -> None:
    config = json.loads((kubo_nodes[0].repository / "config").read_text())
    assert config["Experimental"]["Libp2pStreamMounting"] is True
