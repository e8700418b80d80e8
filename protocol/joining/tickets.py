"""Tickets: the one line that an admin gives a newcomer, the keys that both derive from its secret, and when it expires.

The secret is never sent. Its holder proves that it has the secret by writing messages that only those keys open
(`protocol.joining.messages`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from crypto.identity import PublicIdentity
from crypto.lines import BadLine, read_line, write_line
from crypto.symmetric import KEY_SIZE, SymmetricKey
from protocol.blocks.cid import CID, BlockError, decode_cbor, encode_cbor
from protocol.blocks.typed import ShapeError, from_plain, to_plain
from protocol.federation.manifest import MAX_NAME, is_name
from protocol.records.bodies import Natural, Role
from protocol.records.contexts import InvitationTag, JoinMessage, JoinSide, decrypt, encrypt, tag_of, ticket_root
from protocol.wire.announcements import MAX_ADDRESS, MAX_ADDRESSES

PREFIX: Final = "pollen-ticket-1."
MAX_TEXT: Final = 8192
"""Characters; one with two addresses has about 500."""
TAG_SIZE: Final = 8
"""Bytes of the tag that names an invitation."""
_CHECKSUM: Final = 8

Secret32 = Annotated[bytes, Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]


class BadTicket(Exception):
    """A text that is no ticket. The message never repeats the text, which may hold a secret."""


@dataclass(frozen=True, slots=True)
class TicketKeys:
    """The keys that inviter and newcomer share. They follow from the ticket; the ticket does not follow from them."""

    federation: CID
    root: Secret32 = field(repr=False)

    @classmethod
    def of(cls, secret: bytes, federation: CID) -> TicketKeys:
        """The keys that the secret of a ticket to ``federation`` gives."""
        return cls(federation, ticket_root(secret, federation).secret_bytes())

    @property
    def tag(self) -> bytes:
        """Names the invitation to everybody, and reveals nothing about the secret."""
        return tag_of(SymmetricKey(self.root), InvitationTag(self.federation), TAG_SIZE)

    def encrypt(self, plaintext: bytes, side: JoinSide) -> bytes:
        """A message from ``side`` to the other."""
        return encrypt(SymmetricKey(self.root), plaintext, JoinMessage(self.federation, side))

    def decrypt(self, ciphertext: bytes, side: JoinSide) -> bytes:
        """A message that ``side`` encrypted.

        Raises:
            crypto.errors.CannotDecrypt: if it was not encrypted with these keys.
        """
        return decrypt(SymmetricKey(self.root), ciphertext, JoinMessage(self.federation, side))


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a newcomer needs to reach a federation and to be let in once."""

    federation: CID
    name: Annotated[str, Meta(max_length=MAX_NAME)]
    """The newcomer's name in the federation."""
    addresses: Annotated[tuple[Annotated[str, Meta(max_length=MAX_ADDRESS)], ...], Meta(max_length=MAX_ADDRESSES)]
    """Of members' engines."""
    swarm_key: Secret32 = field(repr=False)
    """Makes the members' Kubo nodes a private network."""
    secret: Secret32 = field(repr=False)
    """Random, and only in this ticket."""
    expires: Natural
    """Seconds since 1970. Only for the newcomer to see: the inviter's `Invitation` decides."""

    @property
    def keys(self) -> TicketKeys:
        """The keys that both sides derive from the secret."""
        return TicketKeys.of(self.secret, self.federation)

    def text(self) -> str:
        """The ticket as one line without spaces."""
        body = encode_cbor(to_plain(self))
        return write_line(PREFIX, body + _checksum(body))

    @classmethod
    def parse(cls, text: str) -> Ticket:
        """The ticket in ``text``. Space around it is allowed, but not within it.

        Raises:
            BadTicket: if it is no ticket, was cut short, or any character of it is wrong.
        """
        body = _checked(_unwrap(text.strip()))
        try:
            ticket = from_plain(decode_cbor(body), cls)
        except (BlockError, ShapeError) as error:  # the checksum is right, so its maker got it wrong
            raise BadTicket(f"this ticket does not hold what one should: {error}") from error
        if not is_name(ticket.name):
            raise BadTicket("this ticket has a name that nobody can have")
        return ticket


def _unwrap(text: str) -> bytes:
    if not text.startswith(PREFIX):
        raise BadTicket(f"a ticket begins with {PREFIX!r}, and this does not")
    try:
        return read_line(PREFIX, text, what="ticket", limit=MAX_TEXT)
    except BadLine as error:
        raise BadTicket(str(error)) from error


def _checked(data: bytes) -> bytes:
    body, checksum = data[:-_CHECKSUM], data[-_CHECKSUM:]
    if _checksum(body) != checksum:
        raise BadTicket("this ticket is cut short or mistyped: its checksum is wrong")
    return body


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(PREFIX.encode() + body).digest()[:_CHECKSUM]


class InvitationState(StrEnum):
    """What has become of an invitation."""

    OPEN = "open"
    PENDING = "pending"
    """Its ticket is used up; the newcomer is not in the manifest yet."""
    USED = "used"
    """Its newcomer was let in."""
    EXPIRED = "expired"
    """Nobody used it in time, or nobody let the newcomer in in time. Saved once somebody was told so, so that setting
    the clock back does not open it again."""
    ENDED = "ended"
    """Its newcomer, or the member with its name, was removed from the federation."""


PENDING_FOR: Final = 7 * 24 * 3600.0
"""Seconds after an invitation expires during which an admin may still approve a newcomer that came in time."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """What the inviter keeps of a ticket."""

    keys: TicketKeys = field(repr=False)
    name: str
    """The newcomer's name in the federation."""
    roles: tuple[Role, ...]
    expires: Natural
    """Seconds since 1970, by the inviter's clock."""
    ask: bool = False
    """Whether an admin has to approve the newcomer."""
    state: InvitationState = InvitationState.OPEN
    key: str = ""
    """The KEY of the newcomer that used it; empty while it is open."""
    since: Annotated[int, Meta(ge=1, le=2**63 - 1)] = 1
    """The newest version of the manifest when it was issued. Whoever this or a later version lists, and is no member
    any more, was removed since."""

    @property
    def newcomer(self) -> PublicIdentity | None:
        """The identity that used it."""
        return PublicIdentity.parse_key_text(self.key) if self.key else None

    def state_at(self, now: float) -> InvitationState:
        """Its state at ``now``, in seconds since 1970."""
        match self.state:
            case InvitationState.OPEN:
                over = now >= self.expires
            case InvitationState.PENDING:
                over = now >= self.expires + PENDING_FOR
            case _:
                over = False
        return InvitationState.EXPIRED if over else self.state

    def used_by(self, public: PublicIdentity) -> Invitation:
        """The invitation after ``public`` has shown the ticket: nobody else can use it any more."""
        return replace(self, state=InvitationState.PENDING, key=public.key_text())

    def done(self) -> Invitation:
        """The invitation after its newcomer was let in."""
        return replace(self, state=InvitationState.USED)

    def expired(self) -> Invitation:
        """The invitation after somebody was told that it has expired."""
        return replace(self, state=InvitationState.EXPIRED)

    def ended(self) -> Invitation:
        """The invitation after its newcomer was removed."""
        return replace(self, state=InvitationState.ENDED)
