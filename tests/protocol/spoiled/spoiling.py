"""How a case that breaks a chain rule is written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chains import Scribe, begun

from crypto.keys import SigningKey
from protocol.blocks.cid import Block
from protocol.chain.rules import BrokenRule
from protocol.records.bodies import Body


@dataclass(frozen=True)
class Spoiled:
    """A record that must not be appended, and the body that may be in its place (None if nothing may)."""

    bad: Block
    good: Body | None


@dataclass(frozen=True)
class Case:
    """After ``start``, ``spoil`` gives a record that breaks ``rule`` alone."""

    rule: type[BrokenRule]
    start: Callable[[], Scribe]
    spoil: Callable[[Scribe], Spoiled]

    def __str__(self) -> str:
        return f"{self.rule.name}-{self.spoil.__name__}"


CASES: list[Case] = []
"""Those of the modules that `spoiled` imports."""

Spoil = Callable[[Scribe], Spoiled]


def breaks(rule: type[BrokenRule], start: Callable[[], Scribe] = begun) -> Callable[[Spoil], Spoil]:
    """Enter a case."""

    def enter(spoil: Spoil) -> Spoil:
        CASES.append(Case(rule, start, spoil))
        return spoil

    return enter


def signed(scribe: Scribe, bad: Body, good: Body | None, *signers: SigningKey) -> Spoiled:
    """The bad body signed as the good one would be, or by ``signers``."""
    return Spoiled(scribe.sign(bad, *signers), good)
