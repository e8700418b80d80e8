"""`peer.cli.told_waits`: what a command says while it waits for blocks that are not here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from peer.cli.told_waits import AFTER, ToldWaits, words_of
from peer.engine.interface import EngineUnavailable
from peer.history.run_sources import Wait
from protocol.blocks.cid import raw_block

ONE, OTHER = (raw_block(text).cid for text in (b"one", b"other"))


@dataclass
class Clock:
    """A clock that the test moves."""

    now: float = 0.0
    due: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def later(self, seconds: float, then: Callable[[], None]) -> Callable[[], None]:
        self.due.append(entry := (self.now + seconds, then))
        return lambda: self.due.remove(entry) if entry in self.due else None

    def passes(self, seconds: float) -> None:
        self.now += seconds
        ready = [entry for entry in self.due if entry[0] <= self.now]
        for entry in ready:
            self.due.remove(entry)
            entry[1]()


def wait_for(seconds: float) -> Wait:
    return Wait([ONE], seconds, of_content=False, others=lambda: 2)


def test_a_wait_that_lasts_is_told_once() -> None:
    clock, said = Clock(), list[str]()
    with ToldWaits(clock.later, said.append)(wait_for(30.0)):
        clock.passes(AFTER - 0.1)
        assert said == []
        clock.passes(0.2)
        clock.passes(20.0)
    assert said == [words_of(wait_for(30.0))]


def test_what_is_answered_at_once_is_not_told() -> None:
    clock, said = Clock(), list[str]()
    with ToldWaits(clock.later, said.append)(wait_for(30.0)):
        clock.passes(AFTER / 2)
    clock.passes(30.0)
    assert said == []


def test_a_wait_that_fails_is_not_told_afterwards() -> None:
    clock, said = Clock(), list[str]()
    with pytest.raises(EngineUnavailable), ToldWaits(clock.later, said.append)(wait_for(30.0)):
        raise EngineUnavailable("the node is down")
    clock.passes(30.0)
    assert said == []


def test_a_short_wait_is_told_only_if_it_lasts_longer_than_it_was_to() -> None:
    clock, said = Clock(), list[str]()
    with ToldWaits(clock.later, said.append)(wait_for(AFTER)):
        clock.passes(AFTER)
        assert said == []
        clock.passes(AFTER)
    assert len(said) == 1


def away() -> int:
    raise EngineUnavailable("the node is down")


@pytest.mark.parametrize(
    ("wait", "words"),
    [
        (
            wait_for(30.0),
            f"looking for {ONE}, which is not here, at the 2 nodes that this one is connected to: 30 s at",
        ),
        (
            Wait([ONE], 9.0, of_content=False, others=lambda: 1),
            "at the 1 node that this one is connected to: 9 s at most",
        ),
        (Wait([ONE], 9.0, of_content=False, others=lambda: 0), "at other nodes (connected to none now): 9 s at most"),
        (Wait([ONE], 9.0, of_content=False, others=away), "at other nodes: 9 s at most"),
        (Wait([ONE, OTHER], 9.0, of_content=False, others=away), f"2 blocks that are not here, the first is {ONE}, at"),
        (Wait([ONE], 9.0, of_content=True, others=away), f"fetching {ONE}, which is not whole here, from other nodes"),
    ],
)
def test_the_words_say_what_is_looked_for_from_whom_and_for_how_long(wait: Wait, words: str) -> None:
    assert words in words_of(wait)
