"""Two admins whose peers stand: what one proposes, the other finds there, and signs."""

from __future__ import annotations

import time

from federation import Federation, PeerProcess, until

from peer.control.asking import ask
from peer.control.requests import Status
from peer.home.federations import FederationStore
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.membership.changes import add_member
from peer.membership.proposing import ProposalStore
from peer.status.peer_status import PeerStatus


def two_admins(federation: Federation) -> None:
    """Make the client ``one`` an admin too."""
    stored, home = federation.stored, federation.home("one")
    public = KeyStore(home.path).load("one", Passphrases.of_process(None)).public_for(bytes(stored.id))
    stored = add_member(stored, federation.admin, public, office=True, time=time.time())
    for name in ("server", "one"):
        FederationStore(federation.home(name)).save(stored)


def stands(federation: Federation, name: str) -> PeerProcess:
    home = federation.home(name)
    peer = federation.run(
        name, "serve", "--role", "server", "--home", home.path, "--ipfs", federation.engine, "-v", "--json"
    )
    until(lambda: ask(home, Status()), lambda: f"it never stands:\n{peer.said}")
    return peer


def waits(federation: Federation, name: str) -> tuple[str, ...]:
    told = ask(federation.home(name), Status())
    assert isinstance(told, PeerStatus)
    return told.waits


def test_what_one_admin_proposes_the_other_signs_and_both_have_it_in_force(federation: Federation) -> None:
    two_admins(federation)
    first = stands(federation, "server")
    federation.done("server", "federation", "threshold", "2", "--ipfs", federation.engine)
    second = stands(federation, "one")  # it was off while that was proposed

    home = federation.home("one")
    stored = FederationStore(home).current()
    (pending,) = until(lambda: list(ProposalStore(home, stored).all()), lambda: f"it never comes:\n{second.said}")
    assert until(lambda: waits(federation, "one"), lambda: "nobody is told that it waits")
    assert FederationStore(home).current().manifest.threshold == 1  # nothing is signed by itself

    federation.done("one", "federation", "sign", pending.record.cid.label, "--yes")
    until(lambda: federation.stored.manifest.threshold == 2, lambda: f"never in force:\n{first.said}")
    until(lambda: not waits(federation, "server"), lambda: "it still waits")
    assert federation.stored.manifest.id == FederationStore(home).current().manifest.id
