"""A standing server that can be asked for jobs."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from crypto.identity import Identity
from peer.control.requests import RunJob
from peer.home.kept_jobs import KeptJob
from peer.home.reader_choice import reader_of
from peer.jobs.job_server import JobServer
from peer.run.peer import Peer
from peer.run.session import Session
from protocol.jobs.answer import JobAnswer, open_answer
from protocol.jobs.queue import Limits
from protocol.jobs.request import JobQuestion, JobRequest, sign_question, sign_request
from protocol.roles.leader.run_plan import LeaderSettings
from strategy.apps.bundling import read_folder

APP = Path(__file__).parents[2] / "apps" / "numpy_fedavg"


@dataclass
class Server:
    """A standing server, and another server of its federation whose jobs it takes. It runs nothing by itself."""

    session: Session
    asker: Identity

    def jobs(self, peer: Peer | None = None) -> JobServer:
        """Its queue, in the event loop that runs now."""
        federation, home = self.session.federation, self.session.home
        return JobServer(
            peer or Peer(home, self.session.interrupts),
            home,
            self.session.journal,
            {federation: self.session},
            Limits(memory=8),
            LeaderSettings(1, 60.0, 60.0),
            lambda _: None,
            {federation: frozenset({self.asker.id})},
        )

    def own(self, number: int = 0) -> RunJob:
        """What its owner asks for."""
        return RunJob(key=number.to_bytes(16).hex(), folder=str(APP), run_config=[], node_config=[])

    def request(self, number: int = 0) -> JobRequest:
        """What the other one asks for."""
        return JobRequest(
            federation=bytes(self.session.federation),
            to=self.session.identity.id,
            by=self.asker.id,
            key=number.to_bytes(16),
            expires=int(time.time()) + 600,
            name="",
            files=tuple(read_folder(APP).files),
            config=(),
            min_clients=2,
            seed=1,
            memory=0,
            gpus=0,
        )

    def told(self, *asked: JobRequest | JobQuestion) -> list[JobAnswer]:
        """What it answers to the other one."""

        async def ask() -> list[JobAnswer]:
            jobs = self.jobs()
            return [self._answer(jobs, each) for each in asked]

        return asyncio.run(ask())

    def _answer(self, jobs: JobServer, asked: JobRequest | JobQuestion) -> JobAnswer:
        federation, key = self.session.federation, self.asker.signing_keys[0]
        if isinstance(asked, JobQuestion):
            signed = sign_question(asked, key)
            sealed = jobs.told(federation, signed)
        else:
            signed = sign_request(asked, key)
            sealed = jobs.taken(federation, signed)
        assert sealed is not None
        return open_answer(
            sealed, signed, self.session.identity.id, self.session.stored().manifest, reader_of(self.asker)
        )

    @property
    def kept(self) -> list[KeptJob]:
        return self.session.journal.jobs.all()
