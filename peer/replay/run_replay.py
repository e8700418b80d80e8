"""Audit by replay: the ServerApp of a verified run is run again, and must do what is recorded.

The app process asks for the recorded replies entry by entry, and compares what it sends itself. Nothing is written to
an engine, and a CAR file needs none. After a difference the app is run once more, up to there, and told another time
and place: what an app does not do twice on one machine says nothing about the server.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from peer.apps.app_python import machine_of
from peer.apps.block_server import ServedRun
from peer.confinement.rules import hint_for
from peer.history.run_sources import RunSource
from peer.history.scratch import Scratch
from peer.replay.conditions import AuditedApp, Conditions
from peer.replay.replay import (
    MAX_ENVIRONMENTS,
    NOT_COMPARED,
    ComparedExchange,
    RecordedEnvironment,
    Replay,
    compared_environment,
)
from peer.replay.replay_process import ReplayProcess
from protocol.app.calls import (
    AppReady,
    CloseEntry,
    CollectEntry,
    Compared,
    DispatchEntry,
    Diverged,
    Finished,
    FromApp,
    Halted,
    NextEntry,
    Prepare,
    Progress,
    QuietEntry,
    Replayed,
    ScriptEnd,
    ScriptEntry,
    Start,
)
from protocol.blocks.cid import CID, Block, BlockError, MissingBlock
from protocol.chain.replay_script import UnreadableRecord, script_entry
from protocol.federation.epochs import read_seed
from protocol.federation.run_keys import RunKeys, read_private
from protocol.records.bodies import Close, NewEnvironment, Run, RunPrivate
from protocol.records.bodies import Outcome as RunOutcome
from protocol.records.environment import Environment, differing_versions
from protocol.records.signed_records import read_record
from protocol.replay.differences import Cause, Difference, Outcome, judged
from protocol.replay.gaps import Gaps
from protocol.roles.leader.run_plan import SERVER_NODE, initial_content
from strategy.apps.bundling import unpack_bundle
from strategy.replay.format import REPLAY_FORMAT, REPLAYED_BY, server_environment

_MAX_TEXT: Final = 2000
"""Characters of a text of an app process that are shown: its honest ones are shorter."""

STILL_OPEN: Final = "what the app made of the last replies: the run is open, and no message shows it yet"
"""What is not checked of a run that goes on."""
STOPPED: Final = "what the app made of the last replies: its run was stopped, and no message shows it"
"""What is not checked of a run that was stopped."""
NO_MODEL: Final = "what the app made of the replies after its last message: the run has no final model"
"""What is not checked of a run that closed without a model."""

Versions = Mapping[str, tuple[str, str]]
"""By a package's name: the version in the run, and the one here. A version is empty if the package is absent."""


@dataclass(frozen=True, slots=True)
class _Given:
    """What was handed to the app process to be compared."""

    round: int | None
    number: int | None
    """As in `ComparedExchange`."""
    messages: int
    environment: RecordedEnvironment
    after_gap: bool = False
    """Whether a reply before it is not kept."""
    is_loose: bool = False
    """Whether it is not compared for that reason."""

    @property
    def cause(self) -> Cause:
        """The most that is not the server's doing: what an app made of replies that are not kept counts as rounding."""
        is_doubtful = self.after_gap and self.environment.cause is Cause.NOTHING
        return Cause.ROUNDING if is_doubtful else self.environment.cause

    @property
    def doubt(self) -> str:
        """What is to be said with a difference."""
        return " (replies before it are not kept by policy)" if self.after_gap else ""


class RunReplay:
    """One replay of a run.

    Its app process may be started (`start`), and be given the app (`give`), while an audit verifies the run: it imports
    meanwhile. Nothing of the app runs before `run`, which is for a run that is verified. `close` ends the process.
    """

    def __init__(self, run: CID, scratch: Scratch, source: RunSource, keys: RunKeys, conditions: Conditions) -> None:
        """``scratch`` has the audit's records and rows, ``keys`` open the run record."""
        self._run = run
        self._scratch = scratch
        self._source = source
        self._keys = keys
        self._conditions = conditions
        self._process: ReplayProcess | None = None
        self._app: AuditedApp | None = None
        self._records: Iterator[CID] = iter(())
        self._to_round: int | None = None
        self._numbered = True
        self._on_compared: Callable[[ComparedExchange], None] = lambda _: None
        self._on_versions: Callable[[Versions], None] = lambda _: None
        self._dispatches = 0
        self._now: Environment | None = None
        """The environment of the app process, once it has said that."""
        self._in_force = NOT_COMPARED
        """The recorded one, at the last record that was handed over."""
        self._changes_environment = False
        self._exchanges = 0
        """How many the run has."""
        self._has_gaps = False
        self._gaps = Gaps(scratch.lacks)
        self._ahead: dict[int, _Given] = {}
        """What was handed over and is not compared yet, by height. An app that lies may speak of other heights."""
        self._height = 0
        """That of the last record that was handed over."""
        self._last_round: int | None = None
        self._is_all_given = False
        """Whether the script was handed over up to where the app has to end."""
        self._has_end = False
        """Whether `Replay.not_checked` is settled, because the script was handed over up to its end."""
        self._ours: dict[int, bytes] = {}
        """What the app did, by height, at the first difference and at the one that decides."""
        self._until: int | None = None
        """The height at which a replay ends that only tells whether the app does the same thing twice."""
        self._began = 0.0
        self._replay = Replay()

    @property
    def app(self) -> AuditedApp | None:
        """The app that it was given."""
        return self._app

    def start(self) -> None:
        """Start the app process. What of the run record cannot be read, or is too old, `run` tells.

        Raises:
            PeerError: if the process cannot be confined.
        """
        try:
            self._process = self._started()
        except UnreadableRecord as error:
            self._unfinished(str(error))
        except BlockError as error:
            self._unfinished(f"what is recorded cannot be read: {error}")

    def give(self, app: AuditedApp) -> None:
        """Have the process import what this app will import.

        Raises:
            OSError: if its files cannot be written.
        """
        self._app = app
        try:
            if self._process is not None:
                unpack_bundle(app.files, app.source, self._process.folder)
                self._process.link.hand(Prepare())
        except BlockError as error:
            self._unfinished(f"the app cannot be read: {error}")

    def close(self) -> None:
        """End the app process."""
        process, self._process = self._process, None
        if process is not None:
            process.close()

    def run(
        self,
        keys: RunKeys,
        *,
        to_round: int | None = None,
        numbered: bool = True,
        changes_environment: bool = False,
        exchanges: int = 0,
        has_gaps: bool = False,
        on_compared: Callable[[ComparedExchange], None] = lambda _: None,
        on_versions: Callable[[Versions], None] = lambda _: None,
    ) -> Replay:
        """Replay to the end, or to the first difference after which the app cannot go on. The process has been started,
        and given the app.

        ``keys`` are the run's, now that all its records are verified. ``to_round`` is the last round to replay: one of
        Flower's if the app's messages are ``numbered``, otherwise an exchange. ``changes_environment`` says whether the
        server went on in another environment. The run has so many ``exchanges``; if it ``has_gaps``, contents of some
        are not kept by policy. ``on_versions`` is told, before the app runs, which packages have other
        versions here than where it began.
        """
        self._keys, self._to_round, self._numbered = keys, to_round, numbered
        self._changes_environment = changes_environment
        self._exchanges, self._has_gaps = exchanges, has_gaps
        self._on_compared, self._on_versions = on_compared, on_versions
        self._began = time.monotonic()
        self._run_once()
        if self._ours and not self._replay.app_raised:
            self._replay.repeats = self._repeats()
        self._replay.seconds = time.monotonic() - self._began
        return self._replay

    def _repeats(self) -> bool | None:
        """Run the app again, as at another time and place, up to the difference that decides. Returns whether it does
        the same as before; None if that replay does not end."""
        assert self._app is not None  # it has run
        again = RunReplay(self._run, self._scratch, self._source, self._keys, self._conditions)
        again._until = max(self._ours)
        again._to_round, again._numbered = self._to_round, self._numbered
        again._changes_environment = self._changes_environment
        again._exchanges, again._has_gaps = self._exchanges, self._has_gaps
        again._began = time.monotonic()
        with closing(again):
            again.start()
            again.give(self._app)
            again._run_once()
        if again._replay.app_raised:
            return False  # it did not before
        if not again._replay.unfinished:
            return again._ours == self._ours
        if self._replay.beyond is not None and not self._replay.unfinished:
            why = again._replay.unfinished
            self._unfinished(
                f"nobody can tell if the app does the same thing twice, as its second run did not end: {why}"
            )
        return None

    def _run_once(self) -> None:
        if self._process is None or self._replay.unfinished:
            return
        self._records = islice(self._scratch.oldest_first(), 1, None)  # `Start` says what the run record does
        try:
            self._process.loop.run(self._drive(self._process))
        except UnreadableRecord as error:
            self._unfinished(str(error))
        except BlockError as error:
            self._unfinished(f"what is recorded cannot be read: {error}")
        finally:
            self.close()

    def _started(self) -> ReplayProcess | None:
        """The process, which waits for its app; None if another version of Pollen replays the run."""
        body = read_record(self._run, self._source).body
        assert isinstance(body, Run)  # the audit has verified it
        recorded = read_private(body, RunPrivate, self._keys)
        if recorded is None:
            raise UnreadableRecord(
                "the run is encrypted, and this identity cannot read it. An auditor can, once an admin has added its "
                "KEY (peer federation add) and the server has granted it the runs before (peer federation grant)"
            )
        if recorded.replay_format != REPLAY_FORMAT:
            by = REPLAYED_BY.get(recorded.replay_format, "a newer version")
            self._unfinished(
                f"it is in replay format {recorded.replay_format}, which {by} replays; this version has {REPLAY_FORMAT}"
            )
            return None
        seed = read_seed(Block(body.seed, self._source.get(body.seed)), self._keys)
        start = Start(
            self._run,
            SERVER_NODE,
            seed,
            recorded.config,
            (),  # the app's own, once it is given
            scripted=True,
            elsewhere=self._until is not None,
            initial_model=initial_content(body, self._keys),
            key=self._keys.content(body.epoch),
        )
        as_recorded, machine = recorded.environment, machine_of(self._conditions.python)
        environment = server_environment(seed, as_recorded.threads, as_recorded.numerics, machine)
        return ReplayProcess(self._conditions, ServedRun(self._source), environment, start, recorded.environment)

    async def _drive(self, process: ReplayProcess) -> None:
        assert self._app is not None  # it was given
        link, start = process.link, replace(process.start, node_config=self._app.node_config)
        is_over = is_ready = False
        until = self._patience_ends()
        while not is_over:
            match await self._heard(process.said, until):
                case AppReady(environment=now) if not is_ready:  # once the app runs, it may say what it likes
                    is_ready = True
                    self._replay.import_seconds = time.monotonic() - self._began
                    self._now = now
                    self._take_environment(0, process.recorded)
                    if others := differing_versions(process.recorded, now):
                        self._on_versions(others)
                    may_differ, changes = self._in_force.cause, self._changes_environment or self._has_gaps
                    link.hand(replace(start, may_differ=may_differ, changes_environment=changes))
                case NextEntry(call):
                    entry = self._next_entry(call)
                    if not isinstance(entry, ScriptEnd):  # the script has an end, so an app cannot go on for ever
                        until = self._patience_ends()
                    link.hand(entry)
                case value:
                    is_over = self._take(value)

    def _patience_ends(self) -> float | None:
        """When the app has to have taken its next step, in the loop's time; None if it may do what the auditor may."""
        confiner = self._conditions.confiner
        return None if confiner is None else asyncio.get_running_loop().time() + confiner.grants.patience

    async def _heard(self, said: asyncio.Queue[FromApp | str], until: float | None) -> FromApp | str:
        """What the app process says next, or why it ended."""
        try:
            async with asyncio.timeout_at(until):
                return await said.get()
        except TimeoutError:
            return "it was ended, because one step took too long; --patience SECONDS gives it more time"

    def _take(self, value: FromApp | str) -> bool:
        """Take in what the app process said, or why it ended. Returns whether the replay is over."""
        match value:
            case Compared(height=height, difference=difference):
                given = self._ahead.pop(height, None)
                if given is None or (given.number is None and difference is None):
                    self._unfinished(f"the app process compared height {height}, which it had not been given")
                    return True
                self._compared(value, given)
                return height == self._until
            case Progress():
                return False
            case Diverged(height=height) if not 0 < height <= self._height:
                self._unfinished(f"the app process differs at height {height}, which it had not been given")
            case Diverged():
                self._diverged(value)
            case Finished() | Replayed():
                left = [height for height, given in self._ahead.items() if given.number is not None]
                if left or not self._is_all_given:
                    after = f"not compared height {left[0]}" if left else f"got no further than height {self._height}"
                    self._unfinished(f"the app process said that it is done, and has {after}")
            case Halted(why):
                self._unfinished(f"the app process had to stop: {why[:_MAX_TEXT]}")
            case str(why):
                self._unfinished(f"the app process was lost: {why}")
            case _:
                self._unfinished(f"the app process said a {type(value).__name__}")
        return True

    def _compared(self, value: Compared, given: _Given) -> None:
        told = ComparedExchange(value.height, given.round, given.number, given.messages, after_gap=given.after_gap)
        if given.is_loose:
            self._replay.not_kept += 1
            return
        found = _cut(value.difference)
        if found is None:
            self._replay.exchanges += 1
            self._replay.messages += given.messages
            self._tell(told)
            return
        outcome = judged(found, given.cause, flowers_own=False)
        what = f"at height {value.height}, {found.what}{given.doubt}"
        told = replace(told, outcome=outcome, what=what, difference=found, environment=given.environment)
        self._differs(told, value.ours)

    def _diverged(self, value: Diverged) -> None:
        what = value.what[:_MAX_TEXT]
        given = self._ahead.get(value.height, _Given(self._last_round, None, 0, self._at(value.height)))
        if given.is_loose and given.number is not None:  # also if it raised: it got what nobody ever answered
            self._not_kept_from(given.number, f"the app cannot go on from what is not kept: {what}")
            return
        if value.raised:
            self._replay.app_raised = True
            hint = "" if self._conditions.confiner is None else hint_for(value.raised[:_MAX_TEXT])
            self._unfinished(f"{what}: nobody can tell if it would have done what is recorded{hint}")
            return
        if value.raised_there:
            self._unfinished(
                f"{what}: the app raised there, and here it does not. It may have met what is not recorded, such "
                "as a full disk, so nobody can tell if the server is why"
            )
            return
        found = _cut(value.difference)
        outcome, what = judged(found, given.cause, flowers_own=value.flowers_own), what + given.doubt
        told = ComparedExchange(
            value.height,
            given.round,
            given.number,
            0,
            outcome,
            what,
            found,
            value.message,
            given.environment,
            given.after_gap,
            value.content,
        )
        self._differs(told, value.ours)
        if not self._has_end:
            why = "the app could not go on from there" if outcome is Outcome.UNDECIDED else "the replay ended there"
            self._replay.not_checked = f"what follows height {value.height}: {why}"

    def _differs(self, told: ComparedExchange, ours: bytes) -> None:
        replay = self._replay
        if replay.first is None or told.outcome is Outcome.BEYOND:
            self._ours[told.height] = ours
        replay.first, replay.last = replay.first or told, told
        if told.outcome is Outcome.BEYOND:
            replay.beyond = told
        else:
            replay.undecided += 1
        if replay.widest is None or _ulps(told) > _ulps(replay.widest):
            replay.widest = told
        if told.number is None:
            replay.at_end = told
        self._tell(told)

    def _tell(self, told: ComparedExchange) -> None:
        if self._until is not None:
            return
        if told.number is not None and (row := self._scratch.row(told.number)) is not None:
            self._scratch.put_row(told.number, json.dumps({**json.loads(row), "compared": told.value()}))
        self._on_compared(told)

    def _unfinished(self, why: str) -> None:
        self._replay.unfinished = why

    # -- the script -------------------------------------------------------------------------------------------------

    def _next_entry(self, call: int) -> ScriptEntry:
        cid = next(self._records, None)
        if cid is None:
            self._is_all_given = True
            if not self._has_end:
                self._replay.not_checked = STILL_OPEN
            return ScriptEnd(call, live=False)
        record = read_record(cid, self._source)
        entry = script_entry(record, self._keys, self._source, call)
        if isinstance(record.body, NewEnvironment) and isinstance(entry, QuietEntry):
            self._take_environment(entry.head.height, read_private(record.body, Environment, self._keys))
            entry = replace(entry, may_differ=self._in_force.cause)
        if isinstance(record.body, Close) and record.body.outcome is RunOutcome.STOPPED:
            self._has_end = True
            self._replay.not_checked = STOPPED
        if isinstance(entry, CloseEntry):
            self._has_end = True
            self._is_all_given = True
            self._replay.not_checked = NO_MODEL if entry.model is None else ""
            self._ahead[entry.head.height] = _Given(self._last_round, None, 0, self._in_force, self._gaps.had_any)
        if self._is_not_kept(entry):
            return self._end_of_script(call)
        entry = self._gaps.marked(entry, may_differ=self._in_force.cause is not Cause.NOTHING)
        if isinstance(entry, DispatchEntry):
            self._dispatches += 1
            round_number = self._round_of(self._dispatches)
            if self._is_beyond(round_number):
                self._replay.not_checked = (
                    f"height {entry.head.height} and all that follows: --to-round {self._to_round} stops before the "
                    "message that shows what the app made of the last replies"
                )
                return self._end_of_script(call)
            self._last_round = self._last_round if round_number is None else round_number
            self._ahead[entry.head.height] = _Given(
                round_number, self._dispatches, len(entry.messages), self._in_force, self._gaps.had_any, entry.loose
            )
        if not isinstance(entry, ScriptEnd):
            self._height = entry.head.height
        return entry

    def _end_of_script(self, call: int) -> ScriptEnd:
        """End the script before the chain does."""
        self._records = iter(())
        self._has_end = self._is_all_given = True
        return ScriptEnd(call, live=False)

    def _is_not_kept(self, entry: ScriptEntry) -> bool:
        """Whether the replay ends before an entry, because of what is not kept by policy. Then it is noted."""
        match entry:
            case CollectEntry() if not self._can_go_on(entry):
                self._not_kept_from(self._dispatches + 1, "of replies before that, nothing is here")
                return True
            case CloseEntry() if self._gaps.is_loose:
                self._replay.not_checked = "what the app made of the last replies, which are not kept"
                self._ahead.pop(entry.head.height)
                return True
            case _:
                return False

    def _can_go_on(self, entry: CollectEntry) -> bool:
        """Whether something can stand in for each reply that is not kept: its first block, which has all but numbers,
        has to be here."""
        gone = (
            each.content for each in entry.replies if each.content is not None and self._scratch.lacks(each.content)
        )
        try:
            for content in gone:
                self._source.get(content)
        except MissingBlock:
            return False
        return True

    def _not_kept_from(self, number: int, why: str) -> None:
        """Note that the exchanges from this one on are not compared, because of what is not kept by policy."""
        self._replay.not_kept += max(0, self._exchanges - number + 1)
        self._replay.not_checked = f"exchange {number} and all that follows: {why}"

    def _take_environment(self, height: int, was: Environment | None) -> None:
        """Take in an environment of the server's, from ``height`` on."""
        if was is None or self._now is None:
            raise UnreadableRecord("in what the server went on is encrypted for others")
        self._in_force = compared_environment(height, was, self._now)
        self._replay.environments += [self._in_force][: MAX_ENVIRONMENTS - len(self._replay.environments)]

    def _at(self, height: int) -> RecordedEnvironment:
        """The environment in force at ``height``, which may be below what was handed over."""
        begun = (each for each in (self._in_force, *reversed(self._replay.environments)) if each.height <= height)
        return next(begun, self._in_force)

    def _round_of(self, number: int) -> int | None:
        """Flower's round of an exchange, as the audit noted it."""
        row = self._scratch.row(number)
        found = json.loads(row)["round"] if row else None
        return found if isinstance(found, int) else None

    def _is_beyond(self, round_number: int | None) -> bool:
        if self._to_round is None:
            return False
        reached = round_number if self._numbered else self._dispatches
        return reached is not None and reached > self._to_round


def _cut(found: Difference | None) -> Difference | None:
    """The same, with texts that can be shown."""
    if found is None:
        return None
    texts = {name: getattr(found, name)[:_MAX_TEXT] for name in ("what", "record", "unbounded")}
    return replace(found, tensor=None if found.tensor is None else found.tensor[:_MAX_TEXT], **texts)


def _ulps(told: ComparedExchange) -> float:
    return told.difference.ulps or 0.0 if told.difference else 0.0
