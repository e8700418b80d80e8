"""The few numbers that people see while a run goes on."""

from __future__ import annotations

import math

from protocol.replies.reply_layout import MetricLayout, MetricRecordLayout, ReplyLayout
from protocol.status.measures import LONGEST, MOST, in_words, kept, mean_of, measures_in, renewed


def test_only_finite_numbers_with_short_names_are_kept_and_only_a_few() -> None:
    measured = [("loss", 0.5), ("bad", math.nan), ("x" * (LONGEST + 1), 1.0), *((f"m{n}", n) for n in range(99))]
    assert kept(measured)[:2] == (("loss", 0.5), ("m0", 0.0))
    assert len(kept(measured)) == MOST


def test_the_numbers_of_a_reply_are_its_metrics_without_lists() -> None:
    record = MetricRecordLayout("metrics", (MetricLayout("loss", number=0.5), MetricLayout("all", length=3)))
    assert measures_in(ReplyLayout(metrics=(record,))) == (("loss", 0.5),)


def test_a_masked_reply_shows_no_numbers() -> None:
    record = MetricRecordLayout("metrics", (MetricLayout("loss", number=0.5),))
    assert measures_in(ReplyLayout(metrics=(record,), masked=True)) == ()


def test_a_newer_number_takes_the_place_of_an_older_one() -> None:
    assert dict(renewed((("loss", 1.0), ("accuracy", 0.5)), (("loss", 0.5),))) == {"loss": 0.5, "accuracy": 0.5}


def test_a_mean_is_weighted_by_examples_if_all_say_how_many() -> None:
    assert mean_of([(("loss", 1.0), ("num-examples", 30.0)), (("loss", 2.0), ("num-examples", 10.0))]) == (
        ("loss", 1.25),
    )
    assert mean_of([(("loss", 1.0), ("num-examples", 30.0)), (("loss", 2.0),)]) == (("loss", 1.5),)


def test_a_number_that_not_all_have_has_no_mean() -> None:
    assert mean_of([(("loss", 1.0), ("own", 3.0)), (("loss", 2.0),)]) == (("loss", 1.5),)


def test_a_hostile_name_is_quoted() -> None:
    assert in_words((("\x1b[2Jloss", 0.5),)) == '"\\\\x1b[2Jloss" 0.5'.replace("\\\\", "\\")
