"""The app process of a replay starts while the run is verified, and runs the app only if it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from inspected_runs import WrittenRun, app_folder, audited, finished_run

from peer.audit import audit as audits
from peer.audit.trusted_app import own_app
from peer.base.errors import PeerError
from peer.history.verdict import Verdict
from peer.replay.conditions import AuditedApp, Conditions, ReplayToCome
from peer.replay.replay import Replay

CONDITIONS = Conditions(confiner=None)


@pytest.fixture(scope="module")
def written() -> WrittenRun:
    return finished_run()


class Told:
    """In place of `RunReplay`: what it was told, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.app: AuditedApp | None = None

    def __call__(self, *_: object) -> Told:
        return self

    def start(self) -> None:
        self.calls.append("start")

    def give(self, app: AuditedApp) -> None:
        self.calls.append("give")
        self.app = app

    def run(self, *_: object, **__: object) -> Replay:
        self.calls.append("run")
        return Replay()

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    monkeypatch.setattr(audits, "RunReplay", told)
    return told


@pytest.fixture
def app(tmp_path: Path) -> AuditedApp:
    return own_app(app_folder(tmp_path), CONDITIONS)


def test_the_process_is_started_while_the_run_is_verified_and_is_the_one_that_replays(
    written: WrittenRun, tmp_path: Path, told: Told, app: AuditedApp
) -> None:
    with audited(written, tmp_path) as audit:
        assert audit.run(ReplayToCome(CONDITIONS, lambda: app)).verdict is Verdict.VERIFIED
        assert told.calls == ["start", "give"]
        audit.replay(app)
    assert told.calls == ["start", "give", "run", "close"]


def test_the_app_of_a_run_that_is_not_verified_does_not_run(
    written: WrittenRun, tmp_path: Path, told: Told, app: AuditedApp
) -> None:
    with audited(written, tmp_path, without=written.sent[0]) as audit:
        audit.run(ReplayToCome(CONDITIONS, lambda: app))
        audit.replay(app)
    assert told.calls == ["start", "give", "close"]


def test_a_process_whose_app_may_not_run_ends(written: WrittenRun, tmp_path: Path, told: Told) -> None:
    def refused() -> AuditedApp:
        raise PeerError("nobody here trusts it")

    with audited(written, tmp_path) as audit:
        assert audit.run(ReplayToCome(CONDITIONS, refused)).verdict is Verdict.VERIFIED
    assert told.calls == ["start", "close"]


def test_an_audit_begins_without_waiting_for_flower() -> None:
    imports = "import sys, peer.cli.reading.audit, peer.audit.run_lookup, peer.audit.trusted_app"
    done = subprocess.run(
        [sys.executable, "-c", f"{imports}; print('flwr' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
