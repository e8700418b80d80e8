"""The key store: one key file per identity in ``$POLLEN_HOME/keys`` (format: crypto/README.md).

Files have mode 0600 in a directory of mode 0700, and appear under their name whole or not at all.
"""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from crypto import keyfile
from crypto.errors import CryptoError
from crypto.identity import Identity, parse_name
from crypto.keyfile import KeyFile
from peer.base.errors import ExitCode, PeerError
from peer.home.passphrase import Passphrases

DEFAULT_NAME: Final = "default"
_SUFFIX: Final = ".key"


class KeyStore:
    """The identities of one home. Every method raises `PeerError` if it cannot do what it says."""

    def __init__(self, home: Path) -> None:
        self.directory = home / "keys"

    def names(self) -> tuple[str, ...]:
        """The identities here, by name, in order."""
        with translated(f"cannot list {self.directory}"):
            if not self.directory.exists():
                return ()
            return tuple(sorted(path.stem for path in self.directory.glob(f"[!.]*{_SUFFIX}")))

    def path(self, name: str) -> Path:
        """Where the key file of ``name`` is, or would be."""
        with translated(""):
            return self.directory / (parse_name(name) + _SUFFIX)

    def choose(self, name: str | None) -> str:
        """``name`` if given; otherwise the only identity there is, or the one called ``default``."""
        names = self.names()
        if name is not None:
            return name
        if len(names) == 1:
            return names[0]
        if DEFAULT_NAME in names:
            return DEFAULT_NAME
        if names:
            raise _wrong("there are several identities and none was named", f"name one of: {', '.join(names)}")
        raise _wrong(f"there is no identity in {self.directory}", "make one: peer keys init --name NAME")

    def refuse_taken(self, name: str) -> None:
        """Raise `PeerError` if ``name`` is taken."""
        if self.path(name).exists():
            raise _wrong(f"there is an identity {name} here already", "choose another name; nothing is overwritten")

    def add(self, identity: Identity, passphrase: str | None) -> Path:
        """Store a new identity, locked with ``passphrase``, or unlocked if that is None. Never overwrites."""
        return self._add(identity.name, _written(identity, passphrase))

    def restore_file(self, file: Path, passphrases: Passphrases, *, unlocked_too: bool) -> Identity:
        """Store a key file that came from elsewhere, as it is, once it was opened. Never overwrites."""
        data = _read(file)
        with translated(f"{file}: "):
            found = keyfile.read_public(data)
        if not (found.locked or unlocked_too):
            raise _wrong(
                f"{file} is not locked: whoever read it on its way is {found.name}",
                "say --no-passphrase, or write one that is locked: peer keys backup FILE",
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

    def replace(self, identity: Identity, passphrase: str | None) -> None:
        """Store an identity that is here already anew, locked with ``passphrase``, or unlocked if that is None."""
        path = self.path(identity.name)
        with translated(f"cannot write {path}"), _temporary(path, _written(identity, passphrase)) as written:
            written.replace(path)
            _sync(path.parent)

    def file(self, name: str) -> bytes:
        """The key file's own bytes."""
        path = self.path(name)
        if not path.exists():
            known = f"there are: {', '.join(self.names())}; " if self.names() else ""
            fix = f"{known}make it: peer keys init --name {path.stem}"
            raise _wrong(f"there is no identity {path.stem} in {self.directory}", fix)
        _refuse_open_to_others(self.directory, "700")
        _refuse_open_to_others(path, "600")
        return _read(path)

    def stamp(self, name: str) -> tuple[int, int, int] | None:
        """Changes whenever the key file does; None while there is none. Cheap: for polling."""
        try:
            status = os.stat(self.path(name))
        except FileNotFoundError:
            return None
        return (status.st_mtime_ns, status.st_size, status.st_ino)

    def public(self, name: str | None = None) -> KeyFile:
        """What a key file says without its passphrase."""
        chosen = self.choose(name)
        with translated(f"{self.path(chosen)}: "):
            found = keyfile.read_public(self.file(chosen))
        if found.name != chosen:
            right = self.path(found.name)
            raise _wrong(f"{self.path(chosen)} holds the key of {found.name}", f"mv -n {self.path(chosen)} {right}")
        return found

    def load(self, name: str | None, passphrases: Passphrases) -> Identity:
        """The identity, unlocked with a passphrase from ``passphrases`` if it is locked."""
        return self.load_with_passphrase(name, passphrases)[0]

    def load_with_passphrase(self, name: str | None, passphrases: Passphrases) -> tuple[Identity, str | None]:
        """The identity, and what its file is locked with; None if it is not locked."""
        found = self.public(name)
        passphrase = passphrases.existing(found.name) if found.locked else None
        with translated(f"{self.path(found.name)}: "):
            return keyfile.unlock(self.file(found.name), passphrase), passphrase

    def _make_directory(self) -> None:
        with translated(f"cannot make {self.directory}"):
            self.directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.directory.mkdir(mode=0o700, exist_ok=True)
        _refuse_open_to_others(self.directory, "700")


def _refuse_open_to_others(path: Path, mode: str) -> None:
    """Raise if anybody but the owner may open ``path``; ``mode`` is what it should have."""
    if path.stat().st_mode & 0o077:
        raise _wrong(f"others on this machine may open {path}", f"chmod {mode} {path}")


def _read(path: Path) -> bytes:
    """At most one byte more than a key file may have."""
    try:
        with path.open("rb") as file:
            return file.read(keyfile.MAX_FILE_SIZE + 1)
    except OSError as error:
        raise _wrong(f"cannot read {path}: {error.strerror}", f"check it: ls -l {path}") from error


def write_new(path: Path, data: bytes) -> None:
    """Write ``path`` whole, on disk at return, mode 0600.

    Raises:
        PeerError: if it exists, or cannot be written; nothing is left behind then.
    """
    with translated(f"cannot write {path}"), _temporary(path, data) as written:
        try:
            os.link(written, path)  # unlike a rename, refuses to overwrite, and in one step
        except FileExistsError:
            raise _wrong(f"{path} exists already", "choose another name; nothing is overwritten") from None
        _sync(path.parent)


@contextmanager
def _temporary(path: Path, data: bytes) -> Iterator[Path]:
    """A file beside ``path`` with ``data`` on disk, removed afterwards if it still has its temporary name."""
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def locked_copy(identity: Identity, passphrase: str) -> bytes:
    """A key file of ``identity`` under ``passphrase``."""
    salt, nonce = secrets.token_bytes(keyfile.SALT_SIZE), secrets.token_bytes(keyfile.NONCE_SIZE)
    with translated(""):
        return keyfile.lock(identity, passphrase, salt=salt, nonce=nonce)


def _written(identity: Identity, passphrase: str | None) -> bytes:
    return keyfile.write_unlocked(identity) if passphrase is None else locked_copy(identity, passphrase)


def _wrong(message: str, fix: str) -> PeerError:
    return PeerError(message, fix=fix)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """What is wrong with keys or files, as an error for people; ``doing`` goes before it."""
    try:
        yield
    except CryptoError as error:
        raise PeerError(f"{doing}{error}", fix=error.fix) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        fix = "free some space and try again" if full else "see that the directory is there and yours, then try again"
        code = ExitCode.UNFINISHED if full else ExitCode.WRONG_USE
        raise PeerError(f"{doing}: {error.strerror}", fix=fix, code=code) from error
