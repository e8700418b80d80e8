"""The place of a home: the same wherever it is moved, another for each copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from peer.home.home_location import location_of


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


def test_a_home_that_is_moved_and_written_to_keeps_its_place(home: Path) -> None:
    before = location_of(home)
    moved = home.rename(home.parent / "moved")
    (moved / "file").touch()
    assert location_of(moved) == before


def test_a_copy_has_another_place(home: Path) -> None:
    copy = shutil.copytree(home, home.parent / "copy")
    assert location_of(copy) != location_of(home)


def test_a_copy_that_is_put_where_the_home_was_has_another_place(home: Path) -> None:
    """Though the inode's number may have been given away again."""
    before = location_of(home)
    backup = shutil.copytree(home, home.parent / "backup")
    shutil.rmtree(home)
    shutil.copytree(backup, home)
    assert location_of(home) != before


def test_a_place_says_nothing_of_the_machine(home: Path) -> None:
    machine = Path("/etc/machine-id")
    if machine.is_file():
        assert machine.read_text().strip() not in location_of(home)
    assert len(location_of(home)) == 64
