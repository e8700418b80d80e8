"""Joining with a ticket: the messages between newcomer and inviter, and what the inviter decides.

Messages go over a topic of their own, which anybody may hear, as the msgpack array ``[tag, kind, sealed]``. The tag
says which invitation. The rest opens with keys that only the ticket gives (`protocol.joining.tickets`). So a `Join`
that opens proves that its author has the ticket, and the secret itself is never sent. As with announcements, there is
one way to write each message, and any of them may be lost, or come twice or late.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from crypto.errors import BadKeyText, CannotDecrypt
from crypto.identity import PublicIdentity
from protocol.blocks.cid import CID
from protocol.blocks.packing import NotPacked, packed, unpacked
from protocol.federation.manifest import Manifest
from protocol.federation.past_members import Listed
from protocol.joining.tickets import TAG_SIZE, Invitation, InvitationState, TicketKeys
from protocol.pacing.backoff import SLOWEST_RETRY, Backoff
from protocol.records.bodies import Key
from protocol.records.contexts import JoinSide
from protocol.wire.announcements import INLINE_BUDGET, MAX_ADDRESS, MAX_ADDRESSES, MAX_ANNOUNCEMENT, MAX_NOTE

MAX_JOIN: Final = 16 << 10
"""Bytes of a sealed `Join`."""
MAX_INLINE: Final = 1024
"""Blocks in a `Welcomed`."""

Addresses = Annotated[tuple[Annotated[str, Meta(max_length=MAX_ADDRESS)], ...], Meta(max_length=MAX_ADDRESSES)]
T = TypeVar("T")


class NotForUs(Exception):
    """Bytes on the topic that are no message, or a message that these keys do not open."""


class WhyRefused(StrEnum):
    """Why a newcomer is not let in."""

    EXPIRED = "expired"
    USED = "used"
    """Another identity used the ticket, or has had its name since."""
    NAME_TAKEN = "name-taken"
    MEMBER = "member"
    """The identity is a member already, perhaps under another name."""
    REMOVED = "removed"
    """The identity, or one with its encryption key, was a member since the invitation and was removed."""
    UNFIT = "unfit"
    """The manifest's rules do not allow the newcomer; the note says which rule."""


@dataclass(frozen=True, slots=True)
class Join:
    """The author has the ticket, and asks to be let in."""

    public: PublicIdentity


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The newcomer is a member now, as the manifest says."""

    to: Key
    """The newcomer's member id: others may try the same ticket."""
    manifest: CID
    """The newest version."""
    blocks: Annotated[tuple[bytes, ...], Meta(max_length=MAX_INLINE)]
    """All versions and their listings. Empty if they are too many; then the newcomer fetches them from the engine."""
    addresses: Addresses


@dataclass(frozen=True, slots=True)
class Pending:
    """An admin has to approve the newcomer first, which asks again."""

    to: Key


@dataclass(frozen=True, slots=True)
class Refused:
    """The newcomer is not let in, and asking again changes nothing."""

    to: Key
    why: WhyRefused
    note: Annotated[str, Meta(max_length=MAX_NOTE)] = ""
    """For people."""


Answer = Welcomed | Pending | Refused


def topic_join(federation: CID) -> str:
    """The topic that inviters and newcomers share."""
    return f"/pollen/1/{federation}/join"


def inline_blocks(blocks: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """``blocks`` if a `Welcomed` can hold them all, otherwise no blocks."""
    fits = len(blocks) <= MAX_INLINE and sum(map(len, blocks)) <= INLINE_BUDGET
    return blocks if fits else ()


# -- the inviter -----------------------------------------------------------------------------------------------------


class Decision(Enum):
    """What to do about a join that is not refused."""

    WELCOME = "welcome"
    """The newcomer is a member already: say so again."""
    ADMIT = "admit"
    """Save that the newcomer used the invitation, and add it to the manifest."""
    ASK = "ask"
    """Save that the newcomer used the invitation; an admin decides."""


def decide(
    invitation: Invitation, public: PublicIdentity, manifest: Manifest, now: float, listed: Listed
) -> Decision | Refused:
    """What to do about ``public``, which has the ticket. The answer stays the same until something changes.

    ``manifest`` is the newest version, and ``now`` is in seconds since 1970. ``listed`` is what the versions from the
    invitation's ``since`` on list: no invitation lets anybody in twice, whatever this home has saved. (It may have lost
    that in a crash, or another admin's home let the newcomer in.)
    """
    member = public.id in manifest.members
    newcomer = invitation.newcomer
    if newcomer is not None and newcomer.id != public.id:
        return Refused(public.id, WhyRefused.USED)
    if newcomer is not None and member:
        return Decision.WELCOME
    if not member and (public.id in listed.ids or public.encryption.raw in listed.encryption):
        return Refused(public.id, WhyRefused.REMOVED)
    match invitation.state_at(now):
        case InvitationState.EXPIRED:
            return Refused(public.id, WhyRefused.EXPIRED)
        case InvitationState.ENDED | InvitationState.USED:
            return Refused(public.id, WhyRefused.REMOVED)
        case InvitationState.OPEN if member:
            return Refused(public.id, WhyRefused.MEMBER)
        case _ if invitation.name in manifest.names.values():
            return Refused(public.id, WhyRefused.NAME_TAKEN)
        case _ if invitation.name in listed.names:
            return Refused(public.id, WhyRefused.USED)
    return Decision.ASK if invitation.ask else Decision.ADMIT


# -- the newcomer ----------------------------------------------------------------------------------------------------

SILENT_ONCE_ANSWERED: Final = SLOWEST_RETRY + 2.0
"""Seconds of a newcomer's silence after which it has its answer, or has stopped waiting: it would have asked again."""


class Attempt:
    """A newcomer's side: it asks until it gets an answer."""

    def __init__(self, keys: TicketKeys, join: Join, now: float) -> None:
        """``now`` is in seconds of any clock, the same one in each call."""
        self._keys = keys
        self._to = join.public.id
        self._message = seal_join(keys, join)
        self._retry = Backoff(now)

    @property
    def at(self) -> float:
        """When to ask again."""
        return self._retry.at

    def ask(self, now: float) -> bytes:
        """What to publish on the topic now."""
        self._retry.back_off(now)
        return self._message

    def hear(self, data: bytes) -> Answer | None:
        """The answer to this newcomer in what came on the topic; None if it holds no such answer."""
        try:
            answer = open_answer(self._keys, parse_join_envelope(data))
        except NotForUs:
            return None
        return answer if answer.to == self._to else None


# -- the wire --------------------------------------------------------------------------------------------------------


class _Kind(StrEnum):
    JOIN = "join"
    ANSWER = "answer"


_SIDES: Final = {_Kind.JOIN: JoinSide.NEWCOMER, _Kind.ANSWER: JoinSide.INVITER}


_ANSWERS: Final[dict[str, type[Answer]]] = {"welcomed": Welcomed, "pending": Pending, "refused": Refused}
_NAME_OF: Final = {kind: name for name, kind in _ANSWERS.items()}


class JoinEnvelope(msgspec.Struct, frozen=True, array_like=True):
    """A message on the topic, not yet opened."""

    tag: Annotated[bytes, Meta(min_length=TAG_SIZE, max_length=TAG_SIZE)]
    kind: _Kind
    sealed: bytes

    @property
    def is_join(self) -> bool:
        """Whether it is from a newcomer."""
        return self.kind is _Kind.JOIN


class _AnswerBody(msgspec.Struct, frozen=True, array_like=True):
    name: str
    fields: msgspec.Raw


@dataclass(frozen=True, slots=True)
class _JoinBody:
    key: str


def seal_join(keys: TicketKeys, join: Join) -> bytes:
    """A join on the wire."""
    return _sealed(keys, _Kind.JOIN, packed(_JoinBody(join.public.key_text())))


def seal_answer(keys: TicketKeys, answer: Answer) -> bytes:
    """An answer on the wire. Addresses past their limits and the end of a long note are left out."""
    match answer:
        case Welcomed(addresses=addresses):
            usable = [address for address in addresses if len(address) <= MAX_ADDRESS]
            answer = replace(answer, addresses=tuple(usable[:MAX_ADDRESSES]))
        case Refused(note=note):
            answer = replace(answer, note=note[:MAX_NOTE])
    body = packed(_AnswerBody(_NAME_OF[type(answer)], msgspec.Raw(packed(answer))))
    return _sealed(keys, _Kind.ANSWER, body)


def parse_join_envelope(data: bytes) -> JoinEnvelope:
    """The message in ``data``. Its tag tells whose keys may open it.

    Raises:
        NotForUs: if there is none, or it is over a limit. Nothing else is raised, whatever the bytes.
    """
    if len(data) > MAX_ANNOUNCEMENT:
        raise NotForUs(f"{len(data)} bytes are more than {MAX_ANNOUNCEMENT}")
    envelope = _exact(data, JoinEnvelope)
    if envelope.is_join and len(envelope.sealed) > MAX_JOIN:
        raise NotForUs(f"a join of {len(envelope.sealed)} bytes")
    return envelope


def open_join(keys: TicketKeys, envelope: JoinEnvelope) -> Join:
    """The join in a message. Its author has the ticket.

    Raises:
        NotForUs: if these keys do not open it, or it holds no join.
    """
    body = _exact(_opened(envelope, keys, _Kind.JOIN), _JoinBody)
    try:
        public = PublicIdentity.parse_key_text(body.key)
    except BadKeyText as error:
        raise NotForUs(str(error)) from error
    if public.key_text() != body.key:  # which allows space around it
        raise NotForUs("not the one way to write a KEY")
    if public.federation != bytes(keys.federation):
        raise NotForUs("a KEY that is not for this federation")
    return Join(public)


def open_answer(keys: TicketKeys, envelope: JoinEnvelope) -> Answer:
    """The answer in a message. Its author has the invitation or the ticket.

    Raises:
        NotForUs: if these keys do not open it, or it holds no answer.
    """
    body = _exact(_opened(envelope, keys, _Kind.ANSWER), _AnswerBody)
    if body.name not in _ANSWERS:
        raise NotForUs(f"{body.name[:20]!r} is no answer")
    return _exact(bytes(body.fields), _ANSWERS[body.name])


def _sealed(keys: TicketKeys, kind: _Kind, body: bytes) -> bytes:
    return packed(JoinEnvelope(keys.tag, kind, keys.encrypt(body, _SIDES[kind])))


def _opened(envelope: JoinEnvelope, keys: TicketKeys, kind: _Kind) -> bytes:
    if envelope.tag != keys.tag or envelope.kind is not kind:
        raise NotForUs(f"it is no {kind} of this ticket's")
    try:
        return keys.decrypt(envelope.sealed, _SIDES[kind])
    except CannotDecrypt as error:
        raise NotForUs(str(error)) from error


def _exact(data: bytes, kind: type[T]) -> T:
    try:
        return unpacked(data, kind)
    except NotPacked as error:
        raise NotForUs(f"not a message about joining: {error}") from error
