"""Free memory is filled with the pages of a file that takes no disk, and never all of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from measured.new_memory import LEFT_FREE, FilledMemory, PageCost, filling, page_cost

MIB = 1 << 20
COST = PageCost(new=3.0, reused=0.3)


def test_all_free_memory_but_a_margin_is_filled(tmp_path: Path) -> None:
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        FilledMemory(file, lambda: LEFT_FREE + 48 * MIB - os.fstat(file.fileno()).st_size).top_up()
        assert os.fstat(file.fileno()).st_size == 48 * MIB


def test_filling_takes_no_disk(tmp_path: Path) -> None:
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        FilledMemory(file, lambda: LEFT_FREE + 48 * MIB - os.fstat(file.fileno()).st_size).top_up()
        assert os.fstat(file.fileno()).st_blocks == 0


def test_what_was_freed_since_is_filled_by_pages_that_were_never_read(tmp_path: Path) -> None:
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        freed = [32 * MIB]
        filled = FilledMemory(file, lambda: LEFT_FREE + sum(freed) - os.fstat(file.fileno()).st_size)
        filled.top_up()
        freed.append(64 * MIB)
        filled.top_up()
        assert os.fstat(file.fileno()).st_size == 96 * MIB


def test_nothing_is_filled_where_no_more_than_the_margin_is_free(tmp_path: Path) -> None:
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        FilledMemory(file, lambda: LEFT_FREE).top_up()
        assert os.fstat(file.fileno()).st_size == 0


def test_filling_ends_and_is_told_where_reading_takes_no_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        FilledMemory(file, lambda: 3 * LEFT_FREE).top_up()
    assert "or the folder is in memory" in capsys.readouterr().err


def test_filling_that_cost_no_more_than_other_memory_is_called_pointless(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with filling(True, tmp_path, PageCost(new=1e6, reused=1e6)):
        pass
    assert "was pointless" in capsys.readouterr().err


def test_filling_with_pages_that_cost_more_is_not_called_pointless(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("measured.new_memory.free_memory", iter([2 * LEFT_FREE] * 2 + [0] * 9).__next__)
    with filling(True, tmp_path, PageCost(new=0.0, reused=0.0)) as fill:
        fill()
    assert "pointless" not in capsys.readouterr().err


def test_nothing_is_said_of_filling_that_nobody_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with filling(False, tmp_path, COST) as fill:
        fill()
    assert capsys.readouterr().err == ""


def test_the_file_that_fills_has_no_name(tmp_path: Path) -> None:
    with filling(True, tmp_path, COST):
        assert list(tmp_path.iterdir()) == []


def test_the_cost_of_new_and_of_reused_pages_is_measured(tmp_path: Path) -> None:
    cost = page_cost(tmp_path)
    assert cost.told.keys() == {"new", "reused"}
    assert min(cost.new, cost.reused) > 0
