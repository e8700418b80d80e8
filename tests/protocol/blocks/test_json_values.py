"""Dataclasses as values of JSON, with CIDs as text."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from protocol.blocks.cid import CID, raw_block
from protocol.blocks.json_values import NotOfKind, from_json_value, json_value

BLOCK = raw_block(b"").cid


@dataclass(frozen=True)
class Linked:
    name: str
    to: CID | None


def test_a_cid_is_its_text_both_ways() -> None:
    assert json_value(Linked("a", BLOCK)) == {"name": "a", "to": str(BLOCK)}
    assert from_json_value({"name": "a", "to": str(BLOCK), "newer": 1}, Linked) == Linked("a", BLOCK)


@pytest.mark.parametrize("value", [None, [], {"name": 1, "to": None}, {"name": "a"}, {"name": "a", "to": "bafyx"}])
def test_whatever_else_is_none(value: object) -> None:
    with pytest.raises(NotOfKind):
        from_json_value(value, Linked)


def test_what_json_has_no_form_for_is_not_written() -> None:
    with pytest.raises(TypeError, match="object does not go into JSON"):
        json_value({"a": object()})
