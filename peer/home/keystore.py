"""The key store: one key file for each identity, in ``$POLLEN_HOME/keys`` (format: crypto/README.md).

Files have mode 0600, in a directory of mode 0700. A file is there whole or not at all.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from crypto import keyfile
from crypto.errors import CryptoError
from crypto.identity import Identity, parse_name
from crypto.keyfile import KeyFile
from peer.base import posix
from peer.base.errors import ExitCode, PeerError
from peer.home.home import overwrite_file, overwrite_leftovers, write_new_file
from peer.home.passphrase import Passphrases

DEFAULT_NAME: Final = "default"
_SUFFIX: Final = ".key"
_ANOTHER_NAME: Final = "choose another name; nothing is overwritten"


@dataclass(frozen=True, slots=True)
class OpenedKeys:
    """An identity as its key file had it."""

    identity: Identity
    passphrase: str | None = field(repr=False)
    """None if the file was not locked."""
    file: bytes = field(repr=False)
    """The key file, by which `KeyStore.replace` knows whether somebody else has changed it since."""


class KeyStore:
    """The identities of one home. Each method raises `PeerError` if it fails."""

    def __init__(self, home: Path) -> None:
        self.directory = home / "keys"

    def names(self) -> tuple[str, ...]:
        """The names of the identities, in order."""
        with translated(f"cannot list {self.directory}"):
            if not self.directory.exists():
                return ()
            return tuple(sorted(path.stem for path in self.directory.glob(f"[!.]*{_SUFFIX}")))

    def path(self, name: str) -> Path:
        """The key file of ``name``, which need not exist."""
        with translated(""):
            return self.directory / (parse_name(name) + _SUFFIX)

    def choose(self, name: str | None) -> str:
        """``name``, if given. If not, the only identity, or the one called ``default``."""
        names = self.names()
        if name is not None:
            return name
        if len(names) == 1:
            return names[0]
        if DEFAULT_NAME in names:
            return DEFAULT_NAME
        if names:
            raise PeerError("there are several identities, and none was named", fix=f"name one of: {', '.join(names)}")
        raise PeerError(f"there is no identity in {self.directory}", fix="make one: peer keys init --name NAME")

    def refuse_taken(self, name: str) -> None:
        """Raise `PeerError` if ``name`` is taken."""
        if self.path(name).exists():
            raise PeerError(f"there is an identity {name} here already", fix=_ANOTHER_NAME)

    def add(self, identity: Identity, passphrase: str | None) -> Path:
        """Store a new identity, locked with ``passphrase``; unlocked if that is None. Never overwrites."""
        return self._add(identity.name, _written(identity, passphrase))

    def restore_file(self, file: Path, passphrases: Passphrases, *, unlocked_too: bool) -> Identity:
        """Open a key file from elsewhere and store it as it is. Never overwrites."""
        data = _read(file)
        with translated(f"{file}: "):
            found = keyfile.read_public(data)
        if not (found.locked or unlocked_too):
            raise PeerError(
                f"{file} is not locked: anybody who has read it can act as {found.name}",
                fix="add --no-passphrase, or make a locked file: peer keys backup FILE",
            )
        self.refuse_taken(found.name)
        passphrase = passphrases.existing(found.name) if found.locked else None
        with translated(f"{file}: "):
            identity = keyfile.unlock(data, passphrase)
        self._add(identity.name, data)
        return identity

    def _add(self, name: str, data: bytes) -> Path:
        self._make_directory()
        self.refuse_taken(name)
        write_new(self.path(name), data)
        return self.path(name)

    def replace(self, identity: Identity, passphrase: str | None, before: OpenedKeys) -> OpenedKeys:
        """Store an identity in place of the one with its name, locked as `add` does. The old file is overwritten.

        ``before`` is the identity from which it was made. Minutes may lie in between. If another process has replaced
        the file since, its new keys would be lost, so nothing is written.
        """
        path, data = self.path(identity.name), _written(identity, passphrase)
        with translated(f"cannot write {path}"), self._alone():
            if self.file(identity.name) != before.file:
                raise PeerError(
                    f"another command has changed the keys of {identity.name} meanwhile. Nothing was changed here",
                    fix="try again",
                    code=ExitCode.UNFINISHED,
                )
            overwrite_file(path, [data])
            overwrite_leftovers(path)
        return OpenedKeys(identity, passphrase, data)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No two processes replace a key file at once."""
        folder = os.open(self.directory, os.O_RDONLY)  # a lock on the folder leaves no file beside the keys
        try:
            posix.lock(folder)
            yield
        finally:
            os.close(folder)

    def file(self, name: str) -> bytes:
        """The bytes of a key file."""
        path = self.path(name)
        if not path.exists():
            known = f"there are: {', '.join(self.names())}; " if self.names() else ""
            fix = f"{known}make it: peer keys init --name {path.stem}"
            raise PeerError(f"there is no identity {path.stem} in {self.directory}", fix=fix)
        _refuse_open_to_others(self.directory, "700")
        _refuse_open_to_others(path, "600")
        return _read(path)

    def public(self, name: str | None = None) -> KeyFile:
        """The part of a key file that needs no passphrase."""
        chosen = self.choose(name)
        with translated(f"{self.path(chosen)}: "):
            found = keyfile.read_public(self.file(chosen))
        if found.name != chosen:
            right = self.path(found.name)
            message = f"{self.path(chosen)} holds the key of {found.name}"
            raise PeerError(message, fix=f"mv -n {self.path(chosen)} {right}")
        return found

    def load(self, name: str | None, passphrases: Passphrases) -> Identity:
        """Load an identity. If it is locked, the passphrase comes from ``passphrases``."""
        return self.opened(name, passphrases).identity

    def opened(self, name: str | None, passphrases: Passphrases) -> OpenedKeys:
        """As `load`, with what it takes to `replace` it."""
        found = self.public(name)
        passphrase = passphrases.existing(found.name) if found.locked else None
        data = self.file(found.name)
        with translated(f"{self.path(found.name)}: "):
            return OpenedKeys(keyfile.unlock(data, passphrase), passphrase, data)

    def _make_directory(self) -> None:
        with translated(f"cannot make {self.directory}"):
            self.directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.directory.mkdir(mode=0o700, exist_ok=True)
        _refuse_open_to_others(self.directory, "700")


def _refuse_open_to_others(path: Path, mode: str) -> None:
    """Raise `PeerError` if other users may open ``path``. ``mode`` is the right one."""
    if path.stat().st_mode & 0o077:
        raise PeerError(f"others on this machine may open {path}", fix=f"chmod {mode} {path}")


def _read(path: Path) -> bytes:
    """The bytes of a key file; one byte more than allowed, if it is too long."""
    try:
        with path.open("rb") as file:
            return file.read(keyfile.MAX_FILE_SIZE + 1)
    except OSError as error:
        raise PeerError(f"cannot read {path}: {error.strerror}", fix=f"look at it: ls -l {path}") from error


def write_new(path: Path, data: bytes) -> None:
    """Write a new key file, whole and on disk at return, mode 0600.

    Raises:
        PeerError: if the file exists or cannot be written. Then nothing is left behind.
    """
    with translated(f"cannot write {path}"):
        try:
            write_new_file(path, [data])
        except FileExistsError:
            raise PeerError(f"{path} exists already", fix=_ANOTHER_NAME) from None


def locked_copy(identity: Identity, passphrase: str) -> bytes:
    """A key file of ``identity``, locked with ``passphrase``."""
    salt, nonce = secrets.token_bytes(keyfile.SALT_SIZE), secrets.token_bytes(keyfile.NONCE_SIZE)
    with translated(""):
        return keyfile.lock(identity, passphrase, salt=salt, nonce=nonce)


def _written(identity: Identity, passphrase: str | None) -> bytes:
    return keyfile.write_unlocked(identity) if passphrase is None else locked_copy(identity, passphrase)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn errors of keys and files into errors for people; ``doing`` goes before the message."""
    try:
        yield
    except CryptoError as error:
        raise PeerError(f"{doing}{error}", fix=error.fix) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        fix = "free some space and try again" if full else "check that the directory exists and is yours, then retry"
        code = ExitCode.UNFINISHED if full else ExitCode.WRONG_USE
        raise PeerError(f"{doing}: {error.strerror}", fix=fix, code=code) from error
