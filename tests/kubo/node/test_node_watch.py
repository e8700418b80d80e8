"""A home's own node that dies or hangs is started again, and its engine finds it again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.engine import open_engine
from peer.engine.kubo.node import KuboNode
from peer.engine.kubo.node_watch import HangLimits, NodeWatch
from protocol.blocks.cid import raw_block

pytestmark = [pytest.mark.kubo, pytest.mark.usefixtures("ipfs_program")]

AT_ONCE = HangLimits(looks=1, seconds=0.2, calls=2)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[KuboNode]:
    with KuboNode(tmp_path, bytes(32)) as node:
        yield node


def pid(node: KuboNode) -> int:
    assert node._daemon is not None
    return node._daemon.pid


def test_a_node_that_hangs_is_started_again_after_some_calls_and_not_after_one(
    node: KuboNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peer.engine.kubo.node._STOP_SECONDS", 0.2)  # it is asked in vain, before it is killed
    monkeypatch.setattr("peer.engine.kubo.api.GRACE", 0.2)
    engine, hung, block = open_engine(node.api), pid(node), raw_block(b"kept")
    engine.put([block], pin=[block.cid])
    watch = NodeWatch(node, AT_ONCE)
    os.kill(hung, signal.SIGSTOP)
    watch.look()
    assert pid(node) == hung
    watch.look()
    assert pid(node) != hung
    assert engine.get(block.cid) == b"kept"
    engine.close()


def test_a_node_that_answers_in_between_is_left_alone(monkeypatch: pytest.MonkeyPatch, node: KuboNode) -> None:
    before, answers = pid(node), iter([False, True, False, True, False])
    monkeypatch.setattr(node, "answers", lambda seconds: next(answers))
    watch = NodeWatch(node, AT_ONCE)
    for _ in range(5):
        watch.look()
    assert pid(node) == before


def test_a_node_that_died_is_started_again(node: KuboNode) -> None:
    dead = pid(node)
    os.kill(dead, signal.SIGKILL)
    os.waitid(os.P_PID, dead, os.WEXITED | os.WNOWAIT)
    NodeWatch(node).look()
    assert node.is_running
    assert pid(node) != dead
    assert node.answers(30.0)
