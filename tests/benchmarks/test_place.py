"""Where benchmarks run: a folder that stays if somebody chose it, and turns that begin alike."""

from __future__ import annotations

from pathlib import Path

from measured.place import Place, bench_folder


def test_a_folder_that_nobody_chose_is_gone_at_the_end() -> None:
    with bench_folder(None) as folder:
        assert folder.is_dir()
    assert not folder.exists()


def test_a_chosen_folder_is_made_and_stays(tmp_path: Path) -> None:
    with bench_folder(tmp_path / "a" / "b") as folder:
        assert folder == tmp_path / "a" / "b"
    assert folder.is_dir()


def test_a_turn_begins_with_nothing_of_the_turn_before_and_then_fills_memory(tmp_path: Path) -> None:
    where = tmp_path / "turn"
    where.mkdir()
    there: list[bool] = []
    Place(tmp_path, {}, lambda: there.append(where.exists())).clear(where)
    assert there == [False]
