"""`peer.confinement.folders`: an app's folders are removed, however deep it has nested them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peer.confinement.folders import remove, temporary_folder

DEEP = 2_000


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


def test_so_is_one_that_stays_until_the_next_start(tmp_path: Path) -> None:
    (folder := tmp_path / "running").mkdir()
    nest(folder)

    remove(folder)

    assert not folder.exists()
