"""Which replies the app may see. They are judged when the app collects them, against each other.

The rule: what Flower takes, passes. If the strategy in use would raise on a reply, and so end the run for all, that
reply is refused instead, and the run goes on with the others. If replies do not fit each other, the larger group of
equal ones stands; of equally large groups, the one laid out like what was dispatched. A refusal is recorded in the
collect as an error with its reason, so a replaying app gets the same errors and makes none of these checks.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace

from protocol.replies.checks_and_limits import Admission, Check, Examination, FailedCheck
from protocol.replies.reply_layout import MetricLayout, ReplyLayout
from protocol.replies.strategy_rule import StrategyRule, difference, shown


@dataclass(frozen=True, slots=True)
class JudgedReplies:
    """The result of judging replies that were collected together."""

    refused: dict[bytes, FailedCheck] = field(default_factory=dict)
    """By message."""
    unbounded: str = ""
    """Why the owner's bound cannot be applied to these replies; empty if it can, or there is no bound."""
    all_failed: Check | None = None
    """The check that all of them failed; None if some passed, or they failed different checks."""


def judge(admission: Admission, rule: StrategyRule | None, found: Mapping[bytes, Examination]) -> JudgedReplies:
    """Judge replies to messages of one type and dispatch, by message and in the order in which the app gets them.

    ``rule`` is that of the strategy in use. None if the app uses no strategy; then each reply is judged on its own.
    """
    judging = _Judging(admission, rule, dict(found))
    judging.each(admission.refusal)
    if rule is not None:
        judging.by_rule(rule)
    unbounded = judging.by_bound()
    if rule is not None:
        judging.sum_of_weights(rule)
    checks = {refusal.check for refusal in judging.refused.values()}
    all_failed = checks.pop() if len(checks) == 1 and len(judging.refused) == len(found) else None
    return JudgedReplies(judging.refused, unbounded, all_failed if all_failed is not Check.READABLE else None)


class _Judging:
    """The replies that are not refused yet."""

    def __init__(self, admission: Admission, rule: StrategyRule | None, found: dict[bytes, Examination]) -> None:
        self._admission = admission
        self._rule = rule
        self._taken = found
        self.refused: dict[bytes, FailedCheck] = {}

    def each(self, why: Callable[[Examination], FailedCheck | None]) -> None:
        """Refuse each reply for which there is a reason."""
        self._refuse({id: refusal for id, found in self._taken.items() if (refusal := why(found)) is not None})

    def by_rule(self, rule: StrategyRule) -> None:
        """Refuse what the strategy would raise on, and what is no weight."""
        makes = self._admission.makes
        if makes(Check.STRUCTURE):
            self._refuse(_each(self._layouts(), rule.why_not, Check.STRUCTURE))
        if makes(Check.WEIGHT):
            self._refuse(_each(self._layouts(), rule.why_no_weight, Check.WEIGHT))
        if makes(Check.STRUCTURE):
            self._refuse(_odd_ones(rule, self._layouts()))
        if makes(Check.FINITE):
            self._refuse(_not_finite(self._layouts()))
        if makes(Check.WEIGHT) and rule.equal_weights:
            self._refuse(_other_weights(rule, self._layouts()))

    def by_bound(self) -> str:
        """Refuse updates over the bound. Returns why it cannot be applied, or an empty text."""
        bound = self._admission.bound
        unmeasured = {
            id: each for id, found in self._taken.items() for each in found.failed if each.check is Check.NORM
        }
        norms = {id: found.norm for id, found in self._taken.items() if found.norm is not None and id not in unmeasured}
        if bound is None or not (norms or unmeasured):
            return ""
        heavy = bound.too_heavy(self._weights()) if self._rule is not None else {}
        self._refuse(bound.too_far(norms) | heavy)
        if not norms:
            return next(iter(unmeasured.values())).what
        self._refuse(unmeasured)
        return ""

    def sum_of_weights(self, rule: StrategyRule) -> None:
        """Refuse weights if nobody can divide by their sum: all of them, or those too large to be added."""
        weights = self._weights()
        if not (self._admission.makes(Check.WEIGHT) and rule.divides and weights):
            return
        if not math.isfinite(sum(weights.values())):
            limit = sys.float_info.max / len(weights)
            why = f"its {shown(rule.weight)} is too large to be added to the others'"
            self._refuse({id: FailedCheck(Check.WEIGHT, why) for id, weight in weights.items() if weight > limit})
            weights = self._weights()
        empty = [id for id, weight in weights.items() if weight == 0]
        if not empty:
            return
        if len(empty) == len(weights):
            why = f"the {shown(rule.weight)} of all replies add up to 0: there is no mean of them"
            self._refuse(dict.fromkeys(empty, FailedCheck(Check.WEIGHT, why)))
        elif len(empty) >= _selected(rule, len(weights)):
            why = f"its {shown(rule.weight)} is 0, and {rule.strategy} may choose it alone: there is no mean of that"
            self._refuse(dict.fromkeys(empty, FailedCheck(Check.WEIGHT, why)))

    def _layouts(self) -> dict[bytes, ReplyLayout]:
        """The layouts of the replies that the strategy uses."""
        layouts = {id: found.layout for id, found in self._taken.items()}
        return {id: each for id, each in layouts.items() if each and not each.declined and not each.masked}

    def _weights(self) -> dict[bytes, float]:
        rule = self._rule
        if rule is None:
            return {}
        weights = {id: rule.weight_of(reply) for id, reply in self._layouts().items()}
        return {id: each.number for id, each in weights.items() if each is not None and each.length is None}

    def _refuse(self, refused: Mapping[bytes, FailedCheck]) -> None:
        self.refused |= refused
        self._taken = {id: found for id, found in self._taken.items() if id not in refused}


def _each(
    layouts: Mapping[bytes, ReplyLayout], why: Callable[[ReplyLayout], str], check: Check
) -> dict[bytes, FailedCheck]:
    return {id: FailedCheck(check, what) for id, reply in layouts.items() if (what := why(reply))}


def _odd_ones(rule: StrategyRule, layouts: Mapping[bytes, ReplyLayout]) -> dict[bytes, FailedCheck]:
    """The replies to refuse so that the strategy takes the others."""
    names = {name for reply in layouts.values() for kind, name in reply.records() if kind != "config"}
    alike: dict[ReplyLayout, list[bytes]] = {}
    for id, reply in layouts.items():
        alike.setdefault(_compared(rule, reply, names), []).append(id)
    if len(alike) < 2 or rule.takes(list(alike)):
        return {}
    if rule.own and 2 * max(map(len, alike.values())) <= len(layouts):
        return {}  # nobody can tell which ones are odd
    order = list(alike)
    usual, *others = sorted(
        alike,
        key=lambda kind: (-len(alike[kind]), -max(layouts[id].likeness for id in alike[kind]), order.index(kind)),
    )
    taken = {usual}
    refused: dict[bytes, FailedCheck] = {}
    for kind in others:
        if rule.takes([each for each in order if each in taken or each is kind]):
            taken.add(kind)
            continue
        why = difference(layouts[alike[kind][0]], layouts[alike[usual][0]])
        refused |= dict.fromkeys(alike[kind], FailedCheck(Check.STRUCTURE, why))
    return refused


def _compared(rule: StrategyRule, reply: ReplyLayout, names: Set[str]) -> ReplyLayout:
    """The part of a layout that the rule compares, so that replies of one kind are equal. ``names`` are of records with
    arrays or metrics."""
    if rule.own:
        return ReplyLayout(
            tuple(replace(record, arrays=()) for record in reply.arrays),
            tuple(replace(record, metrics=()) for record in reply.metrics),
            tuple(replace(record, keys=()) for record in reply.configs),
        )
    metrics = tuple(
        replace(record, metrics=tuple(MetricLayout(metric.key, metric.length) for metric in record.metrics))
        for record in reply.metrics
    )
    # Flower looks up a record by its name only, whatever kind it is
    configs = tuple(record for record in reply.configs if rule.older or record.name in names)
    return ReplyLayout(reply.arrays, metrics, configs)


def _not_finite(layouts: Mapping[bytes, ReplyLayout]) -> dict[bytes, FailedCheck]:
    """Refuse arrays with NaN that have no counterpart in what was dispatched, if at least as many replies have none."""
    have: Counter[str] = Counter(
        key for reply in layouts.values() for key in {key for record in reply.arrays for key in record.keys}
    )
    bad: Counter[str] = Counter(key for reply in layouts.values() for key in {each.key for each in reply.not_finite})
    refused: dict[bytes, FailedCheck] = {}
    for id, reply in layouts.items():
        odd = next((each for each in reply.not_finite if 2 * bad[each.key] <= have[each.key]), None)
        if odd is not None:
            where = f"{shown(odd.record)}/{shown(odd.key)}"
            what = f"{odd.count} of the {odd.size} numbers of {where} are NaN or infinite, unlike the others'"
            refused[id] = FailedCheck(Check.FINITE, what)
    return refused


def _other_weights(rule: StrategyRule, layouts: Mapping[bytes, ReplyLayout]) -> dict[bytes, FailedCheck]:
    """The replies with another weight than most have."""
    metrics = {id: rule.weight_of(reply) for id, reply in layouts.items()}
    weights = {id: metric.number for id, metric in metrics.items() if metric is not None}
    counts = Counter(weight for weight in weights.values() if weight > 0)
    usual = counts.most_common(1)[0][0] if counts else None
    why = f"{rule.strategy} wants one weight of all replies, more than 0"
    return {id: FailedCheck(Check.WEIGHT, why) for id, weight in weights.items() if weight != usual}


def _selected(rule: StrategyRule, replies: int) -> int:
    """How many replies the strategy takes the mean of."""
    return max(1, rule.selects if rule.selects is not None else replies - rule.sets_aside)
