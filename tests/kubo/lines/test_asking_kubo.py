"""Runs for which pubsub carries nothing: every node has heard every other with sequence numbers of years from now."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from federation import GATED, Federation

from peer.engine import open_engine
from peer.engine.kubo.config import environment
from peer.engine.kubo.node import KuboNode
from peer.home.federations import FederationStore

pytestmark = pytest.mark.kubo

RUN = ("--run-config", "rounds=1 clients=1")


class Deaf(Federation):
    """A server and a client. Their nodes are in their homes, and what they have heard is spoilt."""

    own_nodes = False
    """Whether the peers take them for nodes of the users'."""

    def spoil(self, program: Path) -> None:
        self.nodes = {name: KuboNode(self.home(name).path, self.stored.swarm_key) for name in ("server", "one")}
        known = []
        for name, node in self.nodes.items():
            with node:
                engine = open_engine(node.api)
                known.append(engine.status().identity)
                if name == "server":
                    addresses = engine.addresses()
                engine.close()
        for node in self.nodes.values():
            for identity in known:
                # nanoseconds since 1970, big-endian, and in letters: the program takes them as text
                put = [program, "diag", "datastore", "put", f"/pubsub/seqno/{identity}", "!abcdefg"]
                subprocess.run(put, env=environment(node.repository), check=True, capture_output=True)
        FederationStore(self.home("one")).add_addresses(self.stored.id, addresses)

    def engine_of(self, name: str) -> str:
        return self.nodes[name].api if self.own_nodes else "kubo"


@pytest.fixture
def federation(ipfs_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deaf]:
    made = Deaf(tmp_path, "kubo")
    made.add("one")
    monkeypatch.setenv("POLLEN_KUBO", str(ipfs_program))
    made.spoil(ipfs_program)
    yield made
    made.end()
    for node in made.nodes.values():
        node.stop()


@pytest.mark.all
def test_a_run_over_managed_nodes_whose_clocks_were_set_back_is_fixed_and_ends_as_any(federation: Deaf) -> None:
    server, client = federation.server(GATED, *RUN, clients=1), federation.client("one", GATED)
    assert [server.code(), client.code()] == [0, 0], server.said
    assert not server.events("pubsub-refused")
    assert server.events("pubsub-fixed") or client.events("pubsub-fixed")


def pubsub_check(federation: Deaf, name: str) -> tuple[str, str, str]:
    """What the doctor says of pubsub, beside a running peer: how it went, what was found, what fixes it."""
    doctor = federation.run(name, "doctor", "--home", str(federation.home(name).path), "--json")
    doctor.code()
    (check,) = (check for check in doctor.json["checks"] if check["name"] == "pubsub")
    return check["state"], check["what"], check["fix"]


@pytest.mark.all
def test_the_doctor_says_that_a_node_refuses_its_own_words_and_that_members_do_not_hear_them(federation: Deaf) -> None:
    federation.own_nodes = True
    for node in federation.nodes.values():
        node.start()
    federation.server(GATED, clients=2)
    federation.client("one", GATED).wait_for("peer-here")  # by asking
    state, what, fix = pubsub_check(federation, "one")
    assert (state, "clock was set back" in what) == ("fail", True)

    engine = open_engine(federation.nodes["one"].api, managed=True)
    assert engine.streams is not None
    assert fix.endswith(f"ipfs pubsub reset --peer {engine.streams.own_name}")
    engine.streams.hear(engine.streams.own_name)  # as that command does
    engine.close()
    state, what, fix = pubsub_check(federation, "one")
    assert (state, "none of the 1 members that answer hears this node" in what) == ("warn", True)


def test_a_run_over_nodes_of_the_users_that_hear_nothing_goes_on_by_asking_and_says_why(federation: Deaf) -> None:
    federation.own_nodes = True
    for node in federation.nodes.values():
        node.start()
    server, client = federation.server(GATED, *RUN, clients=1), federation.client("one", GATED)
    assert [server.code(), client.code()] == [0, 0], server.said
    for peer in (server, client):
        (refused,) = peer.events("pubsub-refused")
        assert "clock was set back" in str(refused["why"])
        assert "ipfs pubsub reset --peer" in str(refused["fix"])
