"""Several admins and a proof of equivocation, over nodes of their own, as their owners would do it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import Peer
from federation import GATED, Federation, Gate

from crypto.identity import Identity
from peer.base.errors import ExitCode
from peer.engine.chosen_engine import running_node
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from protocol.blocks.cid import Block
from protocol.records.bodies import Ack
from protocol.records.equivocation import equivocation
from protocol.records.signed_records import parse_record, sign_record
from protocol.wire.announcements import Announcement, Proof, sign_announcement, topic_all

pytestmark = [pytest.mark.kubo, pytest.mark.usefixtures("ipfs_program")]

LATE = 1 << 60
"""A counter above any that a peer has used."""


def test_two_admins_make_a_change_together_each_with_a_node_of_its_own(
    peers: Callable[[str], Peer], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    one, two = (peers(name).named(name) for name in ("one", "two"))
    one("federation", "init", "trial")
    one("federation", "add", two.key_for(one), "--name", "two", "--role", "client", "--admin")
    node = one("doctor", "--start-daemon", "--json").json["daemon"]
    try:
        one("federation", "export", file)
        two("federation", "join", file)
        asked = one("federation", "threshold", "2", "--json").json["proposal"]["cid"]

        signed = two("federation", "sign", asked, "--yes", "--json")

        assert signed.code == ExitCode.DONE, signed.err
        two("federation", "export", file)
        one("federation", "join", file)
        assert one("federation", "show", "--json").json["threshold"] == 2
        assert "no proposal waits" in one("federation", "proposals").out
    finally:
        os.kill(node, signal.SIGTERM)


@pytest.fixture
def federation(tmp_path: Path, ipfs_program: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Federation]:
    """A server and two clients, each with a managed node."""
    monkeypatch.setenv("POLLEN_KUBO", str(ipfs_program))
    made = Federation(tmp_path, "kubo", encrypted=False)
    made.add("one", "two")
    yield made
    made.end()


def two_acks(federation: Federation, liar: Identity) -> tuple[Block, Block]:
    """Two acks by one member, at one place, with different heads."""
    run = federation.head("server").run
    blocks = []
    for head in (run, federation.head("server").head):
        body = Ack(
            by=liar.public.id, time=0.0, epoch=None, private=b"", run=run, term=1, height=1, head=head, replies=()
        )
        blocks.append(sign_record(body, [liar.signing]))
    return blocks[0], blocks[1]


@pytest.mark.all
def test_a_proof_that_is_announced_is_kept_and_its_signer_followed_no_more(
    federation: Federation, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    gate.open("round-1")
    server = federation.server(GATED, "--run-config", f'rounds=2 gate="{gate.folder}"')
    federation.meet(server)
    for name in federation.names:
        federation.client(name, GATED)
    server.wait_for("collected")
    liar = KeyStore(federation.home("one").path).load("one", Passphrases.of_process(None))
    blocks = two_acks(federation, liar)
    found = equivocation(*map(parse_record, blocks))
    assert found is not None

    engine = running_node(federation.home("two"))
    assert engine is not None
    body = Proof(found.first.cid, found.second.cid)
    said = Announcement(federation=federation.stored.id, by=liar.public.id, counter=LATE, body=body, blocks=blocks)
    engine.publish(topic_all(federation.stored.id), sign_announcement(said, liar.signing))
    engine.close()

    proof = str(server.wait_for("equivocation", name="one")["proof"])
    gate.open("round-2")
    assert server.wait_for("app-waits-for-clients")["here"] == 1  # the app asks for two, and one is left
    for name in ("server", "two"):
        audit = federation.run("elsewhere", "audit", proof, "--json", "--home", federation.home(name).path)
        assert audit.code() == ExitCode.VERIFICATION_FAILED, audit.said
