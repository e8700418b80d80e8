"""The jobs in a journal: accepted once, with one run each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.base.errors import PeerError
from peer.home.journal import Journal, RunHead
from peer.home.kept_jobs import KeptJob
from protocol.blocks.cid import CID, cbor_block
from protocol.records.bodies import Role

FEDERATION, APP, RUN, OTHER = (cbor_block(number).cid for number in range(4))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


def accept(journal: Journal, key: int, name: str = "") -> KeptJob:
    return journal.jobs.accept(bytes([key]) * 16, b"o" * 32, FEDERATION, APP, "digits", name, b"{}", 1.0)


def head(run: CID, height: int) -> RunHead:
    return RunHead(run, FEDERATION, cbor_block([str(run), height]).cid, height, 1, False, Role.SERVER, "local:x", 2.0)


def test_a_job_that_is_asked_for_twice_is_one_job(journal: Journal) -> None:
    assert accept(journal, 1) == accept(journal, 1)
    assert [job.name for job in journal.jobs.all()] == ["digits-1"]


def test_a_request_that_somebody_has_kept_does_not_bring_back_a_run_that_was_forgotten(journal: Journal) -> None:
    journal.keep_head(head(RUN, 0), job=accept(journal, 1).number)
    journal.forget_run(RUN, [])
    with pytest.raises(PeerError, match="forgotten"):
        accept(journal, 1)
    assert accept(journal, 2).name == "digits-1"


def test_jobs_have_numbers_in_their_order_and_names_of_their_own(journal: Journal) -> None:
    jobs = [accept(journal, key) for key in (1, 2)]
    assert [(job.number, job.name) for job in jobs] == [(1, "digits-1"), (2, "digits-2")]


def test_a_name_that_another_run_has_is_refused(journal: Journal) -> None:
    accept(journal, 1, "mine")
    theirs = journal.name_run(RUN, "theirs", 1.0).name
    for name in ("mine", theirs):
        with pytest.raises(PeerError, match="another run is called"):
            accept(journal, 2, name)


def test_a_job_keeps_the_first_run_that_it_has(journal: Journal) -> None:
    job = accept(journal, 1)
    journal.keep_head(head(RUN, 0), job=job.number)
    journal.keep_head(head(OTHER, 0), job=job.number)
    assert [each.run for each in journal.jobs.all()] == [RUN]


def test_a_jobs_run_has_its_name_as_soon_as_it_has_a_head(journal: Journal) -> None:
    job = accept(journal, 1, "mine")
    journal.keep_head(head(RUN, 0), job=job.number)
    assert journal.known_runs()[RUN].name == "mine"
    assert journal.name_run(RUN, "digits", 9.0).name == "mine"


def test_a_job_that_ended_may_be_taken_up_again(journal: Journal) -> None:
    job = accept(journal, 1)
    journal.jobs.end(job.number, 3.0, "the disk is full")
    assert [(each.ended, each.why) for each in journal.jobs.all()] == [(3.0, "the disk is full")]
    journal.jobs.take_up(job.number)
    assert journal.jobs.all() == [job]


def test_a_run_that_began_without_a_job_gets_one(journal: Journal) -> None:
    journal.keep_head(head(RUN, 3))
    name = journal.name_run(RUN, "digits", 1.0).name
    job = journal.jobs.adopt(RUN, FEDERATION, b"o" * 32, "digits", b"{}", 1.0)
    assert (job.run, job.name) == (RUN, name)
