"""Acks that a member with a valid key sends to a leader: those that are foreign, false or too many are not kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attacked import Attacked, ack, leading, nowhere
from chains import ALICE, BOB, TIME, id_of

from crypto.keys import SigningKey
from protocol.blocks.cid import Block
from protocol.blocks.listing import Listing
from protocol.roles.effects import KeepAcks, What
from protocol.roles.leader.heard_acks import MAX_ACK
from protocol.roles.leader.leader import Leader
from protocol.wire.announcements import AckReady


def send(leader: Attacked, block: Block, who: SigningKey = ALICE) -> None:
    leader.say(who, AckReady(leader.machine.chain.run, block.cid), blocks=[block])


def kept(leader: Attacked) -> list[Block]:
    leader.wait(10.0)
    return [block for effect in leader.all(KeepAcks) for block in effect.blocks]


def test_a_true_ack_is_kept() -> None:
    leader = leading()
    send(leader, block := ack(leader))
    assert kept(leader) == [block]


FORGED: dict[str, Callable[[Attacked], Block]] = {
    "signed by another": lambda leader: ack(leader, BOB),
    "in another's name": lambda leader: ack(leader, by=id_of(BOB)),
    "of another run": lambda leader: ack(leader, run=nowhere("run")),
    "of another head": lambda leader: ack(leader, head=nowhere("head")),
    "of a height to come": lambda leader: ack(leader, height=1_000),
    "of another term": lambda leader: ack(leader, term=2),
    "encrypted": lambda leader: ack(leader, epoch=1),
    "with something private": lambda leader: ack(leader, private=b"x" * 1_000),
    "with replies elsewhere": lambda leader: ack(leader, replies=Listing(nowhere("listing"))),
    "with too many replies": lambda leader: ack(
        leader, replies=Listing(tuple(nowhere(at) for at in range(MAX_ACK // 40)))
    ),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
def test_an_ack_that_is_forged_or_too_large_is_reported_and_not_kept(forge: Callable[[Attacked], Block]) -> None:
    leader = leading()
    send(leader, forge(leader))
    assert (kept(leader), len(leader.reported(What.ACK_REFUSED))) == ([], 1)


def test_no_more_than_one_ack_for_each_height_is_kept() -> None:
    """Otherwise a member with a valid key fills the leader's disk."""
    leader = leading()
    assert isinstance(leader.machine, Leader)
    send(leader, newest := ack(leader))
    first = leader.machine.chain.run
    for at in range(20):
        leader.now += 0.1
        send(leader, ack(leader, height=0, head=first, time=TIME + at))
    assert kept(leader) == [newest]
