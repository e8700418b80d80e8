"""What a leader does between two records: what the chain itself is due, then what the app's Grid asks for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import isfinite

from protocol.app.calls import (
    Compared,
    Diverged,
    Ended,
    Finished,
    GetNodes,
    NextEntry,
    Nodes,
    Pull,
    Push,
    Pushed,
    PushRefused,
    Replies,
    ServerCall,
    ToApp,
    Wait,
)
from protocol.blocks.listing import pack
from protocol.federation.manifest import Manifest, why_left_out
from protocol.records.bodies import Close, Collect, Dispatch, Index, Outcome, ReasonPrivate, Role
from protocol.replies.checks_and_limits import Check
from protocol.replies.closing_rule import ClosingRule, Count
from protocol.roles.collecting.awaited_replies import AwaitedReplies, Collection
from protocol.roles.collecting.heard_replies import HeardReplies
from protocol.roles.effects import Hand, Report, StopCause, What
from protocol.roles.electing.leadership import Leadership
from protocol.roles.events import AppCalled
from protocol.roles.leader.app_process import AppProcess
from protocol.roles.leader.clients_here import ClientsHere
from protocol.roles.leader.enough_clients import EnoughClients
from protocol.roles.leader.forgotten_records import ForgottenRecords
from protocol.roles.leader.leader_states import LeaderState, Turn
from protocol.roles.leader.own_word import OwnWord
from protocol.roles.leader.record_bodies import Seen, record_messages, roots_of
from protocol.roles.leader.record_writer import RecordWriter, Then
from protocol.roles.leader.run_plan import LeaderSettings, WonTerm
from protocol.roles.machine import Machine
from protocol.witnesses.awaited_witnesses import AwaitedWitnesses


@dataclass(frozen=True, slots=True)
class ClosesEarly:
    """An exchange that the run's own rule closes early."""

    at: float | None
    """Not before this time, in seconds since 1970; None once that is over."""
    here: int
    """How many good replies are in, of those that are needed."""
    needed: int


@dataclass(slots=True)
class _Waiting:
    """The app waits for the replies to messages of its."""

    call: Wait
    since: float
    """When it began to, in this process of ours: the deadline of the exchange counts from here. It was just sent, or we
    could hear nobody before."""
    until: float | None
    """How long it waits by its own choice; None: for ever."""
    may_close: bool = False
    """Whether the deadline of the run's own rule is over, so that it waits for enough replies only."""


class AppRequests:
    """Takes the calls of the app in turn. Each is answered at once, or by one record, or when its time has come."""

    def __init__(
        self,
        settings: LeaderSettings,
        enough: EnoughClients,
        awaited_replies: AwaitedReplies,
        witnesses: AwaitedWitnesses,
        replies: HeardReplies,
        clients: ClientsHere,
        app: AppProcess,
        forgotten: ForgottenRecords,
        leadership: Leadership,
        word: OwnWord,
        writer: RecordWriter,
        machine: Machine[LeaderState],
    ) -> None:
        self._settings = settings
        self._enough = enough
        self._awaited_replies = awaited_replies
        self._witnesses = witnesses
        self._replies = replies
        self._clients = clients
        self._app = app
        self._forgotten = forgotten
        self._leadership = leadership
        self._word = word
        self._writer = writer
        self._machine = machine
        self._outbox = machine.outbox
        self._calls: deque[ServerCall] = deque()
        self._waits: list[_Waiting] = []
        self._is_held = False
        """Whether nothing is done for the app now, whatever the time, because no record may be appended."""
        self._said_unused = False
        self._said_unbounded = False
        self.to_close = settings.closes
        """Why the owner wants the run closed although its app has not ended, if that is so."""
        self._won: WonTerm | None = None
        """A term that is ours to begin."""
        self._took_over: Then = lambda _now: None

    def called(self, event: AppCalled, now: float) -> None:
        """The app asks for something."""
        if not isinstance(event.call, GetNodes):
            self._enough.did_else()
        self._calls.append(event.call)

    def won(self, won: WonTerm, then: Then) -> None:
        """A term is ours: it begins before anything else is done; ``then(now)`` runs when it has."""
        self._won, self._took_over = won, then

    def go_on(self, now: float) -> None:
        """Do what is due, until a record is on its way to disk or nothing is left to do."""
        self._leadership.settle(now)
        self._witnesses.note(now)
        self._tell_of_witnesses(now)
        may_sign, chain = self._forgotten.may_append(now), self._writer.chain
        self._is_held = not may_sign
        while may_sign and self._machine.state is LeaderState.LEADING:
            if self._won is not None:
                self._begin_term(self._won, now)
            elif self._app.is_lost and self.to_close is None:
                self._begin_again()
            elif self._has_to_wait(now):
                self._is_held = True
                break
            elif self.to_close is not None:
                self.close_unfinished(now)
            elif chain.index_due:
                self._writer.write(Index, now, records=chain.recent)
            elif self._roster_is_due:
                self._writer.write_roster(now, partial(self._rostered, chain.manifest))
            elif (call := self._next_call(now)) is not None:
                self._take(call, now)
            elif not self._answer_looks(now) and not self._finish_a_wait(now):
                break
        self._word.go_on(now)

    def _has_to_wait(self, now: float) -> bool:
        """Whether no record may be appended now. If another manifest is known, its roster comes before all else."""
        waits_with_roster = (
            self._has_newer_manifest and self.to_close is None and not self._leadership.may_bring_roster()
        )
        return waits_with_roster or not self._leadership.may_append(now)

    @property
    def _has_newer_manifest(self) -> bool:
        return self._machine.newest.manifest.version > self._writer.chain.manifest.version

    @property
    def _roster_is_due(self) -> bool:
        """Whether another manifest is to come into force, or the one in force once more: the voters before it are
        needed no more. Who leads on may not have heard of the one in force yet, but for its name in the chain."""
        newest, in_force = self._machine.newest.manifest.version, self._writer.chain.manifest.version
        return newest > in_force or (newest == in_force and self._leadership.has_settled_change())

    def _begin_term(self, won: WonTerm, now: float) -> None:
        self._won = None
        still_counts = not self._leadership.is_outvoted(won.term)  # we may have voted for another while we had to wait
        if still_counts and won.head == self._writer.chain.head:  # the votes name it
            self._writer.take_over(won.at(now), now, self._took_over)

    def _next_call(self, now: float) -> ServerCall | None:
        """The next call of the app's. As long as the disk has no room, or witnesses are away, one that sends messages
        waits; what was sent is collected meanwhile."""
        pauses = bool(self._machine.no_room) or self._witnesses.is_paused(now)
        for at, call in enumerate(self._calls):
            if not (pauses and isinstance(call, Push)):
                del self._calls[at]
                return call
        return None

    def _tell_of_witnesses(self, now: float) -> None:
        """Tell people once that the run pauses for its witnesses, and once that it goes on."""
        pauses = self._witnesses.is_paused(now)
        if pauses == self._witnesses.said_paused:
            return
        self._witnesses.said_paused = pauses
        if pauses and (lacking := self._witnesses.lacking(now)) is not None:
            name_of = self._writer.chain.manifest.name_of
            whom = ", ".join(map(name_of, lacking.silent))
            self._outbox.report(What.WITNESSES_AWAITED, whom=whom, have=lacking.have, needed=lacking.needed)
        else:
            self._outbox.report(What.WITNESSED)

    def moments(self) -> Iterator[float]:
        """When `go_on` may have something to do."""
        yield from self._witnesses.moments()
        if self._is_held:  # what became due meanwhile is done once it is not
            return
        if (until := self._enough.is_held_until()) is not None:
            yield until
        closing = self._writer.chain.closing
        for wait in self._waits:
            if wait.until is not None:
                yield wait.until
            if closing is not None and not wait.may_close:
                at = self._awaited_replies.closes_at(wait.call.messages, wait.since, closing)
                yield from (at,) if isfinite(at) else ()
            yield from self._awaited_replies.deadlines(wait.call.messages)

    # -- what the chain is due --------------------------------------------------------------------------------------

    def _begin_again(self) -> None:
        """Have a fresh app process replay the chain to its head, as after a crash of ours. Replies that came stay."""
        self._calls.clear()
        self._waits.clear()
        self._enough.begin_again()
        self._writer.seen = Seen()
        self._app.start()

    def _rostered(self, before: Manifest, now: float) -> None:
        manifest, member = self._writer.chain.manifest, self._machine.newest.author.member
        self._replies.forget_the_bad()
        if manifest.version > before.version:
            self._outbox.report(What.MANIFEST_IN_FORCE, version=manifest.version, cid=str(manifest.cid))
        if why := why_left_out(before, manifest, member, Role.SERVER):
            self._outbox.cannot_go_on(why, now, StopCause.REMOVED)

    # -- what the app asks for --------------------------------------------------------------------------------------

    def _hand(self, value: ToApp, *told: Report) -> None:
        """Answer the app, if its process is still there, and tell people."""
        self._outbox.emit(*told, *(() if self._app.is_lost else (Hand(value),)))

    def _take(self, call: ServerCall, now: float) -> None:
        chain = self._writer.chain
        match call:
            case GetNodes():
                self._enough.hold(call)
                if not self._enough.may_answer(here := self._clients.listed(), now):
                    self._outbox.report(What.WAITING_FOR_CLIENTS, here=len(here), needed=self._enough.short_of)
            case Push():
                self._push(call, now)
            case Pull():
                self._tell_of_unused_rule()
                if self._awaited_replies.nothing_for(call.messages, chain.manifest, now):
                    self._nothing_for(call)
                else:
                    self._collect(call, now)
            case Wait() if chain.open.keys().isdisjoint(call.messages):
                self._nothing_for(call)
            case Wait():
                self._waits.append(_Waiting(call, now, None if call.timeout is None else now + call.timeout))
            case NextEntry() | Compared() | Diverged():
                self._app.replays(call, now)
            case Finished():
                self._close(call, now)

    def _nothing_for(self, call: Pull | Wait) -> None:
        self._writer.seen.pulled_nothing()
        self._hand(Replies(call.call, ()))

    def _answer_looks(self, now: float) -> bool:
        """Answer the looks that are held, once there are enough clients; whether it did."""
        nodes = self._clients.listed()
        if not self._enough.may_answer(nodes, now):
            return False
        looks = self._enough.release(now)
        for look in looks:
            self._writer.seen.looked(nodes)
            self._hand(Nodes(look.call, nodes))
        if looks and self._enough.is_news(nodes, now):
            summary = self._clients.presence.summary(self._writer.chain.manifest, nodes, now)
            self._outbox.report(What.APP_WAITS_FOR_CLIENTS, **summary)
        return bool(looks)

    def _push(self, call: Push, now: float) -> None:
        chain, look = self._writer.chain, self._writer.seen.last_look
        known = {*chain.manifest.nodes_of(Role.CLIENT), *(chain.last_look if look is None else look)}
        strangers = sorted({message.node for message in call.messages} - known)
        if strangers:
            self._hand(PushRefused(call.call, f"no client member of the federation has node id {strangers[0]}"))
            return
        if self._app.renewed(call):
            return
        recorded, ids = record_messages(chain, call.messages)
        rounds = zip(ids, (message.round for message in call.messages), strict=True)
        self._replies.sent({id: number for id, number in rounds if number is not None})
        then = partial(self._pushed, Pushed(call.call, ids, now))
        self._writer.write(
            Dispatch,
            now,
            then,
            recorded.blocks,
            roots_of(call.messages),
            private=recorded.private,
            groups=recorded.listing,
        )

    def _pushed(self, answer: Pushed, now: float) -> None:
        height, head = self._writer.chain.height, str(self._writer.chain.head)
        told = Report(
            What.DISPATCHED,
            {"height": height, "head": head, "messages": len(answer.messages), "round": self._replies.round},
        )
        closing = self._writer.chain.closing
        if closing is not None and isinstance(closing.enough, Count) and closing.enough.replies > len(answer.messages):
            needed = closing.enough.replies
            self._outbox.report(What.ALL_AWAITED, needed=needed, messages=len(answer.messages))
        self._hand(answer, told)

    def _finish_a_wait(self, now: float) -> bool:
        """Collect for the first wait that has all its replies, or whose time is up; whether there was one."""
        chain = self._writer.chain
        for wait in self._waits:
            call = wait.call
            is_over = wait.until is not None and now >= wait.until
            is_over = is_over or self._awaited_replies.complete(call.messages, chain.manifest, now)
            if is_over or self._closes(wait, now):
                self._waits.remove(wait)
                if chain.open.keys().isdisjoint(call.messages):  # another thread of the app's was given them
                    self._nothing_for(call)
                else:
                    self._collect(call, now, None if is_over else chain.closing)
                return True
        return False

    def _closes(self, wait: _Waiting, now: float) -> bool:
        """Whether the exchange closes early by the run's own rule."""
        chain, call = self._writer.chain, wait.call
        if chain.closing is None:
            return False
        wait.may_close |= now >= self._awaited_replies.closes_at(call.messages, wait.since, chain.closing)
        return wait.may_close and self._awaited_replies.are_enough(
            call.messages, chain.closing, chain.in_force, now, dict(call.rules)
        )

    def closes_early(self, now: float) -> ClosesEarly | None:
        """When the exchange that the app waits for closes without the rest; None if it waits for all."""
        rule = self._writer.chain.closing
        if rule is None or not self._waits:
            return None
        wait = self._waits[0]
        at = self._awaited_replies.closes_at(wait.call.messages, wait.since, rule)
        here, needed = self._awaited_replies.count(wait.call.messages, rule)
        return ClosesEarly(None if wait.may_close or now >= at else at, here, needed)

    def _collect(self, call: Pull | Wait, now: float, closes: ClosingRule | None = None) -> None:
        got = self._awaited_replies.collect(call.messages, self._writer.chain.in_force, now, dict(call.rules), closes)
        for message, why in got.refused.items():
            self._replies.refused(message, why)
        for message, why in got.given_up.items():
            self._replies.given_up(message, why)
        self._replies.left_out(got.left_out, got.why_left_out)
        self._replies.collected(got.handed)
        self._tell_of_checks(got)
        recorded = got.answers.record()
        unanswered, more = pack(got.unanswered)
        left_out, of_left_out = pack(got.left_out)
        late, of_late = pack(self._replies.late.take())
        self._writer.write(
            Collect,
            now,
            partial(self._collected, Replies(call.call, got.handed), len(got.left_out)),
            [*recorded.blocks, *more, *of_left_out, *of_late, *got.blocks],
            private=recorded.private,
            answers=recorded.listing,
            unanswered=unanswered,
            messages_left_out=left_out,
            late_replies=late,
        )

    def _tell_of_checks(self, got: Collection) -> None:
        """Say which option is at fault, perhaps, if it refuses all; and once, if one does nothing."""
        for check, refused in got.all_failed:
            option = "--max-update-norm" if check is Check.NORM else "--admission"
            self._outbox.report(What.ALL_REFUSED, replies=refused, check=check.value, option=option)
        if got.unbounded and not self._said_unbounded:
            self._said_unbounded = True
            self._outbox.report(What.BOUND_UNUSED, bound=str(self._settings.admission.bound), why=got.unbounded)

    def _tell_of_unused_rule(self) -> None:
        """Say once if the app pulls by itself: nothing is closed for it."""
        closing = self._writer.chain.closing
        if closing is not None and not self._said_unused:
            self._said_unused = True
            self._outbox.report(What.CLOSING_UNUSED, closing=str(closing))

    def _collected(self, answer: Replies, left_out: int, now: float) -> None:
        """The messages that were ``left_out`` are told of by themselves."""
        height, head = self._writer.chain.height, str(self._writer.chain.head)
        replies = len(answer.replies) - left_out
        errors = sum(reply.code is not None for reply in answer.replies) - left_out
        told = Report(What.COLLECTED, {"height": height, "head": head, "replies": replies, "errors": errors})
        self._hand(answer, told)

    def _close(self, call: Finished, now: float) -> None:
        if self._app.renewed(call):
            return
        outcome = Outcome.RAISED if call.error else Outcome.RETURNED
        then = partial(self._closed, outcome, call.call)
        private = ReasonPrivate(reason=call.error)
        self._writer.write(Close, now, then, private=private, outcome=outcome, model=call.model)

    def close_unfinished(self, now: float) -> None:
        """Close the run, whatever its app still does, if a record may be signed now."""
        if self.to_close is not None and self._forgotten.may_append(now) and self._leadership.may_append(now):
            then = partial(self._closed, Outcome.STOPPED, None)
            private = ReasonPrivate(reason=self.to_close)
            self._writer.write(Close, now, then, private=private, outcome=Outcome.STOPPED, model=None)

    def _closed(self, outcome: Outcome, call: int | None, now: float) -> None:
        if call is not None:
            self._hand(Ended(call))
        chain = self._writer.chain
        self._outbox.report(What.RUN_CLOSED, run=str(chain.run), head=str(chain.head), outcome=outcome.value)
        self._machine.take(Turn.ENDS)
