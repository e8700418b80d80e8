"""Runs of test apps in this process, recorded as a chain's entries, and replayed from them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from small_leader import APPS, SEED, Leader, Member, MemoryStore, start_for

from protocol.app.calls import (
    CloseEntry,
    CollectEntry,
    Compared,
    DispatchEntry,
    Diverged,
    Ended,
    EntryHead,
    Finished,
    GetNodes,
    Look,
    NextEntry,
    Nodes,
    Progress,
    Pull,
    Push,
    Pushed,
    Replayed,
    Replies,
    Scripted,
    ScriptEnd,
    ScriptEntry,
    ServerAnswer,
    ServerCall,
    Start,
    Wait,
)
from protocol.replay.differences import Cause
from strategy.flower_compat import SUPERLINK_NODE_ID
from strategy.hosting.client_host import ClientHost
from strategy.hosting.server_host import run_server_app


class Recorder(Leader):
    """A leader that records what the app does. A pull gives something after ``patience`` that gave nothing."""

    def __init__(self, store: MemoryStore, members: dict[int, Member], patience: int = 0) -> None:
        super().__init__(store, members)
        self.entries: list[ScriptEntry] = []
        self._patience = patience
        self._looks: list[Look] = []
        self._empties = 0
        self._one_call = threading.Lock()

    def ask(self, call: ServerCall) -> ServerAnswer:
        with self._one_call:
            if isinstance(call, Pull) and self._empties < self._patience:
                self._empties += 1
                return Replies(call.call, ())
            answer = super().ask(call)
            self._record(call, answer)
            return answer

    def head(self) -> EntryHead:
        """Of the next entry."""
        head = EntryHead(1 + len(self.entries), tuple(self._looks), self._empties)
        self._looks, self._empties = [], 0
        return head

    def _record(self, call: ServerCall, answer: ServerAnswer) -> None:
        match call, answer:
            case GetNodes(), Nodes(nodes=nodes):
                self._looks.append(Look(nodes=nodes, count=1))
            case Push(), Pushed():
                messages = map(Scripted, answer.messages, call.messages)
                self.entries.append(DispatchEntry(0, self.head(), answer.created, tuple(messages)))
            case Pull() | Wait(), Replies(replies=()):
                self._empties += 1
            case Pull() | Wait(), Replies():
                came = {reply.message for reply in answer.replies}
                late = tuple(message for message in call.messages if message not in came)
                self.entries.append(CollectEntry(0, self.head(), answer.replies, late))


class ReadOnly(MemoryStore):
    """What is recorded; what a replay would store is not kept."""

    def put_content(self, root: object, blocks: object) -> None:
        """Store nothing."""


@dataclass
class ScriptPipe:
    """The peer of a replay: serves the script, and keeps what it is told."""

    entries: Sequence[ScriptEntry]
    compared: int = 0
    differences: list[Compared] = field(default_factory=list)
    """Those after which the app went on."""
    told: list[Diverged | Replayed] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rest: Iterator[ScriptEntry] = iter(self.entries)

    def ask(self, call: ServerCall) -> ServerAnswer:
        if isinstance(call, Finished):
            return Ended(call.call)
        assert isinstance(call, NextEntry), "a replay of a whole chain asks for nothing but its script"
        entry = next(self._rest, None)
        return ScriptEnd(call.call, live=False) if entry is None else replace(entry, call=call.call)

    def send(self, value: Compared | Diverged | Replayed | Progress) -> None:
        if isinstance(value, Compared):
            self.compared += value.messages
            self.differences += [value] if value.difference else []
        elif not isinstance(value, Progress):
            self.told.append(value)


@dataclass
class RecordedApp:
    """A run of one of ``tests/apps`` that is over."""

    app: Path
    start: Start
    store: MemoryStore
    entries: list[ScriptEntry]
    scratch: Path

    @property
    def errors(self) -> int:
        """How many replies were errors."""
        collects = [entry for entry in self.entries if isinstance(entry, CollectEntry)]
        return sum(reply.code is not None for entry in collects for reply in entry.replies)

    def replay(
        self,
        entries: Sequence[ScriptEntry] | None = None,
        may_differ: Cause = Cause.NOTHING,
        *,
        elsewhere: bool = False,
    ) -> tuple[Finished | Diverged | Replayed, ScriptPipe]:
        """Replay it from what is recorded, or from ``entries``, with a heap that is in another disorder."""
        pipe = ScriptPipe(self.entries if entries is None else entries)
        junk = [bytearray(size % 977) for size in range(50_000)]
        del junk[::3]
        start = replace(self.start, scripted=True, may_differ=may_differ, elsewhere=elsewhere)
        return run_server_app(self.app, start, pipe, ReadOnly(self.store), self.scratch), pipe


def recorded_app(
    name: str, scratch: Path, config: str = "", clients: int = 5, patience: int = 0, seed: bytes = SEED
) -> RecordedApp:
    """Run one of ``tests/apps`` to its end, with clients 11, 12, ..., and record it."""
    app, store = APPS / name, MemoryStore()
    members = {}
    for number in range(clients):
        start = start_for(app, 11 + number, config, **{"partition-id": number, "num-partitions": clients})
        members[start.node] = Member(ClientHost(app, start, store))
    leader = Recorder(store, members, patience)
    start = replace(start_for(app, SUPERLINK_NODE_ID, config), seed=seed)
    finished = run_server_app(app, start, leader, store, scratch)
    assert isinstance(finished, Finished)
    assert finished.error == ""
    close = CloseEntry(0, leader.head(), raised=False, model=finished.model)
    return RecordedApp(app, start, store, [*leader.entries, close], scratch)


def run_of(strategy: str, scratch: Path, rounds: int = 3, seed: bytes = SEED) -> RecordedApp:
    """A run of one of Flower's strategies, with as many clients as it needs, and no code of the app's between."""
    clients = 7 if strategy == "Bulyan" else 5  # it wants four more than thrice the malicious
    config = f'strategy="{strategy}" num-server-rounds={rounds} min-nodes={clients} central-evaluation=false'
    return recorded_app("every_strategy", scratch, config, clients, seed=seed)
