"""A peer's home: the one folder with everything that belongs to it. The README of this package lists its files."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from peer.base import posix
from peer.base.durable_files import sync_folder
from peer.base.errors import PeerError
from protocol.blocks.cid import CID

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
PUBLIC_FILE = 0o644

Stamp = tuple[int, int, int]
"""Changes when a file is replaced."""


@dataclass(frozen=True, slots=True)
class Home:
    """The paths in a home. Only `create` and `lock` create anything."""

    path: Path

    @property
    def journal(self) -> Path:
        """The database of `peer.home.journal`."""
        return self.path / "journal.db"

    def app_log(self, role: str) -> Path:
        """The output of the apps of a peer with this role."""
        return self.path / "logs" / f"app-{role}.log"

    def run_log(self, run: CID) -> Path:
        """The output of the app in one run. The folder is there once a peer has run."""
        return self.path / "logs" / "runs" / f"{run}.log"

    @property
    def federations(self) -> Path:
        """A file for each federation (`peer.home.federations`)."""
        return self.path / "federations"

    @property
    def proposals(self) -> Path:
        """A folder for each federation, with a file for each proposal (`peer.membership.proposing`)."""
        return self.path / "proposals"

    def create(self) -> Home:
        """Make the folder, for its owner alone, unless it exists.

        Raises:
            PeerError: if it cannot be made, or is not a folder.
        """
        try:
            self.path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        except OSError as error:
            raise PeerError(
                f"the home {self.path} cannot be made: {error.strerror}",
                fix="name another folder, with --home DIR or POLLEN_HOME",
            ) from error
        return self

    @property
    def open_to_others(self) -> bool:
        """Whether other users of this machine may open the folder."""
        return self.path.exists() and bool(stat.S_IMODE(self.path.stat().st_mode) & 0o077)

    @property
    def is_locked(self) -> bool:
        """Whether some process holds the `lock`."""
        try:
            with (self.path / "peer.lock").open() as file:
                if not file.read():  # the holder writes its process id; do not take the lock from a process that begins
                    return False
                posix.try_shared_lock(file)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the home for one running peer. Commands that only read, or replace whole files, need no lock.

        The kernel frees it when the process ends, for whatever reason. Child processes do not inherit it.

        Raises:
            PeerError: if another process holds it.
        """
        self.create()
        with open(os.open(self.path / "peer.lock", os.O_RDWR | os.O_CREAT, PRIVATE_FILE), "r+") as file:
            try:
                posix.try_lock(file)
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise
                holder = file.read().strip() or "unknown"
                raise PeerError(
                    f"another peer (process {holder}) runs with the home {self.path}",
                    fix=f"stop that one (kill {holder}), or give this one another home with --home DIR",
                ) from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield
            file.truncate(0)


def place_for(file: Path) -> Path:
    """The absolute path of a file that a command will write.

    Raises:
        PeerError: if there is no such folder, or something other than a file has that name.
    """
    path = file.expanduser().absolute()
    if not path.parent.is_dir():
        raise PeerError(f"there is no folder {path.parent}", fix=f"mkdir -p {path.parent}")
    if path.exists() and not path.is_file():
        raise PeerError(f"{path} exists, but it is not a file", fix="name another file")
    return path


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file. Cheap, for polling.

    Raises:
        FileNotFoundError: if there is no file.
    """
    status = path.stat()
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def replace_file(path: Path, parts: Iterable[bytes], mode: int = PRIVATE_FILE) -> None:
    """Write ``path``, in place of what is there: whole and on disk, or not at all.

    Raises:
        OSError: if that fails. Then the old file is still there.
    """
    with _temporary(path, parts, mode) as written:
        written.replace(path)


def overwrite_file(path: Path, parts: Iterable[bytes]) -> None:
    """As `replace_file`, and once the new file is there, zeros take the place of what the old one held. A disk or a
    file system that writes elsewhere than it is told (flash, copy on write, snapshots) may hold the old bytes longer.
    """
    with path.open("r+b") as old:
        replace_file(path, parts)
        old.write(bytes(os.fstat(old.fileno()).st_size))
        old.flush()
        os.fsync(old.fileno())


def overwrite_leftovers(path: Path) -> None:
    """Remove what a killed process left of writing ``path``, with zeros in its place first."""
    for left in path.parent.glob(f".{path.name}.*"):
        with left.open("r+b") as file:
            file.write(bytes(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
        left.unlink(missing_ok=True)


def write_new_file(path: Path, parts: Iterable[bytes]) -> None:
    """As `replace_file`, with mode 0600, but never overwrites.

    Raises:
        FileExistsError: if there is a file.
        OSError: if it cannot be written. Then nothing is left behind.
    """
    with _temporary(path, parts, PRIVATE_FILE) as written:
        path.hardlink_to(written)  # unlike a rename, it refuses to overwrite


@contextlib.contextmanager
def _temporary(path: Path, parts: Iterable[bytes], mode: int) -> Iterator[Path]:
    """A file beside ``path``, on disk. After it was given its name, the name is on disk too."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made with mode 0600
    try:
        with open(descriptor, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
    sync_folder(path.parent)
