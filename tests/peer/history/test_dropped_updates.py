"""`peer.history.run_to_resume`: a run whose updates went by its own plan does not go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chains import Scribe
from inspected_runs import WrittenRun

from peer.base.errors import ExitCode, PeerError
from peer.engine.local.engine import LocalEngine
from peer.history.run_to_resume import RunToResume
from protocol.federation.run_keys import read_private
from protocol.keeping.plan import DROPPING
from protocol.records.bodies import Run, RunPrivate
from protocol.records.signed_records import read_record
from protocol.roles.leader.run_plan import ResumedRun, recorded_plan


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LocalEngine]:
    opened = LocalEngine(tmp_path / "engine")
    yield opened
    opened.close()


def left_open() -> tuple[RunToResume, WrittenRun]:
    written = WrittenRun(Scribe(), keep=str(DROPPING))
    update = written.model(7)
    run = read_record(written.run, written.scribe.source).body
    assert isinstance(run, Run)
    private = read_private(run, RunPrivate)
    assert private is not None
    resumed = ResumedRun(written.scribe.chain, [written.run])
    begun = recorded_plan(run, private, written.scribe.chain.keys, b"s" * 32, (), elsewhere=False)
    return RunToResume(resumed, begun, private.environment, (update,), run.by), written


def test_a_run_whose_updates_are_all_here_goes_on(engine: LocalEngine) -> None:
    left, written = left_open()
    engine.put(written.blocks)
    left.require_updates(engine)


def test_a_run_whose_updates_went_is_refused_with_the_reason(engine: LocalEngine) -> None:
    left, written = left_open()
    (update,) = left.collected
    engine.put(block for block in written.blocks if not block.cid.is_raw or block.cid == update)
    with pytest.raises(PeerError, match="not kept, by its own plan") as error:
        left.require_updates(engine)
    assert error.value.exit_code is ExitCode.UNFINISHED
    assert "--initial-model" in error.value.fix
