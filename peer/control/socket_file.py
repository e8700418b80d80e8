"""Where the control socket of a home is, and how to reach it however long the path of the home is."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from peer.base import posix
from peer.base.errors import ExitCode, PeerError
from peer.home.home import PRIVATE_FILE, Home

NAME: Final = "peer.sock"

_LONGEST: Final = 100
"""Bytes of a path that every system takes for a socket (``sun_path`` has 104 or 108)."""

_OPEN_FILES: Final = Path("/proc/self/fd")


@contextlib.contextmanager
def reachable(home: Home) -> Iterator[str]:
    """A path to the socket of ``home``, short enough for the system, as long as the context lasts.

    Raises:
        PeerError: if the home's own path is too long, and this system has no other.
        OSError: if the home cannot be opened.
    """
    path = home.path / NAME
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    if not _OPEN_FILES.is_dir():
        raise PeerError(
            f"the path {path} is too long for a socket on this system",
            fix="move the home to a shorter path: --home DIR",
            code=ExitCode.UNFINISHED,
        )
    folder = os.open(home.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield str(_OPEN_FILES / str(folder) / NAME)
    finally:
        os.close(folder)


def bound(home: Home) -> socket.socket:
    """A listening socket in ``home``, for its owner alone (mode 0600). Whoever holds the home's lock may call this:
    what is there is left over from a process that was killed.

    Raises:
        PeerError, OSError: if it cannot be made.
    """
    listening = posix.file_socket()
    try:
        (home.path / NAME).unlink(missing_ok=True)
        with reachable(home) as path, posix.new_files_have(PRIVATE_FILE):
            listening.bind(path)
        listening.listen()
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def connected(home: Home, seconds: float) -> socket.socket | None:
    """A connection to the peer that runs with ``home``; None if none runs. Whatever waits on it ends after ``seconds``.

    Raises:
        PeerError: if the socket is somebody else's.
    """
    path = home.path / NAME
    try:
        found = path.lstat()
    except OSError:
        return None
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != posix.own_user():
        raise PeerError(f"{path} is not a socket of yours", fix=f"look at it: ls -l {path}")
    connection = posix.file_socket()
    connection.settimeout(seconds)
    try:
        with reachable(home) as name:
            connection.connect(name)
    except OSError:  # a peer that was killed leaves its socket behind
        connection.close()
        return None
    return connection
