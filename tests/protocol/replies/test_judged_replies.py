"""`protocol.replies.judged_replies`: which of the replies to one exchange are refused, and why."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from protocol.replies.checks_and_limits import Admission, Check, Examination, FailedCheck
from protocol.replies.judged_replies import JudgedReplies, judge
from protocol.replies.reply_layout import (
    Arithmetic,
    ArrayLayout,
    ArrayRecordLayout,
    ConfigRecordLayout,
    Likeness,
    MetricLayout,
    MetricRecordLayout,
    NotFinite,
    ReplyLayout,
)
from protocol.replies.strategy_rule import Arrays, StrategyRule

MEAN = StrategyRule(
    "FedAvg", "num-examples", arrays=Arrays.MEAN, one_array_record=True, means_metrics=True, divides=True
)
OWN = StrategyRule("TheirOwn", "num-examples", own=True)


def array(key: str = "w", shape: tuple[int, ...] = (3,), kind: Arithmetic = Arithmetic.REAL) -> ArrayLayout:
    return ArrayLayout(key, "float32", shape, kind)


def reply(
    *arrays: ArrayLayout, weight: float | None = 10, like: Likeness = Likeness.NONE, **lengths: int | None
) -> ReplyLayout:
    """What an update looks like: one array, a weight, and metrics of these lengths."""
    metrics = [] if weight is None else [MetricLayout("num-examples", number=weight)]
    metrics += [MetricLayout(key, length) for key, length in lengths.items()]
    record = ArrayRecordLayout("arrays", arrays or (array(),))
    return ReplyLayout((record,), (MetricRecordLayout("metrics", tuple(metrics)),), likeness=like)


def verdicts(
    *replies: ReplyLayout | Examination, rule: StrategyRule | None = MEAN, admission: Admission | None = None
) -> JudgedReplies:
    """What is made of these replies."""
    found = {
        bytes([at]): each if isinstance(each, Examination) else Examination(layout=each)
        for at, each in enumerate(replies)
    }
    return judge(admission or Admission(), rule, found)


def refused(
    *replies: ReplyLayout | Examination, rule: StrategyRule | None = MEAN, admission: Admission | None = None
) -> dict[int, str]:
    """Which of them are refused, and why."""
    return {id[0]: str(each) for id, each in verdicts(*replies, rule=rule, admission=admission).refused.items()}


# -- one odd reply ---------------------------------------------------------------------------------------------------


def test_replies_of_one_kind_pass() -> None:
    assert refused(reply(loss=None), reply(loss=None), reply(loss=None)) == {}


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (replace(reply(loss=None), arrays=()), "it has no array record, and FedAvg takes one"),
        (replace(reply(loss=None), arrays=reply().arrays * 2), "it has 2 array records, and FedAvg takes one"),
        (replace(reply(loss=None), metrics=()), "it has no metric record, and FedAvg takes one"),
        (
            replace(reply(loss=None), arrays=(ArrayRecordLayout("arrayz", (array(),)),)),
            "it lacks the array record 'arrays', which the others have",
        ),
        (reply(array("v"), loss=None), "it lacks the array 'w', which the others have"),
        (reply(array(), array("v"), loss=None), "it has the array 'v', which the others do not have"),
        (reply(array(shape=(4,)), loss=None), "'arrays'/'w' is float32[4], and the others have float32[3]"),
        (reply(array(kind=Arithmetic.NONE), loss=None), "'arrays'/'w' is float32[3]: FedAvg cannot compute with that"),
        (
            reply(array(kind=Arithmetic.UNREADABLE), loss=None),
            "'arrays'/'w' is not in numpy's format, or not whole",
        ),
        (reply(), "it lacks the metric 'loss', which the others have"),
        (reply(loss=None, more=None), "it has the metric 'more', which the others do not have"),
        (reply(loss=2), "its metric 'loss' is a list of 2, and the others have a number"),
        (reply(weight=None, loss=None), "it lacks the metric 'num-examples', by which FedAvg weights replies"),
    ],
)
def test_one_odd_reply_is_refused_and_the_others_pass(odd: ReplyLayout, why: str) -> None:
    usual = reply(loss=None)
    assert refused(odd, usual, usual) == {0: f"refused (structure): {why}"}
    assert refused(usual, usual, odd) == {2: f"refused (structure): {why}"}
    assert refused(usual, odd, usual, admission=Admission.parse("off")) == {}


def test_lists_of_another_length_are_odd_if_flower_takes_their_mean() -> None:
    usual, odd = reply(each=3), reply(each=2)
    assert list(refused(usual, odd, usual)) == [1]
    assert list(refused(usual, reply(each=None), usual, rule=replace(MEAN, means_metrics=False))) == [1]
    assert refused(usual, odd, usual, rule=replace(MEAN, means_metrics=False)) == {}


def test_if_two_differ_the_one_laid_out_as_dispatched_stands() -> None:
    as_sent, other = reply(like=Likeness.SAME), reply(array(shape=(4,)))
    assert list(refused(other, as_sent)) == [0]
    assert list(refused(as_sent, other)) == [1]


def test_if_two_differ_and_were_not_asked_for_the_first_stands() -> None:
    assert list(refused(reply(array("a")), reply(array("b")))) == [1]


def test_most_of_them_stand_whatever_was_dispatched() -> None:
    as_sent, other = reply(like=Likeness.SAME), reply(array(shape=(4,)))
    assert list(refused(as_sent, other, other)) == [0]


def test_an_array_that_numpy_spreads_over_the_one_before_it_is_not_odd() -> None:
    large, small = reply(), reply(array(shape=(1,)))
    assert refused(large, large, small) == {}
    assert list(refused(small, large, large)) == [0]  # the sum begins with it, and has no room for the others


def test_a_single_number_is_no_array_that_has_room_for_no_other() -> None:
    number = reply(array(shape=()))
    assert refused(number, reply(), number) == {}  # numpy replaces it by the sum
    older = replace(MEAN, older="fitres", by_place=True)
    assert _sum_takes(older, (), (3,)) is False  # which adds up in place


def _sum_takes(rule: StrategyRule, *shapes: tuple[int, ...]) -> bool:
    layouts = [ReplyLayout((ArrayRecordLayout("fitres.parameters", (array(shape=shape),)),)) for shape in shapes]
    return rule.takes(layouts)


def test_strategies_that_stack_arrays_take_one_shape() -> None:
    large, small = reply(), reply(array(shape=(1,)))
    assert list(refused(large, large, small, rule=replace(MEAN, arrays=Arrays.STACK))) == [2]


def test_a_strategy_that_computes_with_the_dispatched_model_takes_only_that_layout() -> None:
    rule = replace(MEAN, as_sent=Likeness.ANY_ORDER)
    assert refused(reply(like=Likeness.IN_ORDER), reply(), rule=rule) == {
        1: "refused (structure): its arrays have other keys or shapes than were dispatched, with which FedAvg computes"
    }


def test_a_strategy_of_the_apps_own_is_known_by_its_records_alone() -> None:
    usual, odd = reply(), replace(reply(), arrays=())
    other_arrays = reply(array("v", (9,)), loss=4)
    assert refused(usual, usual, other_arrays, rule=OWN) == {}
    assert list(refused(usual, usual, odd, rule=OWN)) == [2]
    assert refused(usual, odd, rule=OWN) == {}  # nobody knows which of the two is odd


def test_an_app_without_a_strategy_is_left_alone() -> None:
    assert refused(reply(weight=math.nan), replace(reply(), arrays=()), ReplyLayout(), rule=None) == {}


def test_what_flower_cannot_read_of_an_older_app_is_refused() -> None:
    rule = StrategyRule("FedAvg", "num_examples", older="fitres")
    assert refused(ReplyLayout(), ReplyLayout(older="it lacks all"), rule=rule) == {
        1: "refused (structure): it lacks all"
    }


@pytest.mark.parametrize("how", ["declined", "masked"])
def test_what_no_strategy_makes_anything_of_is_not_judged(how: str) -> None:
    left_alone = replace(ReplyLayout(), **{how: True})
    assert refused(reply(), left_alone) == {}


def test_the_settings_of_older_apps_are_of_one_kind_if_a_function_of_theirs_reads_them() -> None:
    rule = StrategyRule("FedAvg", "num_examples", older="fitres", metrics_alike=True)
    usual, odd = (ReplyLayout(configs=(ConfigRecordLayout("fitres.metrics", keys),)) for keys in (("loss",), ()))
    assert list(refused(usual, usual, odd, rule=rule)) == [2]
    assert refused(usual, usual, odd, rule=replace(rule, metrics_alike=False)) == {}


def test_many_replies_of_many_kinds_are_judged() -> None:
    kinds = [reply(array(f"k{at}")) for at in range(40)]
    assert len(refused(*kinds, reply(array("usual")), reply(array("usual")))) == 40


# -- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "why"),
    [
        (-199.0, "its 'num-examples' is -199: less than 0"),
        (-5e-324, "its 'num-examples' is -4.94066e-324: less than 0"),
        (math.nan, "its 'num-examples' is nan, not a finite number"),
        (math.inf, "its 'num-examples' is inf, not a finite number"),
        (-math.inf, "its 'num-examples' is -inf, not a finite number"),
    ],
)
@pytest.mark.parametrize("rule", [MEAN, OWN, replace(MEAN, one_array_record=False, arrays=Arrays.IGNORED)])
def test_a_weight_is_finite_and_not_negative(weight: float, why: str, rule: StrategyRule) -> None:
    assert refused(reply(), reply(weight=weight), reply(), rule=rule) == {1: f"refused (weight): {why}"}


@pytest.mark.parametrize("weight", [0.0, -0.0, 5e-324, 2.5, 1e18, 1e300])
def test_any_other_number_is_a_weight(weight: float) -> None:
    assert refused(reply(), reply(weight=weight), reply()) == {}


def test_a_list_is_no_weight() -> None:
    many = replace(reply(), metrics=(MetricRecordLayout("metrics", (MetricLayout("num-examples", 2),)),))
    assert refused(reply(), many) == {1: "refused (structure): its 'num-examples' is a list, not a number"}


def test_a_round_whose_weights_add_up_to_0_fails_by_name() -> None:
    why = "refused (weight): the 'num-examples' of all replies add up to 0: there is no mean of them"
    assert refused(reply(weight=0), reply(weight=0)) == {0: why, 1: why}
    assert refused(reply(weight=0)) == {0: why}
    assert refused(reply(weight=0), rule=replace(MEAN, divides=False)) == {}


def test_what_is_refused_does_not_count_in_the_sum() -> None:
    assert list(refused(reply(weight=0), reply(weight=0), reply(weight=-5))) == [2, 0, 1]


def test_weights_whose_sum_no_float_holds_are_refused() -> None:
    assert list(refused(reply(weight=1.7e308), reply(weight=1.7e308), reply(weight=5))) == [0, 1]


def test_a_strategy_that_chooses_among_replies_gets_none_without_weight_if_it_may_choose_only_those() -> None:
    rule = replace(MEAN, selects=2)
    assert list(refused(reply(), reply(weight=0), reply(weight=0), rule=rule)) == [1, 2]
    assert refused(reply(), reply(), reply(weight=0), rule=rule) == {}


def test_a_strategy_that_accounts_for_privacy_takes_one_weight_of_all() -> None:
    rule = replace(MEAN, equal_weights=True)
    assert list(refused(reply(), reply(weight=9), reply(), reply(weight=0), rule=rule)) == [1, 3]


# -- numbers ---------------------------------------------------------------------------------------------------------


def with_nan(key: str = "w") -> ReplyLayout:
    return replace(reply(array(key)), not_finite=(NotFinite("arrays", key, 2, 3),))


def test_nan_in_an_array_that_was_not_dispatched_is_refused_if_the_others_have_none() -> None:
    why = "refused (finite): 2 of the 3 numbers of 'arrays'/'w' are NaN or infinite, unlike the others'"
    assert refused(reply(), reply(), with_nan()) == {2: why}
    assert refused(reply(), with_nan()) == {1: why}
    assert refused(reply(), with_nan(), with_nan()) == refused(with_nan()) == {}


def test_an_app_without_a_strategy_may_be_sent_nan() -> None:
    assert refused(reply(), reply(), with_nan(), rule=None) == {}


# -- the owner's bound -----------------------------------------------------------------------------------------------

BOUND = Admission.parse("all", "3x")


def measured(norm: float | None, weight: float = 10) -> Examination:
    failed = () if norm is not None else (FailedCheck(Check.NORM, "it cannot be measured"),)
    return Examination(failed, norm, reply(weight=weight))


def test_a_bound_of_the_median_bounds_weights_too() -> None:
    heavy = [measured(1.0), measured(1.0), measured(1.0, weight=31)]
    assert list(refused(*heavy, admission=BOUND)) == [2]
    assert refused(*heavy, rule=None, admission=BOUND) == {}


def test_one_reply_that_cannot_be_measured_is_refused() -> None:
    given = [measured(1.0), measured(1.0), measured(None)]
    assert refused(*given, admission=BOUND) == {2: "refused (norm): it cannot be measured"}
    assert refused(*given) == {}


def test_a_bound_that_cannot_be_applied_refuses_nothing_and_says_why() -> None:
    found = verdicts(measured(None), measured(None), admission=BOUND)
    assert (found.refused, found.unbounded) == ({}, "it cannot be measured")


# -- all of them -----------------------------------------------------------------------------------------------------


def test_where_all_fail_on_one_check_that_is_said() -> None:
    nan = Examination((FailedCheck(Check.FINITE, "a NaN"),), layout=reply())
    assert verdicts(nan, nan).all_failed is Check.FINITE
    assert verdicts(nan, reply()).all_failed is None
    assert verdicts(nan, reply(weight=-1)).all_failed is None


def test_no_option_lets_through_what_nobody_can_read() -> None:
    assert verdicts(Examination((FailedCheck(Check.READABLE, "no content"),))).all_failed is None
