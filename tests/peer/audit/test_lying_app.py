"""What an app process says of a replay is no more than the auditor gave it to compare: an app speaks there, too."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from chains import ENVIRONMENT, Scribe
from inspected_runs import WrittenRun, app_folder, audited, finished_run

from peer.audit import replay as replays
from peer.audit.replay import Conditions, Replay
from peer.audit.trusted_app import own_app
from peer.history.verdict import Verdict, verdict_of
from protocol.app.calls import (
    AppReady,
    CloseEntry,
    Compared,
    DispatchEntry,
    Diverged,
    Finished,
    FromApp,
    Halted,
    NextEntry,
    Prepare,
    Replayed,
    ScriptEnd,
    ToApp,
)
from protocol.federation.epochs import seed_block
from protocol.replay.differences import Difference

FIRST, LAST = 1, 5
"""The heights of the first dispatch, and of the close."""
CONDITIONS = Conditions(confiner=None)


@pytest.fixture(scope="module")
def written() -> WrittenRun:
    scribe, seed = Scribe(), seed_block(b"s" * 32, None)
    scribe.source.add(seed)
    return finished_run(WrittenRun(scribe, seed=seed.cid))


@dataclass(frozen=True)
class Saying:
    """In place of `AppProcess`: one that takes the script as it should, and says something else at one height."""

    instead: Sequence[FromApp]
    at: int = FIRST

    def __call__(self, _: object, heard: Callable[[FromApp], Awaitable[None]], __: object) -> Process:
        return Process(self, heard)


class Process:
    """The process of a `Saying`."""

    def __init__(self, saying: Saying, heard: Callable[[FromApp], Awaitable[None]]) -> None:
        self._saying = saying
        self._heard = heard
        self._calls = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, *_: object, **__: object) -> None:
        self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """Nothing runs."""

    def hand(self, value: ToApp) -> None:
        self._tasks.add(self._loop.create_task(self._say(self._answer(value))))

    async def _say(self, said: Sequence[FromApp]) -> None:
        for each in said:
            await self._heard(each)

    def _answer(self, value: ToApp) -> Sequence[FromApp]:
        go_on = NextEntry(next(self._calls))
        match value:
            case Prepare():
                return [AppReady(ENVIRONMENT)]
            case DispatchEntry() | CloseEntry() if value.head.height == self._saying.at:
                return [*self._saying.instead, go_on]
            case DispatchEntry():
                return [Compared(value.head.height, len(value.messages)), go_on]
            case CloseEntry():
                return [Finished(value.call, value.model)]
            case ScriptEnd():
                return [Replayed()]
            case _:
                return [go_on]


@pytest.fixture
def replayed(written: WrittenRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Replay]:
    """How the replay goes, of processes in the order in which they are started."""

    app = own_app(app_folder(tmp_path), CONDITIONS)

    def replayed(*processes: Saying) -> Replay:
        started = iter(processes)
        monkeypatch.setattr(replays, "AppProcess", lambda *arguments: next(started)(*arguments))
        with audited(written, tmp_path) as audit:
            assert audit.run().verdict is Verdict.VERIFIED
            audit.replay(app)
            assert audit.report.replay is not None
            return audit.report.replay

    return replayed


def test_what_was_given_is_counted_and_not_what_the_app_says_of_it(replayed: Callable[..., Replay]) -> None:
    found = replayed(Saying([Compared(FIRST, 1_000_000)]))
    assert (found.exchanges, found.messages, found.unfinished) == (2, 4, "")


@pytest.mark.parametrize(
    "said",
    [
        [Compared(FIRST, 2), Compared(FIRST, 2)],
        [Compared(FIRST + 1, 2)],
        [Compared(1_000, 2)],
        [Replayed()],
        [Finished(1, None)],
        [Compared(FIRST, 2), Replayed()],
        [Diverged(1_000, "the model differs")],
        [AppReady(replace(ENVIRONMENT, python="0.1"))],
    ],
    ids=repr,
)
def test_an_app_that_says_more_than_it_was_given_gets_no_verdict(
    said: Sequence[FromApp], replayed: Callable[..., Replay]
) -> None:
    found = replayed(Saying(said))
    assert found.unfinished
    assert found.exchanges <= 1
    assert (found.first, found.environment) == (None, {})


def test_the_close_is_no_exchange(replayed: Callable[..., Replay]) -> None:
    found = replayed(Saying([Compared(LAST, 0)], at=LAST))
    assert (found.exchanges, bool(found.unfinished)) == (2, True)


def test_no_text_of_an_app_is_shown_whole_if_it_is_long(replayed: Callable[..., Replay]) -> None:
    long = "x" * 1_000_000
    differs = Diverged(FIRST, long, 0, Difference(long, long, long, 1.0, unbounded=long))
    found = replayed(Saying([differs]), Saying([differs]))
    assert len(str(found.value())) + sum(len(each.message) for each in found.findings()) < 100_000
    assert len(replayed(Saying([Halted(long, "")])).unfinished) < 3_000


DIFFERS = Diverged(FIRST, "the model differs", 0, Difference("it differs", "arrays", "weight", 1.0), ours=b"1")


@pytest.mark.parametrize(
    ("again", "verdict"),
    [
        ([DIFFERS], Verdict.FAILED),
        ([replace(DIFFERS, ours=b"2")], Verdict.INCONCLUSIVE),
        ([Halted("its disk is full", "")], Verdict.INCOMPLETE),
    ],
    ids=["the same", "something else", "nothing"],
)
def test_a_server_is_accused_only_if_the_app_does_the_same_twice(
    again: Sequence[FromApp], verdict: Verdict, replayed: Callable[..., Replay]
) -> None:
    assert verdict_of({each.rule for each in replayed(Saying([DIFFERS]), Saying(again)).findings()}) is verdict
