"""The live table below the lines of a peer that runs on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from peer.base.terminal import LiveLines, is_terminal, says_to_a_person
from peer.cli.seeing.status_output import live_lines
from peer.status.peer_status import PeerStatus

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
