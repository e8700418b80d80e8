"""Members of two federations, with one key in both: what is said or signed for one counts for nothing in the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attacked import Attacked, leading, listening, message_to, nowhere, position, reply_of
from chains import ALICE, SERVER, STRANGER, TIME, Scribe, begun, id_of

from crypto.keys import SigningKey
from protocol.blocks.cid import Block
from protocol.blocks.listing import Listing
from protocol.records.bodies import Ack
from protocol.records.signed_records import sign_record
from protocol.roles.events import Received
from protocol.wire.announcements import (
    AckReady,
    Announcement,
    Beat,
    Bye,
    Head,
    Hello,
    PeerState,
    ReplyReady,
    Said,
    sign_announcement,
    topic_all,
    topic_leader,
)

OTHER = Scribe(founders=[STRANGER])
"""B: the members are those of A, and their keys are the same."""


def say_in_b(peer: Attacked, who: SigningKey, body: Said, *blocks: Block) -> None:
    """Publish on a topic of A what a member said in B."""
    said = Announcement(OTHER.first.cid, id_of(who), 1_000, body, ("/ip4/192.0.2.1/tcp/1/p2p/12D3KooWQ",), blocks)
    peer.feed(Received(sign_announcement(said, who)))


def answered(leader: Attacked) -> tuple[Said, Block]:
    reply = reply_of(leader, ALICE, nowhere("content"))
    return ReplyReady(leader.machine.chain.run, message_to(leader, ALICE).id, reply.cid), reply


def acked(leader: Attacked) -> tuple[Said, Block]:
    chain = leader.machine.chain
    assert chain.head is not None
    place = {"run": chain.run, "term": 1, "height": chain.height, "head": chain.head}
    ack = sign_record(Ack(by=id_of(ALICE), time=TIME, replies=Listing(()), **place), [ALICE])
    return AckReady(chain.run, ack.cid), ack


def here(leader: Attacked) -> tuple[Said]:
    return (Hello(leader.manifest, PeerState.IDLE, None),)


def gone(leader: Attacked) -> tuple[Said]:
    return (Bye(),)


@pytest.mark.parametrize("said", [answered, acked, here, gone], ids=lambda said: said.__name__)
def test_a_leader_takes_nothing_that_a_member_of_both_said_in_the_other(
    said: Callable[[Attacked], tuple[Said, *tuple[Block, ...]]],
) -> None:
    """Not even what would be good in its own: the federation is part of what is signed."""
    leader = leading()
    body, *blocks = said(leader)
    before = len(leader.effects)
    say_in_b(leader, ALICE, body, *blocks)
    assert leader.effects[before:] == []

    leader.say(ALICE, body, blocks=blocks)
    leader.wait(10.0)
    assert leader.effects[before:] != []


def test_a_client_follows_no_run_that_its_server_announces_in_the_other() -> None:
    client, run = listening(Scribe()), begun()
    for body in (Head(position(run)), Beat(client.manifest, PeerState.LEADING, position(run))):
        say_in_b(client, SERVER, body)
    assert not client.fetching
    client.say(SERVER, Head(position(run)))
    assert client.fetching


def test_the_topics_of_two_federations_are_others() -> None:
    a, b = Scribe().first.cid, OTHER.first.cid
    assert len({topic(each) for topic in (topic_all, topic_leader) for each in (a, b)}) == 4
