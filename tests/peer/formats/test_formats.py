"""What earlier versions of Pollen have written is read: a home and a run of each format, as they were written."""

from __future__ import annotations

import json
import sqlite3
import tarfile
from pathlib import Path

import pytest
from command_line import Peer

from peer.base.errors import ExitCode
from peer.home.journal_layouts import LAYOUTS

FORMATS = sorted(path.parent for path in Path(__file__).parent.glob("*/told.json"))


def unpacked(kept: Path, tmp_path: Path) -> Path:
    with tarfile.open(kept / "home.tar.gz") as archive:
        archive.extractall(tmp_path / "home", filter="tar")  # which keeps the modes: a home is closed to others
    return tmp_path / "home"


def layout_of(home: Path) -> int:
    journal = sqlite3.connect(home / "journal.db")
    try:
        return int(journal.execute("PRAGMA user_version").fetchone()[0])
    finally:
        journal.close()


@pytest.fixture(params=FORMATS, ids=lambda kept: kept.name)
def kept(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture
def told(kept: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((kept / "told.json").read_text())
    return found


@pytest.fixture
def owner(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Peer:
    return Peer(unpacked(kept, tmp_path), capsys)


def test_a_home_of_each_format_is_read_and_brought_up_to_date(owner: Peer, told: dict[str, str]) -> None:
    (run,) = owner("ls", "--json").json["runs"]
    assert run["run"] == told["run"]
    assert owner("federation", "show", "--json").json["federation"] == told["federation"]
    assert owner("keys", "show").code == ExitCode.DONE
    assert owner("app", "approve", told["head"]).code == ExitCode.DONE
    assert layout_of(owner.home) == len(LAYOUTS)


def test_a_home_that_had_runs_before_it_could_drop_something_keeps_all_of_them(kept: Path, owner: Peer) -> None:
    could_drop = any("CREATE TABLE stock" in layout for layout in LAYOUTS[: layout_of(owner.home)])
    plan = owner("keep", "--json").json["plan"]
    assert plan == (None if could_drop else "models=all updates=all")


def test_a_run_of_each_format_is_verified(owner: Peer, kept: Path, told: dict[str, str]) -> None:
    audited = owner("audit", kept / "run.car", "--json")
    assert audited.code == ExitCode.DONE, audited.err
    assert audited.json["head"] == told["head"]
    assert audited.json["verdict"] == "verified"


def test_a_model_of_each_format_is_read(owner: Peer, kept: Path, tmp_path: Path) -> None:
    written = owner("model", kept / "run.car", "--round", "1", "-o", tmp_path / "model.npz")
    assert written.code == ExitCode.DONE, written.err


def test_the_newest_that_is_kept_has_the_journals_newest_layout(tmp_path: Path) -> None:
    newest = max(layout_of(unpacked(kept, tmp_path / kept.name)) for kept in FORMATS)
    assert newest == len(LAYOUTS), "a layout was added: python tests/peer/formats/make.py NAME keeps it"
