"""An admin has another server lead a run: it asks who is here, signs a warrant, and shows it until that server leads.

It says no hello and no beat: it takes no part in the run, and nobody is to wait for it. What members say tells it which
term the run is in and who could lead. A lie makes the warrant one that does nothing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Final

from crypto.keys import SigningKey
from protocol.blocks.cid import CID, Block
from protocol.pacing.backoff import Backoff
from protocol.records.bodies import Member, Role, Warrant
from protocol.records.signed_records import sign_record
from protocol.roles.effects import Effect, Stop, StopCause
from protocol.roles.events import Due, Event, Started, Stopping
from protocol.roles.machine import CommonParts, Machine
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.state_table import StateTable, on, turn
from protocol.status.role_status import RoleStatus
from protocol.wire.announcements import (
    Announcement,
    Beat,
    Canvass,
    Canvassed,
    Head,
    Hello,
    PeerState,
    Position,
    Refusal,
    WarrantReady,
    topic_leader,
)

ASKS_FOR: Final = 2.5
"""Seconds for which members have time to say who is here and in which term the run is: longer than a beat."""

GOOD_FOR: Final = 20.0
"""Seconds that the warrant is good for, and that the server has to be elected."""


class AppointmentState(Enum):
    """Where an appointment is."""

    NEW = auto()
    ASKING = auto()
    STOPPED = auto()


class Turn(Enum):
    """What it does by itself."""

    STOPS = "stops"


class Appointment:
    """The state machine of one command of an admin's."""

    handle: Callable[[Event, float], list[Effect]]
    """As `Machine.handle`."""

    def __init__(
        self,
        author: Author,
        trusted: TrustedManifest,
        run: CID,
        to: bytes,
        role: Role,
        admin: SigningKey,
    ) -> None:
        """``to`` is the server that is to lead; empty: one that is here and could. ``role`` is one of the admin's own
        as a member, ``admin`` the key that is listed as an admin's."""
        parts = CommonParts(author, trusted, role)
        self.machine = machine = Machine[AppointmentState](parts, topic_leader(trusted.manifest.federation))
        self._run, self._to, self._role, self._admin = run, to, role, admin
        self._outbox, self._newest, self._announcer = machine.outbox, machine.newest, machine.announcer
        self._terms: dict[bytes, int] = {}
        """In which term each member has the run."""
        self._closed: set[bytes] = set()
        """The members that say it is closed."""
        self._leaders: dict[bytes, int] = {}
        """The servers that say they lead it, and the term of each."""
        self._asks_until = 0.0
        self._warrant: Block | None = None
        self._term = 0
        """That the warrant ends."""
        self._until = 0.0
        self._retry = Backoff(0.0)
        self.leads_in: int | None = None
        """The term in which the server leads, once it does."""
        machine.wire(
            self._table(),
            moments=self._moments,
            said=self._said,
            present=self._present,
            distrusts=self._distrusts,
            status=self._status,
            of_ours=(Hello, Beat, Head),  # the server that is to lead may run in this very home
        )
        self.handle = machine.handle

    def _table(self) -> StateTable[AppointmentState]:
        new, asking, stopped = AppointmentState
        rules = [
            *self.machine.common(),
            on(Due, self._due),
            on(Stopping, self._stopping, stopped),
            turn(Turn.STOPS, stopped),
        ]
        rows = {new: [on(Started, self._start, asking)], asking: rules, stopped: []}
        return StateTable(new, stopped, rows, settle={asking: self._settle})

    @property
    def to(self) -> str:
        """The name of the server that is to lead; empty if none is chosen yet."""
        return self._newest.manifest.name_of(self._to) if self._to else ""

    # -- time -------------------------------------------------------------------------------------------------------

    def _start(self, event: Started, now: float) -> None:
        self._asks_until = now + ASKS_FOR
        self._say(now)

    def _stopping(self, event: Stopping, now: float) -> None:
        """Its owner waits no longer. Nobody has to be told."""

    def _due(self, event: Due, now: float) -> None:
        self.machine.keep_saying(now)
        if now >= self._retry.at:
            self._say(now)

    def _moments(self) -> Iterator[float]:
        yield self._retry.at
        yield self._asks_until if self._warrant is None else self._until

    def _settle(self, now: float) -> None:
        if self._warrant is None:
            if now >= self._asks_until or self._knows_enough:
                self._appoint(now)
        elif (term := self._leaders.get(self._to, 0)) > self._term:
            self.leads_in = term
            self._outbox.emit(Stop(""))
            self.machine.take(Turn.STOPS)
        elif now >= self._until:
            self._fails(f"{self._called(self._to)} was not elected within {GOOD_FOR:g} s", now)

    @property
    def _knows_enough(self) -> bool:
        """Whether the server that was named is here, and in the term of a leader that is heard."""
        return self._terms.get(self._to, 0) in self._leaders.values()

    def _say(self, now: float) -> None:
        """Ask, or show the warrant."""
        self._retry.back_off(now)
        self._retry.at = min(self._retry.at, now + 1.0)
        if self._warrant is not None:
            self._announcer.announce(WarrantReady(self._run, self._warrant.cid), (self._warrant,))
        else:
            self._announcer.announce(Canvass(Position(self._run, self._run, 0, 1), self._run, self._question))

    @property
    def _question(self) -> int:
        """The term that we ask about. No candidate has it, so that nobody is ever willing."""
        drawn = hashlib.sha256(b"pollen appointment" + self._newest.author.session + bytes(self._run)).digest()
        return int.from_bytes(drawn[:8], "big") >> 2 | 1 << 62

    # -- what comes of it -------------------------------------------------------------------------------------------

    def _appoint(self, now: float) -> None:
        """Sign a warrant for the term that most members have the run in."""
        if 2 * len(self._closed) > len(self._terms):  # one alone may say what is not so
            self._fails("the run is closed", now)
            return
        heard = Counter([*self._terms.values(), *self._leaders.values()])
        if not heard:
            self._fails("no member that is here knows the run", now)
            return
        self._term = max(heard, key=lambda term: (heard[term], term))
        leader = next((by for by, term in self._leaders.items() if term == self._term), b"")
        here = [each for each in sorted(self._terms) if each != leader and self._is_server(each)]
        self._to = self._to or next(iter(here), b"")
        if not self._to:
            self._fails("no other server is here that could lead it", now)
        elif self._to == leader:
            self._fails(f"{self._called(leader)} leads the run already", now)
        else:
            self._sign(now)

    def _sign(self, now: float) -> None:
        warrant = Warrant(
            by=self._admin.verify_key.raw,
            time=now,
            run=self._run,
            term=self._term,
            candidate=self._to,
            expires=now + GOOD_FOR,
        )
        self._warrant, self._until = sign_record(warrant, [self._admin]), now + GOOD_FOR
        self._retry = Backoff(now)
        self._say(now)

    def _fails(self, why: str, now: float) -> None:
        self._outbox.cannot_go_on(why, now, StopCause.OWNER)

    def _is_server(self, member: bytes) -> bool:
        return member in self._newest.manifest.ids_of(Role.SERVER)

    def _called(self, member: bytes) -> str:
        return self._newest.manifest.called(member)

    # -- hearing ----------------------------------------------------------------------------------------------------

    def _said(self, said: Announcement, now: float) -> bool:
        """Whether it is about the run."""
        match said.body:
            case Canvassed(to=to, run=run, refusal=refusal, position=position):
                if (to, run) != (self._newest.author.member, self._run) or position is None:
                    return False
                self._terms[said.by] = position.term
                (self._closed.add if refusal is Refusal.CLOSED else self._closed.discard)(said.by)
            case Head(position=position):
                self._leads(said.by, position)
            case Hello(position=Position() as position, state=PeerState.LEADING):
                self._leads(said.by, position)
            case Beat(position=Position() as position, state=PeerState.LEADING):
                self._leads(said.by, position)
            case Hello(position=Position() as position, state=PeerState.WORKING):
                self._follows(said.by, position)
            case Beat(position=Position() as position, state=PeerState.WORKING):
                self._follows(said.by, position)
            case _:
                return False
        return True

    def _follows(self, by: bytes, position: Position) -> None:
        if position.run == self._run and self._is_server(by):
            self._terms[by] = position.term

    def _leads(self, by: bytes, position: Position) -> None:
        if position.run == self._run and self._is_server(by):
            self._leaders[by] = position.term

    def _present(self, kind: type[Hello] | type[Beat]) -> Hello | Beat:
        return kind(self._newest.ref, PeerState.IDLE)

    def _distrusts(self, member: Member, proof: CID, now: float) -> None:
        """Who has equivocated gets nobody's vote."""

    def _status(self, now: float) -> RoleStatus:
        return RoleStatus(self._role, self.machine.state.name.lower(), None, (), ())
