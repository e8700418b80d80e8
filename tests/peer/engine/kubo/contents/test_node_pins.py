"""Undoing many pins of a managed node: `peer.engine.kubo.contents.node_pins`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from peer.engine.kubo.api import KuboApi
from peer.engine.kubo.contents import node_pins
from peer.engine.kubo.contents.node_pins import NodePins
from peer.engine.kubo.contents.waiting_pins import WaitingPin, WaitingPins
from protocol.blocks.cid import CID, raw_block

MANY = [raw_block(b"%d" % number).cid for number in range(100)]
FIRST = MANY[0]


@pytest.fixture
def waiting(tmp_path: Path) -> WaitingPins:
    waiting = WaitingPins(tmp_path)
    waiting.prepare()
    return waiting


@pytest.fixture
def undone(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which pins the node was told to undo."""
    told: list[str] = []

    def call(_: KuboApi, path: str, *args: str, **options: object) -> bytes:
        assert path == "pin/rm"
        told.extend(args)
        return b""

    monkeypatch.setattr(KuboApi, "call", call)
    return told


def exchanged(
    waiting: WaitingPins,
    monkeypatch: pytest.MonkeyPatch,
    others: Callable[[], None],
    added: Sequence[CID] = (),
) -> list[WaitingPin]:
    """Undo many pins, while ``others`` have a lock of their own once. Returns what waits at the end."""
    other = threading.Thread(target=others, daemon=True)

    def pause(_: float) -> None:
        if not other.ident:
            other.start()
        other.join(60.0)

    monkeypatch.setattr(node_pins.time, "sleep", pause)
    with NodePins(KuboApi("http://127.0.0.1:1"), waiting).exchanged(MANY, added) as found:
        return list(found)


def test_others_store_something_while_many_pins_are_undone(
    waiting: WaitingPins, undone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def store() -> None:
        with waiting.beside_others():
            seen.append(len(undone))

    exchanged(waiting, monkeypatch, store)
    assert seen
    assert seen[0] < len(MANY)
    assert undone == [str(cid) for cid in MANY]


def test_what_others_pin_meanwhile_waits_at_the_end(
    waiting: WaitingPins, undone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pin() -> None:
        with waiting.beside_others():
            waiting.note([FIRST], recursive=True)

    assert exchanged(waiting, monkeypatch, pin) == [WaitingPin(FIRST, recursive=True)]


def test_what_stays_of_what_is_undone_is_pinned_before_others_may_do_anything(
    waiting: WaitingPins, undone: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting.note(MANY, recursive=True)
    seen: list[bool] = []
    exchanged(waiting, monkeypatch, lambda: seen.append(waiting.has(WaitingPin(FIRST, recursive=False))), [FIRST])
    assert seen == [True]
    assert waiting.all() == [WaitingPin(FIRST, recursive=False)]
