"""The journal keeps what a peer must not forget, whole or not at all."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from peer.base.errors import ExitCode, PeerError
from peer.home.journal import Journal, KeptReply, KnownRun, RunHead
from protocol.blocks.cid import CID, cbor_block, raw_block
from protocol.records.bodies import Role


def cid(text: str) -> CID:
    return raw_block(text.encode()).cid


HEAD = RunHead(
    run=cid("run"),
    federation=cid("federation"),
    head=cid("head"),
    height=3,
    term=1,
    closed=False,
    role=Role.SERVER,
    engine="local:/engine",
    updated=1.5,
)
RUN = HEAD.run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal(path)
    yield journal
    journal.close()


def again(path: Path, journal: Journal) -> Journal:
    """The journal as the next process finds it."""
    journal.close()
    return Journal(path)


def test_each_start_has_a_higher_number_whatever_the_clock_does(path: Path, journal: Journal) -> None:
    first = journal.next_start(2e9)
    assert first < again(path, journal).next_start(1e9)


def test_a_start_of_an_older_copy_of_a_home_has_a_higher_number_by_the_clock(path: Path, journal: Journal) -> None:
    older = path.with_name("older")
    journal.next_start(2e9)
    shutil.copy(path, older)
    newest = journal.next_start(2e9 + 5)
    assert Journal(older).next_start(2e9 + 9) > newest


def test_a_head_is_found_again(path: Path, journal: Journal) -> None:
    journal.keep_head(HEAD)
    assert again(path, journal).head_of(RUN) == HEAD


def test_a_newer_head_replaces_the_one_before(journal: Journal) -> None:
    newer = replace(HEAD, head=cid("newer"), height=4, closed=True)
    journal.keep_head(HEAD)
    journal.keep_head(newer)
    assert journal.heads() == [newer]


def test_runs_are_listed_by_their_last_change(journal: Journal) -> None:
    other = replace(HEAD, run=cid("other"), head=cid("other head"), updated=2.5)
    journal.keep_head(HEAD)
    journal.keep_head(other)
    assert journal.heads() == [other, HEAD]


def test_an_older_head_takes_no_newer_ones_place_and_a_lower_one_in_a_higher_term_does(journal: Journal) -> None:
    journal.keep_head(HEAD)
    journal.keep_newer_head(replace(HEAD, head=cid("older"), height=HEAD.height - 1))
    assert journal.head_of(RUN) == HEAD
    elected = replace(HEAD, head=cid("elected"), height=HEAD.height - 1, term=HEAD.term + 1)
    journal.keep_newer_head(elected)
    assert journal.head_of(RUN) == elected


def test_a_run_whose_close_a_takeover_has_lost_is_not_finished(journal: Journal) -> None:
    journal.keep_head(replace(HEAD, closed=True))
    journal.finish(RUN)
    journal.keep_head(replace(HEAD, closed=False, term=2))
    assert not journal.is_finished(RUN)


def test_a_run_is_found_by_its_head(journal: Journal) -> None:
    journal.keep_head(HEAD)
    assert journal.run_of(HEAD.head) == HEAD
    assert journal.run_of(RUN) is None


def test_replies_come_back_in_the_order_in_which_they_were_kept_also_if_one_is_signed_anew(journal: Journal) -> None:
    for number in range(2):
        journal.keep_reply(RUN, b"%d" % number, cid(f"reply {number}"), cid(f"state {number}"))
    journal.replace_reply(RUN, b"0", cid("signed anew"))
    assert journal.replies(RUN) == [
        KeptReply(b"0", cid("signed anew"), cid("state 0")),
        KeptReply(b"1", cid("reply 1"), cid("state 1")),
    ]


def test_a_message_is_answered_again_as_it_was_first(path: Path, journal: Journal) -> None:
    journal.keep_reply(RUN, b"1", cid("first"), cid("state"))
    journal.keep_reply(RUN, b"1", cid("second"), None)
    assert again(path, journal).replies(RUN) == [KeptReply(b"1", cid("first"), cid("state"))]


def test_replies_come_in_the_order_in_which_they_were_kept(journal: Journal) -> None:
    for message in (b"b", b"a", b"c"):
        journal.keep_reply(RUN, message, cid("reply"), None)
    assert [kept.message for kept in journal.replies(RUN)] == [b"b", b"a", b"c"]


def test_own_records_are_kept_byte_for_byte(path: Path, journal: Journal) -> None:
    record = cbor_block({"body": 1})
    journal.keep_own([record])
    journal.keep_own([record])
    assert again(path, journal).own(record.cid) == record.data


def test_a_server_that_signed_no_run_record_stood_by(journal: Journal) -> None:
    block = cbor_block({"run": "led"})
    assert journal.part_in(replace(HEAD, run=block.cid, role=Role.SERVER)) == "standby"
    assert journal.part_in(replace(HEAD, run=block.cid, role=Role.CLIENT)) == "client"
    journal.keep_own([block])
    assert journal.part_in(replace(HEAD, run=block.cid, role=Role.SERVER)) == "server"


def test_a_server_that_signed_the_newest_record_leads_the_run(journal: Journal) -> None:
    block = cbor_block({"takeover": "own"})
    head = replace(HEAD, head=block.cid, role=Role.SERVER)
    assert not journal.leads(head)
    journal.keep_own([block])
    assert journal.leads(head)
    assert journal.part_in(head) == "server"


def test_the_last_engine_is_remembered(path: Path, journal: Journal) -> None:
    journal.remember_engine("kubo")
    journal.remember_engine("local:/engine")
    assert again(path, journal).engine() == "local:/engine"


def test_a_full_disk_is_said_and_loses_nothing(path: Path, journal: Journal) -> None:
    journal.keep_head(HEAD)
    (pages,) = journal._file._database.execute("PRAGMA page_count").fetchone()
    journal._file._database.execute(f"PRAGMA max_page_count = {pages}")
    large = [raw_block(b"x" * 100_000), raw_block(b"y" * 100_000)]
    with pytest.raises(PeerError, match="full; nothing was lost") as raised:
        journal.keep_own(large)
    assert raised.value.exit_code is ExitCode.UNFINISHED
    reopened = again(path, journal)
    assert reopened.head_of(RUN) == HEAD
    assert [reopened.own(block.cid) for block in large] == [None, None]


def test_a_file_that_is_no_journal_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, though long enough to look like one" * 50)
    with pytest.raises(PeerError, match="not a journal, or is damaged"):
        Journal(path)


def test_a_newer_layout_is_refused(path: Path, journal: Journal) -> None:
    journal.close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(PeerError, match="newer Pollen"):
        Journal(path)


def test_nobody_else_may_read_it(path: Path, journal: Journal) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_was_written_is_synced(journal: Journal) -> None:
    assert journal._file._database.execute("PRAGMA synchronous").fetchone() == (2,)


def test_an_approval_outlives_the_process_and_a_question(path: Path, journal: Journal) -> None:
    app, run = cid("app"), cid("run")
    journal.ask_for_app(app, "app 1.0", run)
    assert journal.approved_apps() == frozenset()
    journal.approve_app(app)
    journal.ask_for_app(app, "app 1.0", cid("another run"))
    (known,) = again(path, journal).apps()
    assert (known.app, known.name, known.run, known.approved) == (app, "app 1.0", cid("another run"), True)


def test_a_forgotten_app_may_not_run(journal: Journal) -> None:
    journal.approve_app(cid("app"))
    assert journal.forget_app(cid("app"))
    assert not journal.forget_app(cid("app"))
    assert journal.approved_apps() == frozenset()


def test_a_journal_of_the_first_layout_is_brought_up_to_date(path: Path, journal: Journal) -> None:
    journal.keep_head(HEAD)
    journal.close()
    with sqlite3.connect(path) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for later in set(tables) - {"facts", "heads", "replies", "own", "sqlite_sequence"}:
            database.execute(f"DROP TABLE {later}")
        database.execute("PRAGMA user_version = 1")
    database.close()
    newer = Journal(path)
    newer.approve_app(cid("app"))
    assert (newer.heads(), newer.approved_apps()) == ([HEAD], {cid("app")})
    newer.close()


def test_that_a_run_was_watched_is_kept_until_the_run_is_forgotten(path: Path, journal: Journal) -> None:
    journal.keep_head(HEAD)
    assert not journal.was_watched(HEAD.run)
    journal.keep_watched(HEAD.run)
    later = again(path, journal)
    assert later.was_watched(HEAD.run)
    later.forget_run(HEAD.run, [])
    assert not later.was_watched(HEAD.run)


def test_proofs_are_kept_once_each_with_its_records_and_its_run(journal: Journal) -> None:
    proof = tuple(cbor_block(text) for text in ("proof", "first", "second"))
    other = tuple(cbor_block(text) for text in ("other", "first", "third"))
    for _ in range(2):
        journal.keep_proof(cid("run"), proof)
    journal.keep_proof(cid("another run"), other)
    assert journal.proofs(cid("run")) == [proof]
    assert set(journal.proofs()) == {proof, other}


def test_what_is_well_signed_is_kept_with_a_head_or_not_at_all(path: Path, journal: Journal) -> None:
    journal.keep_head(HEAD, [cid("record")])
    newer = again(path, journal)
    assert [cid(text) in newer.well_signed for text in ("record", "another")] == [True, False]
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE well_signed")
    database.close()
    with pytest.raises(PeerError):
        newer.keep_head(replace(HEAD, height=4), [cid("another")])
    assert newer.head_of(RUN) == HEAD
    newer.close()


def test_what_is_well_signed_is_seen_while_another_writes(path: Path, journal: Journal) -> None:
    journal.keep_well_signed([cid("record")])
    writing = sqlite3.connect(path, isolation_level=None)
    writing.execute("BEGIN EXCLUSIVE")
    assert cid("record") in journal.well_signed
    writing.close()


def test_a_run_keeps_the_name_that_this_home_gave_it_first(tmp_path: Path) -> None:
    one, other = (cbor_block(number).cid for number in (1, 2))
    with Journal(tmp_path / "journal.db") as journal:
        assert journal.name_run(one, "digits", 1.0).name == "digits-1"
        assert journal.name_run(one, "other", 2.0).name == "digits-1"
        assert journal.name_run(other, "digits", 3.0).name == "digits-2"


def test_a_home_that_was_moved_is_told_of_each_run_that_it_left_open(tmp_path: Path) -> None:
    one, other, closed = (cbor_block(number).cid for number in (1, 2, 3))
    with Journal(tmp_path / "journal.db") as journal:
        journal.keep_place("here")
        for run in (one, other, closed):
            journal.keep_head(RunHead(run, run, run, 3, 1, run == closed, Role.SERVER, "local:x", 1.0))
        assert not journal.may_have_forgotten(one, "here")
        assert journal.may_have_forgotten(one, "there")
        journal.keep_place("there")  # a new run begins, before the others are taken up
        assert [journal.may_have_forgotten(run, "there") for run in (one, other, closed)] == [True, True, False]
        journal.keep_place("there", one)
        assert [journal.may_have_forgotten(run, "there") for run in (one, other)] == [False, True]


def test_how_far_a_run_is_and_how_it_ended_is_kept(tmp_path: Path) -> None:
    run = cbor_block(1).cid
    with Journal(tmp_path / "journal.db") as journal:
        journal.name_run(run, "digits", 1.0)
        journal.note_round(run, 7)
        journal.note_outcome(run, "raised")
    with Journal(tmp_path / "journal.db") as journal:
        assert journal.known_runs()[run] == KnownRun(run, "digits-1", "digits", 1.0, 7, "raised")
