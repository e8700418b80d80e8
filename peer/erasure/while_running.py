"""Carrying out shreddings, as long as a peer runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Final

from peer.base import logs
from peer.base.errors import PeerError
from peer.erasure.telling import ErasureDesk
from peer.home.federations import FederationStore
from peer.home.home import Stamp
from peer.run.session import Session

LOOK: Final = 2.0
"""Seconds between two looks whether something is due."""


@contextlib.asynccontextmanager
async def erasing(session: Session) -> AsyncIterator[None]:
    """Carry out the shreddings of the session's federation until the context ends."""
    desk = ErasureDesk(
        session.home,
        session.federation,
        session.keys.again(),
        session.engine,
        session.engine_name,
        session.journal,
        session.on_report,
    )
    with desk.listening():
        task = asyncio.create_task(_keep_looking(desk, session))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _keep_looking(desk: ErasureDesk, session: Session) -> None:
    seen: tuple[Stamp | None, int] | None = None
    while True:
        try:
            now = await asyncio.to_thread(_state, session)
            if now != seen:
                seen = now
                desk.wait_is_over()
            await asyncio.to_thread(desk.look)
        except (PeerError, OSError) as error:  # a full disk, say: it is looked at again
            logs.event("erasure-not-looked-at", logging.WARNING, why=str(error))
        await asyncio.sleep(LOOK)


def _state(session: Session) -> tuple[Stamp | None, int]:
    """Changes when there may be something new to do: another manifest, or a word of somebody."""
    try:
        stamp = FederationStore(session.home).stamp(session.federation)
    except FileNotFoundError:
        stamp = None
    return stamp, hash(tuple(block.cid for block in session.journal.erasures(session.federation)))
