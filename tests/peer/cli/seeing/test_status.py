"""`peer status`: asks the running peer at its socket, or reads the journal."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from chains import SECOND, Scribe, id_of
from command_line import Peer

from peer.base.errors import ExitCode
from peer.control.answering import answering
from peer.control.requests import Request
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from protocol.blocks.cid import cbor_block
from protocol.records.bodies import Role


@contextmanager
def a_peer_that_tells(home: Home, status: dict[str, Any]) -> Iterator[None]:
    """Something that answers at the socket of ``home``."""
    loop = asyncio.new_event_loop()
    listens, over = threading.Event(), asyncio.Event()

    async def tell(_request: Request) -> Any:
        return status

    async def serve() -> None:
        async with answering(home, tell):
            listens.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert listens.wait(30)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


TOLD = {
    "home": "/home",
    "at": 5.0,
    "running": True,
    "pid": 7,
    "since": 1.0,
    "engine": "kubo",
    "parts": [],
    "health": None,
    "waits": ["a change waits"],
    "schema": "pollen/status/1",
}


def test_a_running_peer_is_asked(peers: Callable[[str], Peer]) -> None:
    peer = peers("alice").named("alice")
    with a_peer_that_tells(Home(peer.home), TOLD):
        assert peer("status", "--json").json == {name: value for name, value in TOLD.items() if name != "schema"}
        assert re.search(r"a peer stands here, for \d+ s; no run goes on now", peer("status").out)
        assert "a change waits" in peer("status").out


def test_a_peer_of_another_version_is_told_apart(peers: Callable[[str], Peer]) -> None:
    peer = peers("alice").named("alice")
    with a_peer_that_tells(Home(peer.home), {**TOLD, "schema": "pollen/status/9"}):
        outcome = peer("status")
    assert (outcome.code, outcome.out) == (ExitCode.UNFINISHED, "")
    assert "restart it" in outcome.err


def test_without_a_running_peer_the_journal_is_read(peers: Callable[[str], Peer]) -> None:
    outcome = peers("nobody")("status", "--json")
    assert (outcome.code, outcome.json["running"], outcome.json["parts"]) == (ExitCode.DONE, False, [])


def test_a_stopped_home_says_who_led_its_run_when_it_heard_last(peers: Callable[[str], Peer]) -> None:
    scribe = Scribe()
    home = Home(peers("alice").home).create()
    FederationStore(home).save(StoredFederation(scribe.first, dict(scribe.source), bytes(32), ()))
    run, federation = cbor_block("run").cid, scribe.first.cid
    with Journal(home.journal) as journal:
        head = RunHead(run, federation, cbor_block("head").cid, 9, 2, False, Role.SERVER, "local:x", 1.0)
        journal.keep_head(head, leader=id_of(SECOND))
        journal.name_run(run, "fedavg", 1.0)
    told = peers("alice")("status").out
    assert 'term        2, led by "second server", as this home heard last' in told
    assert "app fedavg, open at height 9" in told


def test_asking_imports_nothing_slow() -> None:
    code = (
        "import sys, peer.cli.seeing.status; slow = ('flwr', 'numpy', 'torch', 'rich', 'protocol.records.bodies');"
        "print([m for m in slow if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
