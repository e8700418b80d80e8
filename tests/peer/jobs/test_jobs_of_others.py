"""`peer.jobs.job_server`: jobs that members ask for on other machines."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytest

from crypto.identity import Identity
from peer.apps.app_python import OUR_PYTHON
from peer.base.interrupts import Interrupts
from peer.engine.local.engine import LocalEngine
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal
from peer.home.key_watch import KeyWatch
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.jobs.job_server import JobServer, ServerDefaults
from peer.membership.changes import add_member, found_federation
from peer.run.peer import Peer
from peer.run.session import ActingAuthor, Computing, Session
from protocol.jobs.queue import MAX_OF_ONE, Limits
from protocol.jobs.request import JobRequest, ToldJob, sign_request
from protocol.records.bodies import Role
from protocol.records.environment import Numerics
from protocol.replies.checks_and_limits import Admission
from strategy.apps.bundling import read_folder

T = TypeVar("T")
APP = Path(__file__).parents[2] / "apps" / "numpy_fedavg"


@dataclass
class Server:
    """A standing server that takes jobs of another server of its federation, and begins none."""

    session: Session
    asker: Identity

    def request(self, number: int = 0) -> JobRequest:
        return JobRequest(
            federation=bytes(self.session.stored.id),
            to=self.session.identity.id,
            by=self.asker.id,
            key=number.to_bytes(16),
            name="",
            files=tuple(read_folder(APP).files),
            config=(),
            min_clients=2,
            seed=1,
            memory=0,
            gpus=0,
        )

    def told(self, *requests: JobRequest) -> list[ToldJob]:
        async def ask() -> list[ToldJob]:
            federation, home, journal = self.session.stored.id, self.session.home, self.session.journal
            jobs = JobServer(
                Peer(home, self.session.interrupts),
                home,
                journal,
                {federation: self.session},
                Limits(memory=8),
                ServerDefaults(60.0, 60.0, Admission()),
                lambda _: None,
                {federation: frozenset({self.asker.id})},
            )
            key = self.asker.signing_keys[0]
            return [jobs.taken(federation, sign_request(request, key)) for request in requests]

        return asyncio.run(ask())

    @property
    def jobs(self) -> list[str]:
        return [job.name for job in self.session.journal.jobs()]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    home, owner, asker = Home(tmp_path / "home").create(), Identity.generate("server"), Identity.generate("second")
    KeyStore(home.path).add(owner, None)
    stored = found_federation(
        owner, name="trial", member_name="server", roles=[Role.SERVER], swarm_key=bytes(32), time=time.time()
    )
    public = asker.public_for(bytes(stored.id))
    stored = add_member(stored, owner, public, name="second", roles=[Role.SERVER], time=time.time())
    FederationStore(home).save(stored)
    engine = LocalEngine(tmp_path / "engine")
    with Journal(home.journal) as journal:
        session = Session(
            home=home,
            identity=owner,
            keys=KeyWatch(KeyStore(home.path), owner, Passphrases()),
            stored=stored,
            engine=engine,
            engine_name=engine.address,
            journal=journal,
            computing=Computing(1, OUR_PYTHON, Numerics.PORTABLE),
            on_report=lambda _: None,
            interrupts=Interrupts(),
            acting=ActingAuthor.of(journal),
        )
        yield Server(session, asker)
    engine.close()


def test_a_job_of_another_machine_is_kept_with_its_app(server: Server) -> None:
    (told,) = server.told(server.request())
    assert (told.number, told.why) == (1, "")
    (job,) = server.session.journal.jobs()
    assert (job.name, job.asker) == (told.name, server.asker.id)
    assert (server.session.home.path / "apps" / str(job.app) / "pyproject.toml").is_file()


def test_a_request_that_comes_again_is_one_job(server: Server) -> None:
    first, again = server.told(server.request(), server.request())
    assert first == again
    assert len(server.jobs) == 1


def test_no_job_makes_the_server_refuse_the_next(server: Server) -> None:
    first, second = server.request(1), server.request(2)
    told = server.told(replace(first, config=(("fraction-evaluate", math.nan),)), second)
    assert [each.number is not None for each in told] == [False, True]


def test_a_flood_of_one_member_stops_at_its_places(server: Server) -> None:
    told = server.told(*map(server.request, range(MAX_OF_ONE + 3)))
    assert [each.number is not None for each in told] == [True] * MAX_OF_ONE + [False] * 3
    assert len(server.jobs) == MAX_OF_ONE


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"files": (("../../evil.py", b"x"), ("pyproject.toml", b""))}, "cannot be in a bundle"),
        ({"files": (("pyproject.toml", b"not toml ["),)}, "cannot be read"),
        ({"config": (("no-such-setting", 1),)}, "no setting"),
        ({"config": (("fraction-evaluate", math.inf),)}, "finite"),
        ({"config": (("size", 1 << 63),)}, "bits"),
        ({"memory": 9}, "memory"),
        ({"name": "latest"}, "cannot be called"),
    ],
)
def test_what_the_server_cannot_run_is_refused_with_the_reason(
    server: Server, changes: dict[str, object], why: str, tmp_path: Path
) -> None:
    before = set(tmp_path.rglob("evil*"))
    (told,) = server.told(replace(server.request(), **changes))
    assert told.number is None
    assert why in told.why
    assert server.jobs == []
    assert set(tmp_path.rglob("evil*")) == before
