"""Runs in which most servers contradict the leader's next dispatch, and takeovers against it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chains import (
    ALICE,
    ANSWER,
    BOB,
    CONTENT,
    DAVE,
    KEEPER,
    MEMBERS,
    SECOND,
    SERVER,
    STRANGER,
    TIME,
    Scribe,
    id_of,
    member,
)

from crypto.keys import SigningKey
from protocol.blocks.cid import CID, Block
from protocol.blocks.listing import EMPTY
from protocol.records.bodies import Comparison, Recomputed, RecomputedAck, Role, Takeover, TakeoverCause

WITNESSES = tuple(sorted((SECOND, DAVE), key=id_of))
"""The two servers that contradict the third, which leads."""
ELSE = Recomputed(since=1, comparison=Comparison.DIVERGED, message=0, content=ANSWER)
"""To what they came."""
OTHERWISE = Recomputed(since=1, comparison=Comparison.DIVERGED, message=0, content=CONTENT)
"""To what a server came that contradicts the leader, and those two."""
NOTHING = Recomputed(since=1, comparison=Comparison.DIVERGED, message=None, content=None)
"""That of one that names nothing to which it came."""
THREE_SERVERS = {**MEMBERS, "third server": member(DAVE, Role.SERVER)}
"""The tests' federation, and Dave as a third server."""
FIVE_SERVERS = {
    **THREE_SERVERS,
    "fourth server": member(KEEPER, Role.SERVER),
    "fifth server": member(STRANGER, Role.SERVER),
}
MOST = (SECOND, DAVE, KEEPER)
"""Of five servers."""


def three_servers() -> Scribe:
    """A run whose first dispatch is disputed: it is not in the chain."""
    scribe = Scribe(THREE_SERVERS)
    scribe.add(scribe.run())
    return scribe


def disputed(s: Scribe) -> CID:
    """The leader's next dispatch."""
    return s.sign(s.dispatch(), SERVER).cid


def word(
    s: Scribe, by: SigningKey, told: Recomputed = ELSE, *, signer: SigningKey | None = None, **changes: Any
) -> Block:
    """What a server made of the disputed dispatch."""
    return s.sign(said(s, by, told, **changes), signer or by)


def said(s: Scribe, by: SigningKey, told: Recomputed = ELSE, **changes: Any) -> RecomputedAck:
    """The same, not signed."""
    chain = s.chain
    given = {"run": chain.run, "term": chain.term, "height": chain.height + 1, "head": disputed(s), "replies": EMPTY}
    return RecomputedAck(**{"by": id_of(by), "time": TIME, "recomputed": told} | given | changes)


def against(
    s: Scribe,
    *words: Block,
    record: CID | None = None,
    leader: SigningKey = SECOND,
    voters: Sequence[SigningKey] = (SECOND, DAVE, ALICE, BOB),
    voted: CID | None = None,
    **changes: Any,
) -> Takeover:
    """A takeover against the disputed dispatch, or ``record``, with ``words``, or those of the two other servers. The
    votes are against ``voted``, or the same."""
    record = record or disputed(s)
    words = words or tuple(word(s, each) for each in WITNESSES)
    votes = [s.sign(s.vote(each, leader, against=voted or record), each) for each in sorted(voters, key=id_of)]
    given = {"cause": TakeoverCause.DISPUTE, "against": record, "words": s.pack(each.cid for each in words)}
    return s.takeover(*votes, leader=leader, **given | changes)
