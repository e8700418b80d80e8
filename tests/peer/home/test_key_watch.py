"""A running peer notices what is done to its key file."""

from __future__ import annotations

from pathlib import Path

import pytest

from crypto.identity import Identity
from peer.home.key_watch import KeyWatch
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases

TYPED = "typed at the start"


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "home")


@pytest.fixture
def alice(store: KeyStore) -> Identity:
    """Her keys are locked with what she types."""
    identity = Identity.generate("alice")
    store.add(identity, TYPED)
    return identity


def replace(store: KeyStore, identity: Identity, passphrase: str | None) -> None:
    """What a command in another process does."""
    store.replace(identity, passphrase, store.opened("alice", Passphrases(ask=lambda prompt: TYPED)))


@pytest.fixture
def watch(store: KeyStore, alice: Identity) -> KeyWatch:
    """The watch of a peer that was started on a terminal, at which nobody sits any more."""
    answers = iter([TYPED])
    passphrases = Passphrases(ask=lambda prompt: next(answers))
    return KeyWatch(store, store.load("alice", passphrases), passphrases)


def test_keys_that_came_before_the_first_look_are_found(watch: KeyWatch, store: KeyStore, alice: Identity) -> None:
    rotated = alice.rotated()
    replace(store, rotated, TYPED)
    later = watch.again()
    assert later.changed
    assert later.newest().public == rotated.public


def test_new_keys_are_opened_with_what_was_typed(watch: KeyWatch, store: KeyStore, alice: Identity) -> None:
    rotated = alice.rotated()
    replace(store, rotated, TYPED)
    assert watch.changed
    newer = watch.newer()
    assert newer is not None
    assert newer.public == rotated.public
    assert not watch.changed


def test_another_passphrase_for_the_same_keys_is_no_change_of_keys(
    watch: KeyWatch, store: KeyStore, alice: Identity
) -> None:
    replace(store, alice, "another one")
    assert watch.changed
    assert watch.newer() is None
    assert not watch.changed


def test_new_keys_under_another_passphrase_do_not_stop_the_peer(
    watch: KeyWatch, store: KeyStore, alice: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    replace(store, alice.rotated(), "another one")
    assert watch.newer() is None
    assert "keys-unreadable" in [record.getMessage() for record in caplog.records]


def test_a_key_file_that_is_gone_does_not_stop_the_peer(watch: KeyWatch, store: KeyStore) -> None:
    store.path("alice").unlink()
    assert watch.newer() is None


def test_another_identity_of_that_name_is_not_taken(watch: KeyWatch, store: KeyStore) -> None:
    replace(store, Identity.generate("alice"), None)
    assert watch.newer() is None
