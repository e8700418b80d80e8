"""Two runs in an encrypted federation, of which one is shredded: what the homes hold, open and verify afterwards."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from federation import APPS, Federation, PeerProcess, until

from crypto.identity import Identity
from peer.audit.audit import Audit
from peer.erasure.words import statuses
from peer.history.run_sources import EngineSource
from peer.history.scratch import Scratch
from peer.home.journal import Journal
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import reader_in
from protocol.blocks.cid import CID
from protocol.federation.run_keys import RunKeys

APP = APPS / "client_state"


@pytest.fixture
def hospitals(tmp_path: Path) -> Iterator[Federation]:
    made = Federation(tmp_path, f"local:{tmp_path / 'engine'}")
    made.add("one")
    yield made
    made.end()


def trained(federation: Federation) -> CID:
    """A run of a server and a client whose app keeps a state, to its end."""
    server = federation.server(APP, "--run-config", "rounds=1", clients=1)
    client = federation.client("one", APP)
    assert [peer.code() for peer in (server, client)] == [0, 0], server.said + client.said
    with Journal(federation.home("server").journal) as journal:
        return journal.heads()[0].run


def identity(federation: Federation, name: str) -> Identity:
    return KeyStore(federation.home(name).path).load(None, Passphrases.of_process(None))


def keys_of(federation: Federation, name: str, run: CID) -> RunKeys:
    """What a home opens of a run's keys now."""
    home = federation.home(name)
    with federation.blocks() as engine, Scratch() as scratch, Journal(home.journal) as journal:
        head = journal.head_of(run)
        assert head is not None
        reader = reader_in(home, identity(federation, name), journal.beside(run))
        audit = Audit(head.head, EngineSource(engine, 1.0), scratch, reader=reader, with_contents=False)
        assert audit.run().verdict.value == "verified"
        return audit.keys


def secrets_of(keys: RunKeys) -> set[bytes]:
    found = (each for epoch in keys.epochs for each in (epoch.model, epoch.update))
    return {each.secret_bytes() for each in found if each is not None}


def found(federation: Federation, secrets: set[bytes]) -> set[bytes]:
    """Those of the secrets that a file of a home or the engine holds: as bytes, in hexadecimal or in base64."""
    everything = b"\n".join(path.read_bytes() for path in federation.root.rglob("*") if path.is_file())
    return {secret for secret in secrets if any(each in everything for each in spelled(secret))}


def spelled(secret: bytes) -> list[bytes]:
    return [secret, secret.hex().encode(), *(base64.b64encode(bytes(n) + secret)[4:-4] for n in (1, 2, 3))]


def states_of(federation: Federation, name: str, run: CID) -> set[CID]:
    """What a home has of its app's states in a run."""
    with Journal(federation.home(name).journal) as journal:
        return {kept.state for kept in journal.replies(run) if kept.state is not None}


def destroyed(federation: Federation) -> dict[str, list[bool]]:
    """By shredded run: which members say that they have destroyed its keys, as the server's home has heard."""
    stored = federation.stored
    with Journal(federation.home("server").journal) as journal:
        return {
            str(each.run): [status.confirmed for status in statuses(stored, each, journal)]
            for each in stored.manifest.shredded
        }


def standing(federation: Federation, name: str) -> PeerProcess:
    """A standing peer, with no run."""
    home = str(federation.home(name).path)
    return federation.run(
        name, "serve", "--role", "server", "--home", home, "--ipfs", federation.engine, "-v", "--json"
    )


def json_of(federation: Federation, *words: str | Path, code: int = 0) -> Any:
    return json.loads(federation.done("server", *words, "--json", code=code))


def test_a_shredded_run_opens_in_no_home_and_verifies_and_the_other_run_replays(hospitals: Federation) -> None:
    stays, goes = trained(hospitals), trained(hospitals)
    opened = {name: keys_of(hospitals, name, goes) for name in ("server", "one")}
    private = {identity(hospitals, name).decryption.secret_bytes() for name in opened}
    assert found(hospitals, private) == private, "the search finds what is there"
    states = states_of(hospitals, "one", goes)

    json_of(hospitals, "federation", "shred", str(goes), "--reason", "a patient asked", "--yes")
    # both come back after a while, and each does its part: the client hears of it from the server's peer
    peers = [standing(hospitals, "server"), hospitals.client("one", APP)]
    for peer in peers:
        peer.wait_for("keys-destroyed")
    until(lambda: all(destroyed(hospitals)[str(goes)]), lambda: "the server's home never hears what the client says")
    for peer in peers:
        peer.kill()

    epoch_keys = set.union(*map(secrets_of, opened.values()))
    assert len(epoch_keys) == 2, "a model key, and an update key"
    assert found(hospitals, private | epoch_keys) == set()
    with hospitals.blocks() as engine:
        assert states
        assert not any(map(engine.has, states)), "what the app kept between messages"
    for name in opened:
        assert not secrets_of(keys_of(hospitals, name, goes))
        assert secrets_of(keys_of(hospitals, name, stays))

    replayed = json_of(hospitals, "audit", str(goes), "--replay", "--app", APP, code=3)
    assert [finding["rule"] for finding in replayed["findings"]] == ["shredded"]
    assert "a patient asked" in replayed["shredded"]
    replayed = json_of(hospitals, "audit", str(stays), "--replay", "--app", APP)
    assert (replayed["verdict"], replayed["replay"]["exchanges"] > 0) == ("verified", True)
