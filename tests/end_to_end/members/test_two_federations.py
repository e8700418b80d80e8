"""Two federations on one engine, and one client that is a member of both with one identity."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from federation import GATED, Federation, PeerProcess

from peer.home.federations import FederationStore
from peer.home.journal import Journal
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.membership.changes import add_member
from protocol.records.bodies import Role


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Federation, Federation]]:
    """Federation A of a server and ``both``; B of another server and the ``both`` of A."""
    a, b = (Federation(tmp_path / name, f"local:{tmp_path / 'engine'}") for name in "ab")
    a.add("both")
    home = a.home("both")
    public = KeyStore(home.path).load("both", Passphrases.of_process(None)).public_for(bytes(b.stored.id))
    stored = add_member(b.stored, b.admin, public, name="both", roles=[Role.CLIENT], time=time.time())
    for store in map(FederationStore, (b.home("server"), home)):
        store.save(stored)
    yield a, b
    a.end()
    b.end()


def both_in(two: tuple[Federation, Federation], chosen: Federation) -> PeerProcess:
    """Start the client of both in one of them."""
    option = f"--federation={chosen.stored.id}"
    return two[0].start("both", "--role", "client", "--app", GATED, "--once", "--node-config", "partition-id=1", option)


def test_a_client_of_two_federations_answers_each_in_its_own(two: tuple[Federation, Federation]) -> None:
    a, b = two
    servers = [federation.server(GATED, "--run-config", "rounds=1 clients=1", clients=1) for federation in two]

    assert both_in(two, b).code() == 0
    assert not servers[0].events("dispatched")  # it was in B, and A still waits
    assert both_in(two, a).code() == 0

    assert [server.code() for server in servers] == [0, 0], servers[0].said
    for federation in two:
        report = federation.audit()
        assert report["verdict"] == "verified", report["findings"]
        assert {answer["code"] for exchange in report["exchanges"] for answer in exchange["answers"]} == {None}
    with Journal(a.home("both").journal) as journal:
        heads = {head.run: head for head in journal.heads()}
        assert heads.keys() == {federation.head("server").run for federation in two}
        assert all(head.closed for head in heads.values())
        assert not journal.proofs()


def test_a_client_of_two_federations_says_in_which(two: tuple[Federation, Federation]) -> None:
    a, _ = two
    unsaid = a.start("both", "--role", "client", "--app", GATED, "--once")
    assert unsaid.code() == 2
    assert "--federation" in unsaid.said
