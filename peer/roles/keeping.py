"""Prepares a keeper: from what the home remembers to one that keeps the federation's runs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from peer.home.journal import RunHead
from peer.run.peer import Prepared
from peer.run.session import Session
from protocol.joining.messages import topic_join
from protocol.records.bodies import Role
from protocol.roles.keeper.keeper import Keeper
from protocol.roles.keeper.kept_runs import CLOSED_RUNS, INCOMPLETE_RUNS, Remembered
from protocol.wire.announcements import Position, topic_all, topic_leader


def keeping(session: Session) -> Prepared:
    """A keeper, ready to keep runs until it is stopped.

    Raises:
        PeerError: if the federation cannot be read, or gives this member no such role.
    """
    trusted = session.trusted(Role.KEEPER)
    keeper = Keeper(session.author(), trusted, _remembered(session))
    topics = [topic_all(session.federation), topic_leader(session.federation)]
    return Prepared(session, keeper.machine, Role.KEEPER, topics, app=None, carries=[topic_join(session.federation)])


_UNFINISHED: Final = INCOMPLETE_RUNS
"""How many open and incomplete runs are taken up again at a start: each is verified from its beginning."""


def _remembered(session: Session) -> Remembered:
    """How far this peer has kept runs of the federation."""
    heads = [head for head in _kept(session) if head.closed and session.journal.is_finished(head.run)]
    whole = {head.run for head in heads}
    unfinished = islice((head for head in _kept(session) if head.run not in whole), _UNFINISHED)
    return Remembered(
        {head.run: _position(head) for head in reversed(list(unfinished))},
        {head.run: _position(head) for head in reversed(heads[:CLOSED_RUNS])},
        session.journal.well_signed,
    )


def _kept(session: Session) -> Iterator[RunHead]:
    """The runs of the federation that this peer keeps, the last changed first."""
    heads = session.journal.heads()
    return (head for head in heads if head.role is Role.KEEPER and head.federation == session.federation)


def _position(head: RunHead) -> Position:
    return Position(head.run, head.head, head.height, head.term)
