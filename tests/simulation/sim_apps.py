"""Simulated Flower apps and their processes: what they say depends on everything they were told, and on nothing else.

The server's process has a small front, as Pollen's Grid is one: while the chain on disk has answers it gives those and
compares what the app sends, then it goes live (design section 9).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

from sim_disk import Disk, chain_of

from protocol.app_calls import (
    Answered,
    Finished,
    Handed,
    Look,
    Nodes,
    Outgoing,
    Pull,
    Push,
    Pushed,
    Replies,
    ServerAnswer,
    ServerCall,
    Start,
    Task,
    Wait,
)
from protocol.blocks import CID, Block, cbor_block, raw_block
from protocol.records import Chained, Collect, Dispatch, DispatchPrivate, Group, ReasonPrivate, Reply
from protocol.records import Look as LookRecord
from protocol.signed import answers, parse_record, read_private, typed_items

TTL = 1e9


def content_of(*parts: object) -> tuple[CID, list[Block]]:
    """A content that says ``parts``: its root, and its blocks."""
    chunk = raw_block(repr(parts).encode())
    root = cbor_block({"links": [chunk.cid], "epoch": None, "private": b""})
    return root.cid, [root, chunk]


def read_content(root: CID, disk: Disk) -> bytes:
    """What a content on this disk says; a machine that handed out what is not here is wrong."""
    if not disk.whole(root):
        raise AssertionError(f"content {root} was handed to an app and is not all here")
    return root.digest


# -- the server's app ----------------------------------------------------------------------------------------------

Keep = Callable[..., CID]
"""Stores the content that says what it is given."""
App = Generator[ServerCall, Any, CID]
"""Yields calls (their numbers are filled in), is sent the answers, returns the final model."""


def rounds_app(rounds: int, keep: Keep) -> App:
    """Train with everybody, then evaluate with some: what Flower's FedAvg does."""
    model = keep("model", 0)
    for number in range(1, rounds + 1):
        nodes = (yield Look(0)).nodes
        own = tuple(Outgoing(keep("train", model, node % 2), "train", f"{number}", TTL, node) for node in nodes)
        sent = yield Push(0, own)
        got = yield Wait(0, sent.messages, None)
        model = keep("model", number, _told(got))
        nodes = (yield Look(0)).nodes
        sample = nodes[number % len(nodes) :]
        sent = yield Push(0, tuple(Outgoing(model, "evaluate", f"{number}", TTL, node) for node in sample))
        got = yield Wait(0, sent.messages, None)
        model = keep("model", number, model, _told(got))
    return model


def crossing_app(rounds: int, keep: Keep) -> App:
    """Two dispatches under way at once, waited for in the other order; so a node may have two messages."""
    model = keep("crossing", 0)
    for number in range(rounds):
        nodes = (yield Look(0)).nodes
        first = yield Push(0, tuple(Outgoing(model, "train", "a", TTL, node) for node in nodes))
        second = yield Push(0, tuple(Outgoing(keep("b", model), "query", "b", TTL, node) for node in nodes[1:]))
        later = yield Wait(0, second.messages, None)
        sooner = yield Wait(0, first.messages, None)
        model = keep("crossing", number, _told(later), _told(sooner))
    return model


APPS = {"rounds": rounds_app, "crossing": crossing_app}


def _told(replies: Replies) -> list[tuple[CID | None, int | None, str]]:
    return [(reply.content, reply.code, reply.reason) for reply in replies.replies]


@dataclass
class Front:
    """The Grid of the simulated app process: ``send`` hands a call to the peer, later."""

    disk: Disk
    app: Callable[[Keep], App]
    send: Callable[[ServerCall], None]

    def __post_init__(self) -> None:
        self._calls = 0
        self._asked: ServerCall | None = None
        self._running: App | None = None
        self._script: deque[ServerAnswer | Pushed] = deque()
        self._expected: deque[tuple[Outgoing, ...]] = deque()

    def start(self, start: Start) -> None:
        """The peer says that the run may begin; there may be a script."""
        for answer, messages in script_of(start.run, self.disk):
            self._script.append(answer)
            if messages is not None:
                self._expected.append(messages)
        self._running = self.app(self._keep)
        self._go_on(None)

    def answer(self, answer: ServerAnswer) -> None:
        """The peer answers the call that is under way."""
        if self._asked is None or answer.call != self._calls:
            raise AssertionError(f"the app got {answer} while it waits for call {self._calls}")
        if isinstance(answer, Replies):
            for reply in answer.replies:
                if reply.content is not None:
                    read_content(reply.content, self.disk)
        self._go_on(answer)

    def _keep(self, *parts: object) -> CID:
        root, blocks = content_of(*parts)
        self.disk.put(blocks)
        return root

    def _go_on(self, answer: ServerAnswer | None) -> None:
        """Run the app until it asks for something that the script does not say."""
        assert self._running is not None
        while True:
            try:
                call = self._running.send(answer)
            except StopIteration as end:
                self._asked = Finished(end.value)
                self.send(self._asked)
                return
            if not self._script:
                break
            answer = self._scripted(call)
        self._calls += 1
        self._asked = _numbered(call, self._calls)
        self.send(self._asked)

    def _scripted(self, call: ServerCall) -> ServerAnswer:
        answer = self._script.popleft()
        fitting = {Look: Nodes, Push: Pushed, Pull: Replies, Wait: Replies}[type(call)]
        if not isinstance(answer, fitting):
            raise AssertionError(f"replay: the app asks {call}, the chain answers {answer}")
        if isinstance(call, Push) and (expected := self._expected.popleft()) != call.messages:
            raise AssertionError(f"replay: the app sends {call.messages}, the chain has {expected}")
        return answer


def _numbered(call: ServerCall, number: int) -> ServerCall:
    match call:
        case Look():
            return Look(number)
        case Push(messages=messages):
            return Push(number, messages)
        case Pull(messages=messages):
            return Pull(number, messages)
        case Wait(messages=messages, timeout=timeout):
            return Wait(number, messages, timeout)
        case Finished():
            return call


Scripted = tuple[ServerAnswer, tuple[Outgoing, ...] | None]


def script_of(run: CID, disk: Disk) -> Iterator[Scripted]:
    """The answers on record, in order; with a dispatch's answer the messages it had."""
    for record in chain_of(disk.heads[run].head, disk):
        body = record.body
        assert isinstance(body, Chained)
        for look in typed_items(body.looks, LookRecord, disk):
            for _ in range(look.count):
                yield Nodes(0, look.nodes), None
        for _ in range(body.empties):
            yield Replies(0, ()), None
        if isinstance(body, Dispatch):
            yield _dispatch(body, disk)
        elif isinstance(body, Collect):
            yield Replies(0, tuple(_handed(body, disk))), None


def _dispatch(body: Dispatch, disk: Disk) -> Scripted:
    private = read_private(body, DispatchPrivate)
    assert private is not None
    ids, messages = [], []
    for group in typed_items(body.groups, Group, disk):
        kind, name = private.kinds[group.kind]
        for id, node in group.to:
            ids.append(id)
            messages.append(Outgoing(group.content, kind, name, group.ttl, node))
    return Pushed(0, tuple(ids), body.time), tuple(messages)


def _handed(body: Collect, disk: Disk) -> Iterator[Handed]:
    for answer in answers(body, disk):
        if not hasattr(answer, "reply"):
            raise AssertionError(f"the Grid made an error where nothing may time out: {answer}")
        reply = parse_record(Block(answer.reply, disk.get(answer.reply))).body
        assert isinstance(reply, Reply)
        private = read_private(reply, ReasonPrivate)
        assert private is not None
        yield Handed(reply.message, reply.created, reply.content, reply.code, private.reason)


# -- a client's app ------------------------------------------------------------------------------------------------


@dataclass
class ClientApp:
    """Counts its messages in its state, so that one too many, too few or out of order changes every later answer."""

    disk: Disk
    node: int
    handed: Counter[bytes]
    """How often each message was handed to this peer's app, in all its processes."""
    _busy: bool = False

    def work(self, task: Task, now: float) -> Answered:
        """The answer to a message; every fifth content makes the app fail, and leaves the state as it was."""
        told = read_content(task.content, self.disk)
        before = read_content(task.state, self.disk) if task.state is not None else b"fresh"
        self.handed[task.message] += 1
        if told[0] % 5 == 0:
            return Answered(task.message, now, code=2, reason=f"cannot do {told.hex()[:8]}")
        content, blocks = content_of("reply", self.node, task.type, told, before)
        state, more = content_of("state", before, told)
        self.disk.put([*blocks, *more])
        return Answered(task.message, now, content, state)
