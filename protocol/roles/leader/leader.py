"""The server role: leads one run, records it, and collects the replies.

Every record goes the same way: build it, check it by our own chain rules, store it, write the head, and only then
announce it and answer the app. The table says which event may come when, and which part takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from functools import partial
from typing import Final

from protocol.app.calls import AppReady, Examined
from protocol.blocks.cid import CID
from protocol.chain.chain import Chain
from protocol.federation.manifest import node_id
from protocol.records.bodies import Member, Role
from protocol.roles.collecting.awaited_replies import AwaitedReplies
from protocol.roles.collecting.heard_replies import HeardReplies
from protocol.roles.collecting.late_replies import LateReplies
from protocol.roles.effects import Effect, Stop, StopCause, What
from protocol.roles.electing.leadership import Leadership
from protocol.roles.events import AppCalled, AppLost, AppsApproved, Due, Event, Started, Stopping, ToClose, ToHandOver
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.leader.app_process import AppProcess, ReplayingApp
from protocol.roles.leader.app_requests import AppRequests
from protocol.roles.leader.clients_here import ClientsHere
from protocol.roles.leader.enough_clients import EnoughClients
from protocol.roles.leader.forgotten_records import ForgottenRecords
from protocol.roles.leader.heard_acks import HeardAcks
from protocol.roles.leader.leader_states import LeaderState, Turn
from protocol.roles.leader.other_leaders import OtherLeaders
from protocol.roles.leader.own_word import OwnWord
from protocol.roles.leader.presence import Presence
from protocol.roles.leader.record_writer import RecordWriter
from protocol.roles.leader.run_plan import LeaderSettings, ResumedRun, RunPlan, WonTerm
from protocol.roles.machine import CommonParts, Machine
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.server.succession import Succession
from protocol.roles.standby.standby_plan import SignedAcks
from protocol.roles.state_table import Rule, StateTable, ignored, on, turn
from protocol.status.best_seen import BestSeen
from protocol.status.leader_status import LeaderStatus
from protocol.wire.announcements import (
    AckReady,
    Alive,
    Announcement,
    Beat,
    Bye,
    HandsOver,
    Head,
    Hello,
    PeerState,
    Proof,
    ProposalReady,
    Recall,
    Recalled,
    ReplyReady,
    WarrantReady,
    beat_interval,
    topic_all,
)
from protocol.witnesses.awaited_witnesses import AwaitedWitnesses

LONGEST_LINGER: Final = 60.0
"""Seconds that a closed run waits for its clients at most, be our engine away for how long it may."""

BEATS: Final = 2
"""Beats of the others after which a new leader knows who is here, though it misses one of each."""


class Leader:
    """The state machine of a server peer."""

    handle: Callable[[Event, float], list[Effect]]
    """As `Machine.handle`."""

    def __init__(
        self,
        author: Author,
        trusted: TrustedManifest,
        plan: RunPlan,
        settings: LeaderSettings,
        resumed: ResumedRun | None = None,
        parts: CommonParts | None = None,
        kept: MutableMapping[CID, SignedAcks] | None = None,
    ) -> None:
        """``resumed`` is a run to go on with; None begins a new one. ``parts`` are those of the role before, if the
        member had another. ``kept`` is what this peer has signed of what other servers recorded, by run."""
        run = resumed or ResumedRun(Chain(trusted.manifest.federation, author.reader), ())
        topic = topic_all(trusted.manifest.federation)
        parts = parts or CommonParts(author, trusted, Role.SERVER)
        self.machine = machine = Machine[LeaderState](parts, topic)
        self.chain = run.chain
        """Of the run that it leads; empty before that is open."""
        self._settings = settings
        offline, distrust = machine.offline, machine.equivocations.distrust

        # what it knows and writes
        presence = Presence(settings.away_after, offline)
        enough = EnoughClients(settings.min_clients, offline)
        standing = tuple(run.standing_acks())
        self._witnesses = witnesses = AwaitedWitnesses(run.chain, standing, settings.witness_timeout, offline)
        self._writer = writer = RecordWriter(run, machine)

        # whom it hears: clients, then servers
        awaited = AwaitedReplies(run.chain.open, settings, distrust, presence, witnesses, offline)
        self._clients = clients = ClientsHere(settings.known_runs, presence, awaited, writer, machine)
        best, late = BestSeen(plan.best_by, resumed=bool(run.records)), LateReplies(writer, machine)
        self._replies = replies = HeardReplies(awaited, settings.admission, best, late, writer, machine)
        self._acks = acks = HeardAcks(standing, witnesses, writer, machine)
        self.other_leaders = others = OtherLeaders(writer, machine)

        # what it has to know before it goes on, and what it goes on with
        self._forgotten = forgotten = ForgottenRecords(settings, replies, acks, writer, machine)
        self._leadership = leadership = Leadership(
            settings.remembers, clients.standbys, others.named_by_voter, writer, machine, had_standby=run.had_standby
        )
        signed: MutableMapping[CID, SignedAcks] = {} if kept is None else kept
        self._word = word = OwnWord(signed, settings.remembers, witnesses, forgotten, leadership, writer, machine)
        self._app = app = AppProcess(plan, settings, enough, forgotten, word, writer, machine)
        self._requests = AppRequests(
            settings, enough, awaited, witnesses, replies, clients, app, forgotten, leadership, word, writer, machine
        )
        status = LeaderStatus(
            plan,
            clients,
            awaited,
            witnesses,
            replies,
            enough,
            app,
            forgotten,
            leadership,
            self._requests,
            writer,
            machine,
        )

        self._to_hear: frozenset[int] = frozenset()
        """Clients to hear before a run that was closed by an earlier process of ours is left."""
        self._ending_since: float | None = None
        self._led_on_since: float | None = None
        """When we took over the run that another led; None: it was ours."""
        self._told_of_keepers = False

        # who is told of what is found
        forgotten.taken_up = self._taken_up
        others.found = self._yield
        leadership.wins(self._leads_again)
        acks.contradicted = self._stop_if_disputed
        machine.newest.left_out = self._left_out
        machine.wire(
            self._table(),
            moments=self._moments,
            said=self._said,
            present=self._present,
            distrusts=self._distrusts,
            status=status.at,
        )
        self.handle = machine.handle

    def _table(self) -> StateTable[LeaderState]:
        app, requests = self._app, self._requests
        new, preparing, leading, appending, ending, stopped = LeaderState
        always = [
            *self.machine.common(),
            on(Examined, self.machine.outbox.answered),
            on(Due, self._due),
            on(ToClose, self._close_soon),
            on(ToHandOver, self._hand_over),
            on(Stopping, self._say_bye, stopped),
            ignored(AppsApproved),
            turn(Turn.YIELDS, stopped),
        ]
        starts, closed = turn(Turn.PREPARES, preparing), turn(Turn.ENDS, ending)
        of_standby = ignored(AppReady)  # a process that is not given its run any more: another is started
        appends, resumed = turn(Turn.APPENDS, appending), turn(Turn.LEADS, leading)
        # our members knew that the run is closed before its app, which was to go on with it
        passed_over = [ignored(kind) for kind in (AppReady, AppCalled, AppLost)]
        rows: dict[LeaderState, list[Rule[LeaderState]]] = {
            new: [on(Started, self._start), starts, closed, turn(Turn.SUCCEEDS, leading)],
            preparing: [*always, on(AppReady, app.ready), on(AppLost, app.lost), appends, resumed, closed],
            leading: [
                *always,
                of_standby,
                on(AppCalled, requests.called),
                on(AppLost, app.lost),
                appends,
                starts,
                closed,
            ],
            appending: [
                *always,
                of_standby,
                on(AppCalled, requests.called),
                on(AppLost, app.lost),
                turn(Turn.APPENDED, leading),
            ],
            ending: [*always, *passed_over, turn(Turn.STOPS, stopped)],
            stopped: [],
        }
        settle = {preparing: self._prepare, leading: requests.go_on, ending: self._stop_when_heard}
        return StateTable(new, stopped, rows, settle)

    # -- time -------------------------------------------------------------------------------------------------------

    def _start(self, event: Started, now: float) -> None:
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._leadership.begin(now)
        self._forgotten.begin(now)
        if self.chain.closed:  # we were killed before all was done
            self._to_hear = frozenset(self.chain.last_look)
            self.machine.take(Turn.ENDS)
        elif self._settings.closes is not None:
            self.machine.take(Turn.PREPARES)
        elif self._witnesses.contradiction(self.machine.newest.manifest) is not None:
            self._stop_if_disputed(now)
        else:
            self._app.start()
        self.machine.announcer.say(Hello, now)

    def succeed(self, before: Machine[FollowerState], succession: Succession, now: float) -> list[Effect]:
        """Lead the run that we stood by in: begin the term that we have won, and go on with the app process there is.

        Returns the effects; everything else comes from `handle`."""

        def begin(now: float) -> None:
            self._forgotten.knows_all()
            self._requests.won(succession.won, partial(self._took_over, succession.app))
            if succession.app is not None and succession.app.asked is not None:
                self._requests.called(AppCalled(succession.app.asked), now)
            for each in succession.replies:
                self._replies.heard(each.by, each.ready, each.blocks, now)
            self.machine.take(Turn.SUCCEEDS)

        return self.machine.succeed(before, begin, now)

    def begin_after(self, before: Machine[FollowerState], now: float) -> list[Effect]:
        """Lead what we are to lead: we have listened, and nobody else does.

        Returns the effects; everything else comes from `handle`."""
        return self.machine.succeed(before, self._begin, now)

    def _took_over(self, app: ReplayingApp | None, now: float) -> None:
        chain = self.chain
        self._led_on_since = now
        self._word.took_over()
        self.machine.outbox.report(What.TOOK_OVER, run=str(chain.run), height=chain.height - 1, term=chain.term)
        self._leadership.go_on(now)
        self.machine.announcer.say(Hello, now)
        self._app.take_over(app)

    def _leads_again(self, won: WonTerm, now: float) -> None:
        """A majority has voted for us in a term that no voter has left behind."""
        self._requests.won(won, self._led_again)

    def _led_again(self, now: float) -> None:
        chain = self.chain
        self._word.took_over()
        self.machine.outbox.report(What.TOOK_OVER, run=str(chain.run), height=chain.height - 1, term=chain.term)
        self._leadership.go_on(now)
        self.machine.announcer.say(Beat, now)

    def _yield(self, now: float) -> None:
        """Another leads our run, in a higher term: nothing more is written."""
        self.machine.take(Turn.YIELDS)

    def _due(self, event: Due, now: float) -> None:
        self._forgotten.ask(now)
        self._leadership.due(now)
        self._clients.fade(now)
        if now >= self.machine.announcer.next_beat:
            self.machine.announcer.say(Beat, now)
            self._acks.keep()
        self._word.due(now)
        self._writer.announce_due(now)
        self.machine.equivocations.tell(now)

    def _moments(self) -> Iterable[float]:
        yield self.machine.announcer.next_beat
        yield from self._writer.moments()
        yield from self._forgotten.moments()
        yield from self._word.moments()
        yield from self._leadership.moments()
        if (fading := self._clients.presence.next_fading(len(self.machine.newest.manifest.members))) is not None:
            yield fading
        if self._ending_since is not None and self._acks.are_kept:
            yield self._lingers_until(self._ending_since)
        if (
            self.machine.state is LeaderState.LEADING
        ):  # while a record is on its way there is nothing to do, whatever the time
            yield from self._requests.moments()

    # -- hearing and saying -----------------------------------------------------------------------------------------

    def _said(self, announcement: Announcement, now: float) -> bool:
        """Whether it may change anything for us."""
        if self._is_overtaken(announcement):
            return False
        return self._leadership.hear(announcement, now) or self._takes(announcement, now)

    def _takes(self, announcement: Announcement, now: float) -> bool:
        """Take what is not of elections alone; whether it is for a leader."""
        by, inline = announcement.by, announcement.blocks
        match announcement.body:
            case Hello() | Beat() as body:
                self._said_that_it_is_here(by, body, now)
            case ReplyReady() as body:
                self._clients.presence.still_here(by, now)
                self._replies.heard(by, body, inline, now)
            case AckReady() as body:
                self._clients.presence.still_here(by, now)
                self._acks.heard(by, body, inline, now)
            case Proof() as body:
                self.machine.equivocations.heard(body, inline, now)
            case Bye():
                self._clients.left(by, now)
            case Recall() | Recalled() as body:
                self._forgotten.heard(by, body, now)
            case Head(position):
                return self.other_leaders.heard(by, position, inline, now)
            case Alive() | ProposalReady() | HandsOver() | WarrantReady():
                return False  # proposals are for admins' desks
        return True

    def _is_overtaken(self, said: Announcement) -> bool:
        """Whether its author has said of itself already what is newer."""
        of_itself = isinstance(said.body, Hello | Beat | Bye)
        return of_itself and not self._clients.presence.is_news(said.by, said.counter)

    def _said_that_it_is_here(self, by: bytes, body: Hello | Beat, now: float) -> None:
        if body.position is not None and body.state is PeerState.LEADING:
            self.other_leaders.heard(by, body.position, (), now)
        self._forgotten.heard_client(by, body.position, now)
        self._clients.heard(by, body, now)
        if isinstance(body, Hello):
            self.machine.announcer.beat_soon(now)
            self._word.announce_soon(now)
            self.machine.equivocations.tell_newcomer(now)

    def _present(self, kind: type[Hello] | type[Beat]) -> Hello | Beat:
        return kind(self.machine.newest.ref, PeerState.LEADING, self._writer.durable)

    def _distrusts(self, member: Member, proof: CID, now: float) -> None:
        """Its replies are not taken any more: `AwaitedReplies` sees to that, and `ClientsHere` to its being asked no
        more."""

    def _left_out(self, why: str, now: float) -> None:
        """Say in the chain who is in force from here on, and stop then; a leader that cannot write in the new epoch
        stops at once."""
        if not self.machine.newest.manifest.readable:
            self.machine.outbox.cannot_go_on(why, now, StopCause.REMOVED)

    # -- its owner ---------------------------------------------------------------------------------------------------

    def _close_soon(self, event: ToClose, now: float) -> None:
        """Close the run as soon as no record is on its way to disk. One that has not begun is not begun."""
        self._requests.to_close = event.why
        if self.chain.head is None:
            self.machine.outbox.cannot_go_on("it was stopped before it began", now, StopCause.OWNER)

    def best_standby(self) -> bytes | None:
        """The server that could go on with the run soonest: it stands by, and has confirmed the most of it. None if
        none stands by."""
        run, newest = self._leadership.run(), self.machine.newest.manifest
        if run is None:
            return None
        proof_against = self.machine.equivocations.distrust.proof_against
        could = run.electorate(newest).candidates - self._acks.contradicting
        confirm = {by for by in self._clients.servers() if self._acks.height(by) >= 0}  # it need not have beaten since
        follow = confirm.union(self._clients.standbys())
        trusted = [by for by in follow if by in could and not proof_against(newest.members.get(by))]
        return max(trusted, key=lambda by: (self._acks.height(by), by), default=None)

    def _hand_over(self, event: ToHandOver, now: float) -> None:
        """Let another server be elected. What is recorded by then is its to go on with."""
        self._leadership.handing_over.begin(event.to, now)

    def _prepare(self, now: float) -> None:
        if self._requests.to_close is None:
            self._app.prepare(now)
        else:
            self._requests.close_unfinished(now)

    def _stop_if_disputed(self, now: float) -> None:
        """Stop if another server contradicts a run that needs witnesses: no client goes on with it either. The run
        stays open: a replay of the dispute says who is wrong, and the admins see to that.

        If most servers agree against us, one of them leads on from before that record
        (`protocol.roles.following.laid_down`).
        """
        if not self.chain.closed and (why := self._why_disputed()):
            self.machine.outbox.cannot_go_on(why, now, StopCause.DISPUTE)

    def _why_disputed(self) -> str:
        """Who contradicts a run that needs witnesses, in words; empty if nobody does."""
        manifest = self.machine.newest.manifest
        if (against := self._witnesses.contradiction(manifest)) is None:
            return ""
        return (
            f"{manifest.called(against.by)} has run the app on the same replies, and came to something else than this "
            f"server recorded at height {against.height}"
        )

    # -- the end ----------------------------------------------------------------------------------------------------

    def _taken_up(self, now: float) -> None:
        """Records that we had forgotten are in the chain: the app replays up to them, and a run that they close is
        over."""
        self._leadership.go_on(now)
        if self.chain.closed:
            self._to_hear = frozenset(self.chain.last_look)
            self.machine.take(Turn.ENDS)
        elif self.machine.state is LeaderState.LEADING:
            self._app.is_lost = True

    def _stop_when_heard(self, now: float) -> None:
        """Stay until the clients have heard that the run is closed, standbys have said what they found, and keepers
        have all of it."""
        self._forgotten.may_sign(now)
        if self._ending_since is None:
            self._ending_since = now
        if now < (until := self._lingers_until(self._ending_since)):
            self._tell_of_keepers(self._ending_since, until, now)
            return
        self._acks.keep()
        if self._acks.are_kept:
            if not self._leadership.has_settled():
                self.machine.outbox.report(What.CLOSE_UNSETTLED, run=str(self.chain.run))
            self._say_bye(Stopping(), now)
            self.machine.take(Turn.STOPS)
            why = self._why_disputed()
            self.machine.outbox.emit(Stop(why, StopCause.DISPUTE) if why else Stop(""))

    def _tell_of_keepers(self, since: float, until: float, now: float) -> None:
        if self._told_of_keepers or now < since + self._settings.linger:
            return
        if keepers := self._clients.keepers_behind():
            self._told_of_keepers = True
            manifest = self.machine.newest.manifest
            names = sorted(manifest.name_of(by) for by in manifest.members if node_id(by) in keepers)
            self.machine.outbox.report(What.KEEPERS_AWAITED, whom=", ".join(names), within=until - now)

    def _lingers_until(self, since: float) -> float:
        """Until when those who have not come to the end are waited for."""
        until = since
        have_heard = self._clients.have(self._to_hear) and not self._acks.awaits(self._clients.standbys())
        if not have_heard or not self._leadership.has_settled():
            until = min(self.machine.offline.ends(since, self._settings.linger), since + LONGEST_LINGER)
        if self._clients.keepers_behind():
            until = max(until, since + self._settings.linger_for_keepers)
        if self._led_on_since is not None:  # who was not heard yet is waited for, such as the leader before us
            until = max(until, self._led_on_since + BEATS * beat_interval(len(self.machine.newest.manifest.members)))
        return until

    def _say_bye(self, event: Stopping, now: float) -> None:
        self._acks.keep()
        self.machine.say_goodbye()
