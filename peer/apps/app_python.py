"""The Python that runs an app: the one that runs Pollen, or another that the owner names."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

from peer.base.errors import PeerError

OUR_PYTHON: Final = (sys.executable,)
"""The command of the Python that runs this process."""


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
