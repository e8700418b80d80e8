"""The report of a run, as the page shows it: its records are verified; its app does not run, and no model is read."""

from __future__ import annotations

import threading

from peer.audit.run_lookup import RunLookup
from peer.history.scratch import Scratch
from peer.report.page import page_of
from peer.report.writing import report_of
from peer.web.board import Board
from protocol.blocks.cid import CID

_ONE: threading.Lock = threading.Lock()
"""One report at a time: a long run takes a while."""


def run_report(board: Board, run: CID) -> str:
    """The page of the report.

    Raises:
        peer.web.board.NotHere: if the run is not here.
        PeerError, EngineError, BlockError: if it cannot be read.
    """
    board.view(run)  # it is a run of this home, and its engine is open
    lookup = RunLookup(board.home, board.ipfs, board.readers, timeout=0.0)
    with _ONE, Scratch() as scratch, lookup.reading(str(run), scratch) as audit:
        audit.run()
        with report_of(audit, scratch, f"peer report {run}", "because a page runs no app: peer report does") as report:
            return "".join(page_of(report))
