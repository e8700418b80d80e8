"""What the errors of a disk mean to whoever asked an engine."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from peer.engine.interface import EngineUnavailable, StorageFull


@contextlib.contextmanager
def translated(place: Path) -> Iterator[None]:
    """Turn an `OSError` into the engine's own errors.

    Raises:
        StorageFull: if the disk or the quota is full.
        EngineUnavailable: for any other error.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(
                f"the disk that holds {place} is full", f"free some space, then start again: df -h {place}"
            ) from error
        raise EngineUnavailable(f"cannot use {place}: {error}", f"look at: ls -ld {place}") from error
