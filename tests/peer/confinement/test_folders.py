"""`peer.confinement.folders`: an app's folders are removed, whatever it has made of them."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peer.confinement.folders import remove, temporary_folder

DEEP = sys.getrecursionlimit() + 100
NOBODY = 65534


def nest(folder: Path) -> None:
    with back_at(Path.cwd()):
        os.chdir(folder)
        for _ in range(DEEP):
            os.mkdir("d")
            os.chdir("d")


@contextmanager
def back_at(before: Path) -> Iterator[None]:
    try:
        yield
    finally:
        os.chdir(before)


def test_a_temporary_folder_that_was_nested_without_end_is_removed() -> None:
    with temporary_folder("pollen-test-") as folder:
        nest(folder)

    assert not folder.exists()


def test_a_folder_that_nobody_may_open_is_removed() -> None:
    child = multiprocessing.get_context("fork").Process(target=remove_what_is_closed)
    child.start()
    child.join()

    assert child.exitcode == 0


def remove_what_is_closed() -> None:
    if os.getuid() == 0:  # root may open all
        os.setuid(NOBODY)
    with temporary_folder("pollen-test-") as folder:
        (folder / "running" / "closed" / "in it").mkdir(parents=True)
        (folder / "running" / "closed").chmod(0)

        remove(folder / "running")

        assert not (folder / "running").exists()


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (kept := tmp_path / "kept").mkdir(mode=0o500)
    (folder := tmp_path / "running").mkdir()
    (folder / "link").symlink_to(kept)
    nest(folder)  # so that it is not Python that removes it

    remove(folder)

    assert not folder.exists()
    assert kept.stat().st_mode & 0o777 == 0o500
