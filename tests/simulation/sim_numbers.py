"""How many drawn runs of a kind are tried."""

from __future__ import annotations

import pytest
from _pytest.mark import ParameterSet


def some(few: int, *, of: int) -> list[ParameterSet]:
    """The numbers of ``of`` runs, all but the first ``few`` with ``--all`` alone."""
    return [pytest.param(number, marks=[] if number < few else [pytest.mark.all]) for number in range(of)]
