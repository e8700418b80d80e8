"""A fault kills the process it names, at the step it names, and nothing happens without one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.base.errors import PeerError
from peer.base.faults import VARIABLE, Fault, Faults, Step, Victim, When
from protocol.roles.effects import Publish, WakeAt

STEP = Publish("topic", b"")


@pytest.fixture
def app() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits to be killed."""
    with subprocess.Popen(["sleep", "100"]) as process:
        yield process
        process.kill()


def test_a_fault_is_what_its_text_says() -> None:
    fault = Fault(Victim.ENGINE, Step.FETCH_CONTENT, When.BEFORE, 4)
    assert str(fault) == "engine:fetch-content:before:4"
    assert Fault.parse(str(fault)) == fault


def test_a_text_that_names_no_fault_is_refused_with_what_to_do() -> None:
    with pytest.raises(PeerError, match="is not a fault") as raised:
        Fault.parse("app:lunch:before:1")
    assert VARIABLE in raised.value.fix


def test_the_nth_time_counts_that_step_alone(app: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "app:publish:after:2")
    faults = Faults(Path(), lambda: app.pid)
    faults.around(STEP, lambda: None)
    faults.around(WakeAt(0.0), lambda: None)
    assert app.poll() is None

    faults.around(STEP, lambda: None)

    assert app.wait() == -9


@pytest.mark.parametrize("when", list(When))
def test_the_victim_is_dead_before_the_step_or_lives_through_it(
    when: When, app: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f"app:publish:{when}:1")
    faults = Faults(Path(), lambda: app.pid)

    dead = faults.around(STEP, lambda: app.wait() if when is When.BEFORE else app.poll())

    assert dead == (-9 if when is When.BEFORE else None)
    assert app.wait() == -9


def test_without_the_variable_nobody_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    faults = Faults(Path(), lambda: pytest.fail("the app's process was asked for"))
    assert faults.around(STEP, lambda: "done") == "done"
