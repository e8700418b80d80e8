"""Watches every peer, and raises if one does what must never happen, whatever goes wrong around it."""

from __future__ import annotations

from collections.abc import Sequence

from sim_disk import Disk
from sim_terms import Terms

from protocol.blocks.cid import CID
from protocol.records.bodies import Ack
from protocol.records.equivocation import says_the_same
from protocol.records.signed_records import Record, parse_record, read_record
from protocol.wire.announcement_seals import AnnouncementSeals
from protocol.wire.announcements import (
    AckReady,
    AnnouncementError,
    Head,
    PeerState,
    PeerStatus,
    Position,
    ReplyReady,
    Said,
    parse_announcement,
)


class Witness:
    """What members have announced, by what must be unique. ``seals`` are those of all members."""

    def __init__(self, seals: Sequence[AnnouncementSeals], terms: Terms) -> None:
        self._seals = seals
        self.terms = terms
        self._heads: dict[tuple[CID, int, int], CID] = {}
        self._replies: dict[bytes, Record] = {}
        self._acks: dict[tuple[bytes, CID, int, int], CID] = {}
        self.forgives = False
        """Whether a second reply or ack may be announced: a home was restored, and nobody had heard of the first."""

    def saw(self, disk: Disk, data: bytes) -> None:
        """A peer with this disk announces ``data``.

        Replies, acks and the leader's heads must be on disk already, and nothing else may ever have been said in their
        place.
        """
        by, body = self._opened(data)
        self.terms.said(by, disk, body)
        match body:
            case Head(position) | PeerStatus(state=PeerState.LEADING, position=Position() as position):
                self._head(disk, position)
            case ReplyReady(message=message, record=record):
                if message not in disk.replies:
                    raise AssertionError(f"reply {record} is announced before it is kept")
                self._reply(message, read_record(record, disk))
            case AckReady(record=record):
                self._ack(disk, record)

    def _reply(self, message: bytes, reply: Record) -> None:
        """One that is signed anew for another dispatch says the same: a takeover has lost the first dispatch."""
        if not says_the_same(self._replies.setdefault(message, reply), reply) and not self.forgives:
            raise AssertionError(f"two replies to message {message.hex()} were announced")

    def _ack(self, disk: Disk, cid: CID) -> None:
        if cid not in disk.acks:
            raise AssertionError(f"ack {cid} is announced before it is kept")
        ack = parse_record(disk.acks[cid]).body
        assert isinstance(ack, Ack)
        if self._acks.setdefault((ack.by, ack.run, ack.term, ack.height), cid) != cid and not self.forgives:
            raise AssertionError(f"two acks at height {ack.height} were announced")

    def _opened(self, data: bytes) -> tuple[bytes, Said]:
        for seals in self._seals:
            try:
                announcement = parse_announcement(seals.open(data, 0.0)).announcement
                return announcement.by, announcement.body
            except AnnouncementError:
                continue  # it is sealed to another member
        raise AssertionError("an announcement is published that no member opens")

    def _head(self, disk: Disk, position: Position) -> None:
        if position.run not in disk.heads or disk.heads[position.run].height < position.height:
            raise AssertionError(f"head {position.head} is announced before it is written")
        place = (position.run, position.term, position.height)
        if self._heads.setdefault(place, position.head) != position.head:
            raise AssertionError(f"two records of run {position.run} at height {position.height} were announced")
