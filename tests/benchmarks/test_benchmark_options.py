"""What people give the benchmarks, and what is left for them if one fails."""

from __future__ import annotations

import argparse
import contextlib
import shutil
from pathlib import Path

import pytest
from measured.amounts import new_file, one_or_more, picture, positive
from measured.case import Case
from measured.place import bench_folder

from peer.base.errors import PeerError


@pytest.mark.parametrize("text", ["1", "x2", "0x2", "1x0", "infx2", "nanx2", "1x2x3"])
def test_a_case_that_is_none_is_told_as_it_has_to_be_written(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not MBxCLIENTS, as 100x2 is"):
        Case.parse(text)


@pytest.mark.parametrize("text", ["0", "-1", "", "1.5"])
def test_nothing_is_not_measured_however_often(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        one_or_more(text)


@pytest.mark.parametrize("text", ["0", "-1", "", "nan", "inf"])
def test_no_model_is_not_measured(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        positive(text)


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"there is no folder .*absent"):
        new_file(str(tmp_path / "absent" / "results.json"))
    with pytest.raises(argparse.ArgumentTypeError, match=r"ends in none of \.png"):
        picture(str(tmp_path / "results.bmp"))
    assert picture(str(tmp_path / "results.svg")) == tmp_path / "results.svg"


def test_the_logs_that_an_error_names_stay() -> None:
    log = Path()
    with contextlib.suppress(PeerError), bench_folder(None) as folder:
        log = folder / "server.log"
        log.touch()
        raise PeerError("the server ended", fix=f"see {log}")
    assert log.is_file()
    shutil.rmtree(log.parent)


def test_a_benchmark_that_ends_well_leaves_nothing() -> None:
    with bench_folder(None) as folder:
        (folder / "server.log").touch()
    assert not folder.exists()


def test_a_folder_that_was_chosen_stays(tmp_path: Path) -> None:
    with bench_folder(tmp_path / "chosen") as folder:
        (folder / "server.log").touch()
    assert (tmp_path / "chosen" / "server.log").exists()
