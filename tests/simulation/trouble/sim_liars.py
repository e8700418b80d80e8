"""A member that lies in elections: beside its honest process it says what it likes, with its own key."""

from __future__ import annotations

from enum import StrEnum, auto
from typing import Final

from sim_federation import key_of
from sim_peer import Peer
from simulation import Simulation

from protocol.blocks.cid import Block
from protocol.records.bodies import Vote
from protocol.records.signed_records import sign_record
from protocol.roles.effects import Publish
from protocol.roles.server.server import Server
from protocol.votes.voter import TERMS_A_SECOND
from protocol.wire.announcements import (
    Announcement,
    Beat,
    Candidature,
    Canvass,
    Canvassed,
    Position,
    Refusal,
    Said,
    VoteAsked,
    VoteReady,
    parse_announcement,
    sign_announcement,
    topic_all,
    topic_leader,
)

AGAIN: Final = 0.25
"""Seconds between two questions of one that canvasses for ever."""

HIGH: Final = 1 << 62


class Lie(StrEnum):
    """What a liar does."""

    VOTES_TWICE = auto()
    DENIES = auto()
    """It says that it has promised the next term, whatever it is asked and whatever it has voted."""
    WITHHOLDS = auto()
    """It answers nobody in an election."""
    REPLAYS = auto()
    """It says all its answers again, to everybody that asks anything."""
    CLAIMS = auto()
    """It says that it has promised a term to which nobody comes."""
    CANVASSES = auto()
    """A server: it asks for votes without end, in rising terms, and leads nothing if it gets them."""
    LEAPS = auto()
    """A server: it has one voter vote for it, as often as it gets that, in the highest term in which anybody votes. It
    votes for nobody itself, and leads nothing."""

    @property
    def of_server(self) -> bool:
        """Whether a server tells it."""
        return self in (Lie.CANVASSES, Lie.LEAPS)


class Liar:
    """Lies in the name of ``who``."""

    def __init__(self, run: Simulation, who: Peer, lie: Lie) -> None:
        self._run, self._who, self._lie = run, who, lie
        self._answers: list[tuple[Said, tuple[Block, ...]]] = []
        self._term = 1
        self.told = 0
        """How often it has lied."""
        self._hear, self._publish = who._hear, who._publish
        who._hear = self._hears  # type: ignore[method-assign]  # of this peer alone
        who._publish = self._publishes  # type: ignore[method-assign]
        if lie.of_server:
            self._canvass()

    def _say(self, body: Said, *blocks: Block, topic: str | None = None, to: Peer | None = None) -> None:
        machine = self._who._machine
        if machine is None:
            return
        self.told += 1
        key = key_of(self._who.name)
        acting = (machine.role if isinstance(machine, Server) else machine).machine.acting
        counter, acting.counter = acting.counter, acting.counter + 1  # or its honest half would not be heard
        said = Announcement(self._run.federation, key.verify_key.raw, counter, body, (), blocks)
        topic = topic_leader(self._run.federation) if topic is None else topic
        if to is None:
            self._who._network.publish(self._who.name, topic, sign_announcement(said, key))
        else:
            self._who._network.tell(self._who.name, to.name, topic, sign_announcement(said, key))

    def _publishes(self, effect: Publish) -> None:
        said = parse_announcement(effect.data).announcement
        if isinstance(said.body, Canvassed | VoteReady):
            self._answers.append((said.body, said.blocks))
            if self._lie in (Lie.WITHHOLDS, Lie.LEAPS):
                self.told += 1
                return
        if isinstance(said.body, Canvass | VoteAsked) and self._lie is Lie.LEAPS:
            return
        self._publish(effect)

    def _hears(self, data: bytes) -> None:
        said = parse_announcement(data).announcement
        if said.by != key_of(self._who.name).verify_key.raw:
            match said.body:
                case Canvass() | VoteAsked() as asked:
                    self._answer(said.by, asked)
                case Beat(position=Position() as position) if self._lie is Lie.CLAIMS:
                    self._say(Canvassed(said.by, position.run, position.term, HIGH, Refusal.OLD_TERM, None))
        self._hear(data)

    def _answer(self, by: bytes, asked: Candidature) -> None:
        run = asked.position.run
        match self._lie:
            case Lie.VOTES_TWICE:
                for delay in (0.0, 1.0):
                    self._vote(by, asked, delay)
            case Lie.DENIES:
                self._say(Canvassed(by, run, asked.term, asked.term + 1, Refusal.OLD_TERM, None))
            case Lie.CLAIMS:
                self._say(Canvassed(by, run, asked.term, HIGH, Refusal.OLD_TERM, None))
            case Lie.REPLAYS:
                for body, blocks in tuple(self._answers):
                    self._say(body, *blocks)
            case Lie.WITHHOLDS | Lie.CANVASSES | Lie.LEAPS:
                pass

    def _vote(self, candidate: bytes, asked: Candidature, later: float) -> None:
        key, at = key_of(self._who.name), asked.position
        vote = Vote(
            by=key.verify_key.raw,
            time=self._run.timeline.now + later,
            run=at.run,
            term=asked.term,
            candidate=candidate,
            head=at.head,
            height=at.height,
            manifest=asked.manifest,
        )
        block = sign_record(vote, [key])
        self._say(VoteReady(at.run, candidate, asked.term, block.cid), block)

    def _canvass(self) -> None:
        for head in self._who.disk.heads.values():
            at, topic = Position(head.run, head.head, head.height, head.term), topic_all(self._run.federation)
            if self._lie is Lie.LEAPS:
                term = int(TERMS_A_SECOND * self._run.timeline.now)
                self._say(VoteAsked(at, self._run.federation, term), topic=topic, to=self._run.clients[0])
                continue
            self._term += 1
            for kind in (Canvass, VoteAsked):
                self._say(kind(at, self._run.federation, self._term), topic=topic)
        self._run.timeline.after(AGAIN, self._canvass)
