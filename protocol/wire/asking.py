"""Asking: announcements over a channel from one member to another. Pubsub is faster, but nothing depends on it.

A peer keeps what it has announced lately on a `Board`. A question says what is new on the board of the peer that asks,
and the answer says what is new on the other board. So both hear of each other even if pubsub carries nothing between
them. (Kubo's does not if a node's clock was set back.) These announcements are judged like any others.
`protocol.wire.asking_schedule` decides whom to ask, and when. Pure: the caller passes the time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import merge
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from crypto.described_types import described
from crypto.errors import CannotDecrypt
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import CID
from protocol.jobs.request import AskedAboutJob, AskedJob, ToldJob
from protocol.records.bodies import Member, Natural, Role
from protocol.records.contexts import AskingMessage, AskingSide, decrypt, encrypt
from protocol.wire.announcements import (
    AckReady,
    Alive,
    Beat,
    Bye,
    Canvass,
    Canvassed,
    HandsOver,
    Head,
    Hello,
    Proof,
    ProposalReady,
    Recall,
    Recalled,
    ReplyReady,
    Said,
    VoteAsked,
    VoteReady,
    WarrantReady,
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
"""Announcements of its own on a peer's board at most."""

KEPT_OF_ONE: Final = 64
BYTES_OF_ONE: Final = 2 << 20
"""Announcements of one other member on a keeper's board at most, and their bytes: a member that floods it crowds out
its own words alone."""

KEPT_OF_OTHERS: Final = 4_096
BYTES_OF_OTHERS: Final = 32 << 20
"""The same, of all other members."""


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
            return msgspec.msgpack.decode(decrypt(self.swarm_key, data, self._context(kind)), type=described(kind))
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
        case Canvass() | Canvassed() | VoteAsked() | VoteReady() | HandsOver() | WarrantReady():
            return _of_election(body)


def _of_election(body: Canvass | Canvassed | VoteAsked | VoteReady | HandsOver | WarrantReady) -> str:
    match body:
        case Canvass(position) | VoteAsked(position):  # one that asks for votes canvasses no more
            return f"candidature {position.run}"
        case Canvassed(to=member, run=run):
            return f"canvassed {run} {member.hex()}"
        case VoteReady(run=run):
            return f"vote {run}"
        case HandsOver(position):
            return f"hands-over {position.run}"
        case WarrantReady(run=run):
            return f"warrant {run}"


_BYE: Final = subject_of(Bye())
_UNTIL_BYE: Final = ("presence", "head")
"""The subjects of which a member that has left says nothing: whoever comes later would take its last run for one that
goes on."""


def is_asked(member: Member) -> bool:
    """Whether all other members ask this one: a server, or a keeper, which has heard what they cannot hear."""
    return Role.SERVER in member.roles or Role.KEEPER in member.roles


@dataclass(slots=True)
class _Note:
    number: int
    at: float
    data: bytes


@dataclass(slots=True)
class _Shelf:
    """What is on a board, by author and subject, the oldest first; with how much there may be."""

    most: int
    most_bytes: int | None = None
    notes: OrderedDict[tuple[bytes, str], _Note] = field(default_factory=OrderedDict)
    size: int = 0
    """Bytes of all of them."""

    def add(self, key: tuple[bytes, str], note: _Note) -> None:
        self.remove(key)
        self.notes[key] = note
        self.size += len(note.data)

    def remove(self, key: tuple[bytes, str]) -> None:
        if (note := self.notes.pop(key, None)) is not None:
            self.size -= len(note.data)

    @property
    def is_over(self) -> bool:
        return len(self.notes) > self.most or (self.most_bytes is not None and self.size > self.most_bytes)

    @property
    def oldest(self) -> tuple[bytes, str]:
        return next(iter(self.notes))


class Board:
    """What a peer has announced lately, the newest about each subject. At a keeper, also what other members have."""

    def __init__(self, name: bytes) -> None:
        """``name``: 8 random bytes."""
        self._name = name
        self._own = _Shelf(KEPT)
        self._of: dict[bytes, _Shelf] = {}
        """Of each other member."""
        self._others = _Shelf(KEPT_OF_OTHERS, BYTES_OF_OTHERS)
        """Of all of them."""
        self._number = 0

    def note(self, subject: str, data: bytes, now: float, by: bytes = b"") -> None:
        """Add an announcement: of our own, or of the member ``by``."""
        self._number += 1
        key, note = (by, subject), _Note(self._number, now, data)
        if not by:
            self._own.add(key, note)
            while self._own.is_over:
                self._own.remove(self._own.oldest)
            return
        of_one = self._of.setdefault(by, _Shelf(KEPT_OF_ONE, BYTES_OF_ONE))
        for gone in [each for each in of_one.notes if subject == _BYE and each[1] in _UNTIL_BYE]:
            self._take_down(gone)
        of_one = self._of.setdefault(by, of_one)
        of_one.add(key, note)
        self._others.add(key, note)
        while of_one.is_over:
            self._take_down(of_one.oldest)
        while self._others.is_over:
            self._take_down(self._others.oldest)

    def _take_down(self, key: tuple[bytes, str]) -> None:
        by, _ = key
        self._others.remove(key)
        self._of[by].remove(key)
        if not self._of[by].notes:
            del self._of[by]

    def since(self, place: Place, now: float) -> tuple[list[bytes], Place]:
        """What is new to a reader at ``place``, oldest first, as much as fits a message; and the reader's new place."""
        read = place.number if place.board == self._name else 0
        for key in [key for key, note in self._own.notes.items() if now >= note.at + KEPT_SECONDS]:
            self._own.remove(key)
        while self._others.notes and now >= self._others.notes[self._others.oldest].at + KEPT_SECONDS:
            self._take_down(self._others.oldest)
        found: list[bytes] = []
        size = 0
        for note in merge(self._own.notes.values(), self._others.notes.values(), key=lambda note: note.number):
            if note.number <= read:
                continue
            if len(found) == MAX_ANNOUNCEMENTS or size + len(note.data) > _BUDGET:
                break
            found.append(note.data)
            size += len(note.data)
            read = note.number
        return found, Place(self._name, read)
