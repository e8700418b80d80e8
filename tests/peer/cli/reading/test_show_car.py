"""``peer show`` of what is in a CAR file: no engine is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Outcome, Peer
from inspected_runs import WrittenRun, finished_run

from peer.base.errors import ExitCode
from protocol.blocks.car import write_car
from protocol.blocks.cid import raw_block


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


def test_a_file_that_lacks_its_last_roots_is_said_to_be_cut_short(
    written: WrittenRun, tmp_path: Path, peers: Callable[[str], Peer]
) -> None:
    ack = raw_block(b"an ack, which comes last")
    whole = b"".join(write_car([written.head, ack.cid], [*written.blocks, ack]))
    (tmp_path / "cut.car").write_bytes(whole[:-5])
    outcome = peers("auditor")("audit", tmp_path / "cut.car")
    assert outcome.code == ExitCode.UNFINISHED
    assert "is only a part of what was exported: bad CAR at byte" in outcome.err
