"""Any values that Flower takes, in a run, through every command that reads runs: none raises; what is printed is JSON
with ``--json``, and nothing that a terminal would obey."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from any_runs import AnyRun, runs
from hypothesis import given, settings
from inspected_runs import WrittenRun
from terminals import obeyed

from peer.base.errors import ExitCode
from peer.cli.main import run
from protocol.blocks.car import write_car

few = settings(max_examples=12)


@contextlib.contextmanager
def in_a_file(written: WrittenRun) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "run.car"
        file.write_bytes(b"".join(write_car([written.head], written.blocks)))
        yield file


def printed(file: Path, *command: str) -> tuple[int, str]:
    """The exit code and the output of a command line, after a look for what no command may print."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([*command, "--home", str(file.parent / "home")])
    said = out.getvalue() + err.getvalue()
    assert obeyed(said) == set(), said
    assert "run it with -v" not in said, said  # an error that nobody foresaw
    if "--json" in command and out.getvalue():
        json.loads(out.getvalue(), parse_constant=pytest.fail)
    return code, said


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["lines", "json"])
@given(made=runs)
@few
def test_a_run_of_any_values_is_verified_and_shown(as_json: list[str], made: AnyRun) -> None:
    with in_a_file(made.written()) as file:
        for command in ("audit", "history"):
            code, said = printed(file, command, str(file), *as_json)
            assert code == ExitCode.DONE, said


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["lines", "json"])
@given(made=runs)
@few
def test_any_block_of_such_a_run_is_shown(as_json: list[str], made: AnyRun) -> None:
    written = made.written()
    with in_a_file(written) as file:
        contents = {written.head, written.run, *(cid for cid, _ in written.scribe.source.items() if not cid.is_raw)}
        for cid in contents:
            code, said = printed(file, "show", str(cid), "--car", str(file), *as_json)
            assert code == ExitCode.DONE, said


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["lines", "json"])
@given(made=runs)
@few
def test_models_of_any_values_are_compared_and_written_or_refused_in_words(as_json: list[str], made: AnyRun) -> None:
    with in_a_file(made.written()) as file:
        commands = [["diff", f"{file}:1", f"{file}:1:alice"], ["diff", str(file), f"{file}:0"]]
        for form in ("npz", "safetensors", "pt"):
            for of in ([], ["--round", "1", "--of", "alice"]):
                commands.append(["model", str(file), *of, "-o", str(file.with_suffix(f".{form}"))])
        for command in commands:
            code, said = printed(file, *command, *as_json)
            assert code == ExitCode.DONE or "error: " in said, said
