"""The server role: leads one run, records it, and collects the replies.

Every record goes the same way: build it, check it by our own chain rules, store it, write the head, and only then
announce it and answer the app. `TABLE` says which event may come when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

from protocol.app.calls import (
    Compared,
    Diverged,
    Ended,
    Finished,
    Look,
    NextEntry,
    Nodes,
    Pull,
    Push,
    Pushed,
    Refused,
    Replies,
    ServerCall,
    Start,
    Wait,
)
from protocol.blocks.cid import CID
from protocol.blocks.trees import pack
from protocol.chain.chain import Chain
from protocol.chain.closure import missing
from protocol.federation.epochs import seed_block
from protocol.federation.manifest import Manifest, why_left_out
from protocol.records.bodies import (
    Chained,
    Close,
    Collect,
    Dispatch,
    Environment,
    Federation,
    Index,
    Outcome,
    ReasonPrivate,
    Role,
    Roster,
)
from protocol.replies.admission import Check
from protocol.roles.catch_up import NotedBlocks
from protocol.roles.effects import Cause, FetchRecord, StartApp, Stop, What
from protocol.roles.events import (
    AppCalled,
    AppLost,
    AppReady,
    Due,
    Started,
    Stopping,
)
from protocol.roles.leader.collecting import LeaderSettings
from protocol.roles.leader.drafts import Seen, record_messages
from protocol.roles.leader.forgotten_records import Rival, blocks_of
from protocol.roles.leader.node_polls import Looks
from protocol.roles.leader.plan import SERVER_NODE, ResumedRun, RunPlan, run_body
from protocol.roles.leader.replay import Replaying
from protocol.roles.leader.writer import LeaderState
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.waits import Awaited
from protocol.wire.announcements import Beat, Bye, Hello

CRASHES: Final = 3
"""How often the app process may be lost at one height of the chain before the run is given up."""

LONGEST_LINGER: Final = 60.0
"""Seconds that a closed run waits for its clients at most, be our engine away for how long it may."""


class Leader(Replaying):
    """The state machine of a server peer."""

    ROLE = Role.SERVER

    def __init__(
        self,
        author: Author,
        trusted: TrustedManifest,
        plan: RunPlan,
        settings: LeaderSettings,
        resumed: ResumedRun | None = None,
    ) -> None:
        """``resumed`` is a run to go on with; None begins a new one."""
        new = ResumedRun(Chain(trusted.manifest.federation, author.reader), ())
        super().__init__(author, trusted, resumed or new, settings)
        self._newest.left_out = self._left_out
        self._plan = plan
        self._crashes, self._crash_height = 0, -1
        self._calls: deque[ServerCall] = deque()
        self._waits: list[tuple[Wait, float | None]] = []
        self._ending_since: float | None = None
        self._to_hear: frozenset[int] = frozenset()
        """Clients to hear before a run that was closed by an earlier process of ours is left."""
        self._environment: Environment | None = None
        """Of an app process that is ready, and is to be given its run."""

    # -- starting ---------------------------------------------------------------------------------------------------

    def _started(self, event: Started, now: float) -> None:
        self._voice.addresses = event.addresses
        self._begin_to_listen(now)
        if self.chain.closed:  # we were killed before all was done
            self._to_hear = frozenset(self.chain.last_look)
            self._see_to_the_end(now)
        else:
            self.state = LeaderState.PREPARING
            self._outbox.emit(StartApp(self._plan.bundle.app))
        self._voice.say(Hello, now)

    def _app_ready(self, event: AppReady, now: float) -> None:
        self._environment = event.environment

    def _give_the_app_its_run(self, environment: Environment, now: float) -> None:
        self._environment = None
        if self.chain.head is None:
            self._open(environment, now)
            return
        self.state = LeaderState.LEADING
        self._script = iter(self._records)
        self._looks.expect(self.chain.last_look, now, self._settings.grace)
        self._outbox.report(What.RUN_RESUMED, run=str(self.chain.run), height=self.chain.height)
        self._start_app(scripted=True)

    def _open(self, environment: Environment, now: float) -> None:
        """Begin the run."""
        if (made := self._new_epoch(now, self._plan.model_key)) is None:
            return
        keys, blocks = made
        seed = seed_block(self._plan.seed, keys.epoch if keys else None)
        body = run_body(
            self._plan,
            environment,
            manifest=self.manifest.cid,
            seed=seed.cid,
            keys=keys,
            member=self.author.member,
            now=now,
        )
        self._append(body, [seed, *blocks, *self._manifest_as_blocks()], self._opened)

    def _opened(self, now: float) -> None:
        self._outbox.report(What.RUN_OPENED, run=str(self.chain.run), app=self._plan.name)
        self._start_app(scripted=False)

    def _start_app(self, *, scripted: bool) -> None:
        plan = self._plan
        start = Start(
            self.chain.run,
            SERVER_NODE,
            plan.seed,
            plan.config,
            plan.node_config,
            scripted=scripted,
            initial_model=plan.initial_model,
            key=self._content_key,
            any_model=not self._settings.admission.makes(Check.MODEL),
        )
        self._hand(start)

    # -- what has become possible -----------------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        self._take_up_what_was_forgotten(now)
        may_sign = self._may_sign(now)
        if self.state is LeaderState.PREPARING and self._environment is not None and may_sign:
            self._give_the_app_its_run(self._environment, now)
        while self.state is LeaderState.LEADING and may_sign:
            if self._app_is_lost:
                self._restart_app()
            elif self.chain.index_due:
                self._append_index(now)
            elif self.manifest.version > self.chain.manifest.version:
                self._append_roster(now)
            elif self._calls:
                self._take_call(self._calls.popleft(), now)
            elif not self._answer_looks(now) and not self._finish_a_wait(now):
                break
        if self.state is LeaderState.ENDING:
            self._stop_when_heard(now)
        whom = self._names_of_silent if (lacks := self._lacks(may_sign)) is Awaited.PAST else ""
        self._outbox.tell_wait(lacks, self.manifest.version, now, whom)

    def _lacks(self, may_sign: bool) -> Awaited | None:
        if self.state is LeaderState.PREPARING and self._environment is None:
            return Awaited.APP
        return None if may_sign or self.state is not LeaderState.PREPARING else Awaited.PAST

    def _take_up_what_was_forgotten(self, now: float) -> None:
        """Go after records of ours that members have and we have not, before we append any."""
        taking_up = self._taking_up
        if taking_up.is_storing or self.state not in (LeaderState.PREPARING, LeaderState.LEADING):
            return
        taking_up.manifest = self.manifest
        if steps := taking_up.steps():
            self._adopt(steps, self._taken_up)
            if self.chain.manifest.version > self.manifest.version:
                self._newest.learn(self.chain.manifest.cid, self._blocks_of_manifest(blocks_of(steps)), now)
        for cid in taking_up.wanted():
            if cid not in taking_up.fetching:
                taking_up.fetching.add(cid)
                done, failed = partial(self._forgotten_here, cid), partial(self._forgotten_lost, cid)
                self._outbox.ask(FetchRecord, done, failed, cid, Chained)

    def _forgotten_here(self, cid: CID, blocks: Mapping[CID, bytes], now: float) -> None:
        self._taking_up.fetching.discard(cid)
        try:
            self._taking_up.fetched(cid, blocks)
        except Rival as error:
            self._outbox.cannot_go_on(str(error), now, Cause.COPY)

    def _forgotten_lost(self, cid: CID, why: str, now: float) -> None:
        self._taking_up.fetching.discard(cid)
        self._taking_up.lost(cid)
        self._outbox.report(What.FETCH_FAILED, cid=str(cid), why=why)

    def _blocks_of_manifest(self, blocks: Mapping[CID, bytes]) -> dict[CID, bytes]:
        """Those of ``blocks`` that the manifest in force needs."""
        noted = NotedBlocks(blocks, self._newest.blocks)
        missing(self.chain.manifest.cid, noted, self.manifest.cid, Federation)
        return {cid: blocks[cid] for cid in noted.read if cid in blocks}

    def _taken_up(self, now: float) -> None:
        """The records are on disk: the app replays up to them, and a run that they close is over."""
        self._taking_up.is_storing = False
        self._outbox.report(What.RECALLED, run=str(self.chain.run), height=self.chain.height)
        self._mailbox.keep_if(lambda message, arrived: self._is_good(message, arrived) is None)
        if self.chain.closed:
            self._to_hear = frozenset(self.chain.last_look)
            self._see_to_the_end(now)
        elif self.state is LeaderState.LEADING:
            self._app_is_lost = True

    def _append_index(self, now: float) -> None:
        fields, blocks = self._header(now)
        self._append(Index(**fields, records=self.chain.recent), blocks, lambda _: None)

    def _append_roster(self, now: float) -> None:
        if (made := self._new_epoch(now)) is None:
            return
        keys, more = made
        fields, blocks = self._header(now)
        body = Roster(**fields, manifest=self.manifest.cid, keys=keys.record if keys else None)
        rostered = partial(self._rostered, self.chain.manifest)
        self._append(body, [*blocks, *more, *self._manifest_as_blocks()], rostered)

    def _rostered(self, before: Manifest, now: float) -> None:
        self._mailbox.keep_if(lambda message, arrived: self._is_good(message, arrived) is None)
        self._outbox.report(
            What.MANIFEST_IN_FORCE, version=self.chain.manifest.version, cid=str(self.chain.manifest.cid)
        )
        if why := why_left_out(before, self.chain.manifest, self.author.member, self.ROLE):
            self._outbox.cannot_go_on(why, now, Cause.REMOVED)

    def _left_out(self, why: str, now: float) -> None:
        """Say in the chain who is in force from here on, and stop then; who cannot write in the new epoch stops."""
        if not self.manifest.readable:
            self._outbox.cannot_go_on(why, now, Cause.REMOVED)

    # -- what the app asks for --------------------------------------------------------------------------------------

    def _app_called(self, event: AppCalled, now: float) -> None:
        if not isinstance(event.call, Look):
            self._looks.did_else()
        self._calls.append(event.call)

    def _take_call(self, call: ServerCall, now: float) -> None:
        match call:
            case Look():
                self._looks.hold(call)
                if not self._looks.may_answer(here := self._listed(), now):
                    self._outbox.report(What.WAITING_FOR_CLIENTS, here=len(here), needed=self._looks.needed)
            case Push():
                self._push(call, now)
            case Pull():
                if self._mailbox.nothing_for(call.messages, self.chain.manifest, now):
                    self._seen.pulled_nothing()
                    self._hand(Replies(call.call, ()))
                else:
                    self._collect(call, now)
            case Wait() if self.chain.open.keys().isdisjoint(call.messages):
                self._seen.pulled_nothing()
                self._hand(Replies(call.call, ()))
            case Wait():
                self._waits.append((call, None if call.timeout is None else now + call.timeout))
            case NextEntry() | Compared() | Diverged():
                self._take_replay_call(call, now)
            case Finished():
                self._close(call, now)

    def _answer_looks(self, now: float) -> bool:
        """Answer the looks that are held, once there are enough clients; whether it did."""
        nodes = self._listed()
        if not self._looks.may_answer(nodes, now):
            return False
        looks = self._looks.release(now)
        for look in looks:
            self._seen.looked(nodes)
            self._hand(Nodes(look.call, nodes))
        if looks and self._looks.is_news(nodes, now):
            self._outbox.report(What.APP_WAITS_FOR_CLIENTS, **self._presence.summary(self.chain.manifest, nodes, now))
        return bool(looks)

    def _push(self, call: Push, now: float) -> None:
        look = self._seen.last_look
        known = {*self.chain.manifest.nodes_of(Role.CLIENT), *(self.chain.last_look if look is None else look)}
        strangers = sorted({message.node for message in call.messages} - known)
        if strangers:
            self._hand(Refused(call.call, f"no client member of the federation has node id {strangers[0]}"))
            return
        if self._renewed(call):
            return
        recorded, ids = record_messages(self.chain, call.messages)
        fields, blocks = self._header(now)
        body = Dispatch(**fields, **self._private(recorded.private, Dispatch.TYPE), groups=recorded.listing)
        rounds = zip(ids, (message.round for message in call.messages), strict=True)
        self._rounds.update((id, number) for id, number in rounds if number is not None)
        self._append(body, [*blocks, *recorded.blocks], partial(self._pushed, Pushed(call.call, ids, now)))

    def _pushed(self, answer: Pushed, now: float) -> None:
        self._outbox.report(
            What.DISPATCHED, height=self.chain.height, head=str(self.chain.head), messages=len(answer.messages)
        )
        self._hand(answer)

    def _finish_a_wait(self, now: float) -> bool:
        """Collect for the first wait that has all its replies, or whose time is up; whether there was one."""
        for wait, until in self._waits:
            if self._mailbox.complete(wait.messages, self.chain.manifest, now) or (until is not None and now >= until):
                self._waits.remove((wait, until))
                if self.chain.open.keys().isdisjoint(wait.messages):  # another thread of the app's was given them
                    self._take_call(wait, now)
                else:
                    self._collect(wait, now)
                return True
        return False

    def _collect(self, call: Pull | Wait, now: float) -> None:
        got = self._mailbox.collect(call.messages, self.chain.in_force, now, dict(call.rules))
        for message, why in got.refused.items():
            self._refused(message, why)
        for message, why in got.given_up.items():
            self._outbox.report(What.MESSAGE_GIVEN_UP, **self._asked(message), why=why)
        for answered in got.handed:
            self._rounds.pop(answered.message, None)
        self._tell_of_checks(got)
        recorded = got.answers.record()
        unanswered, more = pack(got.unanswered)
        fields, blocks = self._header(now)
        private = self._private(recorded.private, Collect.TYPE)
        body = Collect(**fields, **private, answers=recorded.listing, unanswered=unanswered)
        then = partial(self._collected, Replies(call.call, got.handed))
        self._append(body, [*blocks, *recorded.blocks, *more, *got.blocks], then)

    def _collected(self, answer: Replies, now: float) -> None:
        errors = sum(reply.code is not None for reply in answer.replies)
        self._outbox.report(
            What.COLLECTED,
            height=self.chain.height,
            head=str(self.chain.head),
            replies=len(answer.replies),
            errors=errors,
        )
        self._hand(answer)

    def _close(self, call: Finished, now: float) -> None:
        if self._renewed(call):
            return
        fields, blocks = self._header(now)
        body = Close(
            **fields,
            **self._private(ReasonPrivate(reason=call.error), Close.TYPE),
            outcome=Outcome.RAISED if call.error else Outcome.RETURNED,
            model=call.model,
        )
        self._append(body, blocks, partial(self._closed, body.outcome, call.call))

    def _closed(self, outcome: Outcome, call: int, now: float) -> None:
        self._hand(Ended(call))
        self._outbox.report(What.RUN_CLOSED, run=str(self.chain.run), head=str(self.chain.head), outcome=outcome.value)
        self._see_to_the_end(now)

    def _see_to_the_end(self, now: float) -> None:
        """Stay until the clients have heard that the run is closed."""
        self.state = LeaderState.ENDING
        self._ending_since = now

    @property
    def _linger_until(self) -> float:
        assert self._ending_since is not None
        return min(self._deafness.ends(self._ending_since, self._settings.linger), self._ending_since + LONGEST_LINGER)

    def _stop_when_heard(self, now: float) -> None:
        assert self.chain.head is not None
        all_have_it = self._presence.all_have(self.chain.head, self.chain.manifest)
        heard = now >= self._linger_until or (all_have_it and self._to_hear <= set(self._listed()))
        if heard and self._keep_acks():
            self._stopping(Stopping(), now)
            self._outbox.emit(Stop(""))

    # -- time -------------------------------------------------------------------------------------------------------

    def _due(self, event: Due, now: float) -> None:
        self._ask(now)
        for node in self._presence.fade(now):
            if (member := self.manifest.member_by_node(node)) is not None:  # else it was taken out: that was said
                self._is_away(member.id, now)
        if now >= self._voice.next_beat:
            self._voice.say(Beat, now)
            self._keep_acks()
        if self._announcing and now >= self._retry.at:
            self._announce_head(now)
        self._proofs.tell(now)

    def _moments(self) -> Iterable[float]:
        if self.state in (LeaderState.NEW, LeaderState.STOPPED):
            return
        yield self._voice.next_beat
        yield from self._outbox.moments()
        yield from self._proofs.moments()
        if self._announcing:
            yield self._retry.at
        if (fading := self._presence.next_fading()) is not None:
            yield fading
        yield from self._copies.moments()
        if not self._has_recalled:
            yield self._recall_until
        if self._ending_since is not None and not self._keeping:
            yield self._linger_until
        if self.state is LeaderState.LEADING:
            yield from self._moments_of_the_app()

    def _moments_of_the_app(self) -> Iterable[float]:
        """When `_settle` may have something to do. While a record is on its way it has not, whatever the time."""
        if (until := self._looks.is_held_until()) is not None:
            yield until
        for wait, until in self._waits:
            if until is not None:
                yield until
            yield from self._mailbox.deadlines(wait.messages)

    # -- the end ----------------------------------------------------------------------------------------------------

    def _over_without_app(self, event: AppReady | AppCalled | AppLost, now: float) -> None:
        """Our members knew that the run is closed before its app, which was to go on with it."""

    def _app_lost(self, event: AppLost, now: float) -> None:
        """Start another once no record is on its way to disk; give up where it is lost here again and again."""
        self._outbox.report(What.APP_LOST, why=event.why)
        self._crashes = self._crashes + 1 if self.chain.height == self._crash_height else 1
        self._crash_height = self.chain.height
        if self._crashes >= CRASHES:
            times = f"{self._crashes} times at height {self.chain.height}"
            self._outbox.cannot_go_on(f"the app process was lost {times}: {event.why}", now, Cause.APP)
        elif self.state is LeaderState.PREPARING:
            self._outbox.emit(StartApp(self._plan.bundle.app))
        else:
            self._app_is_lost = True

    def _restart_app(self) -> None:
        """Have a fresh app process replay the chain to its head, as after a crash of ours. Replies that came stay."""
        self._app_is_lost = False
        self._environment = None
        self._calls.clear()
        self._waits, self._looks = [], Looks(self._settings.min_clients, self._deafness)
        self._seen = Seen()
        self._script = iter(())
        self.state = LeaderState.PREPARING
        self._outbox.emit(StartApp(self._plan.bundle.app))

    def _stopping(self, event: Stopping, now: float) -> None:
        self._keep_acks()
        self._voice.announce(Bye(), topic=self._voice.topic)
        self.state = LeaderState.STOPPED


_ALWAYS: Final[Mapping[type, str]] = {Due: "_due", Stopping: "_stopping"}

Leader.TABLE = {
    LeaderState.NEW: {Started: "_started"},
    LeaderState.PREPARING: {**_ALWAYS, AppReady: "_app_ready", AppLost: "_app_lost"},
    LeaderState.LEADING: {**_ALWAYS, AppCalled: "_app_called", AppLost: "_app_lost"},
    LeaderState.APPENDING: {**_ALWAYS, AppCalled: "_app_called", AppLost: "_app_lost"},
    LeaderState.ENDING: {**_ALWAYS, **dict.fromkeys((AppReady, AppCalled, AppLost), "_over_without_app")},
    LeaderState.STOPPED: {},
}
