"""Encrypted federations in homes: which names show, with and without a passphrase, and what is handed over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Peer

from peer.base.errors import ExitCode, PeerError
from peer.home.federations import FederationStore, StoredFederation, read_federation
from peer.home.home import Home
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import reader_of

Peers = Callable[[str], Peer]
PASSPHRASE = "open sesame"


@pytest.fixture
def admin(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """Somebody whose keys are locked, and who has founded the encrypted federation ``trial``."""
    founder = peers("admin")
    monkeypatch.setenv("POLLEN_PASSPHRASE", PASSPHRASE)
    founder("keys", "init", "--name", "hospital-a")
    assert founder("federation", "init", "trial", "--encrypt").code == 0
    monkeypatch.delenv("POLLEN_PASSPHRASE")
    return founder


@pytest.fixture
def member(peers: Peers) -> Peer:
    """Somebody with an identity, in no federation yet."""
    return peers("member").named("b")


@pytest.fixture
def passphrase(tmp_path: Path) -> tuple[str, Path]:
    """What unlocks the founder's keys, for one command."""
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    return "--passphrase-file", tmp_path / "passphrase"


def stored(peer: Peer) -> StoredFederation:
    return FederationStore(Home(peer.home)).current()


def file_of(peer: Peer) -> bytes:
    return FederationStore(Home(peer.home)).path(stored(peer).id).read_bytes()


def hand_over(admin: Peer, peer: Peer, file: Path) -> Path:
    """The federation's file, from home to home."""
    assert admin("federation", "export", file, "--address", "local:/engine").code == 0
    assert peer("federation", "join", file).code == 0
    return file


def test_names_show_in_a_home_whose_keys_are_locked(admin: Peer) -> None:
    shown = admin("federation", "show", "--json").json
    assert (shown["name"], shown["encrypted"]) == ("trial", True)
    assert [each["name"] for each in shown["members"]] == ["hospital-a"]


def test_no_name_stands_in_what_is_handed_over_nor_what_opens_them(
    admin: Peer, member: Peer, passphrase: tuple[str, Path], tmp_path: Path
) -> None:
    assert (
        admin("federation", "add", member.key_for(admin), "--name", "clinic-b", "--role", "client", *passphrase).code
        == 0
    )
    file = hand_over(admin, member, tmp_path / "file").read_bytes()
    (key,) = stored(admin).manifest_keys
    assert not [word for word in (b"trial", b"hospital-a", b"clinic-b", key.secret_bytes()) if word in file]
    assert key.secret_bytes() in file_of(admin)


def test_a_member_that_joins_opens_the_names_with_its_own_key(
    admin: Peer, member: Peer, passphrase: tuple[str, Path], tmp_path: Path
) -> None:
    admin("federation", "add", member.key_for(admin), "--name", "b", "--role", "client", *passphrase)
    hand_over(admin, member, tmp_path / "file")
    assert stored(member) == stored(admin)
    assert stored(member).manifest.names == stored(admin).manifest.names
    assert member("federation", "show", "--federation", "trial").code == 0


def test_somebody_that_is_no_member_sees_only_keys_and_roles(admin: Peer, member: Peer, tmp_path: Path) -> None:
    hand_over(admin, member, tmp_path / "file")
    shown = member("federation", "show", "--json").json
    assert (shown["name"], [each["name"] for each in shown["members"]]) == ("", [shown["members"][0]["did"]])
    assert "only members can read its name" in member("federation", "show").out


def test_a_new_member_reads_names_after_joining_again(
    admin: Peer, member: Peer, passphrase: tuple[str, Path], tmp_path: Path
) -> None:
    hand_over(admin, member, tmp_path / "old")
    admin("federation", "add", member.key_for(admin), "--name", "b", "--role", "client", *passphrase)
    hand_over(admin, member, tmp_path / "new")
    assert stored(member).manifest.name == "trial"


def test_a_removed_member_reads_the_versions_before_and_none_after(
    admin: Peer, member: Peer, passphrase: tuple[str, Path], tmp_path: Path
) -> None:
    admin("federation", "add", member.key_for(admin), "--name", "b", "--role", "client", *passphrase)
    hand_over(admin, member, tmp_path / "old")
    assert admin("federation", "remove", "b", *passphrase).code == 0
    hand_over(admin, member, tmp_path / "new")
    assert (stored(member).manifest.version, stored(member).manifest.name) == (3, "")
    assert stored(admin).manifest.name == "trial"
    assert len(stored(admin).manifest_keys) == 2


def test_an_admin_cannot_change_it_without_its_passphrase(admin: Peer) -> None:
    refused = admin("federation", "remove", "hospital-a")
    assert (refused.code, "passphrase is needed" in refused.err) == (ExitCode.WRONG_USE, True)


def test_a_version_that_a_running_peer_learned_shows_its_names(
    admin: Peer, member: Peer, passphrase: tuple[str, Path], tmp_path: Path
) -> None:
    admin("federation", "add", member.key_for(admin), "--name", "b", "--role", "client", *passphrase)
    hand_over(admin, member, tmp_path / "file")
    admin("federation", "remove", "b", *passphrase)
    admin("federation", "add", member.key_for(admin), "--name", "b-again", "--role", "client", *passphrase)
    newest = stored(admin)
    person = KeyStore(member.home).load(None, Passphrases())
    opened = newest.read_by(reader_of(person)).manifest
    FederationStore(Home(member.home)).learn(newest.id, opened.cid, newest.blocks, opened.key)
    assert stored(member).manifest.names == newest.manifest.names


def test_keys_that_are_rotated_keep_reading(admin: Peer, passphrase: tuple[str, Path]) -> None:
    assert admin("keys", "rotate", *passphrase).code == 0
    assert (stored(admin).manifest.version, stored(admin).manifest.name) == (2, "trial")
    assert len(stored(admin).manifest_keys) == 2


def test_no_bit_of_a_home_file_can_change_the_names(admin: Peer, tmp_path: Path) -> None:
    key = stored(admin).manifest_keys[0].secret_bytes()
    (tmp_path / "spoiled").write_bytes(file_of(admin).replace(key, bytes(32)))
    with pytest.raises(PeerError):
        read_federation(tmp_path / "spoiled")
