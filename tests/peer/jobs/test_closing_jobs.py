"""A job may say when the exchanges of its run close early, wherever it is asked for."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from standing_server import Server

from peer.base.errors import PeerError
from peer.jobs.settings import JobSettings
from protocol.jobs.request import with_texts

RULE = "replies=80% deadline=30"


def closing(server: Server) -> str:
    (job,) = server.kept
    return JobSettings.of(job).closing


def ask(server: Server, rule: str) -> None:
    async def asked() -> None:
        await server.jobs().asked(msgspec.structs.replace(server.own(), closing=rule))

    asyncio.run(asked())


def test_the_owners_job_has_its_rule(server: Server) -> None:
    ask(server, RULE)
    assert closing(server) == RULE


def test_another_members_job_has_its_rule(server: Server) -> None:
    server.told(with_texts(server.request(), "", "", RULE))
    assert closing(server) == RULE


def test_a_rule_that_is_none_is_not_accepted(server: Server) -> None:
    with pytest.raises(PeerError):
        ask(server, "80%")
    assert server.kept == []


def test_a_job_that_was_kept_before_there_were_rules_has_none(server: Server) -> None:
    ask(server, "")
    (job,) = server.kept
    earlier = msgspec.json.decode(job.settings)
    del earlier["closing"]
    assert msgspec.json.decode(msgspec.json.encode(earlier), type=JobSettings).closing == ""
