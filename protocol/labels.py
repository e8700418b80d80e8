"""Labels: the first characters of ids, for people. A whole id has 56 or 59 characters: a line has room for one.

An id in a command of ours stays whole, because somebody copies it, perhaps to another machine.
"""

from __future__ import annotations

import re
from typing import Final

from protocol.blocks.cid import LABEL

DID_LABEL: Final = 20
"""Characters of a ``did:key``: the first 12 are the same in all of them that Pollen makes."""

_ID: Final = re.compile(r"\b(?:baf[yk][a-z2-7]{55}|did:key:z[1-9A-HJ-NP-Za-km-z]{40,})\b")
_COMMAND: Final = re.compile(r"\bpeer [a-z][^;`]*\Z")
"""A command of ours that has not ended yet."""


def labelled(text: str) -> str:
    """The text with labels in place of whole ids, but for those in commands."""

    def label(found: re.Match[str]) -> str:
        if _COMMAND.search(text, 0, found.start()):
            return found[0]
        return found[0][: DID_LABEL if found[0].startswith("did") else LABEL]

    return _ID.sub(label, text)
