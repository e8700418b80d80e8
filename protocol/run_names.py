"""How people name the runs of a home: ``latest``, a name, or the first characters of a CID.

A name is local to a home. The chain does not know it, and no other member does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Final

from protocol.blocks.cid import CID, LABEL

LATEST: Final = "latest"
"""What names the run that began last, so that no run may have it for a name."""

LONGEST: Final = 40
"""Characters of a name."""

SHOWN: Final = LABEL
"""The first characters of a CID that lists show. The first 7 say only what kind of CID it is, the others are random."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
_LIKE_CIDS: Final = ("bafy", "bafk")


def why_no_name(text: str) -> str:
    """Why no run can be called so; empty if one can. A name is one plain word, and never looks like a CID."""
    if not _NAME.fullmatch(text):
        return "it is not one word of lower-case letters, digits, dots, dashes and underscores"
    if len(text) > LONGEST:
        return f"it has more than {LONGEST} characters"
    return "that word means something else" if text == LATEST or text.startswith(_LIKE_CIDS) else ""


def name_after(app: str, taken: Collection[str]) -> str:
    """A name for a run of ``app``, whose name somebody else chose: what is left of that, and a number that is free."""
    plain = re.sub(r"[^a-z0-9]+", "-", app[: 4 * LONGEST].lower())[: LONGEST - 12].strip("-")
    if not plain or why_no_name(plain):
        plain = "run"
    return next(name for number in count(1) if (name := f"{plain}-{number}") not in taken)


@dataclass(frozen=True, slots=True)
class RunHere:
    """A run of a home, as far as people can name it."""

    run: CID
    head: CID
    name: str
    """Empty if it has none."""
    began: float
    """Seconds since 1970."""


def named_by(text: str, runs: Iterable[RunHere]) -> list[RunHere]:
    """The runs that ``text`` may mean; several if it is not clear. A whole name comes before the beginning of a CID."""
    known = list(runs)
    if text == LATEST:
        return sorted(known, key=lambda run: run.began)[-1:]
    called = [run for run in known if text and run.name == text]
    return called or [
        run for run in known if text and (str(run.run).startswith(text) or str(run.head).startswith(text))
    ]
