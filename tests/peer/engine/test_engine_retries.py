"""Retries while an engine is away, or hangs: how many there are. The clock is the test's."""

from __future__ import annotations

import pytest

from peer.engine import engine_retries
from peer.engine.engine_retries import EngineRetries
from peer.engine.interface import EngineUnavailable


class Engine:
    """Does not answer ``away`` times; each try takes ``seconds`` of its own clock."""

    def __init__(self, away: int, seconds: float) -> None:
        self.now, self.tries = 0.0, 0
        self._away, self._seconds = away, seconds

    def work(self) -> str:
        self.tries += 1
        self.now += self._seconds
        if self.tries <= self._away:
            raise EngineUnavailable("it does not answer")
        return "done"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_retries, "_PAUSE", 0.0)


def test_a_call_that_hung_longer_than_all_patience_is_made_again() -> None:
    engine = Engine(away=1, seconds=150.0)
    assert EngineRetries(60.0, lambda: engine.now)(engine.work) == "done"


def test_a_hang_uses_up_patience_by_tries_and_not_by_its_length() -> None:
    for seconds in (5.0, 120.0, 86_400.0):
        engine = Engine(away=1000, seconds=seconds)
        with pytest.raises(EngineUnavailable):
            EngineRetries(60.0, lambda engine=engine: engine.now)(engine.work)
        assert engine.tries == 13


def test_an_engine_that_refuses_at_once_is_waited_for_by_the_clock() -> None:
    engine = Engine(away=1000, seconds=0.5)
    with pytest.raises(EngineUnavailable):
        EngineRetries(60.0, lambda: engine.now)(engine.work)
    assert engine.tries == 121


def test_stopping_waits_for_no_second_try() -> None:
    engine = Engine(away=1000, seconds=1.0)
    patient = EngineRetries(60.0, lambda: engine.now)
    patient.lose()
    with pytest.raises(EngineUnavailable):
        patient(engine.work)
    assert engine.tries == 1
