"""Which contents of a run may go by a plan, and which have to stay.

A peer asks it before it drops something, and an audit asks it about what is not here. Each gives what it knows; the
answer is the same for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from protocol.blocks.cid import CID
from protocol.keeping.plan import All, KeepPlan, Last, LastAndBest, UntilAudited, WhileRoom
from protocol.records.bodies import Role


class Kind(StrEnum):
    """Who said a content."""

    MODEL = "model"
    """The server sent it."""
    UPDATE = "update"
    """A client answered it."""


@dataclass(frozen=True, slots=True)
class ExchangeAt:
    """Where an exchange is in its run."""

    number: int
    """From 1, in the order of the chain."""
    last_height: int
    """The height of its newest record: the dispatch, then each collect that is about it."""
    is_answered: bool
    """Whether no message of it waits any more."""


@dataclass(frozen=True, slots=True)
class RunSoFar:
    """What is known of a run, besides its contents."""

    exchanges: int
    """How many it has."""
    closed: bool
    audited: int | None = None
    """The height up to which an auditor confirmed that everything was there (`protocol.keeping.confirmed`); None if
    none did."""
    best: int | None = None
    """The number of the exchange with the best model; None if none is marked."""
    is_best_known: bool = True
    """Whether that is known. If not, any model may be the best, and all stay."""
    holder: Role = Role.SERVER
    """The role, in this run, of the member whose disk it is. A client does not replay: what it has answered, and the
    chain has collected, no open run needs of it."""


@dataclass(frozen=True, slots=True)
class LinkedContents:
    """The contents that the records of an exchange link."""

    at: ExchangeAt
    models: tuple[CID, ...]
    updates: tuple[CID, ...]


@dataclass(frozen=True, slots=True)
class Droppable:
    """A content that may go."""

    content: CID
    kind: Kind
    exchange: int
    """The number of the newest exchange that links it; 0 if only records do that a takeover has lost."""


def stays(kind: Kind, exchange: ExchangeAt, plan: KeepPlan, run: RunSoFar) -> bool:
    """Whether contents of this kind stay, as far as this exchange needs them. Another exchange may need them too."""
    if not run.closed:
        if not exchange.is_answered or exchange.number == run.exchanges:
            return True
        if not plan.drop_updates and run.holder is not Role.CLIENT:
            return True
    match plan.models if kind is Kind.MODEL else plan.updates:
        case All():
            return True
        case Last(count):
            return _is_among_last(count, exchange, run)
        case LastAndBest(count) | WhileRoom(count):
            is_best = exchange.number == run.best or not run.is_best_known
            return is_best or _is_among_last(count, exchange, run)
        case UntilAudited():
            return run.audited is None or run.audited < exchange.last_height


def droppable(
    exchanges: Sequence[LinkedContents], plan: KeepPlan, run: RunSoFar, needed: frozenset[CID] = frozenset()
) -> Iterator[Droppable]:
    """The contents that may go, the oldest first: first those that no exchange after an early one links.

    Args:
        exchanges: All of the run's, in the order of the chain.
        plan: By which plan.
        run: What is known of the run.
        needed: Contents that stay anyway: app, seed, initial and final model, and whatever other runs need.
    """
    kept = set(needed)
    last: dict[CID, Droppable] = {}
    for each in exchanges:
        for kind, contents in ((Kind.MODEL, each.models), (Kind.UPDATE, each.updates)):
            if stays(kind, each.at, plan, run):
                kept.update(contents)
                continue
            for content in contents:
                last.pop(content, None)  # so that it stands where it was linked last
                last[content] = Droppable(content, kind, each.at.number)
    return (each for each in last.values() if each.content not in kept)


def lost_may_go(
    lost: Sequence[tuple[CID, Kind]], plan: KeepPlan, run: RunSoFar, needed: frozenset[CID] = frozenset()
) -> Iterator[Droppable]:
    """The contents that may go of those that only records name which a takeover has lost. Nobody needs them for the
    run. But as long as it is open, a client may be asked the same again, and its answer is one of them; and whoever
    keeps everything keeps these too."""
    for content, kind in lost:
        kept = plan.models if kind is Kind.MODEL else plan.updates
        if run.closed and not isinstance(kept, All) and content not in needed:
            yield Droppable(content, kind, 0)


def _is_among_last(count: int, exchange: ExchangeAt, run: RunSoFar) -> bool:
    return exchange.number > run.exchanges - count
