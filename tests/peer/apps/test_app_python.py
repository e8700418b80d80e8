"""The Python that runs an app, as its owner names it."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from peer.apps.app_python import OUR_PYTHON, command_of_python, folders_of, machine_of
from peer.base.errors import PeerError


def test_without_a_name_it_is_ours() -> None:
    assert command_of_python(None) == OUR_PYTHON == (sys.executable,)


def test_a_command_is_split_as_a_shell_would() -> None:
    assert command_of_python("/bin/sh -c 'a b'") == ("/bin/sh", "-c", "a b")


@pytest.mark.parametrize("text", ["", "'open", "no-such-program -x"])
def test_what_cannot_be_run_is_refused(text: str) -> None:
    with pytest.raises(PeerError, match="cannot run on"):
        command_of_python(text)


def test_a_python_says_on_which_machine_it_runs(tmp_path: Path) -> None:
    emulated = tmp_path / "emulated"
    emulated.write_text("#!/bin/sh\necho aarch64\n")
    emulated.chmod(0o755)

    assert machine_of((str(emulated), "-cpu", "a64fx", "python3")) == "aarch64"
    assert machine_of((sys.executable, "-B")) == machine_of(OUR_PYTHON) == platform.machine()


def test_a_python_that_does_not_run_here_is_refused_with_what_it_said() -> None:
    with pytest.raises(PeerError, match=r"cannot run on.*it ends with code 3 and says 'no such processor'"):
        machine_of(("/bin/sh", "-c", "echo no such processor >&2; exit 3"))


def test_a_confined_app_may_read_the_environment_of_another_python(tmp_path: Path) -> None:
    program = tmp_path / "venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.touch()

    assert folders_of(("qemu-x86_64", "-cpu", "Nehalem", str(program))) == [tmp_path / "venv"]
    assert folders_of(OUR_PYTHON) == []
