"""Text of others, as Pollen shows it: their names, their reasons, what is in their files.

Every printed line goes through `visible` (`peer.base.terminal`), so that it holds nothing that a terminal would obey or
hide. `quoted` and `named` put somebody else's text into a sentence of ours, and keep the two apart.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 200
"""Characters of a quotation."""

_BLANK: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
"""Characters that Python calls printable and that show nothing: Unicode's Default_Ignorable_Code_Point and the empty
braille pattern."""

_PLAIN: Final = re.compile(r"[\w.@/+:-]+")
"""A name that needs no quotation marks: one word."""

_SPACE: Final = r"\\x20"
"""As `re.sub` takes it."""


def visible(text: str, keep: str = "") -> str:
    """Text of others, with escapes such as ``\\x1b`` for what a terminal would obey or hide: controls, line breaks,
    text direction, characters without width. Characters in ``keep`` stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(each if _is_shown(each) or each in keep else _escaped(each) for each in text)


def quoted(text: str, most: int = LONGEST) -> str:
    """Text of others between quotation marks, on one line, cut after ``most`` characters.

    It cannot end its quotation. Nor can it draw columns: a second blank in a row becomes an escape.
    """
    shown = visible(text[:most].replace("\\", "\\\\").replace('"', '\\"'))
    more = f"... ({len(text)} characters)" if len(text) > most else ""
    return f'"{re.sub("(?<= ) ", _SPACE, shown)}"{more}'


def named(text: str, most: int = LONGEST) -> str:
    """A name that others gave: as it is if it is one plain word, otherwise `quoted`."""
    like_ours = text.endswith(":")  # as the lines of our own begin: "verified: ..."
    plain = len(text) <= most and _PLAIN.fullmatch(text) and not like_ours and visible(text) == text
    return text if plain else quoted(text, most)


def _is_shown(character: str) -> bool:
    return character.isprintable() and character not in _BLANK


def _escaped(character: str) -> str:
    if character in _BLANK:
        code = ord(character)
        return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return character.encode("unicode_escape").decode("ascii")
