"""An exchange that does not wait for all: when it closes, what the app gets, and what becomes of late replies."""

from __future__ import annotations

from typing import Any

import pytest
from attacked import Attacked, leading, message_to, reply_of
from chains import ADMIN, ALICE, ANSWER, BOB, CAROL, CONTENT, TIME, id_of, node_of

from crypto.keys import SigningKey
from protocol.app.calls import ErrorCode, Examine, Examined, Handed, Outgoing, Pull, Push, Replies, Wait
from protocol.blocks.cid import Block
from protocol.chain.chain import Chain
from protocol.federation.unsigned_versions import without_member
from protocol.records.bodies import Collect
from protocol.records.signed_records import parse_record
from protocol.replies.checks_and_limits import Check, Examination, FailedCheck
from protocol.replies.closing_rule import AT_ONCE, ClosingRule, Count, Share
from protocol.roles.effects import Hand, Store, What
from protocol.roles.events import AppCalled, EngineAnswered, ManifestChanged
from protocol.status.lateness import Lateness
from protocol.status.role_status import Lack
from protocol.wire.announcements import Bye, ReplyReady

HALF_IN_30_S = ClosingRule(Share(500), 30.0)
BAD = Examination(failed=(FailedCheck(Check.FINITE, "it has NaN"),))
AFTER_THE_DEADLINE = 31


def hurried(rule: ClosingRule | None = HALF_IN_30_S, timeout: float | None = None) -> Attacked:
    """A leader whose app waits for Alice and Bob, as Flower's strategies do."""
    leader = leading(closing=rule)
    leader.feed(EngineAnswered())
    wait(leader, 2, timeout)
    return leader


def chain_of(leader: Attacked) -> Chain:
    chain: Chain = leader.machine.chain  # type: ignore[union-attr]  # it is a leader
    return chain


def wait(leader: Attacked, call: int, timeout: float | None = None) -> None:
    leader.feed(AppCalled(Wait(call, tuple(chain_of(leader).open), timeout)))


def goes_by(leader: Attacked, seconds: int) -> None:
    """Time in which the engine answers each second."""
    for _ in range(seconds):
        leader.wait(1.0)
        leader.feed(EngineAnswered())


def replies(leader: Attacked) -> list[Handed]:
    return [reply for hand in leader.all(Hand) if isinstance(hand.value, Replies) for reply in hand.value.replies]


def announce(leader: Attacked, client: SigningKey, reply: Block) -> None:
    body: Any = parse_record(reply).body
    leader.say(client, ReplyReady(body.run, body.message, reply.cid), blocks=(reply,))


def answers(leader: Attacked, client: SigningKey, found: Examination | None = None, **changes: Any) -> Block:
    """A client's reply comes, and is examined; unless it is an error there is a content."""
    reply = reply_of(leader, client, changes.pop("content", ANSWER), **changes)
    announce(leader, client, reply)
    for examine in [each for each in leader.fetching.values() if isinstance(each, Examine)]:
        del leader.fetching[examine.id]
        leader.feed(Examined(examine.id, found or Examination()))
    return reply


def next_exchange(leader: Attacked, call: int = 3) -> None:
    sent = tuple(Outgoing(CONTENT, "train", "1", 3600.0, node_of(client)) for client in (ALICE, BOB))
    leader.feed(AppCalled(Push(call, sent)))
    wait(leader, call + 1)


def collects(leader: Attacked) -> list[Collect]:
    blocks = [block for store in leader.all(Store) if store.own for block in store.blocks if b"sigs" in block.data]
    return [body for block in blocks if isinstance(body := parse_record(block).body, Collect)]


def codes(leader: Attacked) -> list[int | None]:
    return [reply.code for reply in replies(leader)]


# -- when it closes --------------------------------------------------------------------------------------------------


def test_it_closes_once_enough_replies_are_in_and_the_deadline_is_over() -> None:
    leader = hurried()
    answers(leader, ALICE)
    goes_by(leader, 29)
    assert not replies(leader)
    goes_by(leader, 2)
    alice, bob = replies(leader)
    assert (alice.code, bob.code) == (None, ErrorCode.MESSAGE_UNAVAILABLE)
    assert bob.reason == "left out: 1 of 2 replies were in, and the deadline of 30 s was over"
    (collect,) = collects(leader)
    assert collect.messages_left_out.value == (bob.message,)
    (told,) = leader.reported(What.LEFT_OUT)
    assert (told["whom"], told["clients"]) == ("bob", 1)
    (told,) = leader.reported(What.COLLECTED)
    assert (told["replies"], told["errors"]) == (1, 0)


def test_the_status_says_how_many_replies_are_enough_and_until_when_the_others_may_come() -> None:
    leader = hurried()

    def awaited() -> tuple[int | None, int | None, float | None]:
        (wait,) = (wait for wait in leader.machine.machine.status(leader.now).waits if wait.lack is Lack.REPLIES)
        return wait.here, wait.needed, wait.until

    assert awaited() == (0, 1, TIME + 30)
    goes_by(leader, AFTER_THE_DEADLINE)
    here, needed, until = awaited()
    assert (here, needed) == (0, 1)
    assert until is not None
    assert until > leader.now, "it gives them up by its client time-out"


def test_without_a_deadline_more_than_enough_are_not_awaited_and_the_status_says_how_many_that_are() -> None:
    leader = hurried(ClosingRule(Count(2), AT_ONCE))
    answers(leader, ALICE)
    (wait,) = (wait for wait in leader.machine.machine.status(leader.now).waits if wait.lack is Lack.REPLIES)
    assert (wait.whom, wait.here, wait.needed) == (("bob",), 1, 2)


def test_if_all_replies_are_in_it_closes_at_once_and_nobody_is_left_out() -> None:
    leader = hurried()
    answers(leader, ALICE)
    answers(leader, BOB)
    assert codes(leader) == [None, None]
    assert collects(leader)[0].messages_left_out.value == ()


def test_with_too_few_replies_it_waits_on_after_the_deadline_and_closes_with_the_one_it_lacked() -> None:
    leader = hurried()
    goes_by(leader, AFTER_THE_DEADLINE)
    assert not replies(leader)
    answers(leader, BOB)
    assert codes(leader) == [ErrorCode.MESSAGE_UNAVAILABLE, None]


def test_without_a_deadline_it_closes_as_soon_as_enough_are_in() -> None:
    leader = hurried(ClosingRule(Count(1), AT_ONCE))
    answers(leader, ALICE)
    assert [reply.reason for reply in replies(leader)] == ["", "left out: 1 of 2 replies were in"]


def test_a_run_without_a_rule_waits_for_all() -> None:
    leader = hurried(None)
    answers(leader, ALICE)
    goes_by(leader, AFTER_THE_DEADLINE)
    assert not replies(leader)


def test_a_reply_that_is_an_error_is_not_enough() -> None:
    leader = hurried()
    answers(leader, ALICE, content=None, code=2)
    goes_by(leader, AFTER_THE_DEADLINE)
    assert not replies(leader)


def test_a_reply_that_fails_a_check_is_not_enough() -> None:
    leader = hurried()
    answers(leader, ALICE, BAD)
    goes_by(leader, AFTER_THE_DEADLINE)
    assert not replies(leader)
    answers(leader, BOB)
    assert codes(leader) == [ErrorCode.REPLY_MESSAGE_UNAVAILABLE, None]  # all are here: nobody is left out


def test_time_in_which_the_leader_could_hear_nobody_does_not_count() -> None:
    leader = hurried()
    answers(leader, ALICE)
    for _ in range(4):
        leader.wait(25.0)
    goes_by(leader, 20)
    assert not replies(leader)
    goes_by(leader, 20)
    assert codes(leader) == [None, ErrorCode.MESSAGE_UNAVAILABLE]


def test_whose_client_is_given_up_is_not_called_left_out() -> None:
    leader = hurried(ClosingRule(Share(1000), 30.0))
    answers(leader, ALICE)
    leader.say(BOB, Bye())
    goes_by(leader, 70)
    assert codes(leader) == [None, ErrorCode.NODE_UNAVAILABLE]
    assert collects(leader)[0].messages_left_out.value == ()


def test_a_number_of_replies_that_no_exchange_has_means_all_and_is_said() -> None:
    leader = leading(closing=ClosingRule(Count(5), 30.0))
    (told,) = leader.reported(What.ALL_AWAITED)
    assert (told["needed"], told["messages"]) == (5, 2)
    wait(leader, 2)
    answers(leader, ALICE)
    goes_by(leader, AFTER_THE_DEADLINE)
    assert not replies(leader)


# -- an app that decides for itself ------------------------------------------------------------------------------------


def test_an_app_whose_own_time_is_over_first_gets_what_is_here_and_may_ask_again() -> None:
    leader = hurried(timeout=10.0)
    answers(leader, ALICE)
    goes_by(leader, 11)
    assert codes(leader) == [None]
    (collect,) = collects(leader)
    assert collect.messages_left_out.value == ()
    assert message_to(leader, BOB).id in collect.unanswered.value


def test_an_app_that_pulls_by_itself_is_left_alone_and_that_is_said_once() -> None:
    leader = leading(closing=HALF_IN_30_S)
    answers(leader, ALICE)
    goes_by(leader, AFTER_THE_DEADLINE)
    for call in (2, 3):
        leader.feed(AppCalled(Pull(call, tuple(chain_of(leader).open))))
    assert codes(leader) == [None]
    assert message_to(leader, BOB)
    assert len(leader.reported(What.CLOSING_UNUSED)) == 1


# -- late replies ------------------------------------------------------------------------------------------------------


def bob_is_late() -> tuple[Attacked, Block]:
    """Bob was left out of the first exchange, and the second is open; his late reply."""
    leader = hurried()
    late = reply_of(leader, BOB, ANSWER)
    answers(leader, ALICE)
    goes_by(leader, AFTER_THE_DEADLINE)
    next_exchange(leader)
    return leader, late


def test_the_next_collect_tells_of_a_late_reply_whose_content_nobody_fetches() -> None:
    leader, late = bob_is_late()
    announce(leader, BOB, late)
    assert not leader.fetching
    assert [told["name"] for told in leader.reported(What.REPLY_LATE)] == ["bob"]
    answers(leader, ALICE)
    answers(leader, BOB)
    assert collects(leader)[-1].late_replies.value == (late.data,)
    assert codes(leader)[-2:] == [None, None]
    assert not chain_of(leader).left_out


def test_a_reply_that_is_still_looked_into_when_its_exchange_closes_is_late() -> None:
    leader = hurried()
    answers(leader, ALICE)
    late = reply_of(leader, BOB, ANSWER)
    announce(leader, BOB, late)
    _, examine = leader.fetching.popitem()
    goes_by(leader, AFTER_THE_DEADLINE)
    leader.feed(Examined(examine.id, Examination()))
    assert leader.reported(What.REPLY_LATE)
    assert not leader.reported(What.REPLY_REFUSED)
    next_exchange(leader)
    answers(leader, ALICE)
    answers(leader, BOB)
    assert collects(leader)[-1].late_replies.value == (late.data,)


def test_only_its_addressee_says_that_a_late_reply_is_there() -> None:
    leader, late = bob_is_late()
    announce(leader, CAROL, late)
    assert not leader.reported(What.REPLY_LATE)


def test_a_late_reply_with_a_wrong_signature_is_refused() -> None:
    leader, _ = bob_is_late()
    message = next(iter(chain_of(leader).left_out.values()))
    forged = reply_of(leader, ALICE, ANSWER, by=id_of(BOB), message=message.id, dispatch=message.dispatch)
    announce(leader, BOB, forged)
    assert leader.reported(What.REPLY_REFUSED)
    assert not leader.reported(What.REPLY_LATE)


def test_a_second_other_late_reply_is_a_proof_against_its_client() -> None:
    leader, late = bob_is_late()
    body: Any = parse_record(late).body
    other = reply_of(leader, BOB, CONTENT, message=body.message, dispatch=body.dispatch)
    announce(leader, BOB, late)
    announce(leader, BOB, other)
    assert [told["name"] for told in leader.reported(What.EQUIVOCATION)] == ["bob"]


def test_the_late_reply_of_a_client_that_was_removed_is_told_of_to_nobody() -> None:
    leader, late = bob_is_late()
    announce(leader, BOB, late)
    newest = leader.machine.machine.newest.manifest
    unsigned = without_member(newest, id_of(BOB), by=id_of(ADMIN), time=TIME)
    leader.feed(ManifestChanged(leader.scribe.next_manifest(unsigned).cid, leader.scribe.source))
    answers(leader, ALICE)
    assert collects(leader)[-1].late_replies.value == ()


@pytest.mark.parametrize("exchanges", [1, 4])
def test_how_often_a_client_was_left_out_in_a_row_is_in_the_status(exchanges: int) -> None:
    leader = hurried()
    for at in range(exchanges):
        answers(leader, ALICE)
        goes_by(leader, AFTER_THE_DEADLINE)
        next_exchange(leader, 3 + 2 * at)
    assert lateness(leader, "bob") == Lateness(left_out=exchanges, in_a_row=exchanges)
    assert lateness(leader, "alice") is None
    answers(leader, BOB)
    goes_by(leader, AFTER_THE_DEADLINE)
    assert lateness(leader, "bob") == Lateness(left_out=exchanges, in_a_row=0)


def lateness(leader: Attacked, name: str) -> Lateness | None:
    members = leader.machine.machine.status(leader.now).members
    return next(member.lateness for member in members if member.name == name)
