"""Members, heads and voters of a small election, as values."""

from __future__ import annotations

from dataclasses import replace

from protocol.blocks.cid import CID, cbor_block
from protocol.votes.electorate import Electorate
from protocol.votes.promise import Promise
from protocol.votes.voter import Voter
from protocol.wire.announcements import Candidature, Canvassed, Position, Refusal

LEADER, OTHER, THIRD, ANN, BOB = (bytes([number]) * 32 for number in range(1, 6))
"""Two servers beside the leader, and two clients."""

SERVERS = frozenset({LEADER, OTHER, THIRD})


def cid(name: str) -> CID:
    return cbor_block(name).cid


RUN, MANIFEST = cid("run"), cid("manifest")
ELECTORATE = Electorate(MANIFEST, SERVERS | {ANN, BOB}, SERVERS)

NEW, NEWER, NEWEST = (bytes([number]) * 32 for number in range(6, 9))
EXCHANGED = Electorate(MANIFEST, frozenset({LEADER, NEW, NEWER, NEWEST}), SERVERS, frozenset({ELECTORATE.voters}))
"""After a roster that left one voter of five."""


def at(height: int, term: int = 1, name: str = "") -> Position:
    return Position(RUN, cid(name or f"head {term} {height}"), height, term)


def candidature(position: Position, term: int = 2, manifest: CID = MANIFEST) -> Candidature:
    return Candidature(position, manifest, term)


def promise(term: int, candidate: bytes = OTHER, height: int = 5) -> Promise:
    return Promise(term, candidate, at(height).head, cid(f"vote {term}"))


def voter(member: bytes = ANN, **other: object) -> Voter:
    """It has verified height 5 of term 1, and hears the leader no more."""
    return replace(Voter(member, at(5), ELECTORATE), **other)


def told(by_term: int = 2, highest: int = 1, refusal: Refusal | None = None, position: Position | None = None):
    """The answer to `OTHER`'s question about ``by_term``."""
    return Canvassed(OTHER, RUN, by_term, highest, refusal, position)
