"""Asking: announcements over a channel of its own, from one member to another, so that pubsub only hastens them.

A peer keeps what it has announced lately on a `Board`. Another asks it: it says what is new on its own board, and is
answered with what is new on the asked one's. So both hear of each other though pubsub carries nothing between them, as
Kubo's does not where a node's clock was set back. What comes this way is judged like any announcement. Whom to ask, and
when, is what `protocol.wire.ask_rounds` says. Pure: the clock is handed in.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from crypto.errors import CannotDecrypt
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import CID
from protocol.records.bodies import Natural
from protocol.records.contexts import AskingMessage, AskingSide, decrypt, encrypt
from protocol.wire.announcements import (
    AckReady,
    Alive,
    Beat,
    Bye,
    Head,
    Hello,
    Proof,
    Recall,
    Recalled,
    ReplyReady,
    Said,
)

MAX_MESSAGE: Final = 1 << 20
"""Bytes of a question or an answer."""

MAX_ANNOUNCEMENTS: Final = 64
"""In one of them."""

_BUDGET: Final = MAX_MESSAGE - (16 << 10)
"""Bytes of announcements in one of them; the rest is for what is around them."""

KEPT_SECONDS: Final = 60.0
"""Seconds that an announcement stays on the board: what matters is said again before."""

KEPT: Final = 512
"""Announcements on the board at most."""


class BadMessage(Exception):
    """Bytes that are no question, or no answer."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far somebody has read a board."""

    board: Annotated[bytes, Meta(min_length=8, max_length=8)] = bytes(8)
    """Which board: another one at each start of a peer."""
    number: Natural = 0


Announcements = Annotated[list[bytes], Meta(max_length=MAX_ANNOUNCEMENTS)]


class Question(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is new on the asking peer's board, and how far it has read the other's."""

    read: tuple[Annotated[bytes, Meta(min_length=8, max_length=8)], Natural]
    announcements: Announcements
    hears: bool | None
    """Whether it has heard the asked one's node by pubsub lately; None: it says nothing of that."""


class Answer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is new on the asked peer's board, and how far that brings whoever asked."""

    read: tuple[Annotated[bytes, Meta(min_length=8, max_length=8)], Natural]
    announcements: Announcements
    hears: bool
    """Whether it has heard the asking one's node by pubsub lately."""


_T = TypeVar("_T", Question, Answer)

_SIDES: Final = {Question: AskingSide.ASKING, Answer: AskingSide.ASKED}


@dataclass(frozen=True, slots=True)
class Channel:
    """What is said to one member that is asked, and what it answers. All is encrypted under the swarm key, which all
    members have: it goes through ports of the machine that other users can reach."""

    federation: CID
    member: bytes
    """The one that is asked."""
    swarm_key: SymmetricKey

    @property
    def name(self) -> str:
        """Under which engines know it."""
        return f"pollen/1/{self.federation}/{self.member.hex()}"

    def write(self, message: Question | Answer) -> bytes:
        """The message as it goes over the channel."""
        return encrypt(self.swarm_key, msgspec.msgpack.encode(message), self._context(type(message)))

    def read(self, data: bytes, kind: type[_T]) -> _T:
        """The message in ``data``.

        Raises:
            BadMessage: if it is none, or none of this kind.
        """
        if len(data) > MAX_MESSAGE:
            raise BadMessage(f"it has {len(data)} bytes, more than {MAX_MESSAGE}")
        try:
            return msgspec.msgpack.decode(decrypt(self.swarm_key, data, self._context(kind)), type=kind)
        except (CannotDecrypt, msgspec.DecodeError) as error:
            raise BadMessage(str(error)) from error

    def _context(self, kind: type[Question] | type[Answer]) -> AskingMessage:
        return AskingMessage(self.federation, self.member, _SIDES[kind])


def subject_of(body: Said) -> str:
    """What an announcement is about: a newer one about the same takes its place on the board."""
    match body:
        case Hello() | Beat():
            return "presence"
        case Head():
            return "head"
        case ReplyReady(message=message):
            return f"reply {message.hex()}"
        case AckReady():
            return "ack"
        case Proof(first, second):
            return f"proof {first} {second}"
        case Recall():
            return "recall"
        case Recalled(to=member):
            return f"recalled {member.hex()}"
        case Alive(to=process):
            return f"alive {process.hex()}"
        case Bye():
            return "bye"


@dataclass(slots=True)
class _Note:
    number: int
    at: float
    data: bytes


class Board:
    """What a peer has announced lately, the newest about each subject."""

    def __init__(self, name: bytes) -> None:
        """``name``: 8 random bytes."""
        self._name = name
        self._notes: OrderedDict[str, _Note] = OrderedDict()
        self._number = 0

    def note(self, subject: str, data: bytes, now: float) -> None:
        """It was announced."""
        self._number += 1
        self._notes[subject] = _Note(self._number, now, data)
        self._notes.move_to_end(subject)
        if len(self._notes) > KEPT:
            self._notes.popitem(last=False)

    def since(self, place: Place, now: float) -> tuple[list[bytes], Place]:
        """What is new to somebody who has read up to ``place``, the oldest first, as much as one message takes; and how
        far it has read then."""
        read = place.number if place.board == self._name else 0
        found: list[bytes] = []
        size, forgotten = 0, [subject for subject, note in self._notes.items() if now >= note.at + KEPT_SECONDS]
        for subject in forgotten:
            del self._notes[subject]
        for note in self._notes.values():
            if note.number <= read:
                continue
            if len(found) == MAX_ANNOUNCEMENTS or size + len(note.data) > _BUDGET:
                break
            found.append(note.data)
            size += len(note.data)
            read = note.number
        return found, Place(self._name, read)
