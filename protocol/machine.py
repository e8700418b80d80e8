"""What both role state machines share: the table of transitions, effects and their answers, the manifest, announcing.

In the style of h11 (``h11/_state.py``): which event may come in which state is data, not control flow. What our own
shell may not ask for raises `IllegalEvent`; what comes from the network never does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import ClassVar, Final

from crypto.errors import BadKey
from crypto.keys import SigningKey
from protocol.announcements import (
    Announcement,
    Beat,
    Drop,
    Hello,
    ManifestRef,
    Said,
    beat_interval,
    counter_above,
    sign_announcement,
    topic_all,
)
from protocol.app_calls import Examined
from protocol.asking import subject_of
from protocol.blocks import CID, Block, BlockError, MemoryBlocks
from protocol.claims import Claims
from protocol.copies import Copies
from protocol.effects import Cause, Connect, Effect, FetchRecord, KeepManifest, Publish, Report, Stop, WakeAt, What
from protocol.equivocation import Equivocation
from protocol.events import (
    Done,
    Due,
    Event,
    Failed,
    Fetched,
    KeysChanged,
    ManifestChanged,
    Received,
    Stopping,
)
from protocol.inbox import Inbox
from protocol.manifest import MAX_AHEAD, PUBLIC, Manifest, manifest_at, why_left_out, why_unreadable
from protocol.reading import Reader
from protocol.records import Federation, Member, Role
from protocol.retry import FIRST_RETRY
from protocol.seals import Seals
from protocol.signed import Record
from protocol.telling import Awaited, Complaints, Waiting

CONNECT_AGAIN: Final = 5.0
"""Seconds until another address of a member's is called at once; others wait for the next look at who is connected."""

DEEPEST_DOUBT: Final = 3600.0
"""Seconds until a member's word of a newer manifest is looked into again, where it never was true."""

TELL_AGAIN: Final = 1.0
"""Seconds between two beats that are sealed to one member alone."""


class IllegalEvent(Exception):
    """The shell handed in an event that the machine's state does not allow: a bug of ours."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who a machine acts for. ``first_counter`` is above every counter this member ever announced with."""

    member: bytes
    keys: tuple[SigningKey, ...]
    """The newest first. Those before it are for what is judged by a manifest before the newest."""
    first_counter: int
    reader: Reader = PUBLIC
    """The member with its decryption keys."""
    session: bytes = b""
    """Random, 16 bytes, of this process alone. Empty: the member's keys are nowhere else, and never were."""

    def key_in(self, manifest: Manifest) -> SigningKey:
        """The key that ``manifest`` gives to the member; the newest, where it gives it none of these."""
        member = manifest.members.get(self.member)
        return next((key for key in self.keys if member and key.verify_key.raw == member.signing), self.keys[0])

    def has_signed(self, record: Record) -> bool:
        """Whether a record says that one of these keys signed it; see whether that is so."""
        return any(key.verify_key.raw in record.signers for key in self.keys)

    def lacks_key(self, manifest: Manifest) -> bool:
        """Whether ``manifest`` lists the member with a key that is not among these."""
        member = manifest.members.get(self.member)
        return member is not None and self.key_in(manifest).verify_key.raw != member.signing


@dataclass(frozen=True, slots=True)
class TrustedManifest:
    """A manifest and the blocks of all its versions, so that anybody can check it from version 1."""

    manifest: Manifest
    blocks: Mapping[CID, bytes] = field(repr=False)
    proofs: tuple[Equivocation, ...] = field(default=(), repr=False)
    """Whom in it not to follow, and why."""


class Machine:
    """A role state machine: ``handle`` events, get effects."""

    TABLE: ClassVar[Mapping[Enum, Mapping[type, str]]]
    """For each state the events that may come and the method that takes each."""

    ROLE: ClassVar[Role]

    state: Enum

    def __init__(self, author: Author, trusted: TrustedManifest) -> None:
        self.author = author
        self.manifest = trusted.manifest
        self._manifest_blocks = dict(trusted.blocks)
        self._seals = Seals(trusted.manifest, MemoryBlocks(self._manifest_blocks), author.reader)
        self.inbox = Inbox(trusted.manifest.federation, self._seals, author.member)
        self._copies = Copies(author.session, author.first_counter)
        self._next_beat = 0.0
        self._said_at = -math.inf
        self._told: dict[bytes, float] = {}
        """When each member that was behind, or is none any more, was last told so."""
        self._counter = author.first_counter
        self._addresses: tuple[str, ...] = ()
        self._known_addresses: dict[bytes, tuple[str, ...]] = {}
        self._connected: dict[bytes, float] = {}
        """When each member's engine was last called for what the member said."""
        self._speaker = b""
        """The member whose announcement is being handled."""
        self._complaints = Complaints()
        self._claims = Claims(1, DEEPEST_DOUBT)
        """About newer manifests."""
        self._claimed: set[CID] = set()
        """The manifests that are being fetched."""
        self._effects: list[Effect] = []
        self._last_effect = 0
        self._awaited: dict[int, tuple[Callable[..., None], Callable[[str, float], None]]] = {}
        self._wake_at: float | None = None
        self._waiting = Waiting()

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take ``event`` at ``now`` (seconds since 1970, never falling) and say what to do.

        Raises:
            IllegalEvent: where the state does not allow the event.
        """
        method = self.TABLE[self.state].get(type(event))
        if method is None:
            raise IllegalEvent(f"{type(event).__name__} in state {self.state.name}")
        if isinstance(event, Due):
            self._wake_at = None
        self._speaker = b""
        getattr(self, method)(event, now)
        self._settle(now)
        self._set_alarm(now)
        effects, self._effects = self._effects, []
        return [effect for effect in effects if self._is_worth_telling(effect, now)] if self._speaker else effects

    def _is_worth_telling(self, effect: Effect, now: float) -> bool:
        return not isinstance(effect, Report) or self._complaints.is_told(effect, self._speaker, now)

    # -- for the roles to fill --------------------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        """Do what has become possible."""
        raise NotImplementedError

    def _moments(self) -> Iterable[float]:
        """When something is due."""
        raise NotImplementedError

    def _said(self, announcement: Announcement, now: float) -> None:
        """A member's announcement, accepted by the inbox."""
        raise NotImplementedError

    def _present(self, kind: type[Hello] | type[Beat]) -> Hello | Beat:
        """What our hellos and beats say now."""
        raise NotImplementedError

    @property
    def _topic(self) -> str:
        """Where they are said."""
        raise NotImplementedError

    # -- effects and their answers ----------------------------------------------------------------------------------

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _await(self, done: Callable[..., None], failed: Callable[[str, float], None]) -> int:
        """The id of an effect about to be emitted. ``done(now)`` (``done(blocks, now)`` for a fetched record,
        ``done(found, now)`` for an examined reply) or ``failed(why, now)`` is called when it is answered."""
        self._last_effect += 1
        self._awaited[self._last_effect] = (done, failed)
        return self._last_effect

    def _answered(self, event: Done | Fetched | Examined | Failed, now: float) -> None:
        if event.effect not in self._awaited:
            raise IllegalEvent(f"{type(event).__name__} for effect {event.effect}, which waits for no answer")
        done, failed = self._awaited.pop(event.effect)
        match event:
            case Done():
                done(now)
            case Fetched():
                done(event.blocks, now)
            case Examined():
                done(event.found, now)
            case Failed():
                failed(event.why, now)

    def _cannot_go_on(self, why: str, now: float, cause: Cause = Cause.MEANS) -> None:
        """Stop. Nothing was announced of a durable step that failed, and the run stays open to be resumed."""
        self._emit(Stop(why, cause))

    def _report(self, what: What, **fields: str | int | float | None) -> None:
        self._emit(Report(what, fields))

    def _tell_wait(self, awaited: Awaited | None, now: float, whom: str = "") -> None:
        """Tell people what is waited for, once it has lasted, and ``whom`` for, where that is known; None: nothing is
        that they may have to see to."""
        if (told := self._waiting.now_for(awaited, now)) is not None:
            self._report(What.WAITING, lacking=told.value, version=self.manifest.version, whom=whom)

    def _wait_moments(self) -> Iterable[float]:
        """When `_tell_wait` may have something to tell."""
        return () if (moment := self._waiting.moment()) is None else (moment,)

    def _set_alarm(self, now: float) -> None:
        soonest = min(self._moments(), default=None)
        if soonest is not None and (soonest != self._wake_at or soonest <= now):
            self._emit(WakeAt(max(soonest, now)))
            self._wake_at = soonest

    # -- announcements ----------------------------------------------------------------------------------------------

    @property
    def _beat_interval(self) -> float:
        return beat_interval(len(self.manifest.members))

    def _announce(self, topic: str, body: Said, blocks: Iterable[Block] = ()) -> None:
        signed = self._signed(self.author.key_in(self.manifest), body, blocks)
        self._emit(Publish(topic, self._seals.seal(signed), subject_of(body)))

    def _say(self, kind: type[Hello] | type[Beat], now: float) -> None:
        """Say hello to all, or that we are here."""
        self._said_at, self._next_beat = now, now + self._beat_interval
        for number, signed in enumerate(self._signed_with_each_key(body := self._present(kind))):
            self._emit(Publish(self._topic, self._seals.seal(signed), f"{subject_of(body)} {number}"))

    def _beat_soon(self, now: float) -> None:
        """Beat out of turn, for somebody who said hello; those who come together are answered together."""
        self._next_beat = min(self._next_beat, max(now, self._said_at + FIRST_RETRY))

    def _tell_who_is_behind(self, announcement: Announcement, theirs: ManifestRef, now: float) -> None:
        """Have a member whose manifest key is older than ours hear of our manifest, in what it can open and whoever has
        left cannot."""
        if self.manifest.key_epoch is not None and theirs.version < self.manifest.key_epoch:
            self._tell_alone(self.manifest.members[announcement.by], self._present(Beat), now)

    def _tell_who_was_removed(self, data: bytes, now: float) -> None:
        """Have a stranger who was a member hear of the manifest that says so: it would wait for us for ever else. It is
        told nothing that is not said to the whole world: not of the run, nor why we refuse it."""
        former = self._seals.former_author(data, now)
        if former is not None:
            self._tell_alone(former, replace(self._present(Beat), position=None, note=""), now)

    def _tell_alone(self, member: Member, body: Hello | Beat, now: float) -> None:
        """Say to one member, or one that was, what others cannot open; not more often than is useful."""
        if now < self._told.get(member.id, -TELL_AGAIN) + TELL_AGAIN:
            return
        self._told[member.id] = now
        why = ""
        try:
            for number, signed in enumerate(self._signed_with_each_key(body)):
                subject = f"{subject_of(body)} {number} for {member.id.hex()}"
                self._emit(Publish(self._topic, self._seals.seal_for(member, signed), subject))
        except BadKey as error:
            why = str(error)
        self._report(What.MEMBER_BEHIND, name=self.manifest.name_of(member.id), why=why)

    def _signed_with_each_key(self, body: Hello | Beat) -> list[bytes]:
        """The same by each of our keys: who has an older manifest takes an older one, and hears of ours."""
        newest = self.author.key_in(self.manifest)
        return [self._signed(key, body) for key in (newest, *(key for key in self.author.keys if key is not newest))]

    def _signed(self, key: SigningKey, body: Said, blocks: Iterable[Block] = ()) -> bytes:
        announcement = Announcement(
            federation=self.manifest.federation,
            by=self.author.member,
            counter=self._counter,
            body=body,
            addresses=self._addresses,
            blocks=tuple(blocks),
        )
        self._counter += 1
        return sign_announcement(announcement, key)

    @property
    def known_addresses(self) -> tuple[str, ...]:
        """Where members have said that their engines are."""
        return tuple(address for addresses in self._known_addresses.values() for address in addresses)

    def _received(self, data: bytes, now: float) -> None:
        announcement = self.inbox.accept(data, self.manifest, now)
        if announcement is Drop.STRANGER:
            self._tell_who_was_removed(data, now)
        if announcement is Drop.REPLAYED and (newest := self.inbox.newest_of_overtaken(now)) is not None:
            self._emit(Publish(topic_all(self.manifest.federation), newest, "shown"))
        if not isinstance(announcement, Announcement):
            return
        if announcement.by == self.author.member:
            self._heard_own_key(announcement, now)
            return
        self._speaker = announcement.by
        self._heard_addresses(announcement, now)
        if isinstance(announcement.body, Hello | Beat):
            self._heard_of_manifest(announcement.by, announcement.body.manifest, now)
            self._tell_who_is_behind(announcement, announcement.body.manifest, now)
        self._said(announcement, now)

    # -- other processes with our key -------------------------------------------------------------------------------

    def _ask_for_copies(self, now: float) -> None:
        """Ask whether another process has our key, where that is due."""
        if self._copies.due(now):
            self._announce(topic_all(self.manifest.federation), self._copies.question())

    def _heard_own_key(self, announcement: Announcement, now: float) -> None:
        """Our own words come back, or those of a copy of our home; or somebody sends old ones again."""
        if self._copies.yields_to(announcement.body):
            self._cannot_go_on(
                "another peer with this identity is running: this home was copied, or its keys are in two homes",
                now,
                Cause.COPY,
            )
        elif (answer := self._copies.answer(announcement.body, now)) is not None:
            self._announce(topic_all(self.manifest.federation), answer)
        self._copies.doubt(announcement.counter, self._counter, now)
        if announcement.counter >= self._counter:  # others drop what counts lower, and would hear us no more
            self._counter = counter_above(announcement.counter)

    def _heard_addresses(self, announcement: Announcement, now: float) -> None:
        """Connect to a member's engine where it is new, but to no more than one place of a member's at a time."""
        author, addresses = announcement.by, announcement.addresses
        if not addresses or self._known_addresses.get(author) == addresses:
            return
        self._known_addresses[author] = addresses
        if now >= self._connected.get(author, -math.inf) + CONNECT_AGAIN:
            self._connected[author] = now
            self._emit(Connect(addresses))

    # -- the manifest -----------------------------------------------------------------------------------------------

    def _heard_of_manifest(self, author: bytes, newest: ManifestRef, now: float) -> None:
        """Look into what a member says is the newest manifest; a member that says what is not so has to wait, and
        keeps nobody else's from being looked into."""
        known = newest.version <= self.manifest.version or newest.cid in self._claimed
        if known or not self._claims.may_open(author, now):
            return
        self._claims.open(author)
        if newest.version - self.manifest.version > MAX_AHEAD:
            self._claims.failed(author, now)
            why = f"it is called version {newest.version}, over {MAX_AHEAD} after ours: ask an admin for a file"
            self._report(What.FETCH_FAILED, cid=str(newest.cid), why=why)
            return
        self._claimed.add(newest.cid)

        def fetched(blocks: Mapping[CID, bytes], now: float) -> None:
            self._claimed.discard(newest.cid)
            self._learn_manifest(newest.cid, blocks, now, MAX_AHEAD)
            if self.manifest.version >= newest.version:
                self._claims.held(author)
            else:
                self._claims.failed(author, now)

        def failed(why: str, now: float) -> None:
            self._claimed.discard(newest.cid)
            self._claims.failed(author, now)
            self._report(What.FETCH_FAILED, cid=str(newest.cid), why=why)

        self._emit(FetchRecord(self._await(fetched, failed), newest.cid, Federation, self.manifest.cid))

    def _manifest_changed(self, event: ManifestChanged, now: float) -> None:
        self._learn_manifest(event.cid, event.blocks, now)

    def _keys_changed(self, event: KeysChanged, now: float) -> None:
        self.author = replace(self.author, keys=event.signing)
        if self.author.reader is not PUBLIC:
            self.author.reader.learn(event.decryption)

    def _learn_manifest(self, cid: CID, blocks: Mapping[CID, bytes], now: float, most: int | None = None) -> None:
        """Adopt a newer manifest that follows from ours, ``most`` versions later at most; anything else is reported and
        left alone."""
        source = MemoryBlocks(blocks, self._manifest_blocks)
        try:
            newer = manifest_at(cid, self.manifest.federation, source, self.manifest, self.author.reader, most)
        except BlockError as error:
            self._report(What.FETCH_FAILED, cid=str(cid), why=str(error))
            return
        if newer.version <= self.manifest.version:
            return
        before, self.manifest = self.manifest, newer
        self._manifest_blocks.update(blocks)
        self._seals.learn(newer, source)
        self._emit(KeepManifest(cid, dict(blocks), newer.key))
        self._report(What.MANIFEST_IN_FORCE, version=newer.version, cid=str(cid))
        if self.author.lacks_key(newer):
            self._cannot_go_on("the manifest names newer keys of ours than are in this home", now)
        elif why := why_left_out(before, newer, self.author.member, self.ROLE):
            self._left_out(why, now)
        elif not newer.readable:
            self._cannot_go_on(why_unreadable(newer), now)

    def _left_out(self, why: str, now: float) -> None:
        """The newest manifest gives us no part in the federation, or another one."""
        self._cannot_go_on(why, now, Cause.REMOVED)


COMMON: Final[Mapping[type, str]] = {
    Received: "_take_announcement",
    Done: "_answered",
    Fetched: "_answered",
    Failed: "_answered",
    Due: "_due",
    ManifestChanged: "_manifest_changed",
    KeysChanged: "_keys_changed",
    Stopping: "_stopping",
}
"""The events that may come in every state of either role between its first and its last."""
