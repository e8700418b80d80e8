"""The live table below the lines of a peer that runs on a terminal."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Final

from peer.base.errors import PeerError
from peer.base.terminal import LiveLines, is_terminal, says_to_a_person
from peer.cli.seeing.status_output import live_lines
from peer.control.asking import ask
from peer.control.requests import Status
from peer.home.home import Home
from peer.status.peer_status import PeerStatus

EVERY: Final = 1.0
"""Seconds between two looks at another process."""

Live = Callable[[], AbstractContextManager[Callable[[PeerStatus], None] | None]]
"""A `live_status` with its choices made."""


@contextlib.contextmanager
def live_status(*, wanted: bool, full: bool = False) -> Iterator[Callable[[PeerStatus], None] | None]:
    """What shows a status on the terminal, in place of the one before; None if this is no terminal."""
    if not (wanted and is_terminal() and says_to_a_person()):
        yield None
        return
    with LiveLines() as live:
        yield lambda status: live.show(live_lines(status, full=full))


@contextlib.contextmanager
def live_home(home: Home, *, wanted: bool) -> Iterator[Callable[[], None]]:
    """As `live_status`, of the peer that runs with ``home``, if one does: what is yielded looks at it, once a second at
    most however often it is called."""
    with live_status(wanted=wanted) as show:
        looked = -math.inf

        def look() -> None:
            nonlocal looked
            if show is None or time.monotonic() < looked + EVERY:
                return
            looked = time.monotonic()
            with contextlib.suppress(PeerError):  # the run goes on, whatever can be shown of it
                if (told := ask(home, Status())) is not None:
                    show(told)

        yield look
