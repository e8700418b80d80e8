"""What the processes of a test said, for its report if it fails: whatever is wrong may be explained there alone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

LINES: Final = 40
"""The last lines that are shown of each process."""

LONGEST: Final = 400
"""Characters of a line that are shown."""

_logs: Final[dict[Path, str]] = {}


def remember(name: str, log: Path) -> None:
    """The process called ``name`` writes its standard error to ``log``."""
    _logs[log] = name


def forget() -> None:
    """A test begins."""
    _logs.clear()


def sections() -> list[tuple[str, str]]:
    """A title and the last lines of each process since the test began."""
    return [(f"{name} said at last ({log.name})", _last(log)) for log, name in _logs.items() if log.exists()]


def _last(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-LINES:]
    return "\n".join(line if len(line) <= LONGEST else f"{line[:LONGEST]}..." for line in lines)
