"""Letting newcomers in, as long as a peer runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from peer.base.errors import PeerError
from peer.home.invitations import Invitations
from peer.membership.changes import is_admin
from peer.membership.joining import Inviter
from peer.run.session import Session

LOOK: Final = 5.0
"""Seconds between looks whether this home has become one that invites."""


@contextlib.asynccontextmanager
async def letting_in(session: Session) -> AsyncIterator[None]:
    """Answer newcomers with tickets until the context ends, from when this home may have issued any."""
    task = asyncio.create_task(_let_in(session))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _let_in(session: Session) -> None:
    while not await asyncio.to_thread(_may_invite, session):
        await asyncio.sleep(LOOK)
    inviter = Inviter(session.home, session.federation, session.keys.newest, session.engine, session.on_report)
    with inviter.listening():
        await asyncio.Event().wait()


def _may_invite(session: Session) -> bool:
    """Whether this home may have issued tickets: it is an admin's, or has some."""
    try:
        admin = is_admin(session.stored().manifest, session.keys.newest().public)
        return admin or bool(Invitations(session.home, session.federation).all())
    except (PeerError, OSError):
        return False  # what is damaged is told by what needs it
