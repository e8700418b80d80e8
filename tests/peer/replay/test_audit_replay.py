"""``peer audit --replay``: what it refuses, and when it runs no app. Replays themselves: tests/end_to_end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from command_line import Outcome, Peer
from inspected_runs import WrittenRun, finished_run

from peer.base.errors import ExitCode
from peer.confinement import means
from protocol.blocks.car import write_car
from protocol.blocks.cid import Block


@pytest.fixture(scope="module")
def written() -> WrittenRun:
    return finished_run()


@pytest.fixture
def replay(tmp_path: Path, peers: Callable[[str], Peer], written: WrittenRun) -> Callable[..., Outcome]:
    """``peer audit`` of a CAR with these blocks."""

    def run(blocks: Iterable[Block], *arguments: str | Path) -> Outcome:
        path = tmp_path / "run.car"
        path.write_bytes(b"".join(write_car([written.head], blocks)))
        return peers("auditor")("audit", path, *arguments)

    return run


@pytest.fixture
def recorded_app(tmp_path: Path) -> Path:
    """The app's folder that the run record names. It has one file, and could not run."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "pyproject.toml").write_bytes(b"[project]")
    return folder


@pytest.mark.parametrize("option", [("--app", "."), ("--data-dir", "."), ("--to-round", "1")])
def test_options_of_a_replay_are_refused_without_one(
    option: tuple[str, str], replay: Callable[..., Outcome], written: WrittenRun
) -> None:
    outcome = replay(written.blocks, *option)
    assert outcome.code == ExitCode.WRONG_USE
    assert "add --replay" in outcome.err


def test_no_app_is_run_because_the_record_names_it(replay: Callable[..., Outcome], written: WrittenRun) -> None:
    outcome = replay(written.blocks, "--replay")
    assert outcome.code == ExitCode.WRONG_USE
    assert "not the built-in app of this version" in outcome.err
    assert "--app DIR" in outcome.err


def test_an_approved_app_is_taken_from_the_run(
    replay: Callable[..., Outcome], peers: Callable[[str], Peer], written: WrittenRun
) -> None:
    refused = replay(written.blocks, "--replay").err
    assert f"peer app approve {written.app}" in refused
    assert peers("auditor")("app", "approve", str(written.app)).code == ExitCode.DONE
    outcome = replay(written.blocks, "--replay", "--json")  # its seed is a raw block, so it gets no further
    assert [finding["rule"] for finding in outcome.json["findings"]] == ["replay-unfinished"]


def test_another_app_than_the_recorded_one_is_not_run(
    replay: Callable[..., Outcome], written: WrittenRun, recorded_app: Path
) -> None:
    (recorded_app / "more.py").write_text("raise SystemExit('it was run')\n")
    outcome = replay(written.blocks, "--replay", "--app", recorded_app, "--json")
    assert (outcome.code, outcome.json["replay"]) == (ExitCode.VERIFICATION_FAILED, None)
    (finding,) = outcome.json["findings"]
    assert (finding["rule"], finding["height"]) == ("other-app", 0)
    assert str(recorded_app) in finding["message"]
    assert finding["message"].endswith("here alone: more.py")


def test_a_chain_that_is_not_whole_is_not_replayed(
    replay: Callable[..., Outcome], written: WrittenRun, recorded_app: Path
) -> None:
    blocks = [block for block in written.blocks if block.cid != written.sent[0]]
    outcome = replay(blocks, "--replay", "--app", recorded_app)
    assert outcome.code == ExitCode.UNFINISHED
    assert "not replayed" in outcome.out


def test_what_is_recorded_of_another_kind_of_seed_cannot_be_replayed(
    replay: Callable[..., Outcome], written: WrittenRun, recorded_app: Path
) -> None:
    outcome = replay(written.blocks, "--replay", "--app", recorded_app, "--json")  # its seed is a raw block
    assert outcome.code == ExitCode.UNFINISHED
    assert [finding["rule"] for finding in outcome.json["findings"]] == ["replay-unfinished"]


def test_where_nothing_confines_an_app_none_is_run_unless_the_auditor_says_so(
    replay: Callable[..., Outcome], written: WrittenRun, recorded_app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(means, "tried", lambda: means.Tried(None, ("bwrap is not installed",)))
    options = ("--replay", "--app", recorded_app)

    refused = replay(written.blocks, *options)

    assert refused.code == ExitCode.WRONG_USE
    assert "bwrap is not installed" in refused.err
    assert "--unconfined" in refused.err
    assert replay(written.blocks, *options, "--unconfined").code != ExitCode.WRONG_USE


def test_a_folder_that_holds_the_auditors_keys_is_not_granted(
    replay: Callable[..., Outcome], written: WrittenRun, recorded_app: Path, tmp_path: Path
) -> None:
    refused = replay(written.blocks, "--replay", "--app", recorded_app, "--allow-read", tmp_path)

    assert refused.code == ExitCode.WRONG_USE
    assert "is in it, with keys" in refused.err


def test_nothing_is_allowed_to_an_app_that_may_do_all(
    replay: Callable[..., Outcome], written: WrittenRun, recorded_app: Path
) -> None:
    refused = replay(written.blocks, "--replay", "--app", recorded_app, "--unconfined", "--max-memory", "1G")

    assert refused.code == ExitCode.WRONG_USE
    assert "leave out --unconfined" in refused.err
