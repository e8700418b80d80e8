"""``peer keys backup`` and ``peer keys restore``: a file, words, and what each brings back."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Outcome, Peer

from crypto.identity import Identity
from peer.base.errors import ExitCode
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases

Peers = Callable[[str], Peer]


@pytest.fixture
def alice(peers: Peers) -> Peer:
    """Somebody with an unlocked identity that was rotated once."""
    peer = peers("alice").named("alice")
    assert peer("keys", "rotate").code == 0
    return peer


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The file with the backup's own passphrase."""
    file = tmp_path / "own"
    file.write_text("of the backup\n")
    return file


def identity(peer: Peer, passphrase: str | None = None) -> Identity:
    environ = {} if passphrase is None else {"POLLEN_PASSPHRASE": passphrase}
    return KeyStore(peer.home).load("alice", Passphrases(environ=environ))


def backed_up(alice: Peer, own: Path) -> Path:
    file = own.parent / "backup"
    assert alice("keys", "backup", file, "--new-passphrase-file", own).code == 0
    return file


def restored_from_words(peer: Peer, words: str, monkeypatch: pytest.MonkeyPatch, *options: str) -> Outcome:
    monkeypatch.setattr(sys, "stdin", io.StringIO(words))
    return peer("keys", "restore", "--words", "--name", "alice", *options)


# -- a file --------------------------------------------------------------------------------------------------------


def test_a_file_brings_back_everything_under_the_backups_own_passphrase(alice: Peer, own: Path, peers: Peers) -> None:
    file = backed_up(alice, own)
    assert file.stat().st_mode & 0o777 == 0o600
    other = peers("other")
    assert other("keys", "restore", file, "--passphrase-file", own).code == 0
    assert identity(other, "of the backup").secret_bytes() == identity(alice).secret_bytes()
    assert KeyStore(other.home).public().locked


def test_a_backup_does_not_take_the_identitys_passphrase(alice: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLLEN_PASSPHRASE", "open sesame")
    assert alice("keys", "backup", "file").code == ExitCode.WRONG_USE


def test_a_backup_overwrites_nothing(alice: Peer, own: Path, tmp_path: Path) -> None:
    (tmp_path / "backup").write_text("something else")
    assert alice("keys", "backup", tmp_path / "backup", "--new-passphrase-file", own).code == ExitCode.WRONG_USE
    assert (tmp_path / "backup").read_text() == "something else"


def test_restoring_needs_the_backups_passphrase(alice: Peer, own: Path, peers: Peers) -> None:
    file, other = backed_up(alice, own), peers("other")
    own.write_text("another")
    assert "wrong passphrase" in other("keys", "restore", file, "--passphrase-file", own).err
    assert KeyStore(other.home).names() == ()


def test_restoring_overwrites_nothing(alice: Peer, own: Path) -> None:
    file, before = backed_up(alice, own), identity(alice).secret_bytes()
    alice("keys", "rotate")
    refused = alice("keys", "restore", file, "--passphrase-file", own)
    assert (refused.code, "already" in refused.err) == (ExitCode.WRONG_USE, True)
    assert identity(alice).secret_bytes() != before


def test_restoring_an_unlocked_file_is_explicit(alice: Peer, peers: Peers) -> None:
    other, file = peers("other"), KeyStore(alice.home).path("alice")
    assert other("keys", "restore", file).code == ExitCode.WRONG_USE
    assert other("keys", "restore", file, "--no-passphrase").code == 0


@pytest.mark.parametrize("content", [b"Dear Alice,", None], ids=["a letter", "absent"])
def test_restoring_what_is_no_backup_stores_nothing(peers: Peers, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    other = peers("other")
    assert other("keys", "restore", tmp_path / "file").code == ExitCode.WRONG_USE
    assert not other.home.exists()


@pytest.mark.parametrize("arguments", [[], ["a", "b", "c"], ["a", "b", "--words"]], ids=["nothing", "three", "both"])
def test_a_backup_says_how_it_is_asked_for(alice: Peer, arguments: list[str]) -> None:
    refused = alice("keys", "backup", *arguments)
    assert (refused.code, "peer keys backup [NAME] FILE" in refused.err) == (ExitCode.WRONG_USE, True)


def test_a_restore_is_of_a_file_or_of_words(alice: Peer) -> None:
    assert "peer keys restore --words --name NAME" in alice("keys", "restore").err


# -- words ---------------------------------------------------------------------------------------------------------


def test_words_bring_back_all_keys(alice: Peer, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    words, other = alice("keys", "backup", "--words").out, peers("other")
    assert len(words.split()) == 96  # 48 for the keys it has now, 48 for those before
    assert restored_from_words(other, words, monkeypatch, "--no-passphrase").code == 0
    assert identity(other).secret_bytes() == identity(alice).secret_bytes()


def test_keys_from_words_are_locked_anew(alice: Peer, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    words, other = alice("keys", "backup", "--words", "alice", "--json").json["words"], peers("other")
    monkeypatch.setenv("POLLEN_PASSPHRASE", "a new one")
    assert restored_from_words(other, words, monkeypatch).code == 0
    assert identity(other, "a new one").id == identity(alice).id


def test_wrong_words_are_told_apart_and_shown_nowhere(
    alice: Peer, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said of two people's words is the same. (A word may be in it by chance: it is an English word.)"""
    other = peers("other")
    of_each = [whose("keys", "backup", "--words").out.split()[:48] for whose in (alice, peers("bob").named("bob"))]
    swapped = [" ".join([words[1], words[0], *words[2:]]) for words in of_each]
    for wrongs, why in (
        (swapped, "not in order"),
        ([" ".join(words[:-1]) for words in of_each], "48 for each"),
        (["x" + words for words in swapped], "word 1"),
    ):
        refused, as_well = (restored_from_words(other, wrong, monkeypatch, "--no-passphrase", "-v") for wrong in wrongs)
        assert (refused.code, why in refused.err) == (ExitCode.WRONG_USE, True)
        assert refused.err == as_well.err
