"""``--min-replies`` and ``--round-deadline``: what makes no sense is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from chains import APP, ENVIRONMENT, SERVER, begun, id_of
from command_line import Peer

from peer.base.errors import ExitCode
from peer.history.run_to_resume import RunToResume
from protocol.blocks.bundle import NamedBundle
from protocol.replies.closing_rule import ClosingRule, Count
from protocol.roles.leader.run_plan import ResumedRun, RunPlan

GATED = Path(__file__).parents[3] / "end_to_end" / "gated"
"""Any app."""


@pytest.mark.parametrize(
    "option", ["--min-replies=0", "--min-replies=-1", "--min-replies=101%", "--round-deadline=0", "--round-deadline=-3"]
)
@pytest.mark.parametrize(
    "command", [("start", "--role", "server"), ("serve",), ("run", GATED)], ids=lambda words: str(words[0])
)
def test_a_rule_that_means_nothing_is_wrong_use(
    command: tuple[str | Path, ...], option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peer = Peer(tmp_path / "home", capsys)
    told = peer(*command, option)
    assert told.code == ExitCode.WRONG_USE
    assert "--min-replies 80% --round-deadline 30" in told.err


def test_a_run_that_was_left_open_closes_its_exchanges_by_its_own_rule_and_no_other() -> None:
    rule = ClosingRule(Count(3), 20.0)
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3, closing=rule)
    left = RunToResume(ResumedRun(begun().chain, ()), plan, ENVIRONMENT, (), id_of(SERVER))
    assert left.other_options(None, None, None, None) == ""
    assert left.other_options(None, None, None, rule) == ""
    assert "its exchanges close by replies=3" in left.other_options(None, None, None, ClosingRule(Count(2), 20.0))
