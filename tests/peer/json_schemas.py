"""The schemas of ``--json``, as docs/json.md has them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[2] / "docs" / "json.md"
_ROW = re.compile(r"^\| `(pollen/[\w-]+/\d+)` \| [^|]* \| ([^|]*) \|", re.MULTILINE)


@cache
def documented() -> dict[str, frozenset[str]]:
    """The fields of each schema, besides ``schema``."""
    return {name: frozenset(re.findall(r"`(\w+)`", fields)) for name, fields in _ROW.findall(DOCUMENT.read_text())}


def as_documented(value: dict[str, Any]) -> dict[str, Any]:
    """An object that a command printed, without its schema, which has all of the object's fields."""
    schema = value["schema"]
    fields = {name: each for name, each in value.items() if name != "schema"}
    assert schema in documented(), f"docs/json.md has no {schema}"
    unknown = fields.keys() - documented()[schema]
    assert not unknown, f"docs/json.md does not have the fields {unknown} of {schema}"
    return fields
