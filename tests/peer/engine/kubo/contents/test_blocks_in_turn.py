"""Reading what a node says as blocks come: `peer.engine.kubo.contents.blocks_in_turn`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from peer.engine.kubo.api import KuboApi
from peer.engine.kubo.contents import blocks_in_turn
from peer.engine.kubo.contents.blocks_in_turn import _Counts

LINE = b'{"DagStats": [{"NumBlocks": 1, "Size": 5}]}\n'


def test_a_connection_is_left_alone_whose_answer_is_at_its_end_since_another_call_may_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api, read, ends = KuboApi("http://127.0.0.1:1"), threading.Event(), threading.Event()
    shut: list[object] = []

    @contextmanager
    def translated() -> Iterator[None]:
        """The thread has read all, and is still there."""
        yield
        read.set()
        ends.wait()

    monkeypatch.setattr(api, "translated", translated)
    monkeypatch.setattr(blocks_in_turn, "shut_down", shut.append)
    with _Counts(api, httpx.Response(200, content=iter([LINE]))) as counts:
        assert counts.next(60) == (1, 5)
        read.wait()
        monkeypatch.setattr(counts._thread, "join", ends.set)
    assert not shut
