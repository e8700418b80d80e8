"""Chains of runs that do not wait for all replies."""

from __future__ import annotations

from typing import Any

from chains import ALICE, BOB, Scribe, begun, node_of

from crypto.keys import SigningKey
from protocol.records.bodies import Collect

RULE = "replies=50% deadline=30"


def hurried() -> Scribe:
    """A run that waits for half of the replies, and its first dispatch."""
    return begun(closing=RULE)


def leaving_out(s: Scribe, *clients: SigningKey, **changes: Any) -> Collect:
    """A collect that takes Alice's reply, and leaves ``clients`` out."""
    ids = [s.message(each).id for each in clients]
    given = {"messages_left_out": s.pack(ids)} | changes
    return s.collect(s.taken(ALICE), *map(s.error, clients), **given)


def bob_left_out() -> Scribe:
    """Bob was left out of the first exchange, and the second is open."""
    scribe = hurried()
    scribe.add(leaving_out(scribe, BOB))
    scribe.add(scribe.dispatch())
    return scribe


def late_reply(s: Scribe, client: SigningKey = BOB, *signers: SigningKey, **changes: Any) -> bytes:
    """The client's reply to the oldest message that it was left out with, as a collect tells of it."""
    message = next(each for each in s.chain.left_out.values() if each.node == node_of(client))
    given = {"message": message.id, "dispatch": message.dispatch} | changes
    return s.sign(s.reply_body(client, **given), *(signers or [client])).data


def telling(s: Scribe, *late: bytes) -> Collect:
    """A collect that takes Alice's reply, and tells of late ones."""
    return s.collect(s.taken(ALICE), late_replies=s.pack(late))
