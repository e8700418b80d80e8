"""Where a passphrase comes from: a file, the environment or a terminal, never the command line itself."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from peer.errors import ExitCode, PeerError

_MEND: Final = (
    "give --passphrase-file FILE, or set POLLEN_PASSPHRASE_FILE or POLLEN_PASSPHRASE, or use a terminal to be asked"
)
_MAX_FILE: Final = 4096
"""Bytes of a passphrase file; a longer one is surely another file."""


@dataclass(frozen=True, slots=True)
class Passphrases:
    """The sources of one command. The first that is there is used: ``file``, then ``environ``, then ``ask``."""

    file: Path | None = None
    """The option ``--passphrase-file``; as for every option, ``POLLEN_PASSPHRASE_FILE`` stands in for it."""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    ask: Callable[[str], str] | None = None
    """Shows a prompt and returns what was typed, unseen; None where there is no terminal."""

    @classmethod
    def of_process(cls, file: Path | None = None) -> Passphrases:
        """This process's environment and terminal, and ``file`` where an option named one."""
        return cls(file, os.environ, getpass.getpass if sys.stdin.isatty() else None)

    def existing(self, name: str) -> str:
        """The passphrase that the key of ``name`` is locked with.

        Raises:
            PeerError: where no source has one.
        """
        given = self._given()
        return given if given is not None else self._asked(f"Passphrase of {name}: ")

    def new(self, name: str) -> str:
        """A passphrase to lock the key of ``name`` with; a person types it twice.

        Raises:
            PeerError: where no source has one, it is empty, or the two differ.
        """
        passphrase = self._given()
        if passphrase is None:
            passphrase = self._asked(f"New passphrase for {name}: ")
            if passphrase and self._asked("The same again: ") != passphrase:
                raise PeerError("the two passphrases differ", mend="try again", code=ExitCode.WRONG_USE)
        if not passphrase:
            mend = "give one, or say --no-passphrase to store the keys unlocked"
            raise PeerError("an empty passphrase locks nothing", mend=mend, code=ExitCode.WRONG_USE)
        return passphrase

    def _given(self) -> str | None:
        return self.environ.get("POLLEN_PASSPHRASE") if self.file is None else _read(self.file)

    def _asked(self, prompt: str) -> str:
        if self.ask is None:
            raise PeerError("a passphrase is needed, and none was given", mend=_MEND, code=ExitCode.WRONG_USE)
        try:
            return self.ask(prompt)
        except EOFError:
            raise PeerError("no passphrase was typed", mend=_MEND, code=ExitCode.WRONG_USE) from None


def _read(path: Path) -> str:
    """The first line of a passphrase file."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        message = f"cannot read the passphrase file {path}: {error.strerror}"
        raise PeerError(message, mend=_MEND, code=ExitCode.WRONG_USE) from error
    if len(data) > _MAX_FILE:
        raise PeerError(f"{path} is too long for a passphrase file", mend=_MEND, code=ExitCode.WRONG_USE)
    return data.split(b"\n", 1)[0].removesuffix(b"\r").decode("utf-8", "surrogateescape")
