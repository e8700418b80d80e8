"""A second server over real Kubo nodes: it recomputes the run, has all of it in its own node, and the leader keeps its
word."""

from __future__ import annotations

from pathlib import Path

import pytest
from federation import APPS, Federation

from peer.home.federations import FederationStore
from peer.home.journal import Journal
from protocol.records.bodies import RecomputedAck, Role
from protocol.records.signed_records import parse_record

pytestmark = [pytest.mark.kubo, pytest.mark.all]

APP = APPS / "cheating"


def test_a_second_server_recomputes_a_run_over_kubo(
    ipfs_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLLEN_KUBO", str(ipfs_program))
    federation = Federation(tmp_path, "kubo")
    federation.add("one", "two")
    federation.add("second", role=Role.SERVER)
    try:
        server = federation.server(APP, "--run-config", "num-server-rounds=3")
        federation.meet(server)
        addresses = federation.stored.addresses or FederationStore(federation.home("one")).current().addresses
        FederationStore(federation.home("second")).add_addresses(federation.stored.id, addresses)
        standby = federation.start("second", "--role", "server", "--standby", "--app", APP, "--once")
        standby.wait_for("peer-here", name="server")
        clients = [federation.client(name, APP) for name in federation.names]
        assert [peer.code() for peer in (server, standby, *clients)] == [0] * 4, standby.said
    finally:
        federation.end()

    assert [each["height"] for each in standby.events("recomputed")] == [1, 3, 5]
    head = federation.head("server")
    with Journal(federation.home("server").journal) as journal:
        bodies = [parse_record(block).body for block in journal.beside(head.run)]
    assert max(body.height for body in bodies if isinstance(body, RecomputedAck)) == head.height
