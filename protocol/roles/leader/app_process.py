"""A leader's app process: started, given its run, made to replay what is recorded, and started again if it is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from protocol.app.calls import (
    AppReady,
    CollectEntry,
    Compared,
    DispatchEntry,
    Diverged,
    Finished,
    NextEntry,
    Push,
    QuietEntry,
    Renewed,
    ScriptEnd,
    ScriptEntry,
    Start,
    ToApp,
    contents_named,
)
from protocol.blocks.cid import CID, Block, MemoryBlocks
from protocol.chain.replay_script import script_entry
from protocol.federation.epochs import seed_block
from protocol.federation.run_keys import read_private
from protocol.records.bodies import Chained, NewEnvironment
from protocol.records.environment import Environment, differing
from protocol.records.signed_records import parse_record
from protocol.replay.differences import Cause
from protocol.replay.other_environments import cause_of
from protocol.replies.checks_and_limits import Check
from protocol.roles.effects import FetchContent, FetchRecord, Hand, StartApp, StopCause, What
from protocol.roles.events import AppLost
from protocol.roles.leader.enough_clients import EnoughClients
from protocol.roles.leader.forgotten_records import ForgottenRecords
from protocol.roles.leader.leader_states import LeaderState, Turn
from protocol.roles.leader.own_word import OwnWord
from protocol.roles.leader.record_writer import RecordWriter
from protocol.roles.leader.run_plan import SERVER_NODE, LeaderSettings, RunPlan, run_body
from protocol.roles.machine import Machine
from protocol.roles.waiting import Awaited

CRASHES: Final = 3
"""How often the app process may be lost at one height of the chain before the run is given up."""


@dataclass(frozen=True, slots=True)
class ReplayingApp:
    """A process that has replayed a run while another server led it."""

    next: int
    """The height of the first record that it was not given."""
    asked: NextEntry | None
    """With what it asks for that, if it does already."""
    environment: Environment
    since: int
    """The height of the record since which it has done what is recorded, as far as it has compared that."""
    given: frozenset[int]
    """The heights of the dispatches that it was given and has not compared."""


class AppProcess:
    """The app process, one after another if need be."""

    def __init__(
        self,
        plan: RunPlan,
        settings: LeaderSettings,
        enough: EnoughClients,
        forgotten: ForgottenRecords,
        word: OwnWord,
        writer: RecordWriter,
        machine: Machine[LeaderState],
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._enough = enough
        self._forgotten = forgotten
        self._word = word
        self._writer = writer
        self._machine = machine
        self._outbox = machine.outbox
        self._environment: Environment | None = None
        """Of a process that is ready, and is to be given its run."""
        self._new_environment: Environment | None = None
        """That of a process that replays, if the chain is to say so once that is done."""
        self._script: Iterator[CID] = iter(())
        """The records that the process has not replayed yet."""
        self._now: Environment | None = None
        """That of a process that was given its run."""
        self.is_lost = False
        """Whether it is to be started again once no record is on its way to disk."""
        self._crashes, self._crash_height = 0, -1

    # -- its process ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start a process that knows nothing."""
        self._environment, self._new_environment, self._script, self.is_lost = None, None, iter(()), False
        self._word.begins()
        self._machine.take(Turn.PREPARES)
        self._outbox.emit(StartApp(self._plan.bundle.app, self._plan.as_recorded))

    def take_over(self, app: ReplayingApp | None) -> None:
        """Go on with a process that replays already; without one, start one."""
        if self.is_lost:
            return  # and started again
        if app is None:
            self.start()
            return
        self._script = iter(self._writer.records[app.next :])
        self._word.begins(app.next, app.since, app.given)
        self._is_now(app.environment)

    @property
    def is_ready(self) -> bool:
        """Whether a process that has its imports waits for its run."""
        return self._environment is not None

    def ready(self, event: AppReady, now: float) -> None:
        """It has its imports."""
        self._environment = event.environment

    def lost(self, event: AppLost, now: float) -> None:
        """Start another once no record is on its way to disk; give up if it is lost here again and again."""
        self._outbox.report(What.APP_LOST, why=event.why)
        height = self._writer.chain.height
        self._crashes = self._crashes + 1 if height == self._crash_height else 1
        self._crash_height = height
        if self._crashes >= CRASHES:
            why = f"the app process was lost {self._crashes} times at height {height}: {event.why}"
            self._outbox.cannot_go_on(why, now, StopCause.APP)
        elif self._machine.state is LeaderState.PREPARING:
            self._environment = None
            self._outbox.emit(StartApp(self._plan.bundle.app, self._plan.as_recorded))
        else:
            self.is_lost = True

    def prepare(self, now: float) -> None:
        """Give the process its run, once it is ready and we may sign."""
        may_sign = self._forgotten.may_append(now)
        lacks, whom = None, ""
        if self._environment is None:
            lacks = Awaited.APP
        elif may_sign:
            self._give_it_its_run(self._environment, now)
        else:
            lacks, whom = Awaited.PAST, ", ".join(self._forgotten.names_of_silent)
        self._outbox.tell_wait(lacks, self._machine.newest.manifest.version, now, whom)

    def _give_it_its_run(self, environment: Environment, now: float) -> None:
        self._environment = None
        chain = self._writer.chain
        if chain.head is None:
            self._open(environment, now)
            return
        self._machine.take(Turn.LEADS)
        self._script = iter(self._writer.records)
        self._enough.expect(chain.last_look, now, self._settings.grace)
        self._outbox.report(What.RUN_RESUMED, run=str(chain.run), height=chain.height, app=self._plan.name)
        self._is_now(environment)
        self._begin(environment, scripted=True)

    def _is_now(self, environment: Environment) -> None:
        """The chain is to say so, if the environment is another than the one before."""
        self._now = environment
        chain = self._writer.chain
        was = chain.environment
        if was is not None and was != environment and cause_of(was, environment) is not Cause.NOTHING:
            self._new_environment = environment
            pairs = differing(was, environment).items()
            why = ", ".join(f"{name} was {before!r} and is {now!r}" for name, (before, now) in pairs)
            self._outbox.report(What.ENVIRONMENT_CHANGED, run=str(chain.run), why=why)

    def _open(self, environment: Environment, now: float) -> None:
        """Begin the run."""
        if (made := self._writer.new_epoch(now, self._plan.model_key)) is None:
            return
        keys, blocks = made
        newest = self._machine.newest
        seed = seed_block(self._plan.seed, keys.epoch if keys else None)
        body = run_body(
            self._plan,
            environment,
            manifest=newest.manifest.cid,
            seed=seed.cid,
            keys=keys,
            member=newest.author.member,
            now=now,
        )
        self._writer.append(body, [seed, *blocks, *self._writer.manifest_blocks()], partial(self._opened, environment))

    def _opened(self, environment: Environment, now: float) -> None:
        run, app = str(self._writer.chain.run), self._plan.name
        keep, numerics = self._plan.keep.text_if_any, environment.numerics.value
        closing = "" if self._plan.closing is None else self._plan.closing.in_words()
        self._outbox.report(What.RUN_OPENED, run=run, app=app, numerics=numerics, keep=keep, closing=closing)
        self._begin(environment, scripted=False)

    def _begin(self, environment: Environment, *, scripted: bool) -> None:
        plan, began, chain = self._plan, self._plan.began_in, self._writer.chain
        self._now = environment
        start = Start(
            self._writer.chain.run,
            SERVER_NODE,
            plan.seed,
            plan.config,
            plan.node_config,
            scripted=scripted,
            initial_model=plan.initial_model,
            key=self._writer.content_key,
            any_model=not self._settings.admission.makes(Check.MODEL),
            may_differ=Cause.NOTHING if began is None else cause_of(began, environment),
            changes_environment=chain.environments > 1,
        )
        self.hand(start)

    def hand(self, value: ToApp) -> None:
        """Hand the process something, if there is one: the next one asks for it again."""
        if not self.is_lost:
            self._outbox.emit(Hand(value))

    def renewed(self, call: Push | Finished) -> bool:
        """Have the app write again what it wrote in an epoch that is over; whether that is so."""
        key = self._writer.content_key
        if key is None or key.epoch == call.epoch:
            return False
        self.hand(Renewed(call.call, key))
        return True

    # -- replaying --------------------------------------------------------------------------------------------------

    def replays(self, call: NextEntry | Compared | Diverged, now: float) -> None:
        """A process that replays asks for the next entry of the script, or says how its own answer compares."""
        match call:
            case NextEntry():
                self._next_entry(call, now)
            case Compared():
                self._word.compared(call.height, is_equal=call.difference is None)
                self._outbox.report(What.REPLAYED, height=call.height, messages=call.messages)
            case Diverged():
                self._outbox.report(What.DIVERGED, height=call.height, why=call.what)
                self._outbox.cannot_go_on(
                    f"the app does not replay to its own chain: {call.what}", now, StopCause.REPLAY
                )

    def _next_entry(self, call: NextEntry, now: float) -> None:
        """Hand the replaying app what the next record says, or let it go live."""
        cid = next(self._script, None)
        if cid is None and self._new_environment is not None:
            new, self._new_environment = self._new_environment, None
            self._writer.write(NewEnvironment, now, partial(self._go_live, call.call), private=new)
        elif cid is None:
            self._go_live(call.call, now)
        else:
            self._outbox.must(FetchRecord, partial(self._entry_here, cid, call.call, self._script), cid, Chained)

    def _go_live(self, call: int, now: float) -> None:
        self._enough.expect(self._writer.chain.last_look, now, self._settings.grace)
        self.hand(ScriptEnd(call, live=True, key=self._writer.content_key))

    def _entry_here(self, cid: CID, call: int, script: Iterator[CID], blocks: Mapping[CID, bytes], now: float) -> None:
        if script is not self._script:  # an app process asked that has been lost since
            return
        record, source = parse_record(Block(cid, blocks[cid])), MemoryBlocks(blocks, self._machine.newest.blocks)
        entry = script_entry(record, self._writer.chain.keys, source, call)
        assert isinstance(record.body, Chained)
        self._word.given(record.body.height, compares=isinstance(entry, DispatchEntry))
        if self._plan.began_in is None:
            self.hand(entry)
            return
        if isinstance(entry, QuietEntry) and isinstance(record.body, NewEnvironment):
            was = read_private(record.body, Environment, self._writer.chain.keys)
            entry = entry if was is None or self._now is None else replace(entry, may_differ=cause_of(was, self._now))
        # what another server was handed, or sent, may not be here; the app makes what it sends, if it computes alike
        is_wanted = isinstance(entry, CollectEntry) or (isinstance(entry, DispatchEntry) and self._may_differ)
        self._hand_with(entry, set(contents_named(entry)) if is_wanted else set(), script, now)

    def _hand_with(self, entry: ScriptEntry, lacking: set[CID], script: Iterator[CID], now: float) -> None:
        """Hand over an entry once the contents that it names are here. Without what another server sent, the app can be
        tried all the same: it may make just that."""
        if not lacking and script is self._script:
            self.hand(entry)

        def here(content: CID, _: float) -> None:
            lacking.discard(content)
            if not lacking and script is self._script:
                self.hand(entry)

        def lost(content: CID, why: str, now: float) -> None:
            self._outbox.report(What.FETCH_FAILED, why=why)
            here(content, now)

        for content in sorted(lacking):
            if isinstance(entry, DispatchEntry):
                self._outbox.ask(FetchContent, partial(here, content), partial(lost, content), content)
            else:
                self._outbox.must(FetchContent, partial(here, content), content)

    @property
    def _may_differ(self) -> bool:
        """Whether what the app sends here may have other CIDs than what is recorded."""
        began, now = self._plan.began_in, self._now
        if began is None or now is None:
            return False
        return self._writer.chain.environments > 1 or cause_of(began, now) is not Cause.NOTHING
