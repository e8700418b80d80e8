"""Keys of running peers: rotated in mid-run, and revoked."""

from __future__ import annotations

import time
from typing import Any

import pytest
from federation import GATED, Federation, Gate, PeerProcess

from crypto.identity import Identity
from peer.home.federations import FederationStore
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.membership.changes import add_member, change_admin, revoke_member
from protocol.blocks.cid import Block
from protocol.records.bodies import Role
from protocol.records.signed_records import Record, parse_record

PASSPHRASE = "open sesame"


def key_file(federation: Federation, name: str) -> KeyStore:
    return KeyStore(federation.home(name).path)


def identity(federation: Federation, name: str) -> Identity:
    return key_file(federation, name).load(name, Passphrases())


def start(
    federation: Federation, gate: Gate, *arguments: str, **variables: str
) -> tuple[PeerProcess, PeerProcess, PeerProcess]:
    """A server whose rounds, and two clients whose training, wait at the gate."""
    server = federation.server(GATED, "--run-config", f'rounds=2 gate="{gate.folder}"', *arguments, **variables)
    one, two = (federation.client(name, GATED, f'gate="{gate.folder / name}"') for name in ("one", "two"))
    return server, one, two


def let_train(gate: Gate, *names: str, round: int) -> None:
    for name in names:
        Gate(gate.folder / name).open(f"train-{round}")


def last_record(federation: Federation) -> Record:
    head = federation.head("server").head
    with federation.blocks() as engine:
        return parse_record(Block(head, engine.get(head)))


def test_a_servers_keys_are_rotated_in_mid_run(federation: Federation, gate: Gate) -> None:
    founder = identity(federation, "server")
    keys = key_file(federation, "server")
    keys.replace(founder, PASSPHRASE, keys.opened("server", Passphrases()))
    gate.open("round-1")
    server, one, two = start(federation, gate, POLLEN_PASSPHRASE=PASSPHRASE)
    let_train(gate, "one", round=1)
    one.wait_for("task-answered")

    rotating = federation.run(
        "rotating",
        "keys",
        "rotate",
        "--json",
        "--home",
        str(federation.home("server").path),
        POLLEN_PASSPHRASE=PASSPHRASE,
    )
    assert rotating.code() == 0, rotating.said
    server.wait_for("keys-changed")
    server.wait_for("manifest-in-force", count=2)  # known, then in force in the run
    let_train(gate, "two", round=1)
    let_train(gate, "one", "two", round=2)
    gate.open("round-2")

    assert [peer.code() for peer in (server, one, two)] == [0, 0, 0], server.said
    head, home = str(federation.head("server").head), str(federation.home("server").path)
    granted = ("--allow-read", str(gate.folder))
    code, report = federation.replay(head, GATED, *granted, "--home", home, POLLEN_PASSPHRASE=PASSPHRASE)
    assert (code, report["verdict"]) == (0, "verified"), report["findings"]  # the old keys open the first epoch
    manifest = federation.stored.manifest
    new = manifest.members[founder.id].signing
    assert manifest.admins == (new,)
    assert new != founder.id
    assert [signature.by for signature in last_record(federation).signatures] == [new]
    assert {FederationStore(federation.home(name)).current().manifest.cid for name in federation.names} == {
        manifest.cid
    }


@pytest.mark.all
def test_a_client_whose_keys_are_rotated_signs_its_open_reply_again(federation: Federation, gate: Gate) -> None:
    gate.open("round-1")
    server, one, two = start(federation, gate)
    let_train(gate, "one", round=1)
    server.wait_for("reply-arrived")

    keys = key_file(federation, "one")
    rotated = identity(federation, "one").rotated()
    keys.replace(rotated, None, keys.opened(None, Passphrases()))
    store, admin = FederationStore(federation.home("server")), identity(federation, "server")
    with store.changing():
        store.save(add_member(federation.stored, admin, rotated.public_for(bytes(federation.stored.id)), time=0.0))
    server.wait_for("manifest-in-force", count=2)
    server.wait_for("reply-arrived", count=2)  # the same body, under the new key
    let_train(gate, "two", round=1)
    let_train(gate, "one", "two", round=2)
    gate.open("round-2")

    assert [peer.code() for peer in (server, one, two)] == [0, 0, 0], server.said
    assert one.events("keys-changed")
    assert len(one.events("task-answered")) == 2  # once a round: nothing was computed again
    assert [fields["errors"] for fields in server.events("collected")] == [0, 0]
    assert federation.audit()["verdict"] == "verified"


def test_a_revoked_clients_reply_is_not_taken(federation: Federation, gate: Gate) -> None:
    gate.open("round-1")
    server, *_ = start(federation, gate)
    let_train(gate, "one", round=1)
    server.wait_for("reply-arrived")
    store, admin = FederationStore(federation.home("server")), identity(federation, "server")
    with store.changing():
        store.save(revoke_member(federation.stored, admin, "two", time=0.0))
    server.wait_for("manifest-in-force", count=2)
    let_train(gate, "two", round=1)

    assert server.wait_for("collected")["errors"] == 1
    assert [fields["name"] for fields in server.events("reply-arrived")] == ["one"]
    report = federation.audit()
    assert report["findings"] == []
    assert [told["asked"] for told in report["participants"].values()] == [
        1,
        1,
    ]  # who was taken out is still told by name


@pytest.mark.all
def test_a_client_of_restored_keys_takes_up_what_another_home_has_answered(federation: Federation, gate: Gate) -> None:
    gate.open("round-1")
    server, one, two = start(federation, gate)
    let_train(gate, "one", round=1)
    server.wait_for("reply-arrived")
    one.kill()
    keys, journal = identity(federation, "one"), federation.home("one").path
    journal.rename(journal.with_name("lost"))  # all but the backup

    KeyStore(federation.home("one").path).add(keys, None)
    FederationStore(federation.home("one")).join(federation.stored)
    restored = federation.client("one", GATED, f'gate="{gate.folder / "one"}"')
    restored.wait_for("recalled")
    let_train(gate, "two", round=1)
    let_train(gate, "one", "two", round=2)
    gate.open("round-2")

    assert [peer.code() for peer in (server, restored, two)] == [0, 0, 0], server.said
    assert len(restored.events("task-answered")) == 1
    assert [fields["errors"] for fields in server.events("collected")] == [0, 0]
    assert federation.audit()["verdict"] == "verified"


def command(federation: Federation, name: str, *arguments: str) -> dict[str, Any]:
    """What a short command in a home prints as JSON."""
    options = ["--home", str(federation.home(name).path), "--ipfs", federation.engine, "--json"]
    process = federation.run(f"{name}-{arguments[1]}", *arguments, *options)
    assert process.code() == 0, process.said
    return process.json


@pytest.mark.all
def test_keys_that_two_admins_have_to_sign_are_rotated_in_mid_run(federation: Federation, gate: Gate) -> None:
    store, founder = FederationStore(federation.home("server")), identity(federation, "server")
    with_two = change_admin(federation.stored, founder, "one", office=True, time=time.time())
    store.save(with_two)
    FederationStore(federation.home("one")).join(with_two)
    proposed = command(federation, "server", "federation", "threshold", "2")
    command(federation, "one", "federation", "sign", proposed["proposal"]["cid"], "--yes")
    store.join(FederationStore(federation.home("one")).current())
    gate.open("round-1")
    server, one, two = start(federation, gate)
    let_train(gate, "one", "two", round=1)
    server.wait_for("collected")

    (proposal,) = command(federation, "server", "keys", "rotate")["proposals"].values()
    version = command(federation, "one", "federation", "sign", proposal["cid"], "--yes")["version"]
    server.wait_for("manifest-in-force", count=2, version=version)
    let_train(gate, "one", "two", round=2)
    gate.open("round-2")

    assert [peer.code() for peer in (server, one, two)] == [0, 0, 0], server.said
    newest, manifest = identity(federation, "server"), federation.stored.manifest
    assert (newest.id, manifest.members[founder.id].signing) == (founder.id, newest.signing.verify_key.raw)
    assert last_record(federation).signers == (newest.signing.verify_key.raw,)
    assert federation.audit()["verdict"] == "verified"  # the records before it too


@pytest.mark.all
def test_a_server_that_loses_its_role_leads_no_further(federation: Federation, gate: Gate) -> None:
    gate.open("round-1")
    server, *_ = start(federation, gate)
    server.wait_for("dispatched")
    store, admin = FederationStore(federation.home("server")), identity(federation, "server")
    with store.changing():
        store.save(
            add_member(
                federation.stored, admin, admin.public_for(bytes(federation.stored.id)), roles=[Role.CLIENT], time=0.0
            )
        )
    assert server.code() == 3, server.said
    assert "server is client in trial since manifest version 4, not server" in server.said
    assert federation.audit()["findings"] == []
