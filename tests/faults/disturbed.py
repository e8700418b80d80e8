"""Runs of real processes to which something happens, and what they come to."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from federation import Federation, PeerProcess, until
from run_outcome import outcome

from peer.base.faults import VARIABLE, Fault, Victim
from peer.engine.chosen_engine import MANAGED, opened
from peer.engine.interface import EngineUnavailable
from peer.home.journal import Journal, RunHead
from protocol.blocks.cid import CID, Block, BlockSource
from protocol.records.bodies import Chained
from protocol.records.signed_records import Record, parse_record

HERE: Final = Path(__file__).parent
APP: Final = HERE / "counting"
CLIENTS: Final = ("one", "two")
"""Two, because each more means two processes more in every test. The app shows in which order their replies came."""
PEERS: Final = ("server", *CLIENTS)

Told = tuple[Mapping[str, Any], ...]
"""An outcome, record by record (`run_outcome`)."""


def founded(root: Path, *, encrypted: bool = False) -> Path:
    """Make the homes that runs are copies of. Only of runs that are not encrypted can the outcomes be compared as a
    whole: each run draws keys of its own."""
    Federation(root, "", encrypted).add(*CLIENTS)
    return root


class DatedPeer(PeerProcess):
    """`dated_peer`."""

    module = "dated_peer"


class Disturbed(Federation):
    """A run in a copy of the homes. ``peers`` has the newest process of each."""

    process = DatedPeer
    peers: dict[str, PeerProcess]
    variables: dict[str, str]

    @classmethod
    def copy_of(cls, origin: Path, root: Path, engine: str = "", **variables: str) -> Self:
        """A run with the secrets of ``origin``, on the local engine if no other is named."""
        of_processes = shutil.ignore_patterns("wake", "peer.sock")  # pipes and sockets of processes that have ended
        shutil.copytree(origin, root, ignore=of_processes)
        made = cls.__new__(cls)
        made.root, made.engine, made.names = root, engine or f"local:{root / 'engine'}", list(CLIENTS)
        made.processes, made.mark, made.peers, made.variables = [], uuid.uuid4().hex, {}, variables
        made.variables["PYTHONPATH"] = os.pathsep.join(map(str, (HERE.parents[1], HERE)))
        return made

    def start_all(self, faults: Mapping[str, Fault] = {}) -> None:
        """Start every peer, each with its fault if it has one."""
        for name in PEERS:
            self.start_one(name, faults.get(name))
            if name == "server" and self.engine == MANAGED:
                until(self._have_met, lambda: f"the server's node does not answer:\n{self.peers['server'].said}")

    def _have_met(self) -> bool:
        """Whether the clients know the server's node, which may just have been killed."""
        try:
            self.meet(self.peers["server"])
        except (EngineUnavailable, FileNotFoundError, ValueError):
            return False
        return True

    def start_one(self, name: str, fault: Fault | None = None, *options: str, app: Path = APP) -> PeerProcess:
        """Start a peer, or start it again; ``options`` are for a server."""
        variables = self.variables | ({VARIABLE: str(fault)} if fault else {})
        if name == "server":
            process = self.server(app, *options, clients=len(self.names), **variables)
        else:
            process = self.client(name, app, **variables)
        self.peers[name] = process
        return process

    def kill(self, name: str) -> None:
        """Kill a peer as it runs, and start it again if something is left to do."""
        self.peers[name].kill()
        if self.is_over(name):
            del self.peers[name]
        else:
            self.start_one(name)

    def heads(self, name: str) -> list[RunHead]:
        """The heads of all runs in a home, the last changed one first."""
        with Journal(self.home(name).journal) as journal:
            return journal.heads()

    def own_records(self, name: str) -> list[Block]:
        """The records that a home has signed."""
        with contextlib.closing(sqlite3.connect(self.home(name).journal)) as database:
            return [Block(CID(cid), data) for cid, data in database.execute("SELECT cid, data FROM own ORDER BY cid")]

    def is_over(self, name: str) -> bool:
        """Whether nothing is left to do for a peer that was killed."""
        with Journal(self.home(name).journal) as journal:
            runs = journal.heads()
            return bool(runs) and runs[0].closed and (name != "server" or journal.is_finished(runs[0].run))

    def await_death(self, name: str) -> None:
        """Wait until a peer has been killed by its fault."""
        code = self.peers[name].code()
        assert code == -signal.SIGKILL, f"{name} was to be killed and ended with {code}:\n{self.peers[name].said}"

    def await_all(self) -> None:
        """Wait until every peer has done its part, the server first: clients of one that failed wait without end."""
        for name, process in self.peers.items():
            code = process.code()
            assert code == 0, f"{name} ended with {code}:\n{process.said}"

    def told(self) -> Told:
        """What the server's run came to."""
        with opened(self.home("server"), self.engine_of("server"), self.stored) as engine:
            return tuple(outcome(_chain(self.head("server").head, engine), engine))


def _chain(head: CID, source: BlockSource) -> list[Record]:
    records = []
    link: CID | None = head
    while link is not None:
        record = parse_record(Block(link, source.get(link)))
        assert isinstance(record.body, Chained)
        records.append(record)
        link = record.body.prev
    return records[::-1]


def happened(process: PeerProcess, victim: Victim) -> bool:
    """Whether a peer that lived on says that its app process, or its Kubo node, was lost."""
    return bool(process.events("app-lost" if victim is Victim.APP else "node-died"))
