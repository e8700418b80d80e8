"""A job may say when its exchanges close early, and how many witnesses it needs, wherever it is asked for."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from standing_server import Server

from peer.base.errors import PeerError
from peer.jobs.settings import JobSettings
from protocol.jobs.request import with_choices

RULE = "replies=80% deadline=30"


def kept(server: Server) -> JobSettings:
    (job,) = server.kept
    return JobSettings.of(job)


def ask(server: Server, rule: str, witnesses: int = 0) -> None:
    async def asked() -> None:
        await server.jobs().asked(msgspec.structs.replace(server.own(), closing=rule, witnesses=witnesses))

    asyncio.run(asked())


def test_the_owners_job_has_its_rule(server: Server) -> None:
    ask(server, RULE)
    assert kept(server).closing == RULE


def test_another_members_job_has_its_rule(server: Server) -> None:
    server.told(with_choices(server.request(), "", "", RULE))
    assert kept(server).closing == RULE


def test_a_job_has_the_witnesses_that_its_owner_or_another_member_asks_for(server: Server) -> None:
    ask(server, "", 2)
    server.told(with_choices(server.request(), "", "", "", 3))
    assert [JobSettings.of(job).witnesses for job in server.kept] == [2, 3]


def test_a_rule_that_is_none_is_not_accepted(server: Server) -> None:
    with pytest.raises(PeerError):
        ask(server, "80%")
    assert server.kept == []


def test_a_job_that_was_kept_before_there_were_rules_has_none(server: Server) -> None:
    ask(server, "")
    (job,) = server.kept
    earlier = msgspec.json.decode(job.settings)
    del earlier["closing"], earlier["witnesses"]
    settings = msgspec.json.decode(msgspec.json.encode(earlier), type=JobSettings)
    assert (settings.closing, settings.witnesses) == ("", 0)
