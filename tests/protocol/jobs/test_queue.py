"""`protocol.jobs.queue`: which jobs a standing server takes, and which begin."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chains import ALICE, BOB, SERVER, STRANGER, Scribe, id_of

from crypto.keys import SigningKey
from protocol.jobs.queue import MAX_OF_ONE, MAX_WAITING, Limits, Needs, Queued, may_ask, to_begin, why_refused

NOTHING = Needs()
OWNER, OTHER = b"o" * 32, b"x" * 32


def waiting(number: int, needs: Needs = NOTHING, asker: bytes = OWNER) -> Queued:
    return Queued(number, asker, needs, is_running=False)


def running(number: int, needs: Needs = NOTHING) -> Queued:
    return replace(waiting(number, needs), is_running=True)


def beginning(queue: list[Queued], limits: Limits) -> list[int]:
    return [job.number for job in to_begin(queue, limits)]


def test_jobs_begin_in_the_order_in_which_they_were_accepted() -> None:
    assert beginning([waiting(3), waiting(1), waiting(2)], Limits(runs=2)) == [1, 2]


def test_none_begins_while_as_many_run_as_may() -> None:
    assert beginning([running(1), waiting(2)], Limits(runs=1)) == []


@pytest.mark.parametrize("needs", [Needs(memory=3), Needs(gpus=3)])
def test_a_job_waits_until_what_it_needs_is_free(needs: Needs) -> None:
    limits = Limits(runs=9, memory=4, gpus=4)
    assert beginning([running(1, needs), waiting(2, needs)], limits) == []
    assert beginning([waiting(2, needs)], limits) == [2]


def test_a_small_job_does_not_overtake_a_large_one_that_waits() -> None:
    limits = Limits(runs=9, memory=4)
    assert beginning([running(1, Needs(memory=1)), waiting(2, Needs(memory=4)), waiting(3)], limits) == []


@pytest.mark.parametrize("needs", [Needs(memory=5), Needs(gpus=5)])
def test_a_job_that_could_never_begin_is_refused(needs: Needs) -> None:
    limits = Limits(memory=4, gpus=4)
    assert why_refused([], OWNER, OWNER, needs, limits)
    assert not why_refused([], OWNER, OWNER, Needs(memory=4, gpus=4), limits)


def test_nobody_but_the_owner_takes_all_places_of_the_queue() -> None:
    full_of_one = [waiting(number, asker=OTHER) for number in range(MAX_OF_ONE)]
    assert why_refused(full_of_one, OTHER, OWNER, Needs(), Limits())
    assert not why_refused(full_of_one, OWNER, OWNER, Needs(), Limits())


def test_the_queue_has_an_end_for_its_owner_too() -> None:
    full = [waiting(number) for number in range(MAX_WAITING)]
    assert why_refused(full, OWNER, OWNER, Needs(), Limits())
    assert not why_refused([running(0), *full[1:]], OWNER, OWNER, Needs(), Limits())


@pytest.mark.parametrize(("asker", "may"), [(SERVER, True), (ALICE, True), (BOB, False), (STRANGER, False)])
def test_servers_and_admins_may_ask_and_nobody_else(asker: SigningKey, may: bool) -> None:
    founded_by_alice = Scribe(founders=(ALICE,)).manifest
    assert may_ask(founded_by_alice, id_of(asker)) == may
