"""The newest global model of a run that need not be over, which ``peer start --initial-model HEAD`` begins with."""

from __future__ import annotations

from pathlib import Path

import pytest
from chains import ALICE
from test_model import Training, weights

from peer.audit.audit import Audit
from peer.audit.run_models import RunModels
from peer.engine.local.engine import LocalEngine
from peer.history.run_sources import EngineSource
from peer.history.scratch import Scratch
from strategy.contents.codec import encode


def closed() -> Training:
    written = Training()
    written.round(1, evaluated=False)
    return written.close(1)


def ended_after_a_collect() -> Training:
    written = Training()
    written.round(1)
    written.round(2, evaluated=False)  # the server died before it sent the model of round 2
    return written


def begun() -> Training:
    written = Training()
    sent = written.store(weights(0, 1))
    written.scribe.add(written.scribe.dispatch(written.scribe.group(ALICE, content=sent)))
    return written


@pytest.mark.parametrize(
    ("written", "round_number", "model"),
    [(closed(), 1, weights(1)), (ended_after_a_collect(), 1, weights(1, 1)), (begun(), 0, weights(0, 1))],
)
def test_it_is_of_the_last_round_that_has_one(written: Training, round_number: int, model, tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path / "engine")
    engine.put(written.blocks)
    source = EngineSource(engine, 0.0)
    with Scratch() as scratch:
        found = RunModels(Audit(written.head, source, scratch), scratch).newest()
    engine.close()
    assert (found.round, found.content) == (round_number, encode(model, None).root)
