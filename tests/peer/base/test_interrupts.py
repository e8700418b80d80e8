"""`peer.base.interrupts`: a Ctrl-C is taken once, and is known even if the exception that it raised was lost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from peer.base.errors import ExitCode
from peer.base.interrupts import Interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_swallowed_is_still_known(number: signal.Signals):
    with Interrupts() as interrupts:
        with contextlib.suppress(KeyboardInterrupt):  # as an import that catches all does
            signal.raise_signal(number)
        assert interrupts.came


def test_nothing_came():
    with Interrupts() as interrupts:
        assert not interrupts.came


def test_a_command_that_is_interrupted_while_python_executes_a_text_ends_with_its_own_code(tmp_path: Path) -> None:
    """Like the definition of a dataclass, in the middle of an import."""
    (tmp_path / "interrupted.py").write_text(
        "from peer.cli import main as program\n"
        "class Interrupted:\n"
        "    def main(self, *_, **__):\n"
        "        exec('raise KeyboardInterrupt')\n"
        "program.Commands = Interrupted\n"
        "program.main()\n"
    )
    path = os.pathsep.join((str(tmp_path), str(Path(__file__).parents[3])))
    command = [sys.executable, "-m", "interrupted"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (ExitCode.UNFINISHED, "stopped\n")
