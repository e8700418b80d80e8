"""`strategy.contents.summary`: whatever Flower's records hold is described without an error, in time that grows as it
does."""

from __future__ import annotations

import json
import math
from typing import Any

from any_records import Blocks, records, values
from flwr.app import ConfigRecord, MetricRecord, RecordDict
from hypothesis import example, given
from hypothesis import strategies as st

from strategy.contents.codec import encode
from strategy.contents.summary import mean_metrics, metrics_of, round_of, summarise, to_json
from strategy.flower_compat import SECAGG_RECORD

any_value = st.one_of(
    values, st.integers(), st.sampled_from([10**400, -(10**5000), [10**5000], 5e-324, -0.0, "\ud800"])
)


@given(st.lists(st.dictionaries(st.text(max_size=3), any_value, max_size=4), max_size=4))
@example([{"num-examples": 10**400, "loss": 1.0}, {"num-examples": 1, "loss": 10**400}])
@example([{"num-examples": math.nan, "loss": 1.0}])
@example([{"num-examples": 5e-324, "loss": 1.7e308}, {"num-examples": 1.7e308, "loss": -1.7e308}])
def test_any_metrics_have_means_that_can_be_shown(given: list[dict[str, Any]]) -> None:
    means = mean_metrics(given)

    assert all(isinstance(f"{mean:.4g}", str) for mean in means.values())
    json.dumps({name: to_json(mean) for name, mean in means.items()}, allow_nan=False)


@given(any_value)
def test_any_value_can_be_shown_as_json(value: Any) -> None:
    json.dumps(to_json(value), allow_nan=False)


@given(records)
def test_any_records_have_a_summary_that_can_be_shown(sent: RecordDict) -> None:
    blocks = Blocks()

    summary = summarise(blocks.keep(encode(sent, None)), blocks, None)

    shown = [to_json(value) for value in [*summary.metrics.values(), *summary.configs.values()]]
    json.dumps([shown, summary.round("1")], allow_nan=False)


class Counted(str):
    """Text that counts how often it is compared."""

    __slots__ = ()
    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Counted.comparisons += 1
        return str.__eq__(self, other)  # type: ignore[arg-type]

    __hash__ = str.__hash__


def test_many_metrics_are_compared_a_few_times_each() -> None:
    count = 1_000
    metrics = {Counted(number): 0.5 for number in range(count)}
    settings = {Counted(number): "x" for number in range(count)}
    sent = RecordDict({"m": MetricRecord(metrics), "n": MetricRecord(metrics), "c": ConfigRecord(settings)})
    Counted.comparisons = 0

    assert len(metrics_of(sent)) == 2 * count
    assert round_of(sent, "7") is None
    assert Counted.comparisons < 20 * count


def test_an_older_secure_aggregation_names_its_records_as_flower_does() -> None:
    records = RecordDict({SECAGG_RECORD: ConfigRecord({"stage": "setup"})})
    assert round_of(records, "7") == 7
