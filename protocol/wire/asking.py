"""Asking: announcements over a channel from one member to another. Pubsub is faster, but nothing depends on it.

A peer keeps what it has announced lately on a `Board`. A question says what is new on the board of the peer that asks,
and the answer says what is new on the other board. So both hear of each other even if pubsub carries nothing between
them. (Kubo's does not if a node's clock was set back.) These announcements are judged like any others.
`protocol.wire.asking_schedule` decides whom to ask, and when. Pure: the caller passes the time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from crypto.errors import CannotDecrypt
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import CID
from protocol.jobs.request import AskedAboutJob, AskedJob, ToldJob
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
    ProposalReady,
    Recall,
    Recalled,
    ReplyReady,
    Said,
)
from protocol.wire.calling_back import CallBack, CalledBack

MAX_MESSAGE: Final = 1 << 20
"""Bytes of a question or an answer."""

MAX_ANNOUNCEMENTS: Final = 64
"""Announcements in a question or an answer."""

_BUDGET: Final = MAX_MESSAGE - (16 << 10)
"""Bytes of announcements in a question or an answer; the rest is for what is around them."""

KEPT_SECONDS: Final = 60.0
"""Seconds that an announcement stays on the board. What matters is announced again sooner."""

KEPT: Final = 512
"""Announcements on the board at most."""


class BadMessage(Exception):
    """Bytes that are neither a question nor an answer."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far somebody has read a board."""

    board: Annotated[bytes, Meta(min_length=8, max_length=8)] = bytes(8)
    """The board's name, which is new at each start of a peer."""
    number: Natural = 0


Announcements = Annotated[list[bytes], Meta(max_length=MAX_ANNOUNCEMENTS)]


class Question(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is new on the asking peer's board, and how far it has read the other's."""

    read: tuple[Annotated[bytes, Meta(min_length=8, max_length=8)], Natural]
    announcements: Announcements
    hears: bool | None
    """Whether the asking peer has heard the asked node by pubsub lately; None: it does not say."""


class Answer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is new on the asked peer's board, and how far the asking peer has then read it."""

    read: tuple[Annotated[bytes, Meta(min_length=8, max_length=8)], Natural]
    announcements: Announcements
    hears: bool
    """Whether the asked peer has heard the asking node by pubsub lately."""


Message = Question | Answer | CallBack | CalledBack | AskedJob | AskedAboutJob | ToldJob

_T = TypeVar("_T", Question, Answer, CallBack, CalledBack, AskedJob, AskedAboutJob, ToldJob)

_SIDES: Final[Mapping[type[Message], AskingSide]] = {
    Question: AskingSide.ASKING,
    CallBack: AskingSide.ASKING,
    AskedJob: AskingSide.ASKING,
    AskedAboutJob: AskingSide.ASKING,
    ToldJob: AskingSide.ASKED,
    Answer: AskingSide.ASKED,
    CalledBack: AskingSide.ASKED,
}


@dataclass(frozen=True, slots=True)
class Channel:
    """Writes and reads the questions to one member, and its answers. They are encrypted under the swarm key, which all
    members have, because they pass through ports of the machine that other users can reach."""

    federation: CID
    member: bytes
    """The member asked."""
    swarm_key: SymmetricKey

    @property
    def name(self) -> str:
        """The channel's name in the engine."""
        return f"pollen/1/{self.federation}/{self.member.hex()}"

    def write(self, message: Message) -> bytes:
        """The message as it goes over the channel."""
        return encrypt(self.swarm_key, msgspec.msgpack.encode(message), self._context(type(message)))

    def read(self, data: bytes, kind: type[_T]) -> _T:
        """The message in ``data``.

        Raises:
            BadMessage: if ``data`` holds no message of this kind.
        """
        if len(data) > MAX_MESSAGE:
            raise BadMessage(f"it has {len(data)} bytes, more than {MAX_MESSAGE}")
        try:
            return msgspec.msgpack.decode(decrypt(self.swarm_key, data, self._context(kind)), type=kind)
        except (CannotDecrypt, msgspec.DecodeError) as error:
            raise BadMessage(str(error)) from error

    def _context(self, kind: type[Message]) -> AskingMessage:
        return AskingMessage(self.federation, self.member, _SIDES[kind])


_ONE_OF: Final[Mapping[type[Said], str]] = {Head: "head", AckReady: "ack", Recall: "recall", Bye: "bye"}


def subject_of(body: Said) -> str:
    """What an announcement is about. On the board, a newer one replaces an older one about the same subject."""
    match body:
        case Head() | AckReady() | Recall() | Bye():  # of each there is one, the newest
            return _ONE_OF[type(body)]
        case Hello() | Beat():
            return "presence"
        case ReplyReady(message=message):
            return f"reply {message.hex()}"
        case Proof(first, second):
            return f"proof {first} {second}"
        case Recalled(to=member):
            return f"recalled {member.hex()}"
        case Alive(to=process):
            return f"alive {process.hex()}"
        case ProposalReady(proposal=proposal):
            return f"proposal {proposal}"


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
        """Add an announcement."""
        self._number += 1
        self._notes[subject] = _Note(self._number, now, data)
        self._notes.move_to_end(subject)
        if len(self._notes) > KEPT:
            self._notes.popitem(last=False)

    def since(self, place: Place, now: float) -> tuple[list[bytes], Place]:
        """What is new to a reader at ``place``, oldest first, as much as fits a message; and the reader's new place."""
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
