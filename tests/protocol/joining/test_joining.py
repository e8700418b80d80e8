"""Joining with a ticket: what passes on the topic, what the inviter decides, and that a bad network changes nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import msgpack
import pytest
from chains import ADMIN, Blocks, unsigned_federation
from hypothesis import given
from hypothesis import strategies as st

from crypto.identity import Identity
from protocol.blocks.cid import cbor_block
from protocol.federation.manifest import Manifest, first_manifest
from protocol.federation.past_members import Listed
from protocol.joining.messages import (
    MAX_INLINE,
    MAX_JOIN,
    Answer,
    Attempt,
    Decision,
    Join,
    NotForUs,
    Pending,
    Refused,
    Welcomed,
    WhyRefused,
    decide,
    inline_blocks,
    open_answer,
    open_join,
    parse_join_envelope,
    seal_answer,
    seal_join,
    topic_join,
)
from protocol.joining.tickets import PENDING_FOR, Invitation, InvitationState, TicketKeys
from protocol.records.bodies import EncryptionKeyText, Member, Role
from protocol.records.contexts import JoinSide
from protocol.records.signed_records import parse_record, sign_record
from protocol.wire.announcements import INLINE_BUDGET, MAX_ADDRESSES, MAX_ANNOUNCEMENT

NOW = 1_800_000_000.0
FEDERATION = cbor_block("federation").cid
KEYS, OTHERS = TicketKeys.of(b"s" * 32, FEDERATION), TicketKeys.of(b"t" * 32, FEDERATION)
NEWCOMER, THIEF = (Identity.generate(name).public_for(bytes(FEDERATION)) for name in ("newcomer", "thief"))
INVITATION = Invitation(KEYS, "hospital-b", (Role.CLIENT,), expires=int(NOW) + 60)
CID = cbor_block("manifest").cid


def first() -> Manifest:
    return first_manifest(parse_record(sign_record(unsigned_federation().body, [ADMIN])), Blocks())


MANIFEST = first()


def with_newcomer(manifest: Manifest = MANIFEST) -> Manifest:
    """The manifest as it is once the newcomer was let in."""
    encryption = EncryptionKeyText(suite=NEWCOMER.encryption.suite.value, key=NEWCOMER.encryption.raw)
    member = Member(
        id=NEWCOMER.id, signing=NEWCOMER.id, encryption=encryption, roles=(Role.CLIENT,), proof=NEWCOMER.proof
    )
    return replace(manifest, members={**manifest.members, member.id: member})


# -- the wire ------------------------------------------------------------------------------------------------------


ids = st.binary(min_size=32, max_size=32)
answers = st.one_of(
    st.builds(
        Welcomed,
        ids,
        st.just(CID),
        st.lists(st.binary(max_size=50), max_size=3).map(tuple),
        st.lists(st.text(max_size=256), max_size=MAX_ADDRESSES).map(tuple),
    ),
    st.builds(Pending, ids),
    st.builds(Refused, ids, st.sampled_from(WhyRefused), st.text(max_size=500)),
)


@given(answers)
def test_an_answer_reads_as_it_was_written(answer: Answer) -> None:
    assert open_answer(KEYS, parse_join_envelope(seal_answer(KEYS, answer))) == answer


def test_a_join_says_who_asks() -> None:
    assert open_join(KEYS, parse_join_envelope(seal_join(KEYS, Join(NEWCOMER)))) == Join(NEWCOMER)


def test_somebody_with_another_ticket_learns_nothing() -> None:
    for message in (seal_join(KEYS, Join(NEWCOMER)), seal_answer(KEYS, Pending(NEWCOMER.id))):
        assert NEWCOMER.id not in message
        assert NEWCOMER.encryption.raw[:32] not in message
    with pytest.raises(NotForUs):
        open_join(OTHERS, parse_join_envelope(seal_join(KEYS, Join(NEWCOMER))))


def test_a_tag_alone_is_no_proof() -> None:
    """A listener knows the tag, but can write no join that opens."""
    forged = msgpack.packb([KEYS.tag, "join", OTHERS.encrypt(b"anything", JoinSide.NEWCOMER)])
    with pytest.raises(NotForUs):
        open_join(KEYS, parse_join_envelope(forged))


def test_an_answer_is_no_join_nor_the_other_way_round() -> None:
    join, answer = seal_join(KEYS, Join(NEWCOMER)), seal_answer(KEYS, Pending(NEWCOMER.id))
    with pytest.raises(NotForUs):
        open_answer(KEYS, parse_join_envelope(join))
    with pytest.raises(NotForUs):
        open_join(KEYS, parse_join_envelope(answer))
    relabelled = msgpack.packb([KEYS.tag, "answer", msgpack.unpackb(join)[2]])
    with pytest.raises(NotForUs):
        open_answer(KEYS, parse_join_envelope(relabelled))


def test_no_changed_byte_of_a_join_opens() -> None:
    message = seal_join(KEYS, Join(NEWCOMER))
    for place in [*range(40), *range(40, len(message), 37)]:
        changed = message[:place] + bytes([message[place] ^ 1]) + message[place + 1 :]
        with pytest.raises(NotForUs):
            open_join(KEYS, parse_join_envelope(changed))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    with pytest.raises(NotForUs):
        open_join(KEYS, parse_join_envelope(data))


@given(st.recursive(st.none() | st.integers() | st.text() | st.binary(), st.lists, max_leaves=8))
def test_what_a_holder_of_the_ticket_writes_is_a_join_or_refused(value: object) -> None:
    message = msgpack.packb([KEYS.tag, "join", KEYS.encrypt(msgpack.packb(value, default=str), JoinSide.NEWCOMER)])
    with pytest.raises(NotForUs):
        open_join(KEYS, parse_join_envelope(message))


def test_there_is_one_way_to_write_a_message() -> None:
    tag, kind, sealed = msgpack.unpackb(seal_answer(KEYS, Pending(NEWCOMER.id)))
    for other in ([tag, kind, sealed, None], [tag, kind, sealed, 1], {"tag": tag, "kind": kind, "sealed": sealed}):
        with pytest.raises(NotForUs):
            parse_join_envelope(msgpack.packb(other))
    longer = KEYS.encrypt(msgpack.packb(["pending", {"to": NEWCOMER.id, "more": 1}]), JoinSide.INVITER)
    with pytest.raises(NotForUs):
        open_answer(KEYS, parse_join_envelope(msgpack.packb([tag, kind, longer])))


def test_an_answer_of_no_known_name_is_refused() -> None:
    sealed = KEYS.encrypt(msgpack.packb(["adopted", {"to": NEWCOMER.id}]), JoinSide.INVITER)
    with pytest.raises(NotForUs, match="'adopted' is no answer"):
        open_answer(KEYS, parse_join_envelope(msgpack.packb([KEYS.tag, "answer", sealed])))


def test_a_message_is_bounded() -> None:
    with pytest.raises(NotForUs, match="more than"):
        parse_join_envelope(bytes(MAX_ANNOUNCEMENT + 1))
    with pytest.raises(NotForUs, match="a join of"):
        parse_join_envelope(msgpack.packb([KEYS.tag, "join", bytes(MAX_JOIN + 1)]))


def test_many_addresses_and_long_notes_are_cut() -> None:
    many = Welcomed(NEWCOMER.id, CID, (), tuple(f"address {n}" for n in range(99)))
    sent = open_answer(KEYS, parse_join_envelope(seal_answer(KEYS, many)))
    assert isinstance(sent, Welcomed)
    assert sent.addresses == many.addresses[:MAX_ADDRESSES]
    refused = open_answer(
        KEYS, parse_join_envelope(seal_answer(KEYS, Refused(NEWCOMER.id, WhyRefused.UNFIT, "n" * 9999)))
    )
    assert isinstance(refused, Refused)
    assert len(refused.note) == 500


def test_blocks_go_along_if_they_all_fit() -> None:
    assert inline_blocks((b"one", b"two")) == (b"one", b"two")
    assert inline_blocks((bytes(INLINE_BUDGET), b"")) == (bytes(INLINE_BUDGET), b"")
    assert inline_blocks((bytes(INLINE_BUDGET), b"1")) == ()
    assert inline_blocks((b"",) * (MAX_INLINE + 1)) == ()


def test_the_largest_welcome_can_be_sent() -> None:
    blocks = inline_blocks((b"",) * (MAX_INLINE - 1) + (bytes(INLINE_BUDGET),))
    answer = Welcomed(NEWCOMER.id, CID, blocks, ("é" * 256,) * MAX_ADDRESSES)
    assert open_answer(KEYS, parse_join_envelope(seal_answer(KEYS, answer))) == answer


def test_the_topic_is_the_federation_s_own() -> None:
    assert topic_join(CID) == f"/pollen/1/{CID}/join"


# -- the inviter ---------------------------------------------------------------------------------------------------


def test_a_newcomer_in_time_is_let_in() -> None:
    assert decide(INVITATION, NEWCOMER, MANIFEST, NOW, Listed()) is Decision.ADMIT


def test_an_admin_that_wants_to_be_asked_is() -> None:
    assert decide(replace(INVITATION, ask=True), NEWCOMER, MANIFEST, NOW, Listed()) is Decision.ASK


def test_a_ticket_is_not_good_from_its_time_on() -> None:
    assert decide(INVITATION, NEWCOMER, MANIFEST, INVITATION.expires - 0.001, Listed()) is Decision.ADMIT
    assert decide(INVITATION, NEWCOMER, MANIFEST, INVITATION.expires, Listed()) == Refused(
        NEWCOMER.id, WhyRefused.EXPIRED
    )


@pytest.mark.parametrize("used", [INVITATION.used_by(NEWCOMER), INVITATION.used_by(NEWCOMER).done()])
def test_a_ticket_works_once(used: Invitation) -> None:
    assert decide(used, THIEF, with_newcomer(), NOW, Listed()) == Refused(THIEF.id, WhyRefused.USED)
    assert decide(used, THIEF, MANIFEST, NOW, Listed()) == Refused(THIEF.id, WhyRefused.USED)


def test_a_newcomer_that_was_let_in_is_told_so_again_even_after_the_time() -> None:
    used = INVITATION.used_by(NEWCOMER).done()
    assert decide(used, NEWCOMER, with_newcomer(), INVITATION.expires + 1.0, Listed()) is Decision.WELCOME


def test_a_newcomer_in_time_waits_beyond_it() -> None:
    used = replace(INVITATION, ask=True).used_by(NEWCOMER)
    assert decide(used, NEWCOMER, MANIFEST, INVITATION.expires + 1.0, Listed()) is Decision.ASK
    assert decide(used, NEWCOMER, with_newcomer(), INVITATION.expires + 1.0, Listed()) is Decision.WELCOME


def test_a_newcomer_in_time_does_not_wait_for_ever() -> None:
    late = INVITATION.expires + PENDING_FOR
    for used in (INVITATION.used_by(NEWCOMER), replace(INVITATION, ask=True).used_by(NEWCOMER)):
        assert decide(used, NEWCOMER, MANIFEST, late, Listed()) == Refused(NEWCOMER.id, WhyRefused.EXPIRED)
        assert decide(used, NEWCOMER, with_newcomer(), late, Listed()) is Decision.WELCOME


def test_a_time_that_is_over_stays_over_whatever_the_clock_says_later() -> None:
    assert decide(INVITATION.expired(), NEWCOMER, MANIFEST, NOW, Listed()) == Refused(NEWCOMER.id, WhyRefused.EXPIRED)


LET_IN_SINCE = Listed(frozenset({NEWCOMER.id}), frozenset({NEWCOMER.encryption.raw}), frozenset({INVITATION.name}))
"""What the versions since the invitation list, if one had the newcomer and the newest has not."""


@pytest.mark.parametrize("invitation", [INVITATION, INVITATION.used_by(NEWCOMER)])
def test_whoever_a_version_has_listed_since_comes_in_by_no_older_invitation(invitation: Invitation) -> None:
    """The inviter died before it had noted that the newcomer was in; or another admin's home let it in."""
    removed = Refused(NEWCOMER.id, WhyRefused.REMOVED)
    for ask in (False, True):
        assert decide(replace(invitation, ask=ask), NEWCOMER, MANIFEST, NOW, LET_IN_SINCE) == removed


def test_nor_does_it_with_another_id_and_the_same_encryption_key() -> None:
    again = replace(THIEF, encryption=NEWCOMER.encryption)
    assert decide(INVITATION, again, MANIFEST, NOW, LET_IN_SINCE) == Refused(THIEF.id, WhyRefused.REMOVED)


def test_a_name_that_somebody_has_had_since_is_used() -> None:
    named = Listed(names=frozenset({INVITATION.name}))
    assert decide(INVITATION, NEWCOMER, MANIFEST, NOW, named) == Refused(NEWCOMER.id, WhyRefused.USED)


def test_an_invitation_that_was_ended_lets_nobody_in() -> None:
    for ended in (INVITATION.ended(), INVITATION.used_by(NEWCOMER).ended()):
        assert decide(ended, NEWCOMER, MANIFEST, NOW, Listed()) == Refused(NEWCOMER.id, WhyRefused.REMOVED)


def test_an_inviter_that_died_between_the_two_writes_goes_on() -> None:
    assert decide(INVITATION.used_by(NEWCOMER), NEWCOMER, MANIFEST, NOW, Listed()) is Decision.ADMIT


def test_a_removed_member_does_not_come_in_again_with_the_old_ticket() -> None:
    used = INVITATION.used_by(NEWCOMER).done()
    assert decide(used, NEWCOMER, MANIFEST, NOW, Listed()) == Refused(NEWCOMER.id, WhyRefused.REMOVED)


def test_a_member_cannot_take_a_second_place() -> None:
    assert decide(INVITATION, NEWCOMER, with_newcomer(), NOW, Listed()) == Refused(NEWCOMER.id, WhyRefused.MEMBER)


def test_a_name_that_somebody_got_meanwhile_is_not_given_twice() -> None:
    taken = replace(INVITATION, name="alice")
    assert decide(taken, NEWCOMER, MANIFEST, NOW, Listed()) == Refused(NEWCOMER.id, WhyRefused.NAME_TAKEN)
    assert decide(taken.used_by(NEWCOMER), NEWCOMER, MANIFEST, NOW, Listed()) == Refused(
        NEWCOMER.id, WhyRefused.NAME_TAKEN
    )


def test_the_state_of_an_invitation() -> None:
    used = INVITATION.used_by(NEWCOMER)
    late = float(INVITATION.expires)
    assert [each.state_at(NOW) for each in (INVITATION, used, used.done())] == ["open", "pending", "used"]
    assert [each.state_at(late) for each in (INVITATION, used, used.done())] == ["expired", "pending", "used"]
    assert [each.state_at(late + PENDING_FOR) for each in (used, used.done())] == ["expired", "used"]
    assert used.newcomer == NEWCOMER


# -- both, over a bad network --------------------------------------------------------------------------------------


class Inviter:
    """What a running peer does with `decide`, in virtual time."""

    def __init__(self, invitation: Invitation = INVITATION) -> None:
        self.invitation, self.manifest = invitation, MANIFEST
        self.admitted = 0

    def hear(self, data: bytes, now: float) -> bytes | None:
        try:
            public = open_join(self.invitation.keys, parse_join_envelope(data)).public
        except NotForUs:
            return None
        return seal_answer(self.invitation.keys, self.answer(public, now))

    def answer(self, public: object, now: float) -> Answer:
        assert public in (NEWCOMER, THIEF)
        decision = decide(self.invitation, public, self.manifest, NOW + now, Listed())  # type: ignore[arg-type]  # asserted
        if isinstance(decision, Refused):
            return decision
        self.invitation = self.invitation.used_by(NEWCOMER) if self.invitation.newcomer is None else self.invitation
        if decision is Decision.ASK:
            return Pending(NEWCOMER.id)
        if decision is Decision.ADMIT:
            self.admitted += 1
            self.manifest = with_newcomer()
        self.invitation = self.invitation.done()
        return Welcomed(NEWCOMER.id, self.manifest.cid, (), ())


def bad_network(chance: random.Random, now: float, data: bytes) -> Iterator[tuple[float, bytes]]:
    """The copies of a message that arrive, and when: none, one or several, in any order."""
    for _ in range(chance.choice([0, 0, 1, 1, 2])):
        yield now + chance.uniform(0.0, 3.0), data


def simulate(seed: int, inviter: Inviter, ends: float = 300.0) -> tuple[Answer | None, int]:
    """The newcomer's last answer, and how often it asked."""
    chance = random.Random(seed)
    attempt, asked, now = Attempt(KEYS, Join(NEWCOMER), 0.0), 0, 0.0
    on_the_way: list[tuple[float, bytes]] = []
    while now < ends:
        if now >= attempt.at:
            asked += 1
            on_the_way += bad_network(chance, now, attempt.ask(now))
        on_the_way.sort()
        while on_the_way and on_the_way[0][0] <= now:
            _, data = on_the_way.pop(0)
            if (answered := inviter.hear(data, now)) is not None:
                on_the_way += bad_network(chance, now, answered)
            answer = attempt.hear(data)
            if isinstance(answer, Welcomed | Refused):
                return answer, asked
            on_the_way.sort()
        now = min([attempt.at, *(at for at, _ in on_the_way)])
    return None, asked


@pytest.mark.parametrize("seed", range(50))
def test_a_newcomer_gets_in_once_however_bad_the_network(seed: int) -> None:
    inviter = Inviter()
    answer, asked = simulate(seed, inviter)
    assert isinstance(answer, Welcomed)
    assert (inviter.admitted, inviter.invitation.state) == (1, InvitationState.USED)
    assert asked < 40


@pytest.mark.parametrize("seed", range(10))
def test_a_late_newcomer_hears_that_it_is_late(seed: int) -> None:
    answer, _ = simulate(seed, Inviter(replace(INVITATION, expires=int(NOW))))
    assert answer == Refused(NEWCOMER.id, WhyRefused.EXPIRED)


def test_a_newcomer_asks_less_and_less_often() -> None:
    attempt, now, asked = Attempt(KEYS, Join(NEWCOMER), 0.0), 0.0, []
    for _ in range(9):
        asked.append(attempt.at)
        now = attempt.at
        attempt.ask(now)
    gaps = [after - before for before, after in pairwise(asked)]
    assert gaps == [0.25, 0.5, 1, 2, 4, 8, 10, 10]


def test_a_newcomer_takes_no_answer_that_is_to_another() -> None:
    attempt = Attempt(KEYS, Join(NEWCOMER), 0.0)
    assert attempt.hear(seal_answer(KEYS, Refused(THIEF.id, WhyRefused.USED))) is None
    assert attempt.hear(seal_answer(OTHERS, Refused(NEWCOMER.id, WhyRefused.USED))) is None
    assert attempt.hear(attempt.ask(0.0)) is None
    assert attempt.hear(b"noise") is None


def test_a_join_that_is_heard_again_later_changes_nothing() -> None:
    """A listener that replays a newcomer's message lets nobody in, and the newcomer only once."""
    inviter = Inviter()
    join = seal_join(KEYS, Join(NEWCOMER))
    answers = [inviter.hear(join, now) for now in (0.0, 5.0, 10_000.0)]
    assert answers[0] == answers[1] == answers[2] is not None
    assert inviter.admitted == 1
