"""A reader that follows an event through a role turns few pages: few calls lead from one file to another."""

from __future__ import annotations

from attacked import following, leading, position
from chains import ALICE, BOB, CONTENT, SERVER, Scribe, node_of
from moves import Moves

from protocol.app.calls import Outgoing, Push
from protocol.blocks.cid import Block
from protocol.roles.effects import FetchContent
from protocol.roles.events import AppCalled
from protocol.wire.announcements import Head


def test_a_push_moves_twelve_times_between_files_of_the_leader() -> None:
    leader, moves = leading(), Moves()
    sent = tuple(Outgoing(CONTENT, "train", "1", 3600.0, node_of(client)) for client in (ALICE, BOB))
    moves.trace(leader, AppCalled(Push(2, sent, None)))
    print(moves.told("a push"))  # noqa: T201
    assert len(moves.moves) <= 12


def test_a_head_moves_eight_times_between_files_of_the_client() -> None:
    scribe, moves = Scribe(), Moves()
    scribe.add(scribe.run())
    client = following(scribe)
    scribe.add(scribe.dispatch())
    came_with = [Block(cid, data) for cid, data in scribe.source.items()]
    head = client.said(SERVER, Head(position(scribe)), blocks=came_with)
    moves.trace(client, head)
    print(moves.told("a head of a dispatch, with a message for the client"))  # noqa: T201
    assert client.all(FetchContent)
    assert len(moves.moves) <= 8
