"""Simulated Flower apps and their processes: what they say depends on everything they were told, and on nothing else.

The server's process has a small front, as Pollen's Grid is one: while the script has answers it gives those and
compares what the app sends, and then it goes live, if its peer leads.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sim_disk import Disk

from protocol.app.calls import (
    Answered,
    CloseEntry,
    CollectEntry,
    Compared,
    DispatchEntry,
    Diverged,
    Ended,
    Finished,
    GetNodes,
    NextEntry,
    Nodes,
    Outgoing,
    Push,
    Pushed,
    QuietEntry,
    Renewed,
    Replayed,
    Replies,
    ScriptEnd,
    ServerAnswer,
    ServerCall,
    Start,
    Task,
    Wait,
)
from protocol.blocks.cid import CID, Block, cbor_block, raw_block

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
        nodes = (yield GetNodes(0)).nodes
        if not nodes:  # nobody follows this server any more
            return model
        own = tuple(Outgoing(keep("train", model, node % 2), "train", f"{number}", TTL, node) for node in nodes)
        sent = yield Push(0, own)
        got = yield Wait(0, sent.messages, None)
        model = keep("model", number, _told(got))
        nodes = (yield GetNodes(0)).nodes
        if not nodes:
            return model
        sample = nodes[number % len(nodes) :]
        sent = yield Push(0, tuple(Outgoing(model, "evaluate", f"{number}", TTL, node) for node in sample))
        got = yield Wait(0, sent.messages, None)
        model = keep("model", number, model, _told(got))
    return model


def crossing_app(rounds: int, keep: Keep) -> App:
    """Two dispatches under way at once, waited for in the other order; so a node may have two messages."""
    model = keep("crossing", 0)
    for number in range(rounds):
        nodes = (yield GetNodes(0)).nodes
        first = yield Push(0, tuple(Outgoing(model, "train", "a", TTL, node) for node in nodes))
        second = yield Push(0, tuple(Outgoing(keep("b", model), "query", "b", TTL, node) for node in nodes[1:]))
        later = yield Wait(0, second.messages, None)
        sooner = yield Wait(0, first.messages, None)
        model = keep("crossing", number, _told(later), _told(sooner))
    return model


def cheating_app(rounds: int, keep: Keep) -> App:
    """As `rounds_app`, but the server makes a model of its own of what came in round 2."""
    return rounds_app(rounds, lambda *parts: keep(*parts, *(["cheated"] if parts[:2] == ("model", 2) else [])))


APPS = {"rounds": rounds_app, "crossing": crossing_app}


def _told(replies: Replies) -> list[tuple[CID | None, int | None, str]]:
    """As it comes through a pipe, in which a code is a plain number."""
    codes = (None if reply.code is None else int(reply.code) for reply in replies.replies)
    return [(reply.content, code, reply.reason) for reply, code in zip(replies.replies, codes, strict=True)]


@dataclass
class Program:
    """An app as it runs: it goes on until it asks for something."""

    disk: Disk
    app: Callable[[Keep], App]

    def __post_init__(self) -> None:
        self._running = self.app(self._keep)
        self.asked: ServerCall | None = None
        """What it waits for."""

    def _keep(self, *parts: object) -> CID:
        root, blocks = content_of(*parts)
        self.disk.put(blocks)
        return root

    def go_on(self, answer: ServerAnswer | None) -> None:
        """Give it the answer; None: let it begin. All that it is told of has to be on its disk."""
        if isinstance(answer, Replies):
            for reply in answer.replies:
                if reply.content is not None:
                    read_content(reply.content, self.disk)
        try:
            self.asked = self._running.send(answer)
        except StopIteration as end:
            self.asked = Finished(0, end.value)


@dataclass
class Front:
    """The Grid of a server's simulated app process, for a leader and a standby: ``send`` hands what it says to the
    peer, later and in order."""

    disk: Disk
    app: Callable[[Keep], App]
    send: Callable[[list[ServerCall]], None]

    def __post_init__(self) -> None:
        self._program = Program(self.disk, self.app)
        self._call = 0
        self._replaying = True
        self._epoch: int | None = None
        self._script: deque[tuple[ServerAnswer, tuple[Outgoing, ...], int]] = deque()
        """Recorded answers. The answer to a push has the push's messages and height with it."""
        self._says: list[ServerCall] = []

    def start(self, start: Start) -> None:
        """The peer says that the run may begin."""
        self._replaying = start.scripted
        self._epoch = start.key and start.key.epoch
        self._advance(None)

    def answer(self, answer: ServerAnswer) -> None:
        """The peer says what the next record does, or answers the newest call."""
        if answer.call != self._call and not isinstance(answer, Ended):
            raise AssertionError(f"the app got {answer} while it waits for call {self._call}")
        match answer:
            case DispatchEntry() | CollectEntry() | QuietEntry():
                self._script.extend((*each, answer.head.height) for each in _scripted_answers(answer))
                self._ask()
            case CloseEntry(head=head, model=model):
                assert isinstance(self._program.asked, Finished)
                if model == self._program.asked.model:
                    self._flush(self._program.asked)
                else:
                    self._differs(head.height, None, self._program.asked.model)
            case ScriptEnd(live=False):
                self._flush(Replayed())
            case ScriptEnd() | Renewed():
                self._replaying = False
                self._epoch = answer.key and answer.key.epoch
                self._ask()
            case Nodes() | Pushed() | Replies():
                self._advance(answer)
            case Ended():
                pass
            case other:
                raise AssertionError(f"the app got {other}")

    def _flush(self, last: ServerCall) -> None:
        says, self._says = [*self._says, last], []
        self.send(says)

    def _differs(self, height: int, message: int | None, content: CID | None) -> None:
        ours = repr((message, content)).encode()
        self._flush(Diverged(height, "it differs", message, ours=ours, content=content))

    def _advance(self, answer: ServerAnswer | None) -> None:
        self._program.go_on(answer)
        self._ask()

    def _ask(self) -> None:
        asked = self._program.asked
        assert asked is not None
        if not self._replaying:
            self._call += 1
            asked = replace(asked, epoch=self._epoch) if isinstance(asked, Push | Finished) else asked
            self._flush(_numbered(asked, self._call))
            return
        if not self._script or isinstance(asked, Finished):
            self._call += 1
            self._flush(NextEntry(self._call))
            return
        answer, messages, height = self._script.popleft()
        if isinstance(asked, Push):
            differing = [at for at, (was, now) in enumerate(zip(messages, asked.messages, strict=True)) if was != now]
            if differing:
                self._differs(height, differing[0], asked.messages[differing[0]].content)
                return
            self._says.append(Compared(height, len(messages)))
        self._advance(answer)


def _numbered(call: ServerCall, number: int) -> ServerCall:
    return replace(call, call=number)


def _scripted_answers(
    entry: DispatchEntry | CollectEntry | QuietEntry,
) -> Iterator[tuple[ServerAnswer, tuple[Outgoing, ...]]]:
    for look in entry.head.looks:
        yield from ((Nodes(0, look.nodes), ()) for _ in range(look.count))
    yield from ((Replies(0, ()), ()) for _ in range(entry.head.empties))
    match entry:
        case DispatchEntry():
            pushed = Pushed(0, tuple(each.id for each in entry.messages), entry.created)
            yield pushed, tuple(each.message for each in entry.messages)
        case CollectEntry():
            yield Replies(0, entry.replies), ()
        case QuietEntry():
            pass


# -- a client's app ------------------------------------------------------------------------------------------------


@dataclass
class ClientApp:
    """Counts its messages in its state, so that one too many, too few or out of order changes every later answer."""

    disk: Disk
    node: int
    handed: Counter[bytes]
    """How often each message was handed to this peer's app, in all its processes."""
    remembers: bool
    """Whether its answers depend on its state."""

    def work(self, task: Task, now: float) -> Answered:
        """The answer to a message; every fifth content makes the app fail, and leaves the state as it was."""
        told = read_content(task.content, self.disk)
        before = read_content(task.state, self.disk) if task.state is not None and self.remembers else b"fresh"
        self.handed[task.message] += 1
        if told[0] % 5 == 0:
            return Answered(task.message, now, code=2, reason=f"cannot do {told.hex()[:8]}")
        content, blocks = content_of("reply", self.node, task.type, told, before)
        state, more = content_of("state", before, told)
        self.disk.put([*blocks, *more])
        return Answered(task.message, now, content, state)
