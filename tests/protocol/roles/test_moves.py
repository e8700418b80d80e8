"""Whoever follows an event through a role turns few pages: few calls on its way lead from one file to another."""

from __future__ import annotations

from attacked import leading
from chains import ALICE, BOB, CONTENT, node_of
from moves import Moves

from protocol.app.calls import Outgoing, Push
from protocol.roles.events import AppCalled


def test_a_push_moves_twelve_times_between_files_of_the_leader() -> None:
    leader, moves = leading(), Moves()
    sent = tuple(Outgoing(CONTENT, "train", "1", 3600.0, node_of(client)) for client in (ALICE, BOB))
    moves.trace(leader, AppCalled(Push(2, sent, None)))
    print(moves.told("a push"))  # noqa: T201
    assert len(moves.moves) <= 12
