"""An app's exception as records have it: Flower's text, ``<class 'KeyError'>:<'x'>``, and what fixes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_RAISED: Final = re.compile(r"<class '([^']{1,200})'>:<'(.*)'>(.*)", re.DOTALL)
"""`strategy.hosting.host.describe` writes it."""


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception. All of its text is somebody else's."""

    kind: str
    """The name of its class."""
    text: str
    fix: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}" if self.text else self.kind


def parse_raised(reason: str) -> Raised | None:
    """The exception in a reason; None if the reason is something else."""
    raised = _RAISED.fullmatch(reason)
    return None if raised is None else Raised(*raised.groups())
