"""What an app process says of a replay is no more than the auditor gave it to compare: an app speaks there, too."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from chains import ALICE, ENVIRONMENT, Scribe
from chains import SECOND as OTHER_SERVER
from inspected_runs import WrittenRun, app_folder, audited, finished_run

from peer.apps.app_process import AppCommand
from peer.apps.app_python import OUR_PYTHON, with_another_id
from peer.audit.trusted_app import own_app
from peer.confinement.confined import Confiner
from peer.confinement.means import ALL
from peer.confinement.rules import Grants
from peer.history.verdict import Verdict, verdict_of
from peer.replay import replay_process, run_replay
from peer.replay.conditions import Conditions
from peer.replay.replay import Replay
from peer.replay.run_replay import STILL_OPEN, STOPPED
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
    Progress,
    Replayed,
    ScriptEnd,
    Start,
    ToApp,
)
from protocol.blocks.cid import CID
from protocol.blocks.content import parse_content_manifest
from protocol.federation.epochs import seed_block
from protocol.records.bodies import Outcome
from protocol.records.environment import Environment
from protocol.replay.differences import Difference
from strategy.replay.format import REPLAY_FORMAT

FIRST, SECOND, LAST = 1, 3, 5
"""The heights of the two dispatches, and of the close."""
CONDITIONS = Conditions(confiner=None)
CONFINED = Conditions(Confiner(ALL[0], Grants(), kept=()))


def begun(**run: object) -> WrittenRun:
    scribe, seed = Scribe(), seed_block(b"s" * 32, None)
    scribe.source.add(seed)
    return WrittenRun(scribe, seed=seed.cid, **run)


@pytest.fixture(scope="module")
def written() -> WrittenRun:
    return finished_run(begun())


@dataclass(frozen=True)
class Saying:
    """In place of `AppProcess`: one that takes the script as it should, but for what it says ``instead``."""

    instead: Sequence[FromApp] = ()
    """At the first height."""
    at: Mapping[int, Sequence[FromApp]] = field(default_factory=dict)
    """At these heights."""
    environment: Environment = ENVIRONMENT
    asks_on: bool = False
    """Whether it goes on asking after the script has ended."""
    given: list[ToApp] = field(default_factory=list)
    started: list[AppCommand] = field(default_factory=list)

    @property
    def said(self) -> Mapping[int, Sequence[FromApp]]:
        """By height."""
        return self.at or {FIRST: self.instead}

    def __call__(self, command: AppCommand, heard: Callable[[FromApp], Awaitable[None]], _: object) -> Process:
        self.started.append(command)
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
        self._saying.given.append(value)
        self._tasks.add(self._loop.create_task(self._say(self._answer(value))))

    async def _say(self, said: Sequence[FromApp]) -> None:
        await asyncio.sleep(0.01 if self._saying.asks_on else 0)
        for each in said:
            await self._heard(each)

    def _answer(self, value: ToApp) -> Sequence[FromApp]:
        go_on = NextEntry(next(self._calls))
        match value:
            case Prepare():
                return [AppReady(self._saying.environment)]
            case DispatchEntry(head=head) | CloseEntry(head=head) if head.height in self._saying.said:
                return [*self._saying.said[head.height], go_on]
            case DispatchEntry():
                return [Compared(value.head.height, len(value.messages)), go_on]
            case CloseEntry():
                return [Finished(value.call, value.model)]
            case ScriptEnd() if not self._saying.asks_on:
                return [Replayed()]
            case _:
                return [go_on]


@pytest.fixture
def replayed(written: WrittenRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Replay]:
    """How the replay goes, of processes in the order in which they are started."""

    folder = app_folder(tmp_path)

    def replayed(*processes: Saying, run: WrittenRun = written, conditions: Conditions = CONDITIONS) -> Replay:
        started = iter(processes)
        monkeypatch.setattr(replay_process, "AppProcess", lambda *arguments: next(started)(*arguments))
        with audited(run, tmp_path) as audit:
            assert audit.run().verdict is Verdict.VERIFIED
            audit.replay(own_app(folder, conditions))
            assert audit.report.replay is not None
            return audit.report.replay

    return replayed


def test_what_was_given_is_counted_and_not_what_the_app_says_of_it(replayed: Callable[..., Replay]) -> None:
    found = replayed(Saying([Compared(FIRST, 1_000_000)]))
    assert (found.exchanges, found.messages, found.unfinished) == (2, 4, "")


def test_an_app_that_raises_on_what_stands_in_for_a_reply_is_not_compared_from_there(
    replayed: Callable[..., Replay],
) -> None:
    run = begun(keep="models=all updates=last:1")
    scribe, update = run.scribe, run.model(7)
    scribe.add(scribe.dispatch(scribe.group(ALICE, content=run.model(1))))
    scribe.add(scribe.collect(scribe.taken(ALICE, content=update)))
    run.exchange(2)
    scribe.add(scribe.close(model=run.model(2)))
    for chunk in parse_content_manifest(scribe.source[update]).links.items(scribe.source):
        del scribe.source[CID(bytes(chunk))]
    raised = Diverged(SECOND, "the app raised KeyError", raised="KeyError")
    found = replayed(Saying(at={SECOND: [raised]}), run=run)
    assert (found.exchanges, found.not_kept, found.unfinished, found.app_raised) == (1, 1, "", False)
    assert found.not_checked.startswith("exchange 2 and all that follows: the app cannot go on from what is not kept")


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
        [],
        [Diverged(FIRST, "the app goes on", raised_there=True)],
        [Diverged(FIRST, "the app raised KeyError", raised="KeyError")],
        [AppReady(replace(ENVIRONMENT, python="0.1"))],
    ],
    ids=repr,
)
def test_an_app_that_says_more_or_less_than_it_was_given_gets_no_verdict(
    said: Sequence[FromApp], replayed: Callable[..., Replay]
) -> None:
    found = replayed(Saying(said))
    assert found.unfinished
    assert found.exchanges <= 1
    assert (found.first, found.environment) == (None, {})
    assert found.app_raised is any(isinstance(each, Diverged) and bool(each.raised) for each in said)


def test_the_close_is_no_exchange(replayed: Callable[..., Replay]) -> None:
    found = replayed(Saying(at={LAST: [Compared(LAST, 0)]}))
    assert (found.exchanges, bool(found.unfinished)) == (2, True)


def test_no_text_of_an_app_is_shown_whole_if_it_is_long(replayed: Callable[..., Replay]) -> None:
    long = "x" * 1_000_000
    differs = Diverged(FIRST, long, 0, Difference(long, long, long, 1.0, unbounded=long))
    found = replayed(Saying([differs]), Saying([differs]))
    assert len(str(found.value())) + sum(len(each.message) for each in found.findings()) < 100_000
    assert len(replayed(Saying([Halted(long, "")])).unfinished) < 3_000


DIFFERS = Diverged(FIRST, "the model differs", 0, Difference("it differs", "arrays", "weight", 1.0), ours=b"1")


@pytest.mark.parametrize(
    ("again", "repeats", "verdict"),
    [
        ([DIFFERS], True, Verdict.FAILED),
        ([replace(DIFFERS, ours=b"2")], False, Verdict.INCONCLUSIVE),
        ([replace(DIFFERS, raised="KeyError")], False, Verdict.INCONCLUSIVE),
        ([Halted("its disk is full", "")], None, Verdict.INCOMPLETE),
    ],
    ids=["the same", "something else", "an error", "nothing"],
)
def test_a_server_is_accused_only_if_the_app_does_the_same_twice(
    again: Sequence[FromApp], repeats: bool | None, verdict: Verdict, replayed: Callable[..., Replay]
) -> None:
    found = replayed(Saying([DIFFERS]), Saying(again))

    assert found.repeats is repeats
    assert verdict_of({each.rule for each in found.findings()}) is verdict


UNDECIDED = Compared(FIRST, 2, Difference("it differs", "arrays", "weight", 1.0, of_bound=0.5), ours=b"1")
FAR = Diverged(LAST, "the final model differs", None, Difference("it differs", "arrays", "weight", 1.0, of_bound=2.0))
ELSEWHERE = replace(ENVIRONMENT, threads=ENVIRONMENT.threads + 1)


@pytest.mark.parametrize(("again", "verdict"), [(b"2", Verdict.INCONCLUSIVE), (b"1", Verdict.FAILED)])
def test_the_app_has_to_do_again_what_accuses_and_not_only_what_differed_first(
    again: bytes, verdict: Verdict, replayed: Callable[..., Replay]
) -> None:
    def saying(ours: bytes) -> Saying:
        return Saying(at={FIRST: [UNDECIDED], LAST: [replace(FAR, ours=ours)]}, environment=ELSEWHERE)

    found = replayed(saying(b"1"), saying(again))

    assert verdict_of({each.rule for each in found.findings()}) is verdict


@pytest.mark.parametrize(
    ("here", "height", "verdict"),
    [
        (ENVIRONMENT, 1, Verdict.FAILED),
        (ENVIRONMENT, 4, Verdict.INCONCLUSIVE),
        (ELSEWHERE, 1, Verdict.INCONCLUSIVE),
        (ELSEWHERE, 4, Verdict.FAILED),
    ],
)
def test_each_exchange_is_judged_by_the_environment_in_force_at_it(
    here: Environment, height: int, verdict: Verdict, replayed: Callable[..., Replay]
) -> None:
    run = begun()
    run.exchange(1)
    run.scribe.add(run.scribe.environment(ELSEWHERE))
    run.exchange(2)
    differs = Diverged(height, "the model differs", 0, Difference("it differs", "arrays", "weight", 1.0))
    saying = Saying(at={height: [differs]}, environment=here)

    found = replayed(saying, saying, run=run)

    assert verdict_of({each.rule for each in found.findings()}) is verdict
    assert [each.height for each in found.environments] == [0, 3][: len(found.environments)]
    assert all(start.changes_environment for start in saying.given if isinstance(start, Start))


@pytest.mark.parametrize(("here", "verdict"), [(ENVIRONMENT, Verdict.INCONCLUSIVE), (ELSEWHERE, Verdict.FAILED)])
def test_a_leader_that_took_over_is_judged_by_the_environment_that_it_says_to_have(
    here: Environment, verdict: Verdict, replayed: Callable[..., Replay]
) -> None:
    run = begun()
    run.exchange(1)
    run.scribe.lead(leader=OTHER_SERVER)
    run.scribe.add(run.scribe.environment(ELSEWHERE))
    run.exchange(2)
    saying = Saying(
        at={5: [Diverged(5, "the model differs", 0, Difference("it differs", "arrays", "weight", 1.0))]},
        environment=here,
    )

    found = replayed(saying, saying, run=run)

    assert verdict_of({each.rule for each in found.findings()}) is verdict
    assert [each.height for each in found.environments] == [0, 4]
    assert [type(each).__name__ for each in saying.given if getattr(each, "head", None)][2:4] == ["QuietEntry"] * 2


def test_the_second_run_ends_with_what_is_to_be_done_again_and_is_told_another_place(
    replayed: Callable[..., Replay],
) -> None:
    first, again = Saying([UNDECIDED], environment=ELSEWHERE), Saying([UNDECIDED], environment=ELSEWHERE)

    assert replayed(first, again, conditions=CONFINED).repeats
    assert [command.python for each in (first, again) for command in each.started] == [
        OUR_PYTHON,
        with_another_id(OUR_PYTHON),
    ]
    assert [start.elsewhere for each in (first, again) for start in each.given if isinstance(start, Start)] == [
        False,
        True,
    ]
    assert any(isinstance(each, CloseEntry) for each in first.given)
    assert not any(isinstance(each, CloseEntry) for each in again.given)


@pytest.mark.parametrize(
    ("end", "not_checked"),
    [(None, STILL_OPEN), ({"outcome": Outcome.STOPPED, "model": None}, STOPPED)],
    ids=["open", "stopped"],
)
def test_what_an_app_made_of_the_last_replies_is_not_checked_without_its_end(
    end: dict[str, object] | None, not_checked: str, replayed: Callable[..., Replay]
) -> None:
    run = begun()
    run.exchange(1)
    if end is not None:
        run.scribe.add(run.scribe.close(**end))

    found = replayed(Saying([Compared(FIRST, 2)]), run=run)

    assert (found.exchanges, found.unfinished, found.not_checked) == (1, "", not_checked)


def test_an_app_that_asks_for_the_scripts_end_again_and_again_is_ended(replayed: Callable[..., Replay]) -> None:
    run, impatient = begun(), Conditions(Confiner(ALL[0], Grants(patience=0.2), kept=()))
    run.exchange(1)

    found = replayed(Saying([Compared(FIRST, 2)], asks_on=True), run=run, conditions=impatient)

    assert "--patience" in found.unfinished


def test_an_app_may_say_how_it_gets_on(replayed: Callable[..., Replay]) -> None:
    found = replayed(Saying([Progress("at work"), Compared(FIRST, 2)]))
    assert (found.exchanges, found.unfinished) == (2, "")


def test_an_app_of_another_replay_format_is_not_started(
    replayed: Callable[..., Replay], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_replay, "REPLAY_FORMAT", REPLAY_FORMAT + 1)
    assert f"it is in replay format {REPLAY_FORMAT}, which" in replayed().unfinished
