"""Text of other people, as it is shown: what they call things, why they refuse, what is in their files.

`visible` is what every printed line goes through (`peer.base.terminal`): it can hold nothing that a terminal would obey
or
hide. `quoted` and `named` are for whoever writes a sentence around somebody else's text: it can be told from ours.
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
"""Letters, marks and symbols that show nothing: Unicode's Default_Ignorable_Code_Point, as far as Python calls them
printable, and the empty braille pattern."""

_PLAIN: Final = re.compile(r"[\w.@/+:-]+")
"""A name that needs no quotation marks: one word."""


def visible(text: str, keep: str = "") -> str:
    """Text of others with escapes such as ``\\x1b`` for what a terminal would obey or hide (controls, line breaks, text
    direction, characters without width), but for the characters in ``keep``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(each if _is_shown(each) or each in keep else _escaped(each) for each in text)


def quoted(text: str, most: int = LONGEST) -> str:
    """Text of others between quotation marks, on one line, the rest cut beyond ``most`` characters.

    It cannot end its quotation, and not draw columns: a second blank in a row is an escape.
    """
    shown = visible(text[:most].replace("\\", "\\\\").replace('"', '\\"'))
    more = f"... ({len(text)} characters)" if len(text) > most else ""
    return f'"{re.sub("(?<= ) ", _SPACE, shown)}"{more}'


def named(text: str, most: int = LONGEST) -> str:
    """A name that others gave: as it is where it is one plain word, else `quoted`."""
    plain = len(text) <= most and _PLAIN.fullmatch(text) and not _ends_like_ours(text) and visible(text) == text
    return text if plain else quoted(text, most)


_SPACE: Final = r"\\x20"
"""As `re.sub` takes it."""


def _ends_like_ours(text: str) -> bool:
    """Whether it reads as the head of a line of our own: ``verified:``."""
    return text.endswith(":")


def _is_shown(character: str) -> bool:
    return character.isprintable() and character not in _BLANK


def _escaped(character: str) -> str:
    if character in _BLANK:
        code = ord(character)
        return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return character.encode("unicode_escape").decode("ascii")
