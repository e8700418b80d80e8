"""The gate that every announcement passes before anybody looks at what it names.

Pure: the caller passes the time. Memory is bounded by the number of members, because only theirs is kept.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

from crypto.dsse import BadSignature, verify
from crypto.keys import VerifyKey
from protocol.blocks.cid import CID
from protocol.federation.manifest import Manifest
from protocol.pacing.token_bucket import TokenBucket
from protocol.wire.announcement_seals import AnnouncementSeals
from protocol.wire.announcements import (
    ANNOUNCEMENT_TYPE,
    Alive,
    Announcement,
    AnnouncementError,
    Drop,
    Envelope,
    Recall,
    parse_envelope,
    parse_payload,
)

WINDOW: Final = 1024
"""How far below an author's highest counter an announcement may come, because pubsub changes the order."""

RATE: Final = 100.0
"""Announcements a second that one author may send for long: twice what a leader sends if its clients answer at once."""

BURST: Final = 200
"""Announcements that one author may send at once."""

BYTES: Final = 192 << 10
"""Bytes of announcements a second that one author may send for long. A leader of some hundred clients that begins
several rounds a second sends as many. Parsing takes some 0.3 us a byte."""

BYTES_AT_ONCE: Final = 8 << 20
"""Bytes of announcements that one author may send at once."""

SHOWN: Final = 8 << 10
"""How many bytes an announcement may have to be kept, to be shown to its author."""

SHOW_AGAIN: Final = 10.0
"""Seconds until an author may be shown its newest announcement again."""


class Inbox:
    """Accepts each announcement of a member once, and counts what it drops, by reason."""

    def __init__(self, federation: CID, seals: AnnouncementSeals, own: bytes = b"") -> None:
        """``own`` is this peer's member. Another process with its key may have lower counters than were seen here, so
        its `Recall` and `Alive` pass with any counter. `protocol.roles.copied_homes` can tell old ones."""
        self._own = own
        self._federation = federation
        self._seals = seals
        self._manifest: Manifest | None = None
        self._authors: dict[bytes, _Author] = {}
        self.dropped: Counter[Drop] = Counter()
        self._overtaken: bytes | None = None
        """The author of a `Recall` whose counter was far below the author's highest."""

    def accept(self, data: bytes, manifest: Manifest, now: float) -> Announcement | Drop:
        """The announcement in ``data``, or why it was dropped. Never raises, whatever the bytes.

        ``manifest`` says who is a member. ``now`` is in seconds and never falls.
        """
        self._overtaken = None
        try:
            announcement = self._admitted(parse_envelope(self._seals.open(data, now)), manifest, now)
        except AnnouncementError as error:
            self.dropped[error.reason] += 1
            return error.reason
        if (member := manifest.members.get(announcement.by)) is not None and member.signing in self._authors:
            self._authors[member.signing].keep(announcement.counter, data)
        return announcement

    def newest_of_overtaken(self, now: float) -> bytes | None:
        """The newest announcement of an author, as it came, if the one just dropped was the author's `Recall` with a
        counter far below. A restored home whose clock was set back too is heard by nobody until it has seen how far it
        had counted. Not more often than every `SHOW_AGAIN` seconds, because anybody can send an old `Recall` again."""
        author = self._authors.get(self._overtaken or b"")
        self._overtaken = None
        if author is None or now < author.shown_at + SHOW_AGAIN:
            return None
        author.shown_at = now
        return author.newest

    def _admitted(self, envelope: Envelope, manifest: Manifest, now: float) -> Announcement:
        """Cheap checks come first: what is over its author's rate is not even parsed. Only what its author signed uses
        up the author's counters and rate, so that a stranger cannot silence a member."""
        self._follow(manifest)
        member = manifest.member_by_key(envelope.key)
        if member is None:
            raise AnnouncementError(Drop.STRANGER, "its key is not one of a member's")
        author = self._authors.get(envelope.key) or _Author(VerifyKey.parse(envelope.key))
        if not author.may_say(len(envelope.payload), now):
            raise AnnouncementError(Drop.RATE_LIMITED, f"its author sends more than {RATE}, or {BYTES}, a second")
        announcement = parse_payload(envelope.payload)
        if announcement.federation != self._federation:
            raise AnnouncementError(Drop.WRONG_FEDERATION, f"for federation {announcement.federation}")
        if member.id != announcement.by:
            raise AnnouncementError(Drop.STRANGER, "its key is not its author's")
        ours = announcement.by == self._own and isinstance(announcement.body, Recall | Alive)
        if not ours and author.has_seen(announcement.counter):
            if isinstance(announcement.body, Recall) and author.is_far_below(announcement.counter):
                self._overtaken = envelope.key
            raise AnnouncementError(Drop.REPLAYED, f"counter {announcement.counter} was seen, or is too old")
        try:
            verify(author.key, ANNOUNCEMENT_TYPE, envelope.payload, envelope.signature)
        except BadSignature as error:
            raise AnnouncementError(Drop.BAD_SIGNATURE, str(error)) from error
        author.take(announcement.counter, len(envelope.payload), now)
        self._authors[envelope.key] = author
        return announcement

    def _follow(self, manifest: Manifest) -> None:
        """Forget the keys that a new manifest no longer lists."""
        if manifest is not self._manifest:
            self._manifest = manifest
            self._authors = {key: a for key, a in self._authors.items() if manifest.member_by_key(key) is not None}


class _Author:
    """What is kept about one key: its counters, in a window below the highest, and how much more it may send."""

    __slots__ = ("_bytes", "_highest", "_number", "_seen", "key", "newest", "shown_at")

    def __init__(self, key: VerifyKey) -> None:
        self.key = key
        self.newest: bytes | None = None
        """The newest announcement that is not too large to be shown to its author."""
        self.shown_at = -math.inf
        self._highest = -1
        self._seen = 0  # bit n: highest - n was seen
        self._number = TokenBucket(BURST, RATE)
        self._bytes = TokenBucket(BYTES_AT_ONCE, BYTES)

    def may_say(self, size: int, now: float) -> bool:
        """Whether it may send one more announcement of ``size`` bytes."""
        return self._number.left(now) >= 1 and self._bytes.left(now) >= size

    def keep(self, counter: int, data: bytes) -> None:
        """Keep an accepted announcement, as it came."""
        if counter == self._highest and len(data) <= SHOWN:
            self.newest = data

    def has_seen(self, counter: int) -> bool:
        """Whether ``counter`` was taken, or is below the window."""
        below = self._highest - counter
        return self.is_far_below(counter) or (below >= 0 and bool(self._seen >> below & 1))

    def is_far_below(self, counter: int) -> bool:
        """Whether ``counter`` is below the window."""
        return self._highest - counter >= WINDOW

    def take(self, counter: int, size: int, now: float) -> None:
        """Note one accepted announcement."""
        self._number.use(now)
        self._bytes.use(now, size)
        above = counter - self._highest
        if above > 0:
            kept = self._seen << above if above < WINDOW else 0  # a counter may jump by 2**62
            self._seen = (kept | 1) & ((1 << WINDOW) - 1)
            self._highest = counter
        elif -above < WINDOW:
            self._seen |= 1 << -above
