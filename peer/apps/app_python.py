"""The Python that runs an app: the one that runs Pollen, or another that the owner names."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

from peer.base.errors import PeerError
from peer.home.passphrase import without_passphrases
from strategy.replay.format import THIS_MACHINE

OUR_PYTHON: Final = (sys.executable,)
"""The command of the Python that runs this process."""

_SAYS_ITS_MACHINE: Final = ("-I", "-S", "-c", "import os; print(os.uname().machine)")
_ANSWER_SECONDS: Final = 60
"""An emulated Python takes a second to start, more on a machine that is busy."""


def command_of_python(text: str | None) -> tuple[str, ...]:
    """The command before an app process's arguments: that of an app's own environment, or of an emulated processor.

    Args:
        text: As the owner wrote it, such as ``qemu-x86_64 -cpu Nehalem /usr/bin/python3``; None for our own Python.

    Raises:
        PeerError: if the command cannot be run here.
    """
    if text is None:
        return OUR_PYTHON
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise _unusable(text, str(error)) from error
    if not words:
        raise _unusable(text, "it is empty")
    if shutil.which(words[0]) is None:
        raise _unusable(text, f"there is no program {words[0]} here")
    return words


@cache
def machine_of(python: tuple[str, ...]) -> str:
    """The architecture of the processor that ``python`` runs on, as `platform.machine` says it. That Python is asked,
    because an emulated processor may be of another one than ours.

    Raises:
        PeerError: if it does not answer.
    """
    if python == OUR_PYTHON:
        return THIS_MACHINE
    try:
        said = subprocess.run(
            [*python, *_SAYS_ITS_MACHINE],
            env=without_passphrases(os.environ),
            stdin=subprocess.DEVNULL,
            check=True,
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        last = [line for line in error.stderr.splitlines() if line.strip()][-1:]
        raise _unusable(shlex.join(python), f"it ends with code {error.returncode}{_after(last)}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unusable(shlex.join(python), str(error)) from error
    return said.stdout.strip()


def with_another_id(python: tuple[str, ...]) -> tuple[str, ...]:
    """The same command in a confined process that has another id than it would have: ids begin anew for each, so an app
    that sends its own would send the same each time. The shell ends as the command does."""
    return ("/bin/sh", "-c", '"$@"; exit $?', "sh", *python)


def _after(lines: list[str]) -> str:
    return f" and says {lines[0]!r}" if lines else ""


def folders_of(python: tuple[str, ...]) -> list[Path]:
    """The folders that hold a Python which is not ours, with what is installed for it: it has to read them."""
    programs = [Path(word) for word in python if word not in OUR_PYTHON and Path(word).name.startswith("python")]
    found = [place for program in programs for place in (program.absolute(), program.resolve()) if place.is_file()]
    return list(dict.fromkeys(place.parent.parent for place in found if place.parent.name == "bin"))


def _unusable(text: str, why: str) -> PeerError:
    return PeerError(
        f"the app cannot run on {text!r}: {why}",
        fix="name a Python that has Pollen's requirements and the app's: --app-python /path/to/.venv/bin/python",
    )
