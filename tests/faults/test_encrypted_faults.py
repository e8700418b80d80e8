"""Killed peers of a run that is encrypted: keys and states come back, and the chain goes on as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from disturbed import APP, CLIENTS, Disturbed, founded

from peer.base.faults import Fault, Step, Victim, When

CALLS = 6
"""What each client counts in three rounds. If it lost its state or was asked twice, it counts something else."""


@pytest.fixture(scope="session")
def encrypted_origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return founded(tmp_path_factory.mktemp("encrypted") / "homes", encrypted=True)


@pytest.mark.parametrize(
    ("peer", "fault"),
    [
        ("server", Fault(Victim.PEER, Step.WRITE_HEAD, When.AFTER, 5)),
        pytest.param("one", Fault(Victim.PEER, Step.HAND, When.AFTER, 3), marks=pytest.mark.all),
        pytest.param("server", Fault(Victim.PEER, Step.STORE, When.AFTER, 1), marks=pytest.mark.all),
        pytest.param("one", Fault(Victim.PEER, Step.KEEP_REPLY, When.AFTER, 2), marks=pytest.mark.all),
    ],
    ids=["server-in-a-round", "client-at-work", "server-first-record", "client-reply-kept"],
)
def test_an_encrypted_run_goes_on_after_a_kill(peer: str, fault: Fault, encrypted_origin: Path, tmp_path: Path) -> None:
    run = Disturbed.copy_of(encrypted_origin, tmp_path / "run")
    try:
        run.start_all({peer: fault})
        run.await_death(peer)
        run.start_one(peer)
        run.await_all()

        code, report = run.replay(
            str(run.head("server").head), APP, "--home", str(run.home("server").path), **run.variables
        )
    finally:
        run.end()

    assert (code, report["verdict"], report["replay"]["mismatches"]) == (0, "verified", 0), report["findings"]
    counted = {answer["name"]: int(answer["metrics"]["drawn"]) for answer in report["exchanges"][-1]["answers"]}
    assert counted == dict.fromkeys(CLIENTS, CALLS)
