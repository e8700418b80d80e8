"""What a leader's app process does with a reply before the app sees it: fetch, examine, and keep it for the app."""

from __future__ import annotations

import math
import os
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from tempfile import gettempdir

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, RecordDict

from crypto.symmetric import ChunkNonce
from peer.apps import reply_examination as examining
from peer.apps.reply_examination import Examiner, examine_in_threads
from peer.engine.contents import EngineContents
from peer.engine.interface import StillComing, Unreachable
from peer.engine.local.engine import LocalEngine
from protocol.app.calls import Examine, Examined, Failed
from protocol.blocks.cid import CID, BlockSource, raw_block
from protocol.blocks.content import ContentKey
from protocol.replies.checks_and_limits import Check, SizeLimits
from protocol.replies.reply_layout import Likeness
from strategy.contents.codec import decode, encode
from strategy.contents.kept_replies import KeptReplies
from strategy.replies.sent_layouts import SentLayouts


def stored(engine: LocalEngine, *values: float) -> CID:
    """A content of one array."""
    encoded = encode(RecordDict({"arrays": ArrayRecord({"w": Array(np.array(values))})}), None)
    engine.put_content(encoded.root, encoded.blocks())
    return encoded.root


@pytest.fixture
def effect(local_engine: LocalEngine) -> Examine:
    """A reply that is 5 away from what was sent."""
    sent, reply = stored(local_engine, 0.0, 0.0), stored(local_engine, 3.0, 4.0)
    return Examine(1, b"message", sent, None, reply, None, SizeLimits(1 << 20, 16), update=True, measure=True)


def examiner(engine: LocalEngine, kept: KeptReplies | None = None, layouts: SentLayouts | None = None) -> Examiner:
    return Examiner(EngineContents(engine), kept or KeptReplies(Path(gettempdir())), layouts or SentLayouts())


class Slow:
    """Contents of which one is so many times not whole yet, once the others have come."""

    def __init__(self, contents: EngineContents, coming: CID, times: int) -> None:
        self._contents, self._coming, self.left = contents, coming, times
        self._other_came = threading.Event()

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        if root == self._coming and self.left:
            self.left -= self._other_came.is_set()
            raise StillComing(root)
        self._contents.fetch(root, timeout=timeout, limit=limit)
        self._other_came.set()

    def local(self, root: CID) -> BlockSource:
        return self._contents.local(root)


class Dribbling:
    """Contents that never are whole. As some are asked for a second time, another reply is announced."""

    def __init__(self, contents: EngineContents, announce: Callable[[], None]) -> None:
        self.tried: list[CID] = []
        self._contents, self._announce = contents, announce

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        self.tried.append(root)
        if self.tried.count(root) == 3:
            raise Unreachable(root)
        if self.tried.count(root) == 2 and len(self.tried) == 3:
            self._announce()
        raise StillComing(root)

    def local(self, root: CID) -> BlockSource:
        return self._contents.local(root)


def test_a_reply_is_compared_with_what_it_answers(local_engine: LocalEngine, effect: Examine) -> None:
    found = examiner(local_engine).examine(effect, timeout=1.0)
    assert (found.failed, found.norm, found.here) == ((), 5.0, True)


def test_a_reply_over_its_limit_is_not_fetched(local_engine: LocalEngine, effect: Examine) -> None:
    found = examiner(local_engine).examine(replace(effect, limits=SizeLimits(100, None)), timeout=1.0)
    assert [each.check for each in found.failed] == [Check.SIZE]
    assert not found.here


def test_a_block_that_is_linked_often_makes_no_large_array(local_engine: LocalEngine, effect: Examine) -> None:
    zeros = encode(RecordDict({"arrays": ArrayRecord({"w": Array(np.zeros(40 << 17))})}), None)  # 40 MiB, few blocks
    local_engine.put_content(zeros.root, zeros.blocks())
    limits = SizeLimits(8 << 20, None)
    tracemalloc.start()
    found = examiner(local_engine).examine(replace(effect, reply=zeros.root, limits=limits), timeout=1.0)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
    assert [each.check for each in found.failed] == [Check.READABLE]


def test_a_reply_that_nobody_has_fails_no_check(local_engine: LocalEngine, effect: Examine) -> None:
    with pytest.raises(Unreachable):
        examiner(local_engine).examine(replace(effect, reply=raw_block(b"away").cid), timeout=0.0)


def test_what_the_app_has_sent_is_not_read_back(local_engine: LocalEngine, effect: Examine) -> None:
    layouts = SentLayouts()
    layouts.sends(effect.sent, RecordDict({"arrays": ArrayRecord({"w": Array(np.zeros(2))})}))
    gone = replace(effect, measure=False)
    local_engine.drop([effect.sent])
    found = examiner(local_engine, layouts=layouts).examine(gone, timeout=1.0)
    assert found.failed == ()
    assert found.layout is not None
    assert found.layout.likeness is Likeness.SAME


def test_what_was_read_is_kept_for_the_app(local_engine: LocalEngine, effect: Examine, tmp_path: Path) -> None:
    kept = KeptReplies(tmp_path)
    examiner(local_engine, kept).examine(effect, timeout=1.0)
    assert kept.take(b"message", effect.reply) == decode(
        effect.reply, EngineContents(local_engine).local(effect.reply), None
    )


@pytest.mark.parametrize("key", [None, ContentKey(3, bytes(32), ChunkNonce.GMAC)], ids=["plain", "encrypted"])
def test_an_encrypted_reply_is_kept_on_no_disk_in_the_clear(
    key: ContentKey | None,
    local_engine: LocalEngine,
    effect: Examine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[bytes] = []
    monkeypatch.setattr(os, "pwrite", lambda _, data, at: written.append(bytes(data)) or len(data))
    numbers = np.arange(1000.0)
    encoded = encode(RecordDict({"arrays": ArrayRecord({"w": Array(numbers)})}), key)
    local_engine.put_content(encoded.root, encoded.blocks())
    large = replace(effect, reply=encoded.root, reply_key=key, measure=False)
    examiner(local_engine, KeptReplies(tmp_path)).examine(large, timeout=1.0)
    assert (numbers.tobytes() in b"".join(written)) == (key is None)


def test_a_reply_that_fails_a_check_is_not_kept(local_engine: LocalEngine, effect: Examine, tmp_path: Path) -> None:
    kept = KeptReplies(tmp_path)
    nan = replace(effect, reply=stored(local_engine, math.nan, 0.0))
    assert examiner(local_engine, kept).examine(nan, timeout=1.0).failed
    assert kept.take(b"message", nan.reply) is None


def test_a_reply_that_is_too_large_to_keep_is_examined_all_the_same(
    local_engine: LocalEngine, effect: Examine, tmp_path: Path
) -> None:
    kept = KeptReplies(tmp_path, small=10)
    assert examiner(local_engine, kept).examine(effect, timeout=1.0).norm == 5.0
    assert kept.take(b"message", effect.reply) is None


def test_what_cannot_be_had_is_answered_with_the_reason(
    local_engine: LocalEngine, effect: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examining, "CONTENT_TIMEOUT", 0.0)
    answer = examiner(local_engine).answer(replace(effect, reply=raw_block(b"away").cid))
    assert isinstance(answer, Failed)
    assert (answer.effect, str(raw_block(b"away").cid) in answer.why) == (1, True)


def test_a_reply_that_is_still_coming_lets_others_go_first_and_is_never_given_up(
    local_engine: LocalEngine, effect: Examine
) -> None:
    slow = Slow(EngineContents(local_engine), effect.reply, times=20)
    other = replace(effect, id=2, message=b"other", reply=stored(local_engine, 1.0, 1.0))
    asked, answers = SimpleQueue[Examine](), SimpleQueue[Examined | Failed]()
    asked.put(effect)
    asked.put(other)
    examine_in_threads(Examiner(slow, KeptReplies(Path(gettempdir())), SentLayouts()), asked, answers.put)
    found = [answers.get(timeout=60) for _ in range(2)]
    assert [(answer.effect, type(answer)) for answer in found] == [(2, Examined), (1, Examined)]
    assert slow.left == 0


def test_a_new_reply_goes_before_all_that_are_still_coming(
    local_engine: LocalEngine, effect: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examining, "FETCHED_AT_ONCE", 1)
    asked, answers = SimpleQueue[Examine](), SimpleQueue[Examined | Failed]()
    slow, slower, new = (replace(effect, id=number, reply=raw_block(bytes([number])).cid) for number in range(3))
    contents = Dribbling(EngineContents(local_engine), lambda: asked.put(new))
    asked.put(slow)
    asked.put(slower)
    examine_in_threads(Examiner(contents, KeptReplies(Path(gettempdir())), SentLayouts()), asked, answers.put)
    for _ in range(3):
        answers.get(timeout=60)
    assert contents.tried[:4] == [slow.reply, slower.reply, slow.reply, new.reply]


def test_what_is_asked_for_is_answered_from_other_threads(local_engine: LocalEngine, effect: Examine) -> None:
    asked, answers = SimpleQueue[Examine](), SimpleQueue[Examined | Failed]()
    examine_in_threads(examiner(local_engine), asked, answers.put)
    for number in range(20):
        asked.put(replace(effect, id=number, message=bytes([number])))
    assert sorted(answers.get(timeout=60).effect for _ in range(20)) == list(range(20))
