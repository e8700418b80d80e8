"""Setting pins while a managed node runs: `peer.engine.kubo.contents.pin_settler`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Semaphore

import pytest

from peer.engine.kubo.api import KuboApi, KuboRefused
from peer.engine.kubo.contents import pin_settler
from peer.engine.kubo.contents.node_pins import NodePins
from peer.engine.kubo.contents.pin_settler import PinSettler
from peer.engine.kubo.contents.waiting_pins import WaitingPin, WaitingPins
from protocol.blocks.cid import CID, raw_block


def test_a_node_that_did_not_answer_as_pins_were_set_is_not_waited_for_again_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = WaitingPins(tmp_path)
    waiting.prepare()
    waiting.note([raw_block(b"one").cid], recursive=False)
    pins = NodePins(KuboApi("http://127.0.0.1:1"), waiting)  # nobody listens there
    settle, by, looks = pins.settle, set(), Semaphore(0)

    def noted(some: Sequence[WaitingPin], is_here: Callable[[CID], bool]) -> dict[WaitingPin, str]:
        by.add(threading.current_thread())
        monkeypatch.setattr(waiting, "all", nothing)
        return settle(some, is_here)

    def nothing() -> list[WaitingPin]:
        looks.release()
        return []

    monkeypatch.setattr(pins, "settle", noted)
    monkeypatch.setattr(pin_settler, "_REST", 0.0)
    monkeypatch.setattr(pin_settler, "_LOOK_EVERY", 0.0)
    settler = PinSettler(pins, waiting, lambda _: True)
    settler.wake()
    for _ in range(2):  # so one look was over at which nothing was to be set
        looks.acquire()
    settler.close()

    assert threading.current_thread() not in by


def test_a_pin_for_which_the_node_had_no_time_is_not_said_to_lack_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def slow(*_: object, **__: object) -> bytes:
        raise KuboRefused("context deadline exceeded")

    waiting = WaitingPins(tmp_path)
    waiting.prepare()
    waiting.note([raw_block(b"one").cid], recursive=True)
    monkeypatch.setattr(KuboApi, "call", slow)
    PinSettler(NodePins(KuboApi("http://127.0.0.1:1"), waiting), waiting, lambda _: True).settle()
    assert "context deadline exceeded" in caplog.text
    assert waiting.all() == [WaitingPin(raw_block(b"one").cid, recursive=True)]
