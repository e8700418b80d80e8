"""Text of other people on a terminal: what they call things, why they refuse, what is in their files."""

from __future__ import annotations


def visible(text: str, keep: str = "") -> str:
    """Text of others with escapes such as ``\\x1b`` for what a terminal would obey or hide (controls, text direction),
    but for the characters in ``keep``."""
    return "".join(each if each.isprintable() or each in keep else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
