"""What a leader's owner asks of replies: which checks are made, and with which bounds.

`strategy.replies.examination` opens and measures contents. `protocol.replies.judged_replies` decides which replies
to one exchange are refused.

The bound on the norm of an update is the "norm thresholding" of Sun, Kairouz, Suresh and McMahan, "Can You Really
Backdoor Federated Learning?" (2019), section 4.3, except that an update over the bound is refused, not scaled down.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from protocol.replies.reply_layout import ReplyLayout

NO_FEWER: Final = 3
"""How many replies a median needs. With two it would only say which one is larger."""

SMALLEST_LIMIT: Final = 64 << 20
"""Bytes that any answer may have, however small the dispatched content is."""
LARGEST_MULTIPLE: Final = 16
"""How many times as large as the dispatched content an answer may be."""


class Check(StrEnum):
    """What is checked about a reply. If several checks fail, the first in this order is named."""

    READABLE = "readable"
    """It is a content of Flower records. This check is always made, because no app could read anything else."""
    SIZE = "size"
    """It is not much larger than what it answers. The federation's limit holds in any case."""
    STRUCTURE = "structure"
    """The strategy in use would not raise on it, alone or together with the others."""
    WEIGHT = "weight"
    """The metric that it is weighted by is a number, finite and not negative."""
    FINITE = "finite"
    """An update's arrays hold no NaN and no infinity that the dispatched ones did not hold."""
    NORM = "norm"
    """An update is not further from what was dispatched, and does not weigh more, than the bound allows."""
    MODEL = "model"
    """Not about a reply: what the app sends out holds no NaN and no infinity that its first model did not hold."""


OPTIONAL: Final = frozenset({Check.SIZE, Check.STRUCTURE, Check.WEIGHT, Check.FINITE, Check.MODEL})
"""The checks that are made unless they are switched off. `Check.NORM` is made if there is a bound."""


@dataclass(frozen=True, slots=True)
class FailedCheck:
    """A check that a reply fails."""

    check: Check
    what: str
    """For people, in a few words."""

    def __str__(self) -> str:
        """The reason, if the app does not get the reply for that."""
        return f"refused ({self.check}): {self.what}"


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found in a reply's content."""

    failed: tuple[FailedCheck, ...] = ()
    norm: float | None = None
    """The L2 norm of its change of the dispatched arrays; None if nobody asked for it, or it cannot be measured."""
    layout: ReplyLayout | None = None
    """None if the content cannot be read."""
    here: bool = True
    """Whether the content is here. A content that is too large is not fetched."""


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """How many bytes an answer may have."""

    federation: int
    multiple: int | None
    """How many times as large as the dispatched content, if that holds arrays; None: any number."""

    def of_answer_to(self, sent: int | None) -> int:
        """The limit; ``sent`` is the size of the dispatched content, None if that holds no arrays."""
        if self.multiple is None or sent is None:
            return self.federation
        return min(self.federation, max(SMALLEST_LIMIT, self.multiple * sent))


@dataclass(frozen=True, slots=True)
class NormBound:
    """How far an update may be from what was dispatched, as an L2 norm over all its numbers."""

    value: float
    of_median: bool
    """Whether ``value`` is a multiple of the median of the updates collected together."""

    @classmethod
    def parse(cls, text: str) -> NormBound:
        """``10``, or ``3x`` (also ``3xmedian``).

        Raises:
            ValueError: if it is neither, or not more than 0.
        """
        match = re.fullmatch(r"([0-9.]+(?:e[+-]?[0-9]+)?)(x|xmedian)?", text.strip().lower(), re.ASCII)
        try:
            value = float(match[1]) if match else math.nan
        except ValueError:
            value = math.nan
        if match is None or not 0 < value < math.inf:
            raise ValueError(
                f"{text!r} is no bound: a norm such as 10, or a multiple of the median such as 3x, and more than 0"
            )
        return cls(value, match[2] is not None)

    def __str__(self) -> str:
        return f"{self.value:g}{'x' if self.of_median else ''}"

    def too_far(self, norms: Mapping[bytes, float]) -> dict[bytes, FailedCheck]:
        """Why updates are refused, by message. ``norms`` are of answers to one dispatch, collected together."""
        limit, said = self.value, f"the bound of {self.value:g}"
        if self.of_median:
            median = _median(norms.values())
            if median is None:
                return {}
            limit, said = self.value * median, f"{self.value:g} times the median, which is {median:.4g}"
        return {
            message: FailedCheck(Check.NORM, f"its change has the L2 norm {norm:.4g}, more than {said}")
            for message, norm in norms.items()
            if not norm <= limit  # NaN is over every bound
        }

    def too_heavy(self, weights: Mapping[bytes, float]) -> dict[bytes, FailedCheck]:
        """The same for the weights of updates: a small change that counts a thousand times is a large change.

        A weight of 0 (no examples) does not count in the median.
        """
        median = _median(weight for weight in weights.values() if weight > 0)
        if not self.of_median or median is None:
            return {}
        return {
            message: FailedCheck(
                Check.NORM, f"its weight of {weight:.6g} is more than {self.value:g} times the median, {median:.6g}"
            )
            for message, weight in weights.items()
            if weight > self.value * median
        }


def _median(values: Iterable[float]) -> float | None:
    """The median; None if there are too few values. Of two in the middle it is the lower one, so that it takes at least
    half of the values to move it up."""
    ordered = sorted(math.inf if math.isnan(value) else value for value in values)
    return ordered[(len(ordered) - 1) // 2] if len(ordered) >= NO_FEWER else None


@dataclass(frozen=True, slots=True)
class Admission:
    """What a leader's owner asks of a reply before the app gets it."""

    checks: frozenset[Check] = OPTIONAL
    """Which of the `OPTIONAL` checks are made."""
    bound: NormBound | None = None

    @classmethod
    def parse(cls, text: str, bound: str | None = None) -> Admission:
        """``text`` is ``all``, ``off``, or the checks to make with commas between them. ``bound`` is as in
        `NormBound.parse`.

        Raises:
            ValueError: if there is no such check or bound.
        """
        names = {name.strip() for name in text.lower().split(",")}
        unknown = sorted(names - {check.value for check in OPTIONAL})
        if names in ({"all"}, {"off"}):
            checks = OPTIONAL if names == {"all"} else frozenset[Check]()
        elif unknown:
            known = ", ".join(sorted(OPTIONAL))
            raise ValueError(f"{unknown[0]!r} is no check: all, off, or some of {known} with commas between them")
        else:
            checks = frozenset(map(Check, names))
        return cls(checks, None if bound is None else NormBound.parse(bound))

    def limits(self, federation: int) -> SizeLimits:
        """How large an answer may be. ``federation`` is the limit for every content."""
        return SizeLimits(federation, LARGEST_MULTIPLE if Check.SIZE in self.checks else None)

    def makes(self, check: Check) -> bool:
        """Whether replies have to pass ``check``."""
        match check:
            case Check.READABLE | Check.SIZE:  # a content that was found too large is not here
                return True
            case Check.NORM:
                return self.bound is not None
        return check in self.checks

    def refusal(self, found: Examination) -> FailedCheck | None:
        """Why the reply is refused, whatever the others are."""
        broken = {each.check: each for each in reversed(found.failed)}
        for check in Check:
            if check in broken and check is not Check.NORM and self.makes(check):
                return broken[check]
        return None


def is_update(message_type: str) -> bool:
    """Whether a message of this Flower type (``train``, ``train.NAME``) asks for an update."""
    return message_type.partition(".")[0] == "train"
