"""Keeps in the journal what a home tells its owner of runs: their names and apps, how far they are, how they ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from peer.base import logs
from peer.base.errors import PeerError
from peer.home.journal import Journal
from protocol.blocks.cid import CID
from protocol.roles.effects import Report, What


class RunBook:
    """Notes what one role reports. Nothing rests on it, so a full disk stops nobody here."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._run: CID | None = None
        self._round: int | None = None
        self._writing = ThreadPoolExecutor(1, "run-book")  # one thread, to keep the order

    def close(self) -> None:
        """Finish what is to be noted."""
        self._writing.shutdown()

    def note(self, report: Report) -> None:
        """Take a report."""
        match report.what:
            case What.RUN_OPENED | What.RUN_RESUMED | What.RUN_FOLLOWED:
                self._run, self._round = CID.parse(str(report.fields["run"])), None
                self._do(lambda run: self._journal.name_run(run, str(report.fields["app"]), time.time()))
            case What.DISPATCHED | What.TASK_ANSWERED | What.TASK_FAILED:
                self._note_round(report.fields.get("round"))
            case What.RUN_CLOSED:
                outcome = report.fields.get("outcome")
                self._do(lambda run: self._journal.note_outcome(run, str(outcome)))
            case _:
                pass

    def _note_round(self, number: object) -> None:
        if isinstance(number, int) and number != self._round:
            self._round = number
            self._do(lambda run: self._journal.note_round(run, number))

    def _do(self, work: Callable[[CID], object]) -> None:
        """Write in another thread: each write waits for the disk."""
        if (run := self._run) is not None:
            self._writing.submit(_try, work, run)


def _try(work: Callable[[CID], object], run: CID) -> None:
    try:
        work(run)
    except PeerError as error:
        logs.event("run-not-noted", logging.WARNING, why=str(error))
