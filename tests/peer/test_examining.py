"""What a leader's peer does with a reply before the machine takes it: fetch it within its limit, and examine it."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, RecordDict

from peer.engine.interface import Unreachable
from peer.engine.local import LocalEngine
from peer.examining import Examiner
from protocol.admission import Check, SizeLimits
from protocol.blocks import CID, raw_block
from protocol.effects import Examine
from strategy.content import encode


def stored(engine: LocalEngine, *values: float) -> CID:
    """A content of one array."""
    encoded = encode(RecordDict({"arrays": ArrayRecord({"w": Array(np.array(values))})}), None)
    engine.put_content(encoded.root, encoded.blocks())
    return encoded.root


@pytest.fixture
def effect(local_engine: LocalEngine) -> Examine:
    """A reply that is 5 away from what was sent."""
    sent, reply = stored(local_engine, 0.0, 0.0), stored(local_engine, 3.0, 4.0)
    return Examine(1, sent, None, reply, None, SizeLimits(1 << 20, 16), update=True, measure=True)


def test_a_reply_is_compared_with_what_it_answers(local_engine: LocalEngine, effect: Examine) -> None:
    found = Examiner(local_engine).examine(effect, timeout=1.0)
    assert (found.findings, found.norm, found.here) == ((), 5.0, True)


def test_a_reply_over_its_limit_is_not_fetched(local_engine: LocalEngine, effect: Examine) -> None:
    found = Examiner(local_engine).examine(replace(effect, limits=SizeLimits(100, None)), timeout=1.0)
    assert [finding.check for finding in found.findings] == [Check.SIZE]
    assert not found.here


def test_a_block_that_is_linked_often_makes_no_large_array(local_engine: LocalEngine, effect: Examine) -> None:
    zeros = encode(RecordDict({"arrays": ArrayRecord({"w": Array(np.zeros(40 << 17))})}), None)  # 40 MiB, few blocks
    local_engine.put_content(zeros.root, zeros.blocks())
    limits = SizeLimits(8 << 20, None)
    tracemalloc.start()
    found = Examiner(local_engine).examine(replace(effect, reply=zeros.root, limits=limits), timeout=1.0)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
    assert [finding.check for finding in found.findings] == [Check.READABLE, Check.NORM]


def test_a_reply_that_nobody_has_is_no_finding(local_engine: LocalEngine, effect: Examine) -> None:
    with pytest.raises(Unreachable):
        Examiner(local_engine).examine(replace(effect, reply=raw_block(b"away").cid), timeout=0.0)


def test_many_dispatched_contents_are_not_all_kept(local_engine: LocalEngine, effect: Examine) -> None:
    examiner = Examiner(local_engine)
    for number in range(20):
        sent = stored(local_engine, 0.0, float(number))
        assert examiner.examine(replace(effect, sent=sent), timeout=1.0).findings == ()
    assert len(examiner._sent) < 20
