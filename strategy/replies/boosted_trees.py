"""Boosted trees, as XGBoost saves a model in JSON and Flower's ``FedXgbBagging`` adds them up.

Flower's own code decides what it can add. Here is a limit on what that may cost. XGBoost's format:
https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from strategy.flower_compat import adds_up

MAX_PARTS: Final = 1 << 20
"""How many objects and lists are read. A tree of XGBoost has about twenty."""
MAX_VALUES: Final = 1 << 24
MAX_DEPTH: Final = 64
"""A model of XGBoost is 9 deep. Without this limit, JSON as deep as Python's stack might be read here but not in the
app."""


def are_trees(data: bytes) -> bool:
    """Whether Flower can add these bytes to others, and others to them, within the limits."""
    if data.count(b"{") + data.count(b"[") > MAX_PARTS or data.count(b",") > MAX_VALUES:
        return False
    try:
        flat = _is_flat(json.loads(data))
    except (ValueError, RecursionError):
        return False
    return flat and adds_up(data)


def _is_flat(read: object) -> bool:
    """Whether nothing nests deeper than `MAX_DEPTH`."""
    parts = [read]
    for _ in range(MAX_DEPTH):
        parts = [inner for part in parts for inner in _inside(part) if isinstance(inner, dict | list)]
        if not parts:
            return True
    return False


def _inside(part: Any) -> Iterable[object]:
    if isinstance(part, dict):
        return part.values()
    return part if isinstance(part, list) else ()
