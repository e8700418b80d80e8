"""What only a POSIX system has: locks of files, users, groups of processes, sockets and pipes that are files.

Nothing else in Pollen uses these, but for `peer.confinement`, which is Linux's alone, and one limit that
`strategy.contents.array_files` looks at. So this is what a port to another system would have to write anew. See
docs/install.md for the systems that Pollen runs on.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise SystemExit("error: Pollen needs a POSIX system, and this is Windows\n  fix: wsl --install; then use it there")

import contextlib
import fcntl
import os
import pwd
import resource
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

File = IO[str] | IO[bytes] | int
"""An open file, or its descriptor."""


# -- locks: the kernel frees them, however a process ends ----------------------------------------------------------


def lock(file: File) -> None:
    """Wait until this process alone holds the file (flock(2))."""
    fcntl.flock(file, fcntl.LOCK_EX)


def lock_shared(file: File) -> None:
    """Wait until this process holds the file beside others that share it."""
    fcntl.flock(file, fcntl.LOCK_SH)


def try_lock(file: File) -> None:
    """Hold the file, if no other process does.

    Raises:
        OSError: with EWOULDBLOCK (as BlockingIOError) or EACCES, if another process holds it.
    """
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def try_shared_lock(file: File) -> None:
    """Hold the file beside others that share it. Raises as `try_lock`."""
    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def try_range_lock(file: File) -> None:
    """Hold the file by the other kind of lock, which programs in Go take (fcntl(2)). Raises as `try_lock`."""
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def holder_of_range_lock(file: File) -> int | None:
    """The process that holds a lock as `try_range_lock` takes; None if none does. With Linux's ``struct flock``."""
    layout = "hhqqi4x"
    asked = struct.pack(layout, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = struct.unpack(layout, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else int(pid)


# -- users ---------------------------------------------------------------------------------------------------------


def own_user() -> int:
    """The number of the user whom this process runs as."""
    return os.geteuid()


def name_of_user(number: int) -> str:
    """Raises KeyError if no user has that number."""
    return pwd.getpwuid(number).pw_name


def number_of_user(name: str) -> int:
    """Raises KeyError if there is no such user."""
    return pwd.getpwnam(name).pw_uid


# -- processes -----------------------------------------------------------------------------------------------------


def signal_group(group: int, number: int) -> None:
    """Signal all processes of a group; 0 is one's own.

    Raises:
        ProcessLookupError, PermissionError: if none is left (macOS raises the second).
    """
    os.killpg(group, number)


def leads_its_group() -> bool:
    """Whether this process was started as the first of a group of its own."""
    return os.getpgid(0) == os.getpid()


def write_no_core_file() -> None:
    """A crash of this process leaves no image of its memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


# -- sockets and pipes that are files ------------------------------------------------------------------------------


def file_socket() -> socket.socket:
    """A socket that will listen at a path, or connect to one."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def make_fifo(path: Path) -> None:
    """Make a pipe that has a path (mkfifo(3))."""
    os.mkfifo(path)


@contextlib.contextmanager
def new_files_have(mode: int) -> Iterator[None]:
    """What this process makes inside has at most this mode, from its first moment."""
    before = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(before)
