"""Carrying out a shredding in one home, step by step, and killed after each of them."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import pytest
from chains import ADMIN, ALICE, BOB, CAROL, STRANGER, Scribe, decryption_key, id_of, reader_of

from crypto.errors import TooManyKeys
from crypto.identity import MAX_RETIRED, Identity
from crypto.keys import DecryptionKey, SigningKey
from peer.base.errors import PeerError
from peer.engine import open_engine
from peer.engine.interface import Engine
from peer.erasure.carrying_out import Erasing, Moment, Outcome
from peer.erasure.telling import LEFT_TO_OWNER, NEW_KEYS_AT_ONCE, OF_ONE_AT_ONCE, ErasureDesk
from peer.erasure.words import kept_words, said_by, statuses, word_of
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from peer.home.key_watch import KeyWatch
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import reader_in
from peer.membership.changes import change_keys, change_shredded
from protocol.blocks.cid import CID, Block
from protocol.chain.chain import Chain
from protocol.federation.erasures import Step, closed_word, read_word
from protocol.records.bodies import Role
from protocol.records.signed_records import read_chained, sign_record
from protocol.roles.effects import Report

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
        self.store.save(shredded(self.store.current(), self.goes.chain.run, epoch))

    def list_new_keys(self) -> None:
        admin = Identity("admin", ADMIN, DecryptionKey.generate())
        with Journal(self.home.journal) as journal:
            words = said_by(id_of(ALICE), self.home, journal)
        for stored in self.store.all():
            said = words.get(stored.id)
            keys = self.identity.public_for(bytes(stored.id)) if said is None else said.keys
            self.store.save(change_keys(stored, admin, [keys], time=time.time()))

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


def shredded(stored: StoredFederation, run: CID, epoch: int = 1) -> StoredFederation:
    """The federation once its admin has ordered that a run is shredded."""
    admin = Identity("admin", ADMIN, DecryptionKey.generate())
    return change_shredded(stored, admin, [run], epoch=epoch, reason="", time=time.time())


def stored_of(scribe: Scribe) -> StoredFederation:
    """The federation of a run, as its members have it."""
    manifests = MappingProxyType(dict(scribe.source.items()))
    return StoredFederation(scribe.chain.manifest, manifests, bytes(32), (), scribe.reader.manifest_keys)


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
    FederationStore(home).save(stored_of(stays))
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


def test_admins_of_another_federation_shred_nothing_of_this_one(alice: AliceAtHome) -> None:
    another = stored_of(closed_run(Scribe(encrypted=True, reader=reader_of(ALICE))))
    alice.store.save(shredded(another, alice.stays.chain.run))
    assert len(alice.carry_out().unlisted) == 2, "one identity has the same keys in both"
    alice.list_new_keys()
    outcome = alice.carry_out()
    assert (outcome.step, outcome.kept) == (Step.NOTHING, 4), "it has new keys, as that federation asks for"
    assert not outcome.shredded, "and nobody is told that a run is gone"
    assert alice.opens(alice.stays) == alice.opens(alice.goes) == [True, True]


def test_keys_that_were_made_meanwhile_are_not_lost(alice: AliceAtHome, monkeypatch: pytest.MonkeyPatch) -> None:
    alice.shred()
    alice.carry_out()
    alice.list_new_keys()

    def rotated_in_another_process(*_: object) -> None:
        keys = KeyStore(alice.home.path)
        opened = keys.opened("alice", alice.passphrases)
        keys.replace(opened.identity.rotated(), PASSPHRASE, opened)

    monkeypatch.setattr("peer.erasure.carrying_out.check_kept", rotated_in_another_process)
    with pytest.raises(PeerError, match="another command has changed the keys of alice"):
        alice.carry_out()
    assert len(alice.identity.decryption_keys) == 3
    assert alice.opens(alice.stays) == alice.opens(alice.goes) == [True, True]


def test_what_is_left_in_the_clear_is_named_and_the_settings_of_a_job_go(alice: AliceAtHome) -> None:
    run, federation = alice.goes.chain.run, alice.store.current().id
    log, scratch = alice.home.run_log(run), alice.home.path / "scratch"
    folders = [scratch / str(run), scratch / f"{run}.before", alice.home.path / "apps"]
    left = [log, log.with_name(f"{log.name}.1"), *folders]
    for path in folders:
        (path / "of-the-run").mkdir(parents=True)
    log.parent.mkdir(parents=True)
    for path in left[:2]:
        path.write_text("printed by the app")
    alice.shred()
    alice.carry_out()
    alice.list_new_keys()
    with Journal(alice.home.journal) as journal:
        job = journal.jobs.accept(b"key", id_of(ALICE), federation, run, "app", "", b"a secret setting", 1.0)
        head = journal.head_of(run)
        assert head is not None
        journal.keep_head(head, job=job.number)
        assert alice.carry_out().left == left
        assert journal.jobs.all() == []
    files = [path for path in alice.home.path.glob("journal.db*") if b"a secret setting" in path.read_bytes()]
    assert not files


def test_what_is_forgotten_leaves_no_keys_behind(alice: AliceAtHome) -> None:
    alice.shred()
    alice.carry_out()
    alice.list_new_keys()
    alice.carry_out()
    with Journal(alice.home.journal) as journal:
        assert len(journal.kept_keys()) == 2
        journal.forget_run(alice.stays.chain.run, ())
        assert not journal.kept_keys()


def listed_with_newest_keys(alice: AliceAtHome) -> None:
    """The manifest lists Alice with the keys that her home has, which she rotated herself."""
    admin, stored = Identity("admin", ADMIN, DecryptionKey.generate()), alice.store.current()
    keys = alice.identity.public_for(bytes(stored.id))
    alice.store.save(change_keys(stored, admin, [keys], time=time.time()))
    alice.store.opened(alice.store.current(), reader_in(alice.home, alice.identity))


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
    keys = KeyStore(alice.home.path)
    opened = keys.opened("alice", alice.passphrases)
    with keys.path("alice").open("rb") as old:
        keys.replace(opened.identity.rotated(), PASSPHRASE, opened)
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


# -- in a running peer ---------------------------------------------------------------------------------------------


@pytest.fixture
def desk(alice: AliceAtHome) -> Iterator[tuple[ErasureDesk, list[Report]]]:
    """Alice's running peer, where no key watch has opened her keys before, and what it reports."""
    reports: list[Report] = []
    keys = KeyWatch(KeyStore(alice.home.path), alice.identity, alice.passphrases)
    with Journal(alice.home.journal) as journal:
        federation = alice.store.current().id
        yield ErasureDesk(alice.home, federation, keys, alice.engine, "", journal, reports.append), reports


def rotated(alice: AliceAtHome, times: int) -> None:
    keys = KeyStore(alice.home.path)
    opened = keys.opened("alice", alice.passphrases)
    identity = opened.identity
    for _ in range(times):
        identity = identity.rotated()
    keys.replace(identity, PASSPHRASE, opened)


def test_orders_do_not_use_up_the_rotations_that_an_owner_needs_after_a_theft(
    alice: AliceAtHome, desk: tuple[ErasureDesk, list[Report]]
) -> None:
    running, reports = desk
    rotated(alice, MAX_RETIRED - LEFT_TO_OWNER)
    listed_with_newest_keys(alice)
    alice.shred()
    running.look()
    assert "only 8 rotations of the keys of alice are left" in str(reports[0].fields["why"])
    assert len(alice.identity.signing_keys) == 1 + MAX_RETIRED - LEFT_TO_OWNER
    alice.carry_out()
    assert len(alice.identity.signing_keys) == 2 + MAX_RETIRED - LEFT_TO_OWNER, "its owner may"


@pytest.mark.parametrize("trouble", [PeerError("its run is gone", fix=""), TooManyKeys("32"), OSError("no space")])
def test_trouble_with_its_own_keys_does_not_keep_it_from_listing_those_of_others(
    alice: AliceAtHome,
    desk: tuple[ErasureDesk, list[Report]],
    monkeypatch: pytest.MonkeyPatch,
    trouble: Exception,
) -> None:
    running, reports = desk
    listed: list[ErasureDesk] = []

    def fails(_: ErasureDesk) -> None:
        raise trouble

    monkeypatch.setattr(ErasureDesk, "_carry_out", fails)
    monkeypatch.setattr(ErasureDesk, "_list_keys", lambda running: listed.append(running))
    alice.shred()
    running.look()
    assert listed == [running]
    assert str(trouble) in str(reports[0].fields["why"])


# -- hearing others ------------------------------------------------------------------------------------------------


@pytest.fixture
def hearing(desk: tuple[ErasureDesk, list[Report]]) -> ErasureDesk:
    return desk[0]


def heard_of(hearing: ErasureDesk) -> set[bytes]:
    stored = FederationStore(hearing.home).current()
    return set(kept_words(stored, hearing.journal))


def says(hearing: ErasureDesk, who: Identity, signer: SigningKey, at: float = 1.0) -> None:
    """A message on the topic that claims to be a word of ``who``."""
    stored = FederationStore(hearing.home).current()
    word = word_of(who, stored.manifest, destroyed=False, now=at)
    block = sign_record(replace(word.body, time=at), [signer])
    hearing.receive(closed_word(replace(word, block=block), stored.id, stored.swarm_key))


def test_a_stranger_with_the_swarm_key_keeps_nobody_from_being_heard(hearing: ErasureDesk) -> None:
    bob = Identity("bob", BOB, decryption_key(BOB))
    for number in range(2 * NEW_KEYS_AT_ONCE):
        says(hearing, bob, STRANGER, at=float(number))
    assert not heard_of(hearing)
    says(hearing, bob, BOB)
    assert heard_of(hearing) == {id_of(BOB)}


def test_a_member_that_floods_keeps_nobody_else_from_being_heard(hearing: ErasureDesk) -> None:
    for number in range(2 * NEW_KEYS_AT_ONCE):
        says(hearing, Identity("bob", BOB, decryption_key(BOB)), BOB, at=float(number))
    (block,) = hearing.journal.erasures(hearing.federation)
    assert read_word(block.data).body.time == OF_ONE_AT_ONCE - 1.0
    says(hearing, Identity("carol", CAROL, decryption_key(CAROL)), CAROL)
    assert heard_of(hearing) == {id_of(BOB), id_of(CAROL)}


def test_what_all_members_say_again_each_minute_leaves_room_for_what_is_new(hearing: ErasureDesk) -> None:
    bob = Identity("bob", BOB, decryption_key(BOB))
    for _ in range(2 * NEW_KEYS_AT_ONCE):
        says(hearing, bob, BOB)
    says(hearing, bob, BOB, at=2.0)
    (block,) = hearing.journal.erasures(hearing.federation)
    assert read_word(block.data).body.time == 2.0


def test_who_knows_only_an_older_manifest_is_told_at_once_and_all_others_each_minute(
    alice: AliceAtHome, hearing: ErasureDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = [0.0]
    told: list[float] = []
    monkeypatch.setattr("peer.erasure.telling.time.monotonic", lambda: moments[0])
    monkeypatch.setattr(type(alice.engine), "publish", lambda *_: told.append(moments[0]))
    older = alice.store.current()
    alice.shred()

    def look_at(*times: float) -> None:
        for moments[0] in times:
            hearing.look()

    look_at(0.0, 10.0)
    assert told == [0.0]
    word = word_of(Identity("bob", BOB, decryption_key(BOB)), older.manifest, destroyed=False, now=1.0)
    hearing.receive(closed_word(word, older.id, older.swarm_key))
    look_at(11.0, 20.0, 70.0, 72.0)
    assert told == [0.0, 11.0, 72.0]
