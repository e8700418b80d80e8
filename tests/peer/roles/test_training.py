"""`peer.roles.training`: what a client that starts has from its home."""

from __future__ import annotations

from pathlib import Path

from peer.home.journal import Journal, RunHead
from peer.roles.training import TOLD_AGAIN, kept_runs
from protocol.blocks.cid import CID, raw_block
from protocol.records.bodies import Role


def cid(text: str) -> CID:
    return raw_block(text.encode()).cid


def test_replies_in_open_runs_and_in_those_that_closed_last_are_not_forgotten(tmp_path: Path) -> None:
    federation, message = cid("federation"), bytes(32)
    runs = [cid(f"run {number}") for number in range(TOLD_AGAIN + 2)]
    with Journal(tmp_path / "journal.db") as journal:
        for number, run in enumerate(runs):
            closed = number > 0
            head = RunHead(run, federation, cid("head"), 1, 1, closed, Role.CLIENT, "local:/engine", float(number))
            journal.keep_head(head)
            journal.keep_reply(run, message, cid(f"reply in {number}"), None)
        kept = kept_runs(journal, federation, b"member")
    assert kept.keys() == {runs[0], *runs[2:]}
    assert kept[runs[-1]].replies == {message: cid(f"reply in {TOLD_AGAIN + 1}")}
