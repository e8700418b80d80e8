"""A member that says as much as it may: what that costs others, counted in signatures that they verify.

An announcement costs its own signature. What is in it is looked at in the order of what that costs, so that hardly one
more is verified, however much is sent that looks true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from attacked import Attacked, ack, following, leading, message_to, nowhere, position, reply_of
from chains import ALICE, CAROL, SERVER, STRANGER, TIME, begun, id_of

from crypto.keys import SigningKey
from protocol.blocks.cid import Block, cbor_block
from protocol.records.bodies import Chained
from protocol.records.signed_records import assemble, parse_record, sign_record
from protocol.roles.effects import KeepProof
from protocol.wire.announcement_seals import AnnouncementSeals
from protocol.wire.announcements import (
    INLINE_BUDGET,
    AckReady,
    Announcement,
    Drop,
    Head,
    Proof,
    ReplyReady,
    Said,
    parse_payload,
    sign_announcement,
)
from protocol.wire.inbox import BYTES, BYTES_AT_ONCE, Inbox

SECONDS = 3
RUN = begun()
HEAD = parse_record(Block(RUN.chain.head, RUN.source[RUN.chain.head])).body
assert isinstance(HEAD, Chained)
LOOKS = 5
"""How often in that time something is looked at that comes to nothing: at once, and 0.25, 0.75 and 1.75 s after."""
Told = tuple[Said, tuple[Block, ...]]


def flood(machine: Attacked, who: SigningKey, told: Callable[[int], Told]) -> None:
    """As many announcements as a member may send in `SECONDS`, each another one."""
    for at in range(SECONDS * 100):
        machine.now += 0.01
        body, blocks = told(at)
        machine.say(who, body, blocks=blocks)


def at_the_head(time: float) -> Chained:
    """What may stand in the place of the head of the run that is attacked, another for each ``time``."""
    return replace(HEAD, time=time)


def unsigned(block: Block) -> Block:
    """The same record with a wrong signature by the same key: it can be told apart only by verifying it."""
    record = parse_record(block)
    return assemble(record.body, {each.by: bytes(64) for each in record.signatures})


def proof_of(one: Block, other: Block) -> Told:
    first, second = sorted((one, other), key=lambda block: parse_record(block).id)
    return Proof(first.cid, second.cid), (first, second)


def by_a_stranger(at: int) -> Told:
    return proof_of(*(sign_record(at_the_head(time), [STRANGER]) for time in (1.0, 2.0 + at)))


def with_wrong_signatures(at: int) -> Told:
    return proof_of(*(unsigned(sign_record(at_the_head(time), [SERVER])) for time in (1.0, 2.0 + at)))


def of_its_own(at: int) -> Told:
    """True ones, against an accomplice: Carol herself."""
    body = replace(at_the_head(1.0), by=id_of(CAROL))
    return proof_of(*(sign_record(replace(body, time=time), [CAROL]) for time in (1.0, 2.0 + at)))


def of_two_places(at: int) -> Told:
    body = at_the_head(1.0)
    return proof_of(sign_record(body, [SERVER]), sign_record(replace(body, height=100 + at), [SERVER]))


PROOFS = {
    "by a stranger": (by_a_stranger, 0),
    "with wrong signatures": (with_wrong_signatures, 1),
    "true, against one member": (of_its_own, 2),
    "of two places": (of_two_places, 0),
}


@pytest.mark.parametrize("attacked", [leading, following])
@pytest.mark.parametrize("kind", PROOFS)
def test_proofs_without_end_have_few_signatures_verified(
    kind: str, attacked: Callable[[], Attacked], verifications: Callable[[], int]
) -> None:
    told, each = PROOFS[kind]
    machine = attacked()
    before = verifications()
    flood(machine, CAROL, told)
    looked_at = 1 if kind.startswith("true") else LOOKS
    assert verifications() - before <= SECONDS * 100 + each * looked_at
    assert len(machine.all(KeepProof)) == kind.startswith("true")


def test_one_members_false_proofs_do_not_keep_a_true_one_of_anothers_waiting() -> None:
    client = following()
    flood(client, CAROL, with_wrong_signatures)
    body, blocks = proof_of(*(sign_record(at_the_head(time), [SERVER]) for time in (1.0, 2.0)))
    client.say(ALICE if client.machine.machine.newest.author.member != id_of(ALICE) else SERVER, body, blocks=blocks)
    assert len(client.all(KeepProof)) == 1


def test_acks_without_end_have_few_signatures_verified(verifications: Callable[[], int]) -> None:
    leader = leading()
    before = verifications()

    def told(at: int) -> Told:
        block = unsigned(ack(leader, time=TIME + at))
        return AckReady(leader.machine.chain.run, block.cid), (block,)

    flood(leader, ALICE, told)
    assert verifications() - before <= SECONDS * 100 + LOOKS


def test_answers_without_end_have_few_signatures_verified(verifications: Callable[[], int]) -> None:
    leader = leading()
    before = verifications()

    def told(at: int) -> Told:
        block = unsigned(reply_of(leader, ALICE, nowhere(at)))
        return ReplyReady(leader.machine.chain.run, message_to(leader, ALICE).id, block.cid), (block,)

    flood(leader, ALICE, told)
    assert verifications() - before <= SECONDS * 100 + 2 * LOOKS


def test_heads_without_end_cost_one_signature_more_each(verifications: Callable[[], int]) -> None:
    client = following()
    before = verifications()

    def told(at: int) -> Told:
        scribe = client.scribe
        block = unsigned(sign_record(replace(at_the_head(1.0 + at), height=2, prev=scribe.chain.head), [SERVER]))
        return Head(position(scribe, head=block.cid, height=2)), (block,)

    flood(client, SERVER, told)
    assert verifications() - before <= 2 * SECONDS * 100


# -- in bytes ----------------------------------------------------------------------------------------------------------


def test_what_one_member_says_is_bounded_in_bytes_and_what_is_over_is_not_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inbox = Inbox(RUN.first.cid, AnnouncementSeals(RUN.first, RUN.source))
    largest = cbor_block(bytes(INLINE_BUDGET - 8))
    accepted = parsed = 0

    def parse(payload: bytes) -> Announcement:
        nonlocal parsed
        parsed += len(payload)
        return parse_payload(payload)

    monkeypatch.setattr("protocol.wire.inbox.parse_payload", parse)
    for counter in range(1, SECONDS * 100):
        said = Announcement(RUN.first.cid, id_of(CAROL), counter, Head(position(RUN)), (), (largest,))
        heard = inbox.accept(sign_announcement(said, CAROL), RUN.first, counter / 100)
        assert isinstance(heard, Announcement) or heard is Drop.RATE_LIMITED
        accepted += isinstance(heard, Announcement)
    assert accepted * INLINE_BUDGET >= BYTES_AT_ONCE
    assert parsed <= BYTES_AT_ONCE + SECONDS * BYTES
