"""`peer.jobs.job_server`: how a job waits, begins, fails and is given up. What leads its run stands in here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from standing_server import Server

from peer.base.errors import PeerError
from peer.control.requests import CancelJob, TakeUpJob
from peer.jobs import job_server
from peer.jobs.job_server import JobServer
from peer.run.peer import Peer, Prepared
from peer.run.runner import Ending
from protocol.roles.effects import StopCause


class Leads:
    """A peer whose runs end as they are told, before they begin."""

    def __init__(self, *endings: Ending) -> None:
        self.endings = list(endings)
        self.began: list[int | None] = []
        self.stopped = asyncio.Event()
        self.let_end = asyncio.Event()
        self.let_end.set()
        self.beside: asyncio.Task[None] | None = None

    async def hold(self, prepared: Prepared) -> Ending:
        self.began.append(prepared.job)
        if not self.endings:
            self.stopped.set()
            return Ending(interrupted=True)
        await self.let_end.wait()
        return self.endings.pop(0)

    def stop_job(self, number: int) -> bool:
        self.let_end.set()
        return number in self.began


def run(server: Server, endings: list[Ending], work: Callable[[JobServer, Leads], Awaitable[object]]) -> Leads:
    """Let the queue run until the peer stops, which it does at the first run that has no ending."""

    async def all_of_it() -> Leads:
        leads = Leads(*endings)
        jobs = server.jobs(cast(Peer, leads))
        await work(jobs, leads)
        await asyncio.wait_for(jobs.keep_going(), 60)
        return leads

    return asyncio.run(all_of_it())


async def two(jobs: JobServer, server: Server) -> None:
    await jobs.asked(server.own(1))
    await jobs.asked(server.own(2))


NO_DISK = Ending("the disk is full", StopCause.MEANS)


def test_a_job_that_lacks_its_means_keeps_its_turn(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_server, "RESTS", (0.01, 0.01))
    leads = run(server, [NO_DISK, NO_DISK], lambda jobs, _: two(jobs, server))
    assert leads.began == [1, 1, 1]
    assert [job.ended for job in server.kept] == [None, None]


def test_one_that_lacks_its_means_too_often_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_server, "RESTS", (0.01,))
    leads = run(server, [NO_DISK, NO_DISK], lambda jobs, _: two(jobs, server))
    assert leads.began == [1, 1, 2]
    assert [job.why for job in server.kept] == ["the disk is full", ""]


def test_a_job_whose_app_fails_is_given_up_at_once(server: Server) -> None:
    leads = run(server, [Ending("it crashed", StopCause.APP)], lambda jobs, _: two(jobs, server))
    assert leads.began == [1, 2]
    assert [job.why for job in server.kept] == ["it crashed", ""]


def test_a_job_whose_settings_are_damaged_ends_and_the_others_go_on(server: Server) -> None:
    async def damaged(jobs: JobServer, _: Leads) -> None:
        await two(jobs, server)
        with server.session.journal._file.transaction() as database:
            database.execute("UPDATE jobs SET settings = '{' WHERE number = 1")

    assert run(server, [], damaged).began == [2]
    assert "damaged" in server.kept[0].why


def test_a_job_that_is_given_up_does_not_begin_unless_it_is_taken_up_again(server: Server) -> None:
    async def cancelled(jobs: JobServer, _: Leads) -> None:
        await two(jobs, server)
        await jobs.asked(CancelJob(1))

    async def taken_up(jobs: JobServer, _: Leads) -> None:
        await jobs.asked(TakeUpJob(1))

    assert run(server, [], cancelled).began == [2]
    assert run(server, [], taken_up).began == [1]


def test_a_job_that_has_begun_is_stopped_where_it_runs(server: Server) -> None:
    async def stopped(jobs: JobServer, leads: Leads) -> None:
        async def stop() -> None:
            while leads.began != [1]:
                await asyncio.sleep(0.01)
            await jobs.asked(CancelJob(1))

        await two(jobs, server)
        leads.let_end.clear()
        leads.beside = asyncio.create_task(stop())

    leads = run(server, [Ending("it was stopped before it began", StopCause.OWNER)], stopped)
    assert leads.began == [1, 2]


def test_a_job_that_ends_on_a_full_disk_is_not_begun_again_by_this_process(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(jobs: JobServer, leads: Leads) -> None:
        await two(jobs, server)

        def end_job(*_: object) -> None:
            leads.stopped.set()
            raise PeerError("the disk is full")

        monkeypatch.setattr(server.session.journal.jobs, "end", end_job)

    assert run(server, [Ending("it crashed", StopCause.APP)], full).began == [1]


def test_asked_for_again_it_is_the_same_job_even_if_the_queue_has_no_room_left(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def again() -> None:
        jobs = server.jobs()
        await jobs.asked(server.own(1))
        monkeypatch.setattr(job_server, "why_refused", lambda *_: "100 jobs wait already")
        await jobs.asked(server.own(1))

    asyncio.run(again())
    assert len(server.kept) == 1
