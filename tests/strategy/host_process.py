"""A process that hosts one app, as an app process does: in order, and with nothing else of Pollen imported before.

Called as ``python host_process.py APP SCRATCH``; prints one JSON object of what the app did. The clients of the app
answer with the content they are sent.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from protocol.app.calls import (
    Ended,
    Finished,
    GetNodes,
    Handed,
    Nodes,
    Outgoing,
    Pull,
    Push,
    Pushed,
    Replies,
    Start,
    Task,
    Wait,
)
from protocol.app.pipe import FrameReader, encode
from protocol.blocks.cid import raw_block
from strategy.hosting.client_host import serve_client_app
from strategy.hosting.host import prepare
from strategy.hosting.server_host import run_server_app


def through_pipe(value):
    (came,) = FrameReader().feed(encode(value))
    return came


class Store(dict):
    def put_content(self, root, blocks):
        self.update((block.cid, block.data) for block in blocks)

    def open(self, root):
        return self

    def get(self, cid):
        return self[cid]


class Echo:
    """Answers every message with its own content, through frames as they go over the real pipe."""

    def __init__(self):
        self.sent: dict[bytes, Outgoing] = {}

    def send(self, value: object) -> None:
        """What people are told is not kept."""

    def ask(self, call):
        return through_pipe(self.answer(through_pipe(call)))

    def answer(self, call):
        match call:
            case GetNodes():
                return Nodes(call.call, (11, 12))
            case Push():
                ids = [len(self.sent).to_bytes(31, "big") + bytes([at]) for at in range(len(call.messages))]
                self.sent.update(zip(ids, call.messages, strict=True))
                return Pushed(call.call, tuple(ids), 1.0)
            case Finished():
                return Ended(call.call)
            case Pull() | Wait():
                return Replies(
                    call.call, tuple(Handed(message, 2.0, self.sent[message].content) for message in call.messages)
                )
        raise AssertionError(call)


def main(app: Path, scratch: Path) -> None:
    run = raw_block(b"run").cid
    environment = prepare(app)
    pipe, store = Echo(), Store()
    finished = run_server_app(app, Start(run, 1, bytes(32), ()), pipe, store, scratch)
    first = next(iter(pipe.sent.values()))
    tasks = [Task(bytes(32), first.content, first.type, first.group, first.ttl, 1.0)]
    (answered,) = serve_client_app(app, Start(run, 11, bytes(32), ()), store, tasks, scratch)
    said = {
        "error": finished.error,
        "sent": [str(message.content) for message in pipe.sent.values()],
        "answered": answered.reason or str(answered.content),
        "torch": environment.version("torch"),
    }
    print(json.dumps(said))  # noqa: T201  # to the test


main(Path(sys.argv[1]), Path(sys.argv[2]))
