"""What a leader refuses, of what was found in replies; how a collect tells of it, and what the app sees."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import permutations

import pytest
from chains import ALICE, BOB, CAROL, TIME, Scribe, begun

from crypto.keys import SigningKey
from protocol.app.calls import ErrorCode
from protocol.blocks.cid import Block
from protocol.blocks.listing import pack
from protocol.federation.run_keys import read_private
from protocol.records.bodies import Collect, CollectPrivate
from protocol.records.equivocation import equivocation
from protocol.records.signed_records import parse_record, private_bytes
from protocol.replies.checks_and_limits import (
    LARGEST_MULTIPLE,
    OPTIONAL,
    SMALLEST_LIMIT,
    Admission,
    Check,
    Examination,
    FailedCheck,
    NormBound,
    SizeLimits,
    is_update,
)
from protocol.roles.collecting.awaited_replies import Arrived, AwaitedReplies, Collection
from protocol.roles.equivocations import Distrust
from protocol.roles.leader.presence import Presence
from protocol.roles.leader.record_bodies import MAX_REASONS, REASON_LEFT_OUT, Answers
from protocol.roles.leader.run_plan import LeaderSettings
from protocol.roles.offline_times import OfflineTimes
from protocol.witnesses.awaited_witnesses import AwaitedWitnesses

BROKEN = Examination((FailedCheck(Check.FINITE, "a NaN"),))
TOO_LARGE = Examination((FailedCheck(Check.SIZE, "very large"),), here=False)


def measured(norm: float) -> Examination:
    return Examination(norm=norm)


def answered(
    scribe: Scribe, found: Mapping[SigningKey, Examination], admission: Admission, distrust: Distrust | None = None
) -> Collection:
    """What a leader collects if each of these clients has replied with a content of which that was found."""
    offline = OfflineTimes()
    presence = Presence(15.0, offline)
    settings = LeaderSettings(1, 60.0, 30.0, admission)
    awaited = AwaitedReplies(
        scribe.chain.open,
        settings,
        distrust or Distrust(),
        presence,
        AwaitedWitnesses(scribe.chain, (), 300.0, offline),
        offline,
    )
    for client, what in found.items():
        reply = scribe.taken(client).reply
        block = Block(reply, scribe.source.get(reply))
        awaited.arrived(scribe.message(client).id, Arrived(parse_record(block), block, what))
    return awaited.collect(scribe.chain.open, scribe.chain.in_force, TIME)


def three_asked() -> Scribe:
    scribe = Scribe()
    scribe.add(scribe.run())
    scribe.add(scribe.dispatch(scribe.group(ALICE, BOB, CAROL)))
    return scribe


@pytest.mark.parametrize("came", [*permutations((ALICE, BOB, CAROL))])
def test_the_app_gets_replies_in_the_order_of_their_messages_whichever_came_first(came: tuple[SigningKey, ...]) -> None:
    """A sum of floats depends on their order: two runs from one seed would differ."""
    scribe = three_asked()
    collection = answered(scribe, {client: BROKEN if client is BOB else measured(1.0) for client in came}, Admission())
    in_order = [scribe.message(client).id for client in (ALICE, BOB, CAROL)]
    assert [handed.message for handed in collection.handed] == in_order == list(scribe.chain.open)


# -- the owner's choice --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("10", NormBound(10.0, of_median=False)),
        ("0.5", NormBound(0.5, of_median=False)),
        ("1e3", NormBound(1000.0, of_median=False)),
        ("3x", NormBound(3.0, of_median=True)),
        (" 2.5xMedian ", NormBound(2.5, of_median=True)),
    ],
)
def test_a_bound_is_a_norm_or_a_multiple_of_the_median(text: str, bound: NormBound) -> None:
    assert NormBound.parse(text) == bound


@pytest.mark.parametrize("text", ["", "x", "3y", "-1", "0", "0x", "nan", "inf", "1e999", "1.2.3", "3 x", "٣"])
def test_what_is_no_bound_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no bound"):
        NormBound.parse(text)


@pytest.mark.parametrize(
    ("text", "checks"),
    [("all", OPTIONAL), ("off", frozenset()), ("finite, weight", {Check.FINITE, Check.WEIGHT})],
)
def test_each_check_can_be_left_out(text: str, checks: frozenset[Check]) -> None:
    assert Admission.parse(text).checks == checks


@pytest.mark.parametrize("text", ["", "none", "finite,off", "norm", "readable", "finite,,size"])
def test_what_is_no_check_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no check: all, off, or some of finite, model, size, structure, weight"):
        Admission.parse(text)


# -- one reply -----------------------------------------------------------------------------------------------------


def test_a_check_that_is_off_refuses_nothing() -> None:
    assert str(Admission().refusal(BROKEN)) == "refused (finite): a NaN"
    assert Admission(OPTIONAL - {Check.FINITE}).refusal(BROKEN) is None


@pytest.mark.parametrize("check", [Check.READABLE, Check.SIZE])
def test_what_no_app_could_be_given_is_always_refused(check: Check) -> None:
    assert Admission(frozenset()).refusal(Examination((FailedCheck(check, "is broken"),))) is not None


def test_the_check_that_comes_first_is_named() -> None:
    found = Examination((FailedCheck(Check.FINITE, "a NaN"), FailedCheck(Check.READABLE, "no content")))
    assert str(Admission().refusal(found)) == "refused (readable): no content"


def test_an_answer_may_be_some_times_as_large_as_what_it_answers() -> None:
    limits = Admission().limits(federation=100 * SMALLEST_LIMIT)
    assert limits.of_answer_to(1) == SMALLEST_LIMIT
    assert limits.of_answer_to(SMALLEST_LIMIT) == LARGEST_MULTIPLE * SMALLEST_LIMIT
    assert limits.of_answer_to(50 * SMALLEST_LIMIT) == 100 * SMALLEST_LIMIT
    assert limits.of_answer_to(None) == 100 * SMALLEST_LIMIT  # it holds no arrays


def test_without_the_check_of_sizes_only_the_federation_has_a_limit() -> None:
    assert Admission(frozenset()).limits(7) == SizeLimits(7, None)
    assert SizeLimits(7, None).of_answer_to(1) == 7


@pytest.mark.parametrize(
    ("type", "is_one"), [("train", True), ("train.own", True), ("trained", False), ("query", False)]
)
def test_an_update_answers_a_train_message(type: str, is_one: bool) -> None:
    assert is_update(type) is is_one


# -- replies together ----------------------------------------------------------------------------------------------


def too_far(bound: str, *norms: float) -> set[int]:
    """The numbers of the updates that are refused."""
    found = NormBound.parse(bound).too_far({bytes([at]): norm for at, norm in enumerate(norms)})
    return {message[0] for message in found}


def test_a_norm_over_the_bound_is_refused() -> None:
    assert too_far("10", 9.0, 10.0, 10.1, math.inf, math.nan) == {2, 3, 4}


def test_a_norm_over_its_multiple_of_the_median_is_refused() -> None:
    assert too_far("2x", 1.0, 2.0, 3.0, 6.0, 6.1) == {4}


def test_the_median_is_the_lower_of_two_in_the_middle() -> None:
    assert too_far("3x", 1.0, 1.0, 100.0, 100.0) == {2, 3}


def test_no_median_is_taken_of_two_updates() -> None:
    assert too_far("1x", 1.0, 100.0) == set()


def too_heavy(bound: str, *weights: float) -> set[int]:
    """The numbers of the updates whose weights are refused."""
    found = NormBound.parse(bound).too_heavy({bytes([at]): weight for at, weight in enumerate(weights)})
    return {message[0] for message in found}


def test_a_weight_over_its_multiple_of_the_median_is_refused() -> None:
    assert too_heavy("3x", 100, 90, 1e18, 100, 300.1) == {2, 4}
    assert too_heavy("2x", 100, 100, 200, 201) == {3}


def test_a_client_without_examples_does_not_make_the_others_too_heavy() -> None:
    assert too_heavy("3x", 0, 0, 0, 10, 20, 15) == set()


def test_a_norm_alone_bounds_no_weight() -> None:
    assert too_heavy("10", 100, 100, 1e18) == set()


def test_no_median_is_taken_of_two_weights() -> None:
    assert too_heavy("1x", 1, 1000) == too_heavy("1x", 0, 1, 1000) == set()


def test_updates_that_are_no_numbers_cannot_move_the_median_down() -> None:
    assert too_far("3x", math.nan, 5.0, 5.0, 5.0) == {0}


# -- in the collect ------------------------------------------------------------------------------------------------


def test_the_app_sees_an_error_in_place_of_a_refused_reply() -> None:
    got = answered(begun(), {ALICE: Examination(), BOB: BROKEN}, Admission())
    assert [(handed.content is None, handed.code, handed.reason) for handed in got.handed] == [
        (False, None, ""),
        (True, ErrorCode.REPLY_MESSAGE_UNAVAILABLE, "refused (finite): a NaN"),
    ]


def test_the_collect_of_a_refused_reply_keeps_every_rule_and_links_it() -> None:
    scribe = begun()
    message = scribe.message(BOB)
    got = answered(scribe, {ALICE: Examination(), BOB: BROKEN}, Admission())
    recorded = got.answers.record()
    scribe.source.add(*got.blocks)

    step = scribe.add(
        Collect(
            **scribe.place(answers=recorded.listing, unanswered=pack(())[0], private=private_bytes(recorded.private))
        )
    )

    error = next(each for each in step.answered if each.message.id == message.id)
    assert error.error is not None
    assert error.error.refused == got.blocks[1].cid
    assert error.reason == "refused (finite): a NaN"


def test_a_reply_whose_content_is_not_here_is_not_linked() -> None:
    got = answered(begun(), {ALICE: Examination(), BOB: TOO_LARGE}, Admission())
    assert len(got.blocks) == 1
    items = list(got.answers.record().listing.items({}))  # type: ignore[arg-type]  # it is in place
    assert items[1]["refused"] is None
    assert "the reply was bafy" in got.handed[1].reason


def test_updates_of_one_dispatch_are_compared() -> None:
    scribe = three_asked()
    admission = Admission(bound=NormBound.parse("3x"))
    got = answered(scribe, {ALICE: measured(1.0), BOB: measured(1.1), CAROL: measured(30.0)}, admission)
    assert list(got.refused.values()) == [
        "refused (norm): its change has the L2 norm 30, more than 3 times the median, which is 1.1"
    ]


def test_a_refused_update_does_not_count_in_the_median() -> None:
    scribe = three_asked()
    admission = Admission(bound=NormBound.parse("3x"))
    broken = Examination(BROKEN.failed, norm=0.1)
    got = answered(scribe, {ALICE: measured(1.0), BOB: measured(30.0), CAROL: broken}, admission)
    assert list(got.refused.values()) == ["refused (finite): a NaN"]  # of the two that are left there is no median


def test_reasons_without_end_fit_the_record() -> None:
    answers = Answers()
    said = [answers.failed(bytes(32), 4, f"{number:06}" * 100, TIME) for number in range(1000)]
    private = read_private(_collect(answers), CollectPrivate)
    assert private is not None
    assert sum(map(len, private.reasons)) <= MAX_REASONS + len(REASON_LEFT_OUT)
    assert said[0] == "000000" * 100
    assert said[-1] == REASON_LEFT_OUT == private.reasons[-1]


def _collect(answers: Answers) -> Collect:
    recorded = answers.record()
    return Collect(
        **begun().place(answers=recorded.listing, unanswered=pack(())[0], private=private_bytes(recorded.private))
    )


# -- who has answered twice ----------------------------------------------------------------------------------------


def two_replies(scribe: Scribe, client: SigningKey) -> Distrust:
    """The client has signed two replies to its message."""
    bodies = (scribe.reply_body(client), scribe.reply_body(client, content=None, code=1))
    found = equivocation(*(parse_record(scribe.sign(body, client)) for body in bodies))
    assert found is not None
    return Distrust([found])


def test_a_reply_of_a_client_that_has_signed_two_is_refused_with_the_reason() -> None:
    scribe = three_asked()
    got = answered(scribe, {ALICE: measured(1.0), BOB: measured(1.0)}, Admission(), two_replies(scribe, BOB))
    assert [(reply.code, reply.reason[:22]) for reply in got.handed] == [
        (None, ""),
        (ErrorCode.REPLY_MESSAGE_UNAVAILABLE, "refused (equivocation)"),
    ]


def test_nobody_waits_for_a_client_that_has_signed_two_replies() -> None:
    scribe = three_asked()
    got = answered(scribe, {ALICE: measured(1.0)}, Admission(), two_replies(scribe, CAROL))
    assert [reply.code for reply in got.handed] == [None, ErrorCode.NODE_UNAVAILABLE]
    assert "peer audit" in got.handed[-1].reason
    assert got.unanswered == (scribe.message(BOB).id,)
