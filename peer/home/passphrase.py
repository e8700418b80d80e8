"""Where a passphrase comes from: a file, the environment, a credential that systemd hands over, or a terminal.

Never the command line itself: everybody on the machine can read that.
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
    "or have systemd load the credential pollen-passphrase, or use a terminal to be asked"
)
_FIX_ANOTHER: Final = "give --new-passphrase-file FILE, or use a terminal to be asked"
_CREDENTIAL: Final = "pollen-passphrase"
"""In systemd's ``$CREDENTIALS_DIRECTORY``; ``pollen-passphrase-NAME`` is for the identity of that name alone."""
_MAX_FILE: Final = 4096
"""Bytes of a passphrase file; a longer one is surely another file."""


@dataclass(frozen=True, slots=True)
class Passphrases:
    """The sources of one command. The first that is there is used: ``file``, then ``environ`` (a passphrase in it, then
    the folder of credentials that it names), then ``ask``."""

    file: Path | None = None
    """The option ``--passphrase-file``; as for every option, ``POLLEN_PASSPHRASE_FILE`` stands in for it."""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    ask: Callable[[str], str] | None = None
    """Shows a prompt and returns what was typed, unseen; None if there is no terminal."""
    _fix: str = field(default=_FIX, repr=False)
    """How to give one."""
    _typed: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    """What opened which identity, so that nobody is asked twice."""

    @classmethod
    def of_process(cls, file: Path | None = None) -> Passphrases:
        """This process's environment and terminal, and ``file`` if an option named one."""
        return cls(file, os.environ, ask_secret if sys.stdin.isatty() else None)

    def is_given(self, name: str) -> bool:
        """Whether there is one for the key of ``name`` without asking anybody."""
        return self.file is not None or "POLLEN_PASSPHRASE" in self.environ or self._credential(name) is not None

    def existing(self, name: str) -> str:
        """The passphrase that the key of ``name`` is locked with.

        Raises:
            PeerError: if no source has one.
        """
        if (given := self._given(name)) is not None:
            return given
        if name not in self._typed:
            self._typed[name] = self._asked(f"Passphrase of {name}: ")
        return self._typed[name]

    def another(self, file: Path | None) -> Passphrases:
        """The sources of one passphrase more, beside the one that opens the key: ``file``, then the same terminal.
        What the environment holds is the one that there is."""
        return Passphrases(file, ask=self.ask, _fix=_FIX_ANOTHER)

    def unattended(self) -> Passphrases:
        """The same sources without the terminal, but with what was typed there already."""
        return replace(self, ask=None)

    def new(self, name: str) -> str:
        """A passphrase to lock the key of ``name`` with; a person types it twice.

        Raises:
            PeerError: if no source has one, it is empty, or the two differ.
        """
        passphrase = self._given(name)
        if passphrase is None:
            if self.ask is None and self._fix == _FIX:
                fix = f"{_FIX}; or say --no-passphrase to store the keys unlocked"
                raise PeerError("a passphrase is needed, and none was given", fix=fix)
            passphrase = self._asked(f"New passphrase for {name}: ")
            if passphrase and self._asked("The same again: ") != passphrase:
                raise PeerError("the two passphrases differ", fix="try again")
        if not passphrase:
            fix = "give one, or say --no-passphrase to store the keys unlocked"
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
            raise PeerError("a passphrase is needed, and none was given", fix=self._fix)
        try:
            return self.ask(prompt)
        except EOFError:
            raise PeerError("no passphrase was typed", fix=self._fix) from None


def without_passphrases(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` without what leads to a passphrase: for processes that are not to open a key."""
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
