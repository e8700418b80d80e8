"""Where passphrases come from: a file, the environment, a credential from systemd, or a terminal.

Never the command line, because all users of the machine can read that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from peer.base.errors import PeerError
from peer.base.terminal import ask_secret

_FIX: Final = (
    "give --passphrase-file FILE, or set POLLEN_PASSPHRASE_FILE or POLLEN_PASSPHRASE, "
    "or let systemd load the credential pollen-passphrase, or run it in a terminal"
)
_NONE_GIVEN: Final = "a passphrase is needed, and none was given"
_FIX_ANOTHER: Final = "give --new-passphrase-file FILE, or run it in a terminal"
_CREDENTIAL: Final = "pollen-passphrase"
"""The name in systemd's ``$CREDENTIALS_DIRECTORY``. ``pollen-passphrase-NAME`` is for one identity."""
_MAX_FILE: Final = 4096
"""The most bytes in a passphrase file. A longer file is surely something else."""


@dataclass(frozen=True, slots=True)
class Passphrases:
    """The sources of one command, in order: ``file``, then ``environ`` (a passphrase, then the folder of credentials),
    then ``ask``. The first that has a passphrase is used."""

    file: Path | None = None
    """From ``--passphrase-file`` or, as with all options, its variable ``POLLEN_PASSPHRASE_FILE``."""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    ask: Callable[[str], str] | None = None
    """Shows a prompt and returns what was typed, without an echo; None if there is no terminal."""
    _fix: str = field(default=_FIX, repr=False)
    """How to give a passphrase."""
    _typed: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    """What was typed for which identity, so that nobody is asked twice."""

    @classmethod
    def of_process(cls, file: Path | None = None) -> Passphrases:
        """The environment and terminal of this process, and ``file`` if an option names one."""
        return cls(file, os.environ, ask_secret if sys.stdin.isatty() else None)

    def is_given(self, name: str) -> bool:
        """Whether the passphrase of ``name`` is there without asking."""
        given = self.file is not None or "POLLEN_PASSPHRASE" in self.environ or self._credential(name) is not None
        return given or name in self._typed

    def existing(self, name: str) -> str:
        """The passphrase of the key of ``name``.

        Raises:
            PeerError: if no source has one.
        """
        if (given := self._given(name)) is not None:
            return given
        if name not in self._typed:
            self._typed[name] = self._asked(f"Passphrase of {name}: ")
        return self._typed[name]

    def another(self, file: Path | None) -> Passphrases:
        """The sources of a second passphrase: ``file``, then the terminal. The environment holds only the first."""
        return Passphrases(file, ask=self.ask, _fix=_FIX_ANOTHER)

    def unattended(self) -> Passphrases:
        """The same sources without the terminal, but with what was typed there."""
        return replace(self, ask=None)

    def new(self, name: str) -> str:
        """A new passphrase for the key of ``name``. A person types it twice.

        Raises:
            PeerError: if no source has one, it is empty, or the two differ.
        """
        passphrase = self._given(name)
        if passphrase is None:
            if self.ask is None and self._fix == _FIX:
                raise PeerError(_NONE_GIVEN, fix=f"{_FIX}; or store the keys unlocked with --no-passphrase")
            passphrase = self._asked(f"New passphrase for {name}: ")
            if passphrase and self._asked("The same again: ") != passphrase:
                raise PeerError("the two passphrases differ", fix="try again")
        if not passphrase:
            fix = "give one, or store the keys unlocked with --no-passphrase"
            raise PeerError("an empty passphrase locks nothing", fix=fix)
        return passphrase

    def _given(self, name: str) -> str | None:
        if self.file is not None:
            return _read(self.file)
        if (passphrase := self.environ.get("POLLEN_PASSPHRASE")) is not None:
            return passphrase
        credential = self._credential(name)
        return None if credential is None else _read(credential)

    def _credential(self, name: str) -> Path | None:
        if not (folder := self.environ.get("CREDENTIALS_DIRECTORY")):
            return None
        credentials = (Path(folder) / f"{_CREDENTIAL}-{name}", Path(folder) / _CREDENTIAL)
        return next((path for path in credentials if path.exists()), None)

    def _asked(self, prompt: str) -> str:
        if self.ask is None:
            raise PeerError(_NONE_GIVEN, fix=self._fix)
        try:
            return self.ask(prompt)
        except EOFError:
            raise PeerError("no passphrase was typed", fix=self._fix) from None


def without_passphrases(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` without anything that leads to a passphrase, for processes that must not open keys."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith("POLLEN_PASSPHRASE") and name != "CREDENTIALS_DIRECTORY"
    }


def _read(path: Path) -> str:
    """The first line of a passphrase file."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        message = f"cannot read the passphrase file {path}: {error.strerror}"
        raise PeerError(message, fix=_FIX) from error
    if len(data) > _MAX_FILE:
        raise PeerError(f"{path} is too long for a passphrase file", fix=_FIX)
    return data.split(b"\n", 1)[0].removesuffix(b"\r").decode("utf-8", "surrogateescape")
