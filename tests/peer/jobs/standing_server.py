"""A standing server that can be asked for jobs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from crypto.identity import Identity
from peer.control.requests import RunJob
from peer.home.kept_jobs import KeptJob
from peer.jobs.job_server import JobServer
from peer.run.peer import Peer
from peer.run.session import Session
from protocol.jobs.queue import Limits
from protocol.jobs.request import JobRequest, ToldJob, sign_request
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
            name="",
            files=tuple(read_folder(APP).files),
            config=(),
            min_clients=2,
            seed=1,
            memory=0,
            gpus=0,
        )

    def told(self, *requests: JobRequest) -> list[ToldJob]:
        """What it answers to the other one."""

        async def ask() -> list[ToldJob]:
            jobs, key = self.jobs(), self.asker.signing_keys[0]
            return [jobs.taken(self.session.federation, sign_request(request, key)) for request in requests]

        return asyncio.run(ask())

    @property
    def kept(self) -> list[KeptJob]:
        return self.session.journal.jobs.all()
