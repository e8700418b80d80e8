"""`peer.history.left_files`: the files that a ServerApp left, and nothing else of the machine."""

from __future__ import annotations

import os
from pathlib import Path

from peer.history.left_files import Copied, copy_left_files, working_folder
from peer.home.home import Home
from protocol.blocks.cid import cbor_block

RUN = cbor_block(1).cid


def test_plain_files_are_copied_and_links_are_not(tmp_path: Path) -> None:
    home, secret = Home(tmp_path / "home"), tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    work = working_folder(home, RUN)
    (work / "curves").mkdir(parents=True)
    (work / "curves" / "loss.csv").write_text("1,0.5\n")
    (work / "link").symlink_to(secret / "key")
    (work / "folder").symlink_to(secret)
    os.mkfifo(work / "pipe")

    copied = copy_left_files(home, RUN, tmp_path / "out")
    assert copied == Copied(files=1, bytes=6, left=("folder", "link", "pipe"))
    assert [str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")] == ["curves/loss.csv"]


def test_a_run_that_left_nothing_makes_no_folder(tmp_path: Path) -> None:
    assert copy_left_files(Home(tmp_path / "home"), RUN, tmp_path / "out") == Copied(0, 0, ())
    assert not (tmp_path / "out").exists()
