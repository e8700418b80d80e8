"""A leader in memory that plays the peer: it hands each pushed message to a ClientApp at once."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from protocol.app.calls import (
    Answered,
    Compared,
    Diverged,
    Ended,
    Finished,
    GetNodes,
    Handed,
    Nodes,
    Outgoing,
    Progress,
    Pull,
    Push,
    Pushed,
    Replayed,
    Replies,
    ServerAnswer,
    ServerCall,
    Start,
    Task,
    Wait,
)
from protocol.blocks.cid import CID, Block, MissingBlock, raw_block
from protocol.blocks.content import open_content
from protocol.replies.checks_and_limits import Admission, Examination, is_update
from protocol.replies.judged_replies import judge
from protocol.replies.strategy_rule import StrategyRule
from strategy.apps.config import fuse_run_config, read_app
from strategy.flower_compat import SUPERLINK_NODE_ID, run_number, take_identity
from strategy.hosting.client_host import ClientHost
from strategy.hosting.server_host import run_server_app
from strategy.replies.examination import examine, opened_records, read_sent

APPS = Path(__file__).parent.parent / "apps"
RUN = raw_block(b"a run").cid
SEED = bytes(range(32))


class MemoryStore(dict[CID, bytes]):
    """A content store and block source in memory."""

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        self.update((block.cid, block.data) for block in blocks)
        opened = open_content(root, self, None, body_limit=1 << 20)
        assert all(chunk in self for chunk in opened.chunks)

    def open(self, root: CID) -> MemoryStore:
        return self

    def get(self, cid: CID) -> bytes:  # type: ignore[override]
        if cid not in self:
            raise MissingBlock(cid)
        return self[cid]


@dataclass
class Member:
    """One client: its app, and its state between messages."""

    host: ClientHost
    state: CID | None = None

    def answer(self, message_id: bytes, message: Outgoing, created: float) -> Answered:
        task = Task(message_id, message.content, message.type, message.group, message.ttl, created, self.state)
        before = random.getstate(), np.random.get_state(), np.random.bit_generator.randbits, torch.get_rng_state()
        answered = self.host.answer(task)
        random.setstate(before[0])
        np.random.set_state(before[1])
        np.random.bit_generator.randbits = before[2]
        torch.set_rng_state(before[3])
        take_identity(run_number(RUN), SUPERLINK_NODE_ID)
        self.state = answered.state
        return answered


@dataclass
class Leader:
    """Answers the calls of a ServerApp, and keeps what it was told."""

    store: MemoryStore
    members: dict[int, Member]
    lost: Callable[[int, int], bool] = lambda node, dispatch: False
    pushes: list[Push] = field(default_factory=list)
    looks: int = 0
    ready: dict[bytes, Handed] = field(default_factory=dict)
    tasks: list[bytes] = field(default_factory=list)
    examined: dict[bytes, tuple[str, Examination]] = field(default_factory=dict)
    """What was found in each reply, and the type of the message that it answers."""

    told: list[Compared | Diverged | Replayed | Progress] = field(default_factory=list)

    def send(self, value: Compared | Diverged | Replayed | Progress) -> None:
        self.told.append(value)

    def ask(self, call: ServerCall) -> ServerAnswer:
        match call:
            case GetNodes():
                self.looks += 1
                return Nodes(call.call, tuple(sorted(self.members)))
            case Push():
                return self._push(call)
            case Finished():
                return Ended(call.call)
            case Pull() | Wait():
                found = [message for message in call.messages if message in self.ready]
                self._check_admitted(found, dict(call.rules))
                return Replies(call.call, tuple(self.ready.pop(message) for message in found))
        raise AssertionError(call)

    def _push(self, call: Push) -> Pushed:
        dispatch, created = len(self.pushes), 1000.0 + len(self.pushes)
        self.pushes.append(call)
        ids = [hashlib.sha256(f"{dispatch} {at}".encode()).digest() for at in range(len(call.messages))]
        for message_id, message in zip(ids, call.messages, strict=True):
            if not self.lost(message.node, dispatch):
                answered = self.members[message.node].answer(message_id, message, created)
                self._examine(message_id, message, answered.content)
                self.ready[message_id] = Handed(
                    message_id, created + 0.5, answered.content, answered.code, answered.reason
                )
        return Pushed(call.call, tuple(ids), created)

    def _examine(self, id: bytes, message: Outgoing, reply: CID | None) -> None:
        if reply is not None:
            sent = read_sent(message.content, self.store, None)
            reopen = partial(opened_records, message.content, self.store, None)
            found, _ = examine(reply, self.store, None, sent, reopen, update=is_update(message.type))
            self.examined[id] = message.type, found

    def _check_admitted(self, messages: Iterable[bytes], rules: Mapping[str, StrategyRule]) -> None:
        """What the apps of these tests answer, a leader takes as it is, unless a test says otherwise."""
        assert self.refusals(messages, rules) == {}

    def refusals(self, messages: Iterable[bytes], rules: Mapping[str, StrategyRule]) -> dict[bytes, str]:
        """What a leader would refuse of the replies to these messages, and why."""
        together: dict[str, dict[bytes, Examination]] = {}
        for id in messages:
            if id in self.examined:
                type, found = self.examined[id]
                together.setdefault(type, {})[id] = found
        judged = [judge(Admission(), rules.get(type), each) for type, each in together.items()]
        return {id: str(refusal) for each in judged for id, refusal in each.refused.items()}

    @property
    def sent(self) -> list[Outgoing]:
        return [message for push in self.pushes for message in push.messages]


def start_for(app: Path, node: int, config: str = "", **node_config: int) -> Start:
    """What the peer starts an app process with."""
    run_config = fuse_run_config(read_app(app), config)
    return Start(
        RUN, node, SEED if node == SUPERLINK_NODE_ID else bytes([node]) * 32, run_config, tuple(node_config.items())
    )


def run_app(
    name: str, scratch: Path, config: str = "", clients: int = 3, lost: Callable[[int, int], bool] = lambda *_: False
) -> tuple[Finished, Leader]:
    """Run one of ``tests/apps`` to its end, with clients 11, 12, ..."""
    app, store = APPS / name, MemoryStore()
    members = {}
    for number in range(clients):
        start = start_for(app, 11 + number, config, **{"partition-id": number, "num-partitions": clients})
        members[start.node] = Member(ClientHost(app, start, store))
    leader = Leader(store, members, lost)
    finished = run_server_app(app, start_for(app, SUPERLINK_NODE_ID, config), leader, store, scratch)
    return finished, leader
