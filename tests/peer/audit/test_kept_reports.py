"""``peer history`` of a run that this home verified before: what is shown without reading a block, and when not."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from chains import ADMIN, ALICE, BOB, SERVER, TIME, Scribe, decryption_key, id_of, reader_of
from command_line import Outcome, Peer
from damage import flipped, spoil
from inspected_runs import WrittenRun, finished_run

from crypto.identity import Identity
from crypto.keys import SigningKey
from peer.audit import kept_reports as kept
from peer.base.errors import ExitCode
from peer.engine.local.engine import LocalEngine
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.journal import Journal
from peer.home.keystore import KeyStore
from protocol.blocks.cid import CID, cbor_block
from protocol.blocks.listing import Listing
from protocol.federation.manifest import Manifest, manifest_at
from protocol.federation.unsigned_versions import with_revoked
from protocol.records.bodies import Ack
from protocol.records.signed_records import sign_record

Peers = Callable[[str], Peer]
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Place:
    """A home with a journal, and its engine, which has a run."""

    peer: Peer
    written: WrittenRun
    folder: Path

    def log(self, *options: str, head: CID | None = None) -> Outcome:
        name = str(head or self.written.head)
        return self.peer("history", name, "--ipfs", f"local:{self.folder}", "--json", *options)

    def audit(self, *options: str | Path) -> Outcome:
        return self.peer("audit", str(self.written.head), "--ipfs", f"local:{self.folder}", "--json", *options)

    def put(self) -> None:
        """Everything that the run has by now."""
        engine = LocalEngine(self.folder)
        engine.put(self.written.blocks)
        engine.close()

    def lose_all(self) -> None:
        """No block of it can be read any more."""
        shutil.rmtree(self.folder)

    def journal(self) -> Journal:
        return Journal(Home(self.peer.home).journal)

    def join(self, newest: Manifest) -> None:
        """The home is in the run's federation, and knows this version of its manifest."""
        stored = StoredFederation(newest, dict(self.written.scribe.source), b"k" * 32, ())
        FederationStore(Home(self.peer.home)).save(stored)


@pytest.fixture
def make(peers: Peers, tmp_path: Path) -> Callable[[WrittenRun], Place]:
    def made(written: WrittenRun) -> Place:
        place = Place(peers("home"), written, tmp_path / "engine")
        Home(place.peer.home).create()
        with place.journal():
            place.put()
        return place

    return made


@pytest.fixture
def place(make: Callable[[WrittenRun], Place]) -> Place:
    return make(finished_run())


def was_kept(outcome: Outcome) -> bool:
    """Whether it shows what verifying came to before."""
    return outcome.json["verified_before"] is not None


def test_what_a_log_verified_is_shown_again_without_a_block(place: Place) -> None:
    first = place.log()
    place.lose_all()
    again = place.log()
    assert (was_kept(first), was_kept(again), again.code) == (False, True, ExitCode.DONE)
    assert {**again.json, "verified_before": None} == first.json


def test_what_an_audit_verified_is_shown_as_a_log_shows_it(place: Place) -> None:
    place.audit()
    kept_one = place.log()
    with place.journal() as journal, contextlib.closing(sqlite3.connect(Home(place.peer.home).journal)) as database:
        assert journal.verified(place.written.head)
        database.execute("DELETE FROM verified")
        database.commit()
    assert (was_kept(kept_one), {**kept_one.json, "verified_before": None}) == (True, place.log().json)


def test_what_an_import_verified_is_shown_again(place: Place, peers: Peers, tmp_path: Path) -> None:
    file = tmp_path / "run.car"
    assert place.peer("export", str(place.written.head), file, "--ipfs", f"local:{place.folder}").code == ExitCode.DONE
    other = Place(peers("other"), place.written, tmp_path / "nothing")
    assert other.peer("import", file, "--ipfs", f"local:{place.folder}").code == ExitCode.DONE
    assert was_kept(other.log())


def test_people_are_told_when_it_was_and_what_verifies_it_again(place: Place) -> None:
    place.log()
    *_, verdict, last = place.peer("history", str(place.written.head)).out.splitlines()
    assert verdict.startswith("verified: ")
    assert "verified it at " in last
    assert f"peer audit {place.written.head}" in last


def test_an_audit_believes_nothing_that_is_kept(place: Place) -> None:
    place.log()
    spoil(place.folder, [place.written.run], flipped)
    assert place.audit().code == ExitCode.VERIFICATION_FAILED


def test_a_run_that_is_not_whole_is_verified_anew_each_time(place: Place) -> None:
    spoil(place.folder, [place.written.run], flipped)
    assert not any(was_kept(place.log()) for _ in range(2))


def test_a_head_that_grew_is_verified_anew_and_kept_in_its_place(make: Callable[[WrittenRun], Place]) -> None:
    written = WrittenRun()
    written.exchange(1)
    place, older = make(written), written.head
    place.log()
    written.exchange(2)
    place.put()
    assert [was_kept(place.log()), was_kept(place.log())] == [False, True]
    assert not was_kept(place.log(head=older))


def test_an_ack_that_came_since_is_looked_at(place: Place) -> None:
    place.log()
    body = Ack(
        by=id_of(BOB),
        time=TIME,
        run=place.written.run,
        term=1,
        height=1,
        head=cbor_block("another").cid,
        replies=Listing(()),
    )
    with place.journal() as journal:
        journal.keep_beside(place.written.run, [sign_record(body, [BOB])])
    told = place.log()
    assert [finding["rule"] for finding in told.json["findings"]] == ["another-history"]


def test_a_revocation_that_came_since_is_looked_at(make: Callable[[WrittenRun], Place]) -> None:
    written = WrittenRun()
    written.exchange(1, bob_answers=False)
    place, scribe = make(written), written.scribe
    place.join(scribe.first)
    assert [place.log().json["federation"]["root"] for _ in range(2)] == ["joined", "joined"]
    unsigned = with_revoked(scribe.first, scribe.first.members[id_of(SERVER)], by=id_of(ADMIN), time=TIME)
    place.join(manifest_at(scribe.next_manifest(unsigned).cid, scribe.first.cid, scribe.source))
    assert [finding["rule"] for finding in place.log().json["findings"]] == ["revoked"]


def test_whose_word_it_rests_on_is_as_of_today(place: Place) -> None:
    place.log()
    place.join(place.written.scribe.first)
    assert (was_kept(told := place.log()), told.json["federation"]["root"]) == (False, "joined")


def test_other_code_verifies_anew(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.log()
    monkeypatch.setattr(kept, "_code", lambda: b"another version")
    assert [was_kept(place.log()), was_kept(place.log())] == [False, True]


def test_what_is_kept_and_was_damaged_is_verified_anew(place: Place) -> None:
    place.log()
    with contextlib.closing(sqlite3.connect(Home(place.peer.home).journal)) as database:
        database.execute("UPDATE verified SET report = x'00'")
        database.commit()
    assert (was_kept(place.log()), place.log().code) == (False, ExitCode.DONE)


def test_a_home_without_a_journal_stays_without(peers: Peers, place: Place) -> None:
    stranger = Place(peers("stranger"), place.written, place.folder)
    assert stranger.audit().code == ExitCode.DONE
    assert not stranger.peer.home.exists()


def test_what_is_larger_than_the_bound_is_not_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MAX_KEPT", 100)
    assert not any(was_kept(place.log()) for _ in range(2))


# -- encrypted runs --------------------------------------------------------------------------------------------------


@pytest.fixture
def encrypted(make: Callable[[WrittenRun], Place]) -> Place:
    """A run whose app only members may know by name, and the home of Alice, who is one, and of somebody who is not."""
    scribe = Scribe(encrypted=True, reader=reader_of(SERVER))
    place = make(WrittenRun(scribe))
    store = KeyStore(place.peer.home)
    for name, key in (("alice", ALICE), ("stranger", SigningKey.from_seed(b"s" * 32))):
        store.add(Identity(name, key, decryption_key(key)), None)
    return place


def test_each_reader_is_shown_what_it_read(encrypted: Place) -> None:
    alice = encrypted.log("--identity", "alice").json
    nobody = encrypted.log().json
    assert (bool(alice["app"]), nobody["app"]) == (True, "")
    encrypted.lose_all()
    assert encrypted.log("--identity", "alice").json["app"] == alice["app"]
    assert encrypted.log().json["app"] == ""


def test_a_reader_with_other_keys_is_not_shown_what_a_member_read(encrypted: Place) -> None:
    encrypted.log("--identity", "alice")
    told = encrypted.log("--identity", "stranger")
    assert (was_kept(told), told.json["app"]) == (False, "")


def test_what_a_member_read_is_sealed_to_it(encrypted: Place) -> None:
    encrypted.log("--identity", "alice")
    with encrypted.journal() as journal:
        (verified,) = journal.verified(encrypted.written.head)
    with pytest.raises(zlib.error):
        zlib.decompress(verified.report)


# -- what it costs -----------------------------------------------------------------------------------------------------


def test_what_is_kept_is_shown_without_flower(place: Place) -> None:
    """Importing flwr takes longer than all else."""
    place.log()
    shown = "import sys; from peer.cli.main import run; sys.exit(run(sys.argv[1:]) or 'flwr' in sys.modules)"
    words = [sys.executable, "-c", shown, "history", str(place.written.head), "--home", str(place.peer.home)]
    assert subprocess.run(words, cwd=ROOT, capture_output=True, check=False).returncode == 0
