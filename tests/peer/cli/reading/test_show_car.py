"""``peer show`` of what is in a CAR file: no engine is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Outcome, Peer
from inspected_runs import WrittenRun, finished_run

from peer.base.errors import ExitCode
from protocol.blocks.car import write_car


@pytest.fixture
def written() -> WrittenRun:
    return finished_run()


@pytest.fixture
def show(tmp_path: Path, peers: Callable[[str], Peer], written: WrittenRun) -> Callable[..., Outcome]:
    """``peer show`` in a home that knows nothing, beside the file ``run.car``."""
    (tmp_path / "run.car").write_bytes(b"".join(write_car([written.head], written.blocks)))
    return lambda *arguments: peers("auditor")("show", *arguments, "--json")


def test_a_file_is_its_root(show: Callable[..., Outcome], written: WrittenRun, tmp_path: Path) -> None:
    shown = show(tmp_path / "run.car").json
    assert (shown["cid"], shown["type"]) == (str(written.head), "close")


def test_any_block_in_it_can_be_named(show: Callable[..., Outcome], written: WrittenRun, tmp_path: Path) -> None:
    shown = show(str(written.sent[0]), "--car", tmp_path / "run.car").json
    assert [array["key"] for array in shown["arrays"]] == ["weight"]


def test_a_block_that_is_not_in_it_is_told(show: Callable[..., Outcome], tmp_path: Path) -> None:
    absent = "bafkreigs2kwpmqaxsir37hq6wq6f7p4fjrhfb75wom54hkjhtu77pxu34e"
    outcome = show(absent, "--car", tmp_path / "run.car")
    assert outcome.code == ExitCode.UNFINISHED
    assert f"block {absent[:14]} is not here" in outcome.err
