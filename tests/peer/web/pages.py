"""A home with a run that grows, and the page that shows it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chains import ALICE, BOB, TIME, id_of
from flwr.app import MetricRecord, RecordDict
from inspected_runs import WrittenRun

from crypto.keys import SigningKey
from peer.engine.local.engine import LocalEngine
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import ReaderChoice
from peer.web.access import Sessions, metrics_token
from peer.web.board import Board
from peer.web.running import serve
from protocol.blocks.cid import CID
from protocol.blocks.listing import Listing
from protocol.records.bodies import Ack, Comparison, Recomputed, RecomputedAck, Role
from protocol.records.signed_records import sign_record


class Growing:
    """A run in a home and its engine. `keep` lets the home know how far it has come."""

    def __init__(self, folder: Path, **run: Any) -> None:
        """``run`` are changes to its first record."""
        self.home = Home(folder / "home").create()
        self.engine = LocalEngine(folder / "engine")
        self.written = WrittenRun(**run)
        self.keep()

    def exchange(self, number: int, **metrics: float) -> None:
        """One round, in which Bob's answer is an error, and Alice measures ``metrics``."""
        written, scribe = self.written, self.written.scribe
        sent = written.model(number, RecordDict({"config": written.round_config(number)}))
        scribe.add(scribe.dispatch(scribe.group(ALICE, BOB, content=sent)))
        answer = written.store(RecordDict({"metrics": MetricRecord(dict(metrics))}))
        scribe.add(scribe.collect(scribe.taken(ALICE, content=answer), scribe.error(BOB)))

    def keep(self) -> None:
        """All that was written is in the engine, and the journal has the head."""
        chain, written = self.written.scribe.chain, self.written
        self.engine.put(written.blocks)
        head = RunHead(
            chain.run, chain.federation, written.head, chain.height, 1, chain.closed, Role.SERVER, "", time.time()
        )
        with Journal(self.home.journal) as journal:
            journal.keep_head(head)
            journal.remember_engine(self.engine.address)

    def recomputed(self, member: SigningKey, since: int, height: int, head: CID, comparison: Comparison) -> None:
        """The home has got another server's word of what its own app made of the run."""
        told = Recomputed(since=since, comparison=comparison, message=None, content=None)
        place = {"run": self.written.run, "term": 1, "height": height, "head": head, "replies": Listing(())}
        body = RecomputedAck(by=id_of(member), time=TIME, recomputed=told, **place)
        with Journal(self.home.journal) as journal:
            journal.keep_beside(self.written.run, [sign_record(body, [member])])

    def ack(self, member: SigningKey, height: int, head: CID, signer: SigningKey | None = None) -> None:
        """The home has got a member's word that ``head`` is the record at a height."""
        run, nothing = self.written.run, Listing(())
        body = Ack(by=id_of(member), time=TIME, run=run, term=1, height=height, head=head, replies=nothing)
        with Journal(self.home.journal) as journal:
            journal.keep_beside(run, [sign_record(body, [signer or member])])


class Served:
    """A page that is served."""

    def __init__(self, home: Home, sessions: Sessions, board: Board, port: int) -> None:
        self.home = home
        self.sessions = sessions
        self.board = board
        self.port = port
        self.entered = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def link(self) -> str:
        """A link that works once."""
        return f"{self.address}/enter?token={self.sessions.new_link()}"


@contextmanager
def served(home: Home) -> Iterator[Served]:
    """The page of a home, until the context ends."""
    readers = ReaderChoice(None, Passphrases.of_process(None), needed=False)
    listening = socket.create_server(("127.0.0.1", 0))
    sessions, loop = Sessions(), asyncio.new_event_loop()
    with listening, Board(home, None, readers).watching() as board:
        page = Served(home, sessions, board, listening.getsockname()[1])

        def entered() -> None:
            page.entered += 1

        over = asyncio.Event()
        serving = serve(board, sessions, listening, metrics_token(home), entered, over)
        thread = threading.Thread(target=loop.run_until_complete, args=(serving,))
        thread.start()
        try:
            yield page
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join(60)
            loop.close()
