"""When an exchange closes although some of its replies are not in: once enough are, and its deadline is over.

A rule reads ``replies=80% deadline=30`` in a run record. It is about what the app waits for (``send_and_receive``).
An app that pulls by itself decides for itself when it goes on, and a time-out of its own that ends sooner counts too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

LONGEST_RULE: Final = 50
"""Characters of a rule's text at most."""

MOST_REPLIES: Final = 1_000_000
LATEST_DEADLINE: Final = 30 * 86_400
"""Seconds: Flower's messages live for 12 hours unless the app says otherwise."""

LEFT_OUT: Final = "left out: "
"""How the reason begins of the error that an app gets in place of a reply for which its exchange did not wait."""

_WHOLE: Final = 1_000
"""A share counts thousandths, so that it is exact on every machine."""


class ClosingError(ValueError):
    """A text that is no rule, or no part of one. The message says what it may be."""


@dataclass(frozen=True, slots=True)
class Count:
    """So many replies, of however many messages."""

    replies: int

    def of(self, messages: int) -> int:
        """How many replies of ``messages`` are enough: all of them, if they are fewer than it asks for."""
        return min(self.replies, messages)

    def __str__(self) -> str:
        return str(self.replies)


@dataclass(frozen=True, slots=True)
class Share:
    """A share of the messages, in thousandths."""

    thousandths: int

    def of(self, messages: int) -> int:
        """How many replies of ``messages`` are enough, rounded up."""
        return -(-messages * self.thousandths // _WHOLE)

    def __str__(self) -> str:
        return f"{self.thousandths / 10:g}%"


HALF: Final = Share(_WHOLE // 2)
"""How many replies are enough if only a deadline is given."""

AT_ONCE: Final = 0.0
"""The deadline if only a number of replies is given: the exchange closes as soon as they are in."""


@dataclass(frozen=True, slots=True)
class ClosingRule:
    """When an exchange closes early."""

    enough: Count | Share = HALF
    deadline: float = AT_ONCE
    """Seconds from when the app begins to wait, which is when the dispatch is durable. In thousandths."""

    def needs(self, messages: int) -> int:
        """How many good replies to ``messages`` are enough: at least one."""
        return max(1, self.enough.of(messages))

    def in_words(self) -> str:
        """For people, after "an exchange closes"."""
        of = "replies are in" if isinstance(self.enough, Count) else "of the replies are in"
        after = f", {seconds(self.deadline)} s after its dispatch at the earliest" if self.deadline else ""
        return f"once {self.enough} {of}{after}"

    def __str__(self) -> str:
        """The one text of this rule. `parse_closing` reads it."""
        return f"replies={self.enough} deadline={seconds(self.deadline)}"


def seconds(value: float) -> str:
    """A number of seconds, to the thousandth."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def closing_of(min_replies: str | None, deadline: float | None) -> ClosingRule | None:
    """The rule of two options; None if neither is given.

    Raises:
        ClosingError: if one of them means nothing.
    """
    if min_replies is None and deadline is None:
        return None
    enough = HALF if min_replies is None else parse_enough(min_replies)
    return ClosingRule(enough, AT_ONCE if deadline is None else checked_deadline(deadline))


_COUNT: Final = re.compile(r"[0-9]{1,7}", re.ASCII)
_PERCENT: Final = re.compile(r"([0-9]{1,3})(?:\.([0-9]))?%", re.ASCII)
_FRACTION: Final = re.compile(r"0?\.([0-9]{1,3})|1\.0{1,3}", re.ASCII)


def parse_enough(text: str) -> Count | Share:
    """How many replies: a number as ``3``, or a share as ``80%`` or ``0.8``.

    Raises:
        ClosingError: if it is neither, or nothing, or more than all.
    """
    if _COUNT.fullmatch(text):
        if not 0 < int(text) <= MOST_REPLIES:
            raise ClosingError(f"{text} replies are none to wait for: a number from 1 to {MOST_REPLIES:,}, or a share")
        return Count(int(text))
    if match := _PERCENT.fullmatch(text):
        share = int(match[1]) * 10 + int(match[2] or 0)
    elif match := _FRACTION.fullmatch(text):
        share = _WHOLE if match[1] is None else int(match[1].ljust(3, "0"))
    else:
        raise ClosingError(f"{text!r} is neither a number of replies, as 3, nor a share of them, as 80% or 0.8")
    if not 0 < share <= _WHOLE:
        raise ClosingError(f"{text} is no share of the replies: more than 0, and 100% at most")
    return Share(share)


def checked_deadline(value: float) -> float:
    """A deadline in seconds, to the thousandth.

    Raises:
        ClosingError: if it is no time, or too late a one.
    """
    if not 0 < value <= LATEST_DEADLINE:  # nan is neither
        raise ClosingError(f"a deadline of {value:g} s: it is more than 0, and {LATEST_DEADLINE:,} s at most")
    return max(0.001, round(value, 3))


_RULE: Final = re.compile(r"replies=(\S{1,10}) deadline=([0-9]{1,7}(?:\.[0-9]{1,3})?)", re.ASCII)


def parse_closing(text: str) -> ClosingRule:
    """The rule in ``text``, which is written in its one way.

    Raises:
        ClosingError: if it is not.
    """
    match = _RULE.fullmatch(text)
    if match is None:
        raise ClosingError(f"{text!r} is no rule, as replies=80% deadline=30")
    deadline = float(match[2])
    rule = ClosingRule(parse_enough(match[1]), checked_deadline(deadline) if deadline else AT_ONCE)
    if str(rule) != text:
        raise ClosingError(f"{text!r} is not written in its one way")
    return rule
