"""A peer's home: the one folder that holds what belongs to it. The README of this package says what lies where."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from peer.base.errors import PeerError

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
PUBLIC_FILE = 0o644


@dataclass(frozen=True, slots=True)
class Home:
    """The paths in a home. Nothing is created until `create`."""

    path: Path

    @property
    def journal(self) -> Path:
        """The database of `peer.home.journal`."""
        return self.path / "journal.db"

    def app_log(self, role: str) -> Path:
        """Where what apps print goes; ``role`` is a peer's."""
        return self.path / "logs" / f"app-{role}.log"

    @property
    def federations(self) -> Path:
        """One file per federation (`peer.home.federations`)."""
        return self.path / "federations"

    @property
    def proposals(self) -> Path:
        """A folder per federation, one file per proposal (`peer.membership.proposing`)."""
        return self.path / "proposals"

    def create(self) -> Home:
        """Make the folder, for its owner alone, if it is not there yet.

        Raises:
            PeerError: if it cannot be made or is no folder.
        """
        try:
            self.path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        except OSError as error:
            raise PeerError(
                f"the home {self.path} cannot be made: {error.strerror}",
                fix="name a folder that can, with --home DIR or POLLEN_HOME",
            ) from error
        return self

    @property
    def open_to_others(self) -> bool:
        """Whether other users of this machine may look into it."""
        return self.path.exists() and bool(stat.S_IMODE(self.path.stat().st_mode) & 0o077)

    @property
    def is_locked(self) -> bool:
        """Whether a peer, or a command that must not be beside one, runs with this home."""
        try:
            with (self.path / "peer.lock").open() as file:
                if not file.read():  # whoever holds it says its process id; nobody need be kept from it meanwhile
                    return False
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the home for one running peer. Commands that only read, or replace a file whole, need no lock.

        The kernel frees it when the process ends, however it ends; child processes do not inherit it.

        Raises:
            PeerError: if another process holds it.
        """
        self.create()
        with open(os.open(self.path / "peer.lock", os.O_RDWR | os.O_CREAT, PRIVATE_FILE), "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise
                holder = file.read().strip() or "unknown"
                raise PeerError(
                    f"another peer (process {holder}) runs with the home {self.path}",
                    fix=f"stop that one (kill {holder}), or give this one a home of its own with --home DIR",
                ) from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield
            file.truncate(0)


def place_for(file: Path) -> Path:
    """The whole path of a file that somebody named to be written.

    Raises:
        PeerError: if there is no folder to write it in, or something else has that name.
    """
    path = file.expanduser().absolute()
    if not path.parent.is_dir():
        fix = f"mkdir -p {path.parent}"
        raise PeerError(f"there is no folder {path.parent}", fix=fix)
    if path.exists() and not path.is_file():
        raise PeerError(f"{path} is there, and is no file", fix="name another file")
    return path


def replace_file(path: Path, parts: Iterable[bytes], mode: int = PRIVATE_FILE) -> None:
    """Write ``path`` anew, readable by its owner alone unless ``mode`` says more: whole and on disk, or not at all.

    Raises:
        OSError: if that cannot be done; the file that was there is then still there, and no other.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made with mode 0600
    try:
        with open(descriptor, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:  # Ctrl-C too leaves nothing behind
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
