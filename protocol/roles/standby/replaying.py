"""A standby's app process: it replays the run as that goes on, one record after the other, as they are verified.

It is what an audit does with a finished chain and a leader with its own: the app is fed what is recorded, and compares
what it does. Here the next record may not be there yet; then the app waits. After a difference that no other machine
can cause, a second process replays the run up to there, as at another time and place: what an app does not do twice on
one machine says nothing about the leader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import partial
from typing import Final

from protocol.app.calls import (
    AppReady,
    CloseEntry,
    CollectEntry,
    Compared,
    DispatchEntry,
    Diverged,
    Ended,
    Finished,
    NextEntry,
    QuietEntry,
    Replayed,
    ScriptEnd,
    Start,
    contents_named,
)
from protocol.blocks.cid import CID, Block, BlockError, MemoryBlocks, checked_block
from protocol.chain.chain import Step
from protocol.chain.replay_script import UnreadableRecord, script_entry
from protocol.federation.epochs import read_seed
from protocol.federation.run_keys import read_private
from protocol.pacing.backoff import Backoff
from protocol.records.bodies import Chained, Comparison, Dispatch, NewEnvironment, Recomputed
from protocol.records.environment import Environment
from protocol.records.signed_records import parse_record
from protocol.replay.differences import Cause, Difference, Outcome, judged
from protocol.replay.other_environments import cause_of
from protocol.roles.catch_up import CatchUp
from protocol.roles.effects import AsRecorded, FetchContent, FetchRecord, Hand, StartApp, Store, What
from protocol.roles.events import AppCalled, AppLost
from protocol.roles.following.app_approval import WantedApp
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.leader.app_process import ReplayingApp
from protocol.roles.leader.run_plan import SERVER_NODE, initial_content
from protocol.roles.machine import Machine
from protocol.roles.standby.early_contents import EarlyContents
from protocol.roles.standby.own_acks import OwnAcks, VerifiedRecord
from protocol.roles.standby.sent_contents import SentContents
from protocol.roles.standby.standby_plan import StandbyPlan
from protocol.status.role_status import Recomputation

CRASHES: Final = 3
"""How often the app process may be lost before its next entry until nobody can tell what it does."""

SIDE_BY_SIDE: Final = 8
"""Contents that are fetched at once."""

AN_EXCHANGE: Final = 2
"""Records of it: a dispatch, and a collect."""

ASKED_AGAIN: Final = 3
"""How often what cannot be had is asked for again, once the run is closed and its leader has left: whoever had it may
be gone for good, and other runs wait."""


class Stage(Enum):
    """Where the replay of the run that is followed is."""

    ABSENT = auto()
    """There is no run that we may replay, or its app is not here."""
    STARTING = auto()
    """Its seed is fetched, or its process is not ready."""
    REPLAYING = auto()
    OVER = auto()
    """The run was replayed to its end, or nobody can tell any more."""


@dataclass(frozen=True, slots=True)
class _Suspect:
    """A difference that no other machine can cause, if the app does it again."""

    height: int
    ours: bytes
    """A digest of what the app did."""
    what: str
    message: int | None
    content: CID | None
    since: int
    """The height of the first record that the word of it is about."""


@dataclass(frozen=True, slots=True)
class _Given:
    """An entry that the app was given to be compared."""

    messages: int
    cause: Cause
    """The most that this environment can change in it."""


@dataclass(slots=True)
class _InHand:
    """The entry that the app is given next, once the contents that it names are here."""

    entry: DispatchEntry | CollectEntry | QuietEntry | CloseEntry
    lacking: list[CID]
    """Not asked for yet, the next one last."""
    fetching: set[CID]


class Replaying:
    """The one process there is. `protocol.roles.following.app_approval.RunsApp`."""

    def __init__(self, plan: StandbyPlan, acks: OwnAcks, early: EarlyContents, machine: Machine[FollowerState]) -> None:
        self._plan = plan
        self._acks = acks
        self._machine, self._newest, self._outbox = machine, machine.newest, machine.outbox
        self._early, self._sent = early, SentContents(machine)
        self._app: CID | None = None
        self._stage = Stage.ABSENT
        self._wanted: WantedApp | None = None
        self._seed = b""
        self._suspect: _Suspect | None = None
        """A difference that a second process is to show again."""
        self._crashes, self._crash_at = 0, -1
        self._records: list[VerifiedRecord] = []
        """Of the run, by height."""
        self._dispatches: list[int] = []
        """The heights of its dispatches."""
        self._environments: list[int] = []
        """The heights at which the leader went on in another environment."""
        self._now: Environment | None = None
        """That of the app process."""
        self._knows_how = False
        """Whether a process of the run's app has told with what it computes: that is known once it has its imports."""
        self._may_differ = False
        """Whether what its app sends may have other CIDs than what is recorded, in this run. Then that is fetched: the
        app goes on with it, and if the leader is lost for good, nobody else may have it for those who join or audit."""
        self._retry: Backoff | None = None
        """When what could not be had is asked for again."""
        self._again: Callable[[float], None] = lambda _: None
        self._asked_again = 0
        """How often that was done in a row since the run was left."""
        self.is_left: Callable[[CatchUp], bool] = lambda _run: False
        """Whether a run is closed and its leader is not here any more. The standby sets it."""
        self._begin_afresh()
        self.told = Recomputation()
        """For people."""

    def _begin_afresh(self) -> None:
        """As a process begins that knows nothing."""
        self._next = 1  # `Start` says what the run record does
        self._asked: NextEntry | None = None
        self._reading = False
        self._in_hand: _InHand | None = None
        self._given: dict[int, _Given] = {}
        """What is not compared yet, by height: the dispatches."""
        self._compared = 0
        """The height of the last dispatch that was."""
        self._since = 1
        self._in_force = Cause.NOTHING
        """The most that this environment can change in a result of the recorded one at the newest entry given."""

    # -- its run ----------------------------------------------------------------------------------------------------

    @property
    def app(self) -> CID | None:
        """The app that it is a process of; None if there is none."""
        return self._app

    @property
    def has_its_run(self) -> bool:
        """Whether the process was given its run, though it may have been lost since."""
        return self._stage in (Stage.REPLAYING, Stage.OVER)

    @property
    def is_over(self) -> bool:
        """Whether nothing of the run is left to replay."""
        return self._stage is Stage.OVER

    @property
    def lacks_content(self) -> bool:
        """Whether the app waits for contents that are not here."""
        return self._in_hand is not None or self._sent.lack

    def begin(self) -> None:
        """Another run is followed."""
        self._sent.begin()
        self._records, self._dispatches, self._environments = [], [], []

    def stepped(self, step: Step, run: CatchUp) -> None:
        """One more record of the run is verified."""
        body, chain = step.record.body, run.chain
        assert isinstance(body, Chained)
        record = VerifiedRecord(step.record.cid, body.height, body.term, body.time, chain.manifest)
        self._records.append(record)
        self._acks.stepped(run.run, record)
        if isinstance(body, Dispatch):
            self._dispatches.append(body.height)
            if self._may_differ and not chain.closed:  # before the app's turn comes: the leader may be lost
                self._sent.fetch(each.content for each in step.opened)
        elif isinstance(body, NewEnvironment):
            self._environments.append(body.height)
            if self._stage is Stage.REPLAYING and len(self._environments) == 1:  # it has to know that from its start
                self._start_process()

    def fork(self, height: int) -> None:
        """The records above ``height`` are lost. If the app was given one of them, another process begins."""
        del self._records[height + 1 :]
        self._dispatches = [at for at in self._dispatches if at <= height]
        self._environments = [at for at in self._environments if at <= height]
        self._acks.fork(height)
        if self._suspect is not None and self._suspect.height > height:
            self._suspect = None
        if self._next > height + 1 and self._stage in (Stage.REPLAYING, Stage.OVER):
            self._retry = None
            self._start_process()
        elif self._next == height + 1:  # it may have been read already, and its contents fetched
            self._reading, self._in_hand, self._retry = False, None, None

    @property
    def newest(self) -> VerifiedRecord | None:
        """The newest record of the run."""
        return self._records[-1] if self._records else None

    def why_not_lead(self) -> str:
        """Why the run that is followed could not be led from here; empty if it could."""
        if self._stage is Stage.OVER:
            return self.told.why or "its app did something else than is recorded"
        if self._suspect is not None:
            return "its app does something else than is recorded, as it seems"
        wanted = self._wanted
        if self._stage is Stage.ABSENT or wanted is None or not self._seed or self._sent.lacks(_of_run_record(wanted)):
            return "its app, the run's seed or its initial model is not here yet"
        if not self._knows_how and wanted.run.chain.open:
            return "its app still starts, so if it computes what is recorded is not known, and a message is open"
        if self._may_differ and self._sent.lacks(each.content for each in wanted.run.chain.open.values()):
            return "its app may compute something else than is recorded, and a message that is open is not here yet"
        return ""

    @property
    def keeps_up(self) -> bool:
        """Whether its app could lead at once: it has its run, and has replayed that but for the newest exchange."""
        return self._stage is Stage.REPLAYING and len(self._records) - self._next <= AN_EXCHANGE

    @property
    def seed(self) -> bytes:
        """The run's."""
        return self._seed

    @property
    def records(self) -> tuple[VerifiedRecord, ...]:
        """Of the run, from the first on."""
        return tuple(self._records)

    def hand_over(self) -> ReplayingApp | None:
        """The process as it is, for a leader to go on with; None if it has not been given its run."""
        if self._stage is not Stage.REPLAYING or self._now is None:
            return None
        return ReplayingApp(self._next, self._asked, self._now, self._since, frozenset(self._given))

    def give(self, wanted: WantedApp) -> None:
        """Take the run whose app this is to be a process of."""
        self._wanted = wanted
        self._suspect = None
        self._knows_how = self._may_differ = False
        self._seed = b""
        self._crashes, self._crash_at, self._asked_again = 0, -1, 0
        self.told = Recomputation()
        self._sent.fetch(_of_run_record(wanted))

    def start(self, app: CID) -> None:
        """Start a process of the run's app, which is here. How it computes is in the run's record, and its seed."""
        assert self._wanted is not None
        self._app, self._stage = app, Stage.STARTING
        self._fetch_seed(self._wanted, 0.0)

    def leave(self) -> None:
        """The run is over, or another is followed: what its app does is of no interest."""
        self._wanted = self._app = self._retry = None
        self._stage = Stage.ABSENT
        self._begin_afresh()

    def _fetch_seed(self, wanted: WantedApp, now: float) -> None:
        done, failed = partial(self._seed_here, wanted), partial(self._not_here, wanted, self._fetch_seed)
        self._outbox.ask(FetchRecord, done, failed, wanted.body.seed, None)

    def _seed_here(self, wanted: WantedApp, blocks: Mapping[CID, bytes], now: float) -> None:
        if wanted is not self._wanted:
            return
        cid = wanted.body.seed
        try:
            self._seed = read_seed(Block(cid, blocks[cid]), wanted.run.chain.keys)
        except BlockError as error:
            self._cannot_tell(f"the run's seed cannot be read: {error}")
            return
        self._outbox.must(Store, lambda _: None, (checked_block(cid, blocks[cid]),), own=False)
        self._asked_again = 0
        self._start_process()

    def _not_here(self, wanted: WantedApp, again: Callable[[WantedApp, float], None], why: str, now: float) -> None:
        """What we need could not be fetched: ask for it again later, if somebody may have it then."""
        if wanted is not self._wanted:
            return
        self._outbox.report(What.FETCH_FAILED, why=why)
        if self._asked_again >= ASKED_AGAIN and self.is_left(wanted.run):
            self._cannot_tell(f"the app lacks what nobody here has, and the run's leader has left: {why}")
            return
        self._retry = self._retry or Backoff(now)
        self._retry.back_off(now)
        self._again = partial(again, wanted)

    def _start_process(self) -> None:
        assert self._app is not None
        assert self._wanted is not None
        self._begin_afresh()
        if self._suspect is None:
            self.told = Recomputation()
        self._stage = Stage.STARTING
        recorded = self._wanted.private.environment
        self._outbox.emit(StartApp(self._app, AsRecorded(self._seed, recorded.threads, recorded.numerics)))

    def ready(self, event: AppReady, now: float) -> None:
        """The process has its imports: give it its run."""
        wanted = self._wanted
        if self._stage is not Stage.STARTING or wanted is None or not self._seed:
            return  # it is of the leader that we were
        self._stage = Stage.REPLAYING
        self._now, self._knows_how = event.environment, True
        self._judges_by(cause_of(wanted.private.environment, event.environment))
        if self._may_differ:  # what was sent before we knew that the leader alone may have
            self._sent.fetch(each.content for each in wanted.run.chain.open.values())
        keys = wanted.run.chain.keys
        start = Start(
            wanted.run.run,
            SERVER_NODE,
            self._seed,
            wanted.private.config,
            self._plan.node_config,
            scripted=True,
            initial_model=initial_content(wanted.body, keys),
            key=keys.content(wanted.body.epoch),
            may_differ=self._in_force,
            changes_environment=bool(self._environments),
            any_model=self._plan.any_model,
            elsewhere=self._suspect is not None,
        )
        self._outbox.emit(Hand(start))

    def lost(self, event: AppLost, now: float) -> None:
        """Start another process; but if it is lost at one place again and again, nobody can tell what it does."""
        if self._stage not in (Stage.STARTING, Stage.REPLAYING) or not self._seed:
            return
        self._outbox.report(What.APP_LOST, why=event.why)
        self._early.begin()  # what it may have lacked is looked for again
        self._crashes = self._crashes + 1 if self._crash_at == self._next else 1
        self._crash_at = self._next
        if self._crashes >= CRASHES:
            self._cannot_tell(f"the app process was lost {self._crashes} times before height {self._next}: {event.why}")
        else:
            self._start_process()

    # -- what it is given -------------------------------------------------------------------------------------------

    def go_on(self, now: float) -> None:
        """Give the app the next record, if it waits for it, that is here, and the disk has room for what it names."""
        if self._asked is None or self._reading or self._in_hand is not None or self._retry is not None:
            return
        assert self._wanted is not None
        if self._next < len(self._records):
            if not self._machine.no_room:
                self._read(self._wanted, now)
        elif self._wanted.run.chain.closed:
            self._outbox.emit(Hand(ScriptEnd(self._asked.call, live=False)))
            self._asked = None

    def _read(self, wanted: WantedApp, now: float) -> None:
        self._reading = True
        record, asked = self._records[self._next], self._asked
        done = partial(self._record_here, wanted, asked, record.cid)
        failed = partial(self._not_here, wanted, self._read_again)
        self._outbox.ask(FetchRecord, done, failed, record.cid, Chained)

    def _read_again(self, wanted: WantedApp, now: float) -> None:
        self._reading = False
        self.go_on(now)

    def _record_here(
        self, wanted: WantedApp, asked: NextEntry | None, cid: CID, blocks: Mapping[CID, bytes], now: float
    ) -> None:
        if asked is None or asked is not self._asked or wanted is not self._wanted or self._in_hand is not None:
            return  # another process asks
        if self._next >= len(self._records) or cid != self._records[self._next].cid:
            return  # it is lost
        self._reading = False
        source = MemoryBlocks(blocks, self._newest.blocks)
        try:
            record = parse_record(Block(cid, blocks[cid]))
            entry = script_entry(record, wanted.run.chain.keys, source, asked.call)
            if isinstance(record.body, NewEnvironment) and isinstance(entry, QuietEntry):
                entry = self._take_environment(entry, read_private(record.body, Environment, wanted.run.chain.keys))
        except BlockError as error:
            self._cannot_tell(f"height {self._next} cannot be replayed: {error}")
            return
        assert not isinstance(entry, ScriptEnd)  # a record is none
        named = set(contents_named(entry))
        if isinstance(entry, DispatchEntry) and not self._may_differ:
            self._sent.fetch(named & self._needed_to_lead())
            named = set()
        named = {content for content in named if not self._early.have(content)}
        self._in_hand = _InHand(entry, sorted(named, reverse=True), set())
        self._fetch_contents(wanted, now)

    def _take_environment(self, entry: QuietEntry, was: Environment | None) -> QuietEntry:
        if was is None or self._now is None:
            raise UnreadableRecord("in what the leader went on is encrypted for others")
        self._judges_by(cause_of(was, self._now))
        return replace(entry, may_differ=self._in_force)

    def _judges_by(self, cause: Cause) -> None:
        self._in_force = cause
        self._may_differ = self._may_differ or cause is not Cause.NOTHING

    def _needed_to_lead(self) -> set[CID]:
        """The contents that nobody may have but the leader: of messages that are open, and the app as the run has it.
        We run our own copy of that, but whoever joins or audits gets it from the leader, which may be gone."""
        wanted = self._wanted
        if wanted is None or wanted.run.chain.closed:
            return set()
        return {*_of_run_record(wanted), *(each.content for each in wanted.run.chain.open.values())}

    def _fetch_contents(self, wanted: WantedApp, now: float) -> None:
        """Have what the entry names here, as a server has it, and give the entry to the app once it is."""
        if (work := self._in_hand) is None or wanted is not self._wanted:
            return
        while work.lacking and len(work.fetching) < SIDE_BY_SIDE:
            content = work.lacking.pop()
            work.fetching.add(content)
            done, failed = (
                partial(self._content_here, wanted, work, content),
                partial(self._lost, wanted, work, content),
            )
            self._outbox.ask(FetchContent, done, failed, content)
        if not work.fetching and not work.lacking:
            self._in_hand = self._asked = None
            self._asked_again = 0
            self._hand(work.entry)

    def _content_here(self, wanted: WantedApp, work: _InHand, content: CID, now: float) -> None:
        work.fetching.discard(content)
        if work is self._in_hand:
            self._fetch_contents(wanted, now)

    def _lost(self, wanted: WantedApp, work: _InHand, content: CID, why: str, now: float) -> None:
        work.fetching.discard(content)
        if work is not self._in_hand:
            return
        body = wanted.body
        is_kept = not body.keep or not (body.plan.drop_updates or wanted.run.chain.closed)
        if not is_kept and isinstance(work.entry, DispatchEntry):  # it may be what the app makes itself
            self._fetch_contents(wanted, now)
            return
        work.lacking.append(content)
        if not is_kept:
            self._cannot_tell(f"what the app is given at height {self._next} is not kept by policy: {body.plan}")
        else:
            self._not_here(wanted, self._fetch_contents, why, now)

    def _hand(self, entry: DispatchEntry | CollectEntry | QuietEntry | CloseEntry) -> None:
        if isinstance(entry, DispatchEntry):
            self._given[entry.head.height] = _Given(len(entry.messages), self._in_force)
        self._next += 1
        self._outbox.emit(Hand(entry))

    def due(self, now: float) -> None:
        """Ask again for what could not be had, if it is time."""
        if self._retry is not None and now >= self._retry.at:
            again, self._retry = self._again, None
            self._asked_again += self._wanted is not None and self.is_left(self._wanted.run)
            again(now)
        self._sent.due(self._needed_to_lead(), now)

    def moments(self) -> Iterator[float]:
        """When something is to be asked for again."""
        if self._retry is not None:
            yield self._retry.at
        yield from self._sent.moments()

    # -- what it says -----------------------------------------------------------------------------------------------

    def called(self, event: AppCalled, now: float) -> None:
        """It asks for the next record, or says how it compares."""
        if self._stage is not Stage.REPLAYING:
            return  # it is over for us, and may say so twice
        match event.call:
            case NextEntry() as asked:
                self._asked = asked
            case Compared(height=height) as said if height in self._given or self._is_the_end(height):
                self._comes(height, said)
            case Diverged(height=height) as said if 0 < height < self._next:
                self._comes(height, said)
            case Finished(call=call):
                self._outbox.emit(Hand(Ended(call)))
                self._ends()
            case Replayed():
                self._ends()
            case other:
                self._cannot_tell(f"the app process said a {type(other).__name__}, which no replay does there")

    def _is_the_end(self, height: int) -> bool:
        """Whether that is the last record, and the app has it."""
        return self._wanted is not None and self._wanted.run.chain.closed and height == len(self._records) - 1

    def _comes(self, height: int, said: Compared | Diverged) -> None:
        """The app has compared what it did with the record at ``height``."""
        given = self._given.pop(height, _Given(0, self._in_force))
        if self._suspect is not None:
            self._comes_again(self._suspect, height, said)
        elif isinstance(said, Compared) and said.difference is None:
            self._is_equal(height, given.messages)
        elif isinstance(said, Compared):
            outcome = judged(said.difference, given.cause, flowers_own=False)
            self._differs(height, outcome, said, _in_words(said.difference))
        elif said.raised or said.raised_there:
            self._cannot_tell(f"{said.what}: it may have met what is not recorded")
        else:
            outcome = judged(said.difference, given.cause, flowers_own=said.flowers_own)
            self._differs(height, outcome, said, said.what)

    def _is_equal(self, height: int, messages: int) -> None:
        self._compared = max(self._compared, height)
        self.told = replace(self.told, exchanges=self.told.exchanges + 1)
        self._outbox.report(What.RECOMPUTED, height=height, messages=messages)
        if not any(given < self._compared for given in self._given):  # an app's own threads compare in any order
            self.told = replace(self.told, height=self._compared)
            if self._compared == self._dispatches[-1]:  # otherwise the next one covers it
                self._confirm(self._compared)

    def _confirm(self, height: int) -> None:
        if height >= self._since:
            equal = Recomputed(since=self._since, comparison=Comparison.EQUAL, message=None, content=None)
            self._acks.confirm(self._records[height], equal)

    def _differs(self, height: int, outcome: Outcome, said: Compared | Diverged, what: str) -> None:
        if outcome is Outcome.BEYOND:
            message, content = (said.message, said.content) if isinstance(said, Diverged) else (None, None)
            self._suspect = _Suspect(height, said.ours, what, message, content, min(self._since, height))
            self._start_process()  # does it do that again?
        elif isinstance(said, Diverged):
            self._cannot_tell(f"{what}; this machine or its software may be why")
        else:  # the app goes on with what is recorded
            self._since, self._compared = height + 1, max(self._compared, height)
            self.told = replace(self.told, undecided=self.told.undecided + 1)
            self._outbox.report(What.NOT_TOLD, height=height, why=what)

    def _comes_again(self, suspect: _Suspect, height: int, said: Compared | Diverged) -> None:
        """The second process has compared."""
        if height < suspect.height and isinstance(said, Compared):
            return
        raised = isinstance(said, Diverged) and bool(said.raised or said.raised_there)
        if height != suspect.height or said.ours != suspect.ours or raised:
            self._cannot_tell(f"{suspect.what}; but the app does not do the same thing twice")
            return
        self._stage = Stage.OVER
        self.told = replace(self.told, contradicted=height)
        self._outbox.report(What.COMPUTED_OTHERWISE, height=height, why=suspect.what)
        if suspect.content is not None:  # it is what our word rests on
            self._outbox.ask(FetchContent, lambda _: None, self._not_pinned, suspect.content)
        found = Recomputed(
            since=suspect.since,
            comparison=Comparison.DIVERGED,
            message=suspect.message,
            content=suspect.content,
        )
        self._acks.confirm(self._records[height], found)

    def _not_pinned(self, why: str, now: float) -> None:
        self._outbox.report(What.FETCH_FAILED, why=why)

    def _ends(self) -> None:
        """The app came to the end of the script."""
        if self._suspect is not None:
            self._cannot_tell(f"{self._suspect.what}; but the app does not do the same thing twice")
        elif self._given or self._next < len(self._records) or not self._is_the_end(len(self._records) - 1):
            self._cannot_tell("the app process said that it is done, and is not")
        else:
            self._stage = Stage.OVER
            last = len(self._records) - 1
            self.told = replace(self.told, height=last if last >= self._since else self.told.height)
            self._confirm(last)

    def _cannot_tell(self, why: str) -> None:
        """Nothing more is said of the run's computing: neither that it is right, nor that it is wrong."""
        self._stage = Stage.OVER
        self._asked = self._in_hand = self._retry = None  # it is given nothing more
        self.told = replace(self.told, why=why)
        self._outbox.report(What.NOT_TOLD, height=self._next - 1, why=why)


def _of_run_record(wanted: WantedApp) -> tuple[CID, ...]:
    """The app and the initial model as the run has them: a closed run is pinned with them."""
    initial = wanted.body.initial_model
    return (wanted.bundle.content,) if initial is None else (wanted.bundle.content, initial)


def _in_words(difference: Difference | None) -> str:
    return "" if difference is None else difference.what
