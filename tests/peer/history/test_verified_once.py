"""A home verifies the signature of each record once in its life; an audit verifies all of them, whatever is kept."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from chains import ALICE, SERVER, TIME, id_of, reader_of
from command_line import Peer
from damage import flipped, spoil
from inspected_runs import WrittenRun

from crypto import dsse
from peer.base.errors import ExitCode, PeerError
from peer.engine.local.engine import LocalEngine
from peer.history.run_to_resume import run_to_resume
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from protocol.blocks.cid import Block
from protocol.blocks.listing import Listing
from protocol.federation.epochs import seed_block
from protocol.records.bodies import Ack, Role
from protocol.records.signed_records import sign_record

Peers = Callable[[str], Peer]
HEIGHT = 8
SIGNED = 13
"""A run record, four dispatches, four collects, and the replies in them."""


@dataclass(frozen=True)
class Place:
    """A home that led a run, which is open, and its engine; each of its methods is a process of its own."""

    peer: Peer
    written: WrittenRun
    folder: Path
    verifications: Callable[[], int]

    def grow(self, height: int) -> None:
        """Go on with the run: its leader signs that, and has not looked at it yet."""
        scribe = self.written.scribe
        self.written.lengthen(height)
        chain = scribe.chain
        assert chain.head is not None
        with self.engine() as engine, self.journal() as journal:
            engine.put(Block(cid, data) for cid, data in scribe.source.items())
            journal.keep_head(
                RunHead(chain.run, scribe.first.cid, chain.head, height, 1, False, Role.SERVER, engine.address, TIME)
            )

    def resume(self) -> int:
        """Read the run to go on with it; how many signatures were verified for that."""

        def read() -> None:
            with self.engine() as engine, self.journal() as journal:
                assert run_to_resume(journal, self.written.scribe.first.cid, reader_of(SERVER), engine)

        return self._counted(read)

    def command(self, name: str) -> int:
        """`peer NAME` of the run; how many signatures it verified."""

        def run() -> None:
            assert self.peer(name, str(self.written.head), "--ipfs", f"local:{self.folder}").code == ExitCode.DONE

        return self._counted(run)

    @property
    def manifests(self) -> int:
        """How many signatures a process verifies to read the federation's manifest."""
        scribe = self.written.scribe
        return self._counted(lambda: scribe.read_manifest(scribe.first.cid))

    def _counted(self, work: Callable[[], object]) -> int:
        dsse._RIGHT.__init__(dsse.MAX_RIGHT)  # type: ignore[misc]  # it is the fixture's, of this test alone
        before = self.verifications()
        work()
        return self.verifications() - before

    def engine(self) -> contextlib.closing[LocalEngine]:
        return contextlib.closing(LocalEngine(self.folder))

    def journal(self) -> Journal:
        return Journal(Home(self.peer.home).journal)

    @contextlib.contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """The journal's file, to be spoiled."""
        with contextlib.closing(sqlite3.connect(Home(self.peer.home).journal)) as database:
            yield database
            database.commit()


@pytest.fixture
def place(peers: Peers, tmp_path: Path, verifications: Callable[[], int]) -> Place:
    written = WrittenRun(seed=(seed := seed_block(bytes(32), None)).cid)
    written.scribe.source.add(seed)
    place = Place(peers("home"), written, tmp_path / "engine", verifications)
    Home(place.peer.home).create()
    place.grow(HEIGHT)
    return place


def test_a_run_that_is_resumed_again_has_no_signature_verified_again(place: Place) -> None:
    assert [place.resume() - place.manifests for _ in range(3)] == [SIGNED, 0, 0]


def test_only_what_a_run_grew_by_is_verified(place: Place) -> None:
    place.resume()
    place.grow(HEIGHT + 2)  # a dispatch, and a collect with a reply
    assert place.resume() - place.manifests == 3


def test_a_log_of_a_run_that_was_led_here_verifies_no_signature_again(place: Place) -> None:
    place.resume()
    assert place.command("history") == place.manifests


def test_a_log_of_a_head_that_grew_verifies_what_it_grew_by(place: Place) -> None:
    place.command("history")
    place.grow(HEIGHT + 2)
    assert place.command("history") - place.manifests == 3


def test_an_ack_is_verified_once_too(place: Place) -> None:
    place.command("history")
    chain = place.written.scribe.chain
    assert chain.head is not None
    body = Ack(by=id_of(ALICE), time=TIME, run=chain.run, term=1, height=HEIGHT, head=chain.head, replies=Listing(()))
    with place.journal() as journal:
        journal.keep_beside(chain.run, [sign_record(body, [ALICE])])
    assert place.command("history") - place.manifests == 1
    with place.database() as database:
        database.execute("DELETE FROM verified")
    assert place.command("history") == place.manifests


@pytest.mark.parametrize("before", ["resume", "history", "audit"])
def test_an_audit_verifies_every_signature(place: Place, before: str) -> None:
    place.resume() if before == "resume" else place.command(before)
    assert place.command("audit") - place.manifests == SIGNED


def test_what_an_audit_found_right_is_not_verified_again(place: Place) -> None:
    place.command("audit")
    assert place.resume() == place.manifests


@pytest.mark.parametrize(
    "damage",
    ["substr(cid, 1, 35)", "cid || x'00'", "substr(cid, 2) || substr(cid, 1, 1)", "hex(cid)", "CAST(cid AS TEXT)"],
)
def test_a_damaged_row_is_no_fact(place: Place, damage: str) -> None:
    place.resume()
    with place.database() as database:
        database.execute(f"UPDATE well_signed SET cid = {damage}")
    assert place.resume() - place.manifests == SIGNED


def test_a_record_whose_bytes_were_changed_is_refused_though_its_name_is_known(place: Place) -> None:
    place.resume()
    spoil(place.folder, [place.written.head], flipped)
    with pytest.raises(PeerError) as refused:
        place.resume()
    assert refused.value.exit_code is ExitCode.VERIFICATION_FAILED
