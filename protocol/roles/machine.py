"""What all roles hold: the parts that each of them has, and what drives them by the role's table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import partial
from typing import Any, Final, Generic

from protocol.app.calls import Failed
from protocol.blocks.cid import CID
from protocol.pacing.at_most_every import AtMostEvery
from protocol.records.bodies import Member, Role
from protocol.roles.acting import Acting
from protocol.roles.announcer import Announcer
from protocol.roles.copied_homes import CopiedHomes
from protocol.roles.effects import Connect, Effect, Publish, StopCause, WakeAt, What
from protocol.roles.equivocations import Equivocations
from protocol.roles.events import (
    Done,
    Due,
    EngineAnswered,
    Event,
    Fetched,
    KeysChanged,
    ManifestChanged,
    Received,
    RoomChanged,
    Started,
)
from protocol.roles.newest_manifest import Author, NewestManifest, TrustedManifest
from protocol.roles.offline_times import OfflineTimes
from protocol.roles.outbox import Outbox, Post
from protocol.roles.state_table import IllegalEvent, Rule, S, StateTable, on
from protocol.status.role_status import RoleStatus
from protocol.wire.announcements import (
    Announcement,
    Beat,
    Bye,
    Drop,
    Hello,
    ProposalReady,
    Said,
    WarrantReady,
    topic_all,
)
from protocol.wire.inbox import Inbox

CONNECT_AGAIN: Final = 5.0
"""Seconds until another address of a member's is called at once; others wait for the next look at who is connected."""


class CommonParts:
    """What a member has in a federation whatever it does there, and keeps when that is something else."""

    def __init__(self, author: Author, trusted: TrustedManifest, role: Role) -> None:
        self.post = Post()
        self.outbox = outbox = Outbox(self.post)
        self.newest = NewestManifest(author, trusted, role, outbox)
        self.offline = OfflineTimes()
        self.copies = CopiedHomes(author.session, author.first_counter, self.offline)
        self.acting = author.acting or Acting(author.first_counter)
        """What it shares with other machines of its author."""
        self.announcer = Announcer(self.newest, self.copies, outbox, self.acting)
        self.equivocations = Equivocations(trusted.proofs, self.newest, self.announcer, outbox)
        self.inbox = Inbox(trusted.manifest.federation, self.newest.seals, author.member)
        self.addresses: dict[bytes, tuple[str, ...]] = {}
        """Where each member has said that its engine is."""
        self.may_connect = AtMostEvery(CONNECT_AGAIN)
        """To each member's engine, for what the member said."""
        self.wake_at: float | None = None
        self.no_room = ""
        """Why no other exchange may begin here; empty if one may. What has begun goes on."""


class Machine(Generic[S]):
    """`handle` events, get effects. The state is assigned here alone, as the table says."""

    state: S
    table: StateTable[S]
    status: Callable[[float], RoleStatus]
    """What people see of the role at a moment, in seconds since 1970."""
    _own_moments: Callable[[], Iterable[float]]
    _said: Callable[[Announcement, float], bool]
    _of_ours: tuple[type[Said], ...]

    def __init__(self, parts: CommonParts, topic: str) -> None:
        """``topic`` is where the role says that it is here."""
        self.parts = parts
        self.outbox = Outbox(parts.post)
        """For the parts of this role alone."""
        parts.post.on_stop = self._stop
        parts.announcer.topic, parts.announcer.beats_every = topic, math.inf
        parts.newest.left_out = partial(parts.outbox.cannot_go_on, cause=StopCause.REMOVED)
        self.newest, self.offline, self.copies = parts.newest, parts.offline, parts.copies
        self.acting, self.announcer = parts.acting, parts.announcer
        self.equivocations, self.inbox = parts.equivocations, parts.inbox
        self._unchanged = False
        """Whether the event being handled changes nothing for the role."""

    @property
    def no_room(self) -> str:
        """As `CommonParts.no_room`."""
        return self.parts.no_room

    def wire(
        self,
        table: StateTable[S],
        *,
        moments: Callable[[], Iterable[float]],
        said: Callable[[Announcement, float], bool],
        present: Callable[[type[Hello] | type[Beat]], Hello | Beat],
        distrusts: Callable[[Member, CID, float], None],
        status: Callable[[float], RoleStatus],
        of_ours: tuple[type[Said], ...] = (WarrantReady,),
    ) -> None:
        """Take what the role does.

        Args:
            table: Its table.
            moments: When something of its own parts is due.
            said: Takes a member's announcement that the inbox accepted; whether it may change anything for the role.
            present: What our hellos and beats say now.
            distrusts: Called when a member is not to be followed from now on, with the proof.
            status: What people see of the role. It changes nothing.
            of_ours: What it hears of other machines of its own member, too. A warrant is an admin's word, whoever
                shows it.
        """
        self.table, self.state = table, table.first
        self._own_moments, self._said, self.status, self._of_ours = moments, said, status, of_ours
        self.announcer.present, self.equivocations.distrusts = present, distrusts

    def common(self) -> list[Rule[Any]]:
        """The rules that all roles have between their first state and their last."""
        return [
            on(Received, self.hear),
            on(EngineAnswered, self.offline.answered),
            on(Done, self.outbox.answered),
            on(Fetched, self.outbox.answered),
            on(Failed, self.outbox.answered),
            on(ManifestChanged, self.newest.change),
            on(KeysChanged, self.newest.change_keys),
            on(RoomChanged, self._room_changed),
        ]

    def _room_changed(self, event: RoomChanged, now: float) -> None:
        if event.why and not self.no_room:
            self.outbox.report(What.PAUSED, why=event.why)
        elif self.no_room and not event.why:
            self.outbox.report(What.UNPAUSED)
        self.parts.no_room = event.why

    # -- driving ----------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take ``event`` at ``now`` (seconds since 1970, never falling) and say what to do.

        Raises:
            IllegalEvent: the state does not allow the event.
        """
        rule = self._rule(type(event))
        if isinstance(event, Started):
            self.announcer.addresses = event.addresses
            self.copies.begin(now)
        if isinstance(event, Due):
            self.parts.wake_at = None
        self.offline.comes_to(now)
        self._unchanged = False
        if rule.do is not None:
            rule.do(event, now)
        self.state = rule.to or self.state
        if isinstance(event, Started):
            self.acting.come(self)
        if not self._unchanged:  # else what is possible and what is due are as before: most that is heard is for others
            self._settle(now)
            self._set_alarm(now)
        if self.state is self.table.last:
            self.acting.leave(self)
        return self.outbox.take(now)

    def succeed(self, before: Machine[Any], begin: Callable[[float], None], now: float) -> list[Effect]:
        """Go on in the place of another machine with the same parts, whose role is over: ``begin(now)`` comes first."""
        before.outbox.lay_down()
        self.acting.come(self)
        self.acting.leave(before)
        begin(now)
        self._settle(now)
        self.parts.wake_at = None
        self._set_alarm(now)
        return self.outbox.take(now)

    def _settle(self, now: float) -> None:
        done = None
        while (settle := self.table.settle.get(self.state)) is not None and settle != done:
            settle(now)
            done = settle

    def take(self, turn: Enum) -> None:
        """The role takes a turn by itself."""
        self.state = self._rule(turn).to or self.state

    def _rule(self, on: type | Enum) -> Rule[S]:
        rule = self.table.rows[self.state].get(on)
        if rule is None:
            raise IllegalEvent(f"{on.name if isinstance(on, Enum) else on.__name__} in state {self.state.name}")
        return rule

    def _stop(self) -> None:
        self.state = self.table.last

    def keep_saying(self, now: float) -> None:
        """Ask whether another process has our key, and announce proofs, if it is time."""
        self.announcer.ask_for_copies(now)
        self.equivocations.tell(now)

    def _set_alarm(self, now: float) -> None:
        soonest = min(self.moments(), default=None)
        if soonest is not None and (soonest != self.parts.wake_at or soonest <= now):
            self.outbox.emit(WakeAt(max(soonest, now)))
            self.parts.wake_at = soonest

    def moments(self) -> Iterator[float]:
        """When something is due that the role or a part of all roles does."""
        if self.state in (self.table.first, self.table.last):
            return
        yield from self.outbox.moments()
        yield from self.equivocations.moments()
        yield from self.copies.moments()
        yield from self._own_moments()

    def say_goodbye(self) -> None:
        """Say that the member leaves, unless another machine still acts for it."""
        if self.acting.is_alone(self):
            self.announcer.announce(Bye(), topic=self.announcer.topic)

    # -- hearing ----------------------------------------------------------------------------------------------------

    @property
    def known_addresses(self) -> tuple[str, ...]:
        """Where members have said that their engines are."""
        return tuple(address for addresses in self.parts.addresses.values() for address in addresses)

    def hear(self, event: Received, now: float) -> None:
        """Take an announcement: what it says of addresses and of the manifest, then what concerns the role."""
        manifest = self.newest.manifest
        said = self.inbox.accept(event.data, manifest, now)
        if said is Drop.STRANGER:
            self.announcer.tell_if_removed(event.data, now)
        if said is Drop.REPLAYED and (newest := self.inbox.newest_of_overtaken(now)) is not None:
            self.outbox.emit(Publish(topic_all(manifest.federation), newest, "shown"))
        if not isinstance(said, Announcement):
            self._unchanged = True
            return
        if said.by == self.newest.author.member:
            self._unchanged = not self.announcer.heard_own_key(said, now)
            if not isinstance(said.body, self._of_ours):
                return
        else:
            self._hear_of(said, now)
        self.parts.post.speaker = said.by
        self._unchanged = not self._said(said, now)

    def _hear_of(self, said: Announcement, now: float) -> None:
        """Take what a member says of itself."""
        self._connect(said.by, said.addresses, now)
        if isinstance(said.body, Hello | Beat | ProposalReady):
            self.newest.heard_of(said.by, said.body.manifest, now)
            self.announcer.tell_if_behind(said.by, said.body.manifest, now)

    def _connect(self, to: bytes, addresses: tuple[str, ...], now: float) -> None:
        """Connect to a member's engine at a new address, but to no more than one place of a member's at a time."""
        if not addresses or self.parts.addresses.get(to) == addresses:
            return
        self.parts.addresses[to] = addresses
        if self.parts.may_connect.take(to, now):
            self.outbox.emit(Connect(addresses))
