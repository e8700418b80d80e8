"""A run goes on only as it began. If anything differs, the server says what, and leaves the run as it is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from disturbed import APP, Disturbed
from federation import PeerProcess

from peer.base.errors import ExitCode
from peer.base.faults import Fault, Step, Victim, When

pytestmark = pytest.mark.xdist_group("resume refused")  # one run for all of them

IN_ROUND_ONE = Fault(Victim.PEER, Step.WRITE_HEAD, When.AFTER, 3)


def killed_in_round_one(run: Disturbed) -> Disturbed:
    run.process = PeerProcess  # what runs, times included, is the product
    run.start_all({"server": IN_ROUND_ONE})
    run.await_death("server")
    return run


@pytest.fixture(scope="module")
def open_run(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The homes and the engine of a run whose server was killed, and then its clients."""
    run = killed_in_round_one(Disturbed.copy_of(origin, tmp_path_factory.mktemp("open") / "run"))
    run.end()
    return run.root


@pytest.fixture
def left_open(open_run: Path, tmp_path: Path) -> Iterator[Disturbed]:
    """A copy of them."""
    run = Disturbed.copy_of(open_run, tmp_path / "run")
    yield run
    run.end()


def test_another_app_is_not_gone_on_with(left_open: Disturbed, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(APP, changed)
    (changed / "counting" / "server_app.py").write_text((APP / "counting" / "server_app.py").read_text() + "\n")

    server = left_open.start_one("server", app=changed)

    assert server.code() == ExitCode.WRONG_USE
    assert "its app is" in server.said
    assert "--new-run" in server.said


def test_other_settings_are_not_gone_on_with(left_open: Disturbed) -> None:
    server = left_open.start_one("server", None, "--run-config", "rounds=4")

    assert server.code() == ExitCode.WRONG_USE
    assert "its setting rounds is 3, not 4" in server.said


def test_another_seed_is_not_gone_on_with(left_open: Disturbed) -> None:
    server = left_open.start_one("server", None, "--seed", "2")

    assert server.code() == ExitCode.WRONG_USE
    assert "it has another seed than --seed gives" in server.said


@pytest.mark.all
def test_a_new_run_begins_afresh(disturbed: Disturbed) -> None:
    before = killed_in_round_one(disturbed).head("server").run

    disturbed.start_one("server", None, "--new-run", "--run-config", "rounds=1")
    disturbed.await_all()

    runs = {head.run: head.closed for head in disturbed.heads("server")}
    assert runs.pop(before) is False
    assert list(runs.values()) == [True]


@pytest.mark.all
def test_an_app_that_reads_a_clock_is_not_gone_on_with(disturbed: Disturbed) -> None:
    trouble = ("--run-config", 'trouble="clock"')
    disturbed.start_one("server", IN_ROUND_ONE, *trouble)
    for name in disturbed.names:
        disturbed.start_one(name)
    disturbed.await_death("server")

    server = disturbed.start_one("server", None, *trouble)

    assert server.code() == ExitCode.VERIFICATION_FAILED
    assert "does not replay to its own chain: at height 1, message 0 differs" in server.said
    assert "now" in server.said
    assert "--new-run" in server.said
    assert f"--initial-model {disturbed.head('server').head.label}" in server.said
    assert "to go on with it" not in server.said


@pytest.mark.all  # the rule: `tests/protocol/roles/leader/test_lost_apps.py`
def test_an_app_process_that_always_dies_is_the_apps_failure(disturbed: Disturbed) -> None:
    server = disturbed.start_one("server", None, "--run-config", 'trouble="abort"')
    for name in disturbed.names:
        disturbed.start_one(name)

    assert server.code() == ExitCode.APP_FAILED
    assert "3 times at height 4" in server.said
    assert "logs" in server.said
    assert not disturbed.head("server").closed
