"""Makes a report of an audit, and writes it to a file."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Final

from peer.audit.audit import Audit
from peer.base.errors import PeerError
from peer.history.scratch import Scratch
from peer.home.home import replace_file
from peer.report.facts import MAX_METRICS, Made, RunReport
from peer.report.gathering import gather
from peer.report.json_form import json_of
from peer.report.markdown import markdown_of
from peer.report.points import Points

PACKAGE: Final = "pollen-fl"


class ReportFormat(StrEnum):
    """The forms, by the suffix of a file's name."""

    HTML = ".html"
    MARKDOWN = ".md"
    JSON = ".json"

    @classmethod
    def of(cls, path: Path) -> ReportFormat:
        """The form of a file.

        Raises:
            PeerError: if its name ends in none of the three.
        """
        if path.suffix.lower() not in set(cls):
            raise PeerError(
                f"a report is written to a file that ends in {', '.join(cls)}, and {path.name} does not",
                fix="name one: -o report.html",
            )
        return cls(path.suffix.lower())


@contextlib.contextmanager
def report_of(audit: Audit, scratch: Scratch, command: str, why_no_replay: str = "") -> Iterator[RunReport]:
    """The report of an ``audit`` that was run, as long as it is used. ``command`` is what made it, as one types it;
    ``why_no_replay`` is why the app was not run again, if it was not."""
    made = Made(command, _version(), time.time())
    with Points(MAX_METRICS) as points, Points(MAX_METRICS) as apart:
        yield gather(audit, scratch, made, points, apart, why_no_replay)


def write_report(report: RunReport, path: Path) -> int:
    """Write a report to ``path`` in the form of its suffix, whole or not at all; how many bytes. Its owner alone may
    read the file: a report of an encrypted run tells what is encrypted.

    Raises:
        PeerError: as `ReportFormat.of`.
        OSError: if the file cannot be written.
    """
    form = _FORMS[ReportFormat.of(path)](report)
    replace_file(path, (part.encode("utf-8", "backslashreplace") for part in form))
    return path.stat().st_size


def _page(report: RunReport) -> Iterator[str]:
    from peer.report.page import page_of  # jinja2: for this form alone

    return page_of(report)


_FORMS: Final[dict[ReportFormat, Callable[[RunReport], Iterator[str]]]] = {
    ReportFormat.HTML: _page,
    ReportFormat.MARKDOWN: markdown_of,
    ReportFormat.JSON: json_of,
}


def _version() -> str:
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return "of an unknown version"
