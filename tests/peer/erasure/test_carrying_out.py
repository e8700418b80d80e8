"""Carrying out a shredding in one home, step by step, and killed after each of them."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest
from chains import ADMIN, ALICE, Scribe, decryption_key, id_of, reader_of

from crypto.identity import Identity
from crypto.keys import DecryptionKey
from peer.base.errors import PeerError
from peer.engine import open_engine
from peer.engine.interface import Engine
from peer.erasure.carrying_out import Erasing, Moment, Outcome
from peer.erasure.words import said_by, statuses
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import reader_in
from peer.membership.changes import change_keys, change_shredded
from protocol.blocks.cid import CID, Block
from protocol.chain.chain import Chain
from protocol.federation.erasures import Step
from protocol.records.bodies import Role
from protocol.records.signed_records import read_chained

PASSPHRASE = "open sesame"


class Killed(Exception):
    """What a test raises in the middle, in place of a power cut."""


@dataclass
class AliceAtHome:
    """Alice's home, in a federation with two closed runs of two epochs each, and the admin's wishes."""

    home: Home
    engine: Engine
    stays: Scribe
    goes: Scribe

    @property
    def store(self) -> FederationStore:
        return FederationStore(self.home)

    @property
    def identity(self) -> Identity:
        return KeyStore(self.home.path).load("alice", self.passphrases)

    @property
    def passphrases(self) -> Passphrases:
        return Passphrases(environ={"POLLEN_PASSPHRASE": PASSPHRASE})

    def shred(self, epoch: int = 1) -> None:
        admin, stored = Identity("admin", ADMIN, DecryptionKey.generate()), self.store.current()
        runs = [self.goes.chain.run]
        self.store.save(change_shredded(stored, admin, runs, epoch=epoch, reason="", time=time.time()))

    def list_new_keys(self) -> None:
        admin, stored = Identity("admin", ADMIN, DecryptionKey.generate()), self.store.current()
        with Journal(self.home.journal) as journal:
            word = said_by(id_of(ALICE), self.home, journal)[stored.id]
        self.store.save(change_keys(stored, admin, [word.keys], time=time.time()))

    def carry_out(self, until: Moment | None = None, without: Collection[CID] = ()) -> Outcome:
        def reached(moment: Moment) -> None:
            if moment is until:
                raise Killed

        def engines(_: str) -> AbstractContextManager[Engine]:
            return nullcontext(self.engine)

        return Erasing(self.home, "alice", self.passphrases, engines, without=without, reached=reached).carry_out()

    def opens(self, scribe: Scribe) -> list[bool]:
        """Which epochs of a run Alice's home opens, whose chain verifies."""
        chain = Chain(scribe.first.cid, reader_in(self.home, self.identity))
        cids = [scribe.chain.head]
        while (before := read_chained(cids[-1], scribe.source).prev) is not None:
            cids.append(before)
        for cid in reversed(cids):
            chain.append_block(Block(cid, scribe.source[cid]), scribe.source)
        assert chain.closed
        return [epoch.model is not None for epoch in chain.keys.epochs]


def closed_run(scribe: Scribe) -> Scribe:
    """A run of two epochs, closed."""
    scribe.add(scribe.run())
    scribe.add(scribe.roster(scribe.with_dave().cid))
    scribe.add(scribe.close())
    return scribe


@pytest.fixture
def alice(tmp_path: Path) -> Iterator[AliceAtHome]:
    one = Scribe(encrypted=True, reader=reader_of(ALICE))
    two = Scribe(encrypted=True, reader=reader_of(ALICE))
    two.source, two.first, two.manifest, two.chain = one.source, one.first, one.first, Chain(one.first.cid, one.reader)
    stays, goes = closed_run(one), closed_run(two)
    home = Home(tmp_path / "alice").create()
    identity = Identity("alice", ALICE, decryption_key(ALICE))
    KeyStore(home.path).add(identity, PASSPHRASE)
    manifests = MappingProxyType(dict(one.source.items()))
    manifest = stays.chain.manifest
    stored = StoredFederation(manifest, manifests, bytes(32), (), stays.reader.manifest_keys)
    FederationStore(home).save(stored)
    engine = open_engine(f"local:{tmp_path / 'engine'}")
    engine.put(Block(cid, data) for cid, data in one.source.items())
    with Journal(home.journal) as journal:
        for scribe in (stays, goes):
            chain = scribe.chain
            assert chain.head is not None
            journal.keep_head(
                RunHead(
                    chain.run, chain.federation, chain.head, chain.height, 1, True, Role.CLIENT, engine.address, 1.0
                )
            )
    yield AliceAtHome(home, engine, stays, goes)
    engine.close()


def test_a_member_makes_new_keys_waits_for_an_admin_and_destroys_the_old_ones(alice: AliceAtHome) -> None:
    assert alice.carry_out().step is Step.NOTHING
    alice.shred()
    assert alice.carry_out().step is Step.WAIT
    assert alice.opens(alice.goes) == [True, True], "nothing is destroyed before the manifest lists the new keys"
    alice.list_new_keys()
    outcome = alice.carry_out()
    assert (outcome.step, outcome.kept, len(outcome.identity.decryption_keys)) == (Step.NOTHING, 2, 1)
    assert alice.opens(alice.goes) == [False, False]
    assert alice.opens(alice.stays) == [True, True]
    assert len(alice.identity.signing_keys) == 2, "it signs as before"


def test_its_word_is_heard_and_says_since_when(alice: AliceAtHome) -> None:
    alice.shred()

    def status() -> tuple[bool, bool, bool]:
        stored = alice.store.current()
        with Journal(alice.home.journal) as journal:
            (found,) = [
                each for each in statuses(stored, stored.manifest.shredded[0], journal) if each.member == id_of(ALICE)
            ]
        return found.confirmed, found.awaits_admin, found.since is not None

    assert status() == (False, False, False)
    alice.carry_out()
    assert status() == (False, True, True)
    alice.list_new_keys()
    assert status() == (False, False, True)
    alice.carry_out()
    assert status() == (True, False, True)


def test_the_epochs_before_the_first_shredded_one_stay(alice: AliceAtHome) -> None:
    alice.shred(epoch=2)
    alice.carry_out()
    alice.list_new_keys()
    assert alice.carry_out().kept == 3
    assert alice.opens(alice.goes) == [True, False]


def test_what_was_kept_goes_if_it_is_shredded_later(alice: AliceAtHome) -> None:
    alice.shred(epoch=2)
    alice.carry_out()
    alice.list_new_keys()
    alice.carry_out()
    alice.shred(epoch=1)
    alice.carry_out()
    alice.list_new_keys()
    alice.carry_out()
    assert alice.opens(alice.goes) == [False, False]
    assert alice.opens(alice.stays) == [True, True]


@pytest.mark.parametrize("moment", Moment)
def test_a_crash_leaves_all_keys_or_those_of_what_stays(alice: AliceAtHome, moment: Moment) -> None:
    alice.shred()
    if moment is Moment.KEYS_MADE:
        with pytest.raises(Killed):
            alice.carry_out(moment)
        assert alice.opens(alice.goes) == [True, True]
    alice.carry_out()
    alice.list_new_keys()
    if moment is not Moment.KEYS_MADE:
        with pytest.raises(Killed):
            alice.carry_out(moment)
    gone = moment in (Moment.KEYS_DESTROYED, Moment.TRACES_GONE)
    assert alice.opens(alice.goes) == [not gone, not gone]
    assert alice.opens(alice.stays) == [True, True]
    assert alice.carry_out().step is Step.NOTHING
    assert alice.opens(alice.goes) == [False, False]
    assert alice.opens(alice.stays) == [True, True]


def test_nothing_is_destroyed_while_a_run_that_stays_cannot_be_read(
    alice: AliceAtHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peer.erasure.kept_keys.SECONDS_A_BLOCK", 0.01)
    alice.shred()
    alice.carry_out()
    alice.list_new_keys()
    alice.engine.unpin(alice.stays.chain.run)
    head = alice.stays.chain.head
    (block,) = (tmp_path / "engine").rglob(str(head))
    block.unlink()
    with pytest.raises(PeerError, match=f"keys of the run {alice.stays.chain.run} would be lost") as refused:
        alice.carry_out()
    assert "--without" in refused.value.fix
    assert alice.opens(alice.stays) == alice.opens(alice.goes) == [True, True]
    assert alice.carry_out(without={alice.stays.chain.run}).step is Step.NOTHING
    assert alice.opens(alice.stays) == [False, False]


def test_a_key_file_that_was_replaced_holds_no_byte_of_the_old_one(alice: AliceAtHome) -> None:
    path = KeyStore(alice.home.path).path("alice")
    with path.open("rb") as old:
        KeyStore(alice.home.path).replace(alice.identity.rotated(), PASSPHRASE)
        assert not old.read().strip(b"\0")


def test_a_key_that_was_copied_before_opens_the_run_still(alice: AliceAtHome) -> None:
    backup = alice.identity
    alice.shred()
    alice.carry_out()
    alice.list_new_keys()
    alice.carry_out()
    KeyStore(alice.home.path).path("alice").unlink()
    KeyStore(alice.home.path).add(backup, PASSPHRASE)
    assert alice.opens(alice.goes) == [True, True], "which is why the command says: destroy key backups"
