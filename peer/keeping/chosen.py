"""What the owner of a home has said of what stays, in its journal."""

from __future__ import annotations

from dataclasses import replace

from peer.base.errors import PeerError
from peer.home.journal import Journal
from protocol.keeping.budget import Budget, parse_budget
from protocol.keeping.home_plan import Keeping, parse_keeping
from protocol.keeping.plan import PlanError


def chosen_keeping(journal: Journal) -> Keeping:
    """What was said.

    Raises:
        PeerError: if this version does not understand it.
    """
    text = journal.keeping()
    if text is None:
        return Keeping()
    try:
        return parse_keeping(text)
    except PlanError as error:
        raise PeerError(f"what this home keeps cannot be read: {error}", fix="say it again: peer keep") from error


def parsed_budget(text: str | None) -> Budget | None:
    """A budget as an owner says it; None if nothing is said.

    Raises:
        PeerError: if it is none.
    """
    try:
        return None if text is None else parse_budget(text)
    except PlanError as error:
        raise PeerError(str(error), fix="say a size, such as --budget 500G; see peer keep --help") from error


def remember_budget(journal: Journal, budget: Budget) -> None:
    """Keep to this budget from now on, as `peer keep --budget` says.

    Raises:
        PeerError: if this version does not understand what was said before.
    """
    journal.remember_keeping(str(replace(chosen_keeping(journal), budget=budget)))
