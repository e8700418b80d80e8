"""What a peer announces, signed and sealed, and how it says that it is here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from crypto.errors import BadKey
from crypto.keys import SigningKey
from protocol.blocks.cid import Block
from protocol.pacing.at_most_every import AtMostEvery
from protocol.pacing.backoff import FIRST_RETRY
from protocol.records.bodies import Member
from protocol.roles.acting import Acting
from protocol.roles.copied_homes import CopiedHomes
from protocol.roles.effects import Publish, StopCause, What
from protocol.roles.newest_manifest import NewestManifest
from protocol.roles.outbox import Outbox
from protocol.wire.announcements import (
    Announcement,
    Beat,
    Hello,
    ManifestRef,
    Said,
    beat_interval,
    counter_above,
    sign_announcement,
    topic_all,
)
from protocol.wire.asking import subject_of

TELL_AGAIN: Final = 1.0
"""Seconds between two beats that are sealed to one member alone."""


class Announcer:
    """Announces to all, or to the server's topic."""

    topic: str
    """Where hellos, beats and the bye go. The machine sets it."""
    present: Callable[[type[Hello] | type[Beat]], Hello | Beat]
    """What our hellos and beats say now. The role sets it."""

    def __init__(self, newest: NewestManifest, copies: CopiedHomes, outbox: Outbox, acting: Acting) -> None:
        self._newest = newest
        self._copies = copies
        self._outbox = outbox
        self._acting = acting
        self.addresses: tuple[str, ...] = ()
        """Where other engines reach ours."""
        self.next_beat = 0.0
        self.beats_every = math.inf
        """Seconds between two beats at most; in a small federation there are fewer between them in any case."""
        self._said_at = -math.inf
        self._may_tell = AtMostEvery(TELL_AGAIN)
        """Each member that is behind, or is none any more."""

    # -- to all -----------------------------------------------------------------------------------------------------

    def announce(self, body: Said, blocks: Iterable[Block] = (), topic: str = "") -> None:
        """Say something to ``topic``, by default to all."""
        manifest = self._newest.manifest
        signed = self._signed(self._newest.key, body, blocks)
        sealed = self._newest.seals.seal(signed)
        self._outbox.emit(Publish(topic or topic_all(manifest.federation), sealed, subject_of(body)))

    def say(self, kind: type[Hello] | type[Beat], now: float) -> None:
        """Say hello, or that we are here."""
        self._said_at = now
        self.next_beat = now + min(self.beats_every, beat_interval(len(self._newest.manifest.members)))
        for number, signed in enumerate(self._signed_with_each_key(body := self.present(kind))):
            sealed = self._newest.seals.seal(signed)
            self._outbox.emit(Publish(self.topic, sealed, f"{subject_of(body)} {number}"))

    def beat_soon(self, now: float) -> None:
        """Beat out of turn, for somebody who said hello; those who come together are answered together."""
        self.next_beat = min(self.next_beat, max(now, self._said_at + FIRST_RETRY))

    def _signed_with_each_key(self, body: Hello | Beat) -> list[bytes]:
        """The same by each of our keys: a member with an older manifest takes an older one, and hears of ours."""
        newest = self._newest.key
        keys = self._newest.author.keys
        return [self._signed(key, body) for key in (newest, *(key for key in keys if key is not newest))]

    def _signed(self, key: SigningKey, body: Said, blocks: Iterable[Block] = ()) -> bytes:
        announcement = Announcement(
            federation=self._newest.manifest.federation,
            by=self._newest.author.member,
            counter=self._acting.counter,
            body=body,
            addresses=self.addresses,
            blocks=tuple(blocks),
        )
        self._acting.counter += 1
        return sign_announcement(announcement, key)

    # -- to one -----------------------------------------------------------------------------------------------------

    def tell_if_behind(self, by: bytes, theirs: ManifestRef, now: float) -> None:
        """Have a member whose manifest key is older than ours hear of our manifest, in what it can open and whoever has
        left cannot."""
        manifest = self._newest.manifest
        if manifest.key_epoch is not None and theirs.version < manifest.key_epoch:
            self._tell_alone(manifest.members[by], self.present(Beat), now)

    def tell_if_removed(self, data: bytes, now: float) -> None:
        """Have a stranger that was a member hear of the manifest that says so: otherwise it would wait for us for ever.
        It is told nothing that is not said to the whole world: not of the run, nor why we refuse it."""
        former = self._newest.seals.former_author(data, now)
        if former is not None:
            self._tell_alone(former, replace(self.present(Beat), position=None, note=""), now)

    def _tell_alone(self, member: Member, body: Hello | Beat, now: float) -> None:
        """Say to one member, or one that was, what others cannot open; not more often than is useful."""
        if not self._may_tell.take(member.id, now):
            return
        why = ""
        try:
            for number, signed in enumerate(self._signed_with_each_key(body)):
                sealed = self._newest.seals.seal_for(member, signed)
                self._outbox.emit(Publish(self.topic, sealed, f"{subject_of(body)} {number} for {member.id.hex()}"))
        except BadKey as error:
            why = str(error)
        self._outbox.report(What.MEMBER_BEHIND, name=self._newest.manifest.name_of(member.id), why=why)

    # -- other processes with our key -------------------------------------------------------------------------------

    def ask_for_copies(self, now: float) -> None:
        """Ask whether another process has our key, if that is due."""
        if self._copies.due(now):
            self.announce(self._copies.question())

    def heard_own_key(self, announcement: Announcement, now: float) -> bool:
        """Our own words come back, or those of a copy of our home; or somebody sends old ones again. Whether that may
        change anything: what this process said does not."""
        if self._copies.yields_to(announcement.body):
            self._outbox.cannot_go_on(
                "another peer with this identity is running: this home was copied, or its keys are in two homes",
                now,
                StopCause.COPY,
            )
        elif (answer := self._copies.answer(announcement.body, now)) is not None:
            self.announce(answer)
        elif self._copies.is_ours(announcement.counter, self._acting.counter):
            return False
        self._copies.doubt(announcement.counter, self._acting.counter, now)
        if announcement.counter >= self._acting.counter:  # others drop what counts lower, and would hear us no more
            self._acting.counter = counter_above(announcement.counter)
        return True
