"""Targets: what comes over pubsub, and through the pipe of an app process."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import chains
import msgspec
from fuzzing import Target

from crypto.dsse import sign
from crypto.errors import CannotDecrypt
from crypto.sealing import open_sealed
from crypto.symmetric import SymmetricKey
from protocol.app.pipe import FrameReader, PipeError, encode
from protocol.blocks.cid import cbor_block
from protocol.joining.messages import NotForUs, open_answer, open_join, parse_join_envelope
from protocol.joining.tickets import BadTicket, Ticket, TicketKeys
from protocol.records.contexts import JoinSide
from protocol.wire.announcement_seals import AnnouncementSeals
from protocol.wire.announcements import ANNOUNCEMENT_TYPE, Announcement, AnnouncementError, Drop, parse_announcement
from protocol.wire.inbox import Inbox

PLAIN: Final = chains.Scribe()
ENCRYPTED: Final = chains.Scribe(encrypted=True, reader=chains.reader_of(chains.SERVER))
INVITATION: Final = TicketKeys.of(bytes(32), cbor_block("federation").cid)


def announcement(data: bytes) -> None:
    """An announcement, parsed."""
    with suppress(AnnouncementError):
        parse_announcement(data)


def signed_announcement(data: bytes) -> None:
    """The payload of an announcement that a member really signed, in the clear and sealed for all."""
    signature = sign(chains.ALICE, ANNOUNCEMENT_TYPE, data)
    wire = msgspec.msgpack.encode((data, chains.id_of(chains.ALICE), signature))
    for scribe in (PLAIN, ENCRYPTED):
        seals = AnnouncementSeals(scribe.first, scribe.source, chains.reader_of(chains.SERVER))
        inbox = Inbox(scribe.first.cid, seals)
        assert isinstance(inbox.accept(seals.seal(wire), scribe.first, 0.0), Announcement | Drop)


def sealed_announcement(data: bytes) -> None:
    """What comes, from anybody, if announcements are sealed."""
    inbox = Inbox(
        ENCRYPTED.first.cid, AnnouncementSeals(ENCRYPTED.first, ENCRYPTED.source, chains.reader_of(chains.SERVER))
    )
    assert isinstance(inbox.accept(data, ENCRYPTED.first, 0.0), Drop)


def join_message(data: bytes) -> None:
    """A message on the topic of newcomers, from anybody."""
    with suppress(NotForUs):
        envelope = parse_join_envelope(data)
        for read in (open_join, open_answer):
            with suppress(NotForUs):
                read(INVITATION, envelope)


def join_body(data: bytes) -> None:
    """What the one with the ticket and the one with the invitation encrypt for each other."""
    for kind, side, read in (("join", JoinSide.NEWCOMER, open_join), ("answer", JoinSide.INVITER, open_answer)):
        with suppress(NotForUs):
            envelope = parse_join_envelope(
                msgspec.msgpack.encode((INVITATION.tag, kind, INVITATION.encrypt(data, side)))
            )
            read(INVITATION, envelope)


def ticket(data: bytes) -> None:
    """A ticket as somebody pastes it."""
    text = data.decode(errors="replace")
    with suppress(BadTicket):
        assert Ticket.parse(text).text() == text.strip()


def pipe(data: bytes) -> None:
    """What an app process sends."""
    with suppress(PipeError):
        for value in FrameReader(limit=1 << 16).feed(data):
            assert encode(value) in data


def symmetric(data: bytes) -> None:
    """What is encrypted under a key."""
    with suppress(CannotDecrypt):
        SymmetricKey(bytes(32)).decrypt(data, b"context")


def sealed(data: bytes) -> None:
    """What is sealed for a reader."""
    with suppress(CannotDecrypt):
        open_sealed(chains.decryption_key(chains.ALICE), data, b"info")


ANNOUNCED: Final[dict[str, Target]] = {
    "announcement": announcement,
    "signed-announcement": signed_announcement,
    "sealed-announcement": sealed_announcement,
    "join-message": join_message,
    "join-body": join_body,
    "ticket": ticket,
    "pipe": pipe,
    "symmetric": symmetric,
    "sealed": sealed,
}
