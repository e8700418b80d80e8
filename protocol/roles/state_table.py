"""A role's table: which event may come in which state, the function that takes it, and the state that follows.

In the style of h11 (``h11/_state.py``): what may happen is data, not control flow. The functions are references, so
the type checker sees that each takes the event that it is given, and an editor finds where each is used. What a role
brings about by itself, between two events, is a *turn*: it has a row like an event, with the next state alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

S = TypeVar("S", bound=Enum)
E = TypeVar("E")


class IllegalEvent(Exception):
    """The shell handed in an event that the state does not allow, or a role took such a turn: a bug of ours."""


@dataclass(frozen=True, slots=True)
class Rule(Generic[S]):
    """What happens at ``on`` (the class of an event, or a turn) in one state."""

    on: type | Enum
    do: Callable[[Any, float], None] | None
    """Takes the event and the time, in seconds; None: nothing is to be done. `on` has seen that the types fit."""
    to: S | None
    """The next state; None: the same, unless a turn is taken meanwhile."""


def on(kind: type[E], do: Callable[[E, float], None], to: S | None = None) -> Rule[S]:
    """``do(event, now)`` takes events of this kind; the state is ``to`` afterwards."""
    return Rule(kind, do, to)


def ignored(kind: type) -> Rule[Any]:
    """Events of this kind may still come; nothing is done."""
    return Rule(kind, None, None)


def turn(of: Enum, to: S) -> Rule[S]:
    """The role may take a turn, to the state ``to``."""
    return Rule(of, None, to)


class StateTable(Generic[S]):
    """All rules of a role, by state. A role that cannot go on is in the state ``last`` at once, whatever it was in."""

    def __init__(
        self,
        first: S,
        last: S,
        rows: Mapping[S, Sequence[Rule[S]]],
        settle: Mapping[S, Callable[[float], None]],
    ) -> None:
        """``settle(now)`` of a state does what has become possible: after each event, and when the state is entered."""
        self.first = first
        self.last = last
        self.settle = settle
        self.rows = {state: {rule.on: rule for rule in rules} for state, rules in rows.items()}
