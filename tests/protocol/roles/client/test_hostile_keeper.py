"""What a keeper cannot do to a client that hears others through it alone."""

from __future__ import annotations

import pytest
from attacked import Attacked, following, nowhere, position
from chains import KEEPER, SERVER, WITH_KEEPER, begun

from protocol.roles.effects import FetchContent, FetchRecord
from protocol.roles.events import Received
from protocol.wire.announcements import Beat, Head, Hello, PeerState, Position, Said


@pytest.fixture
def client() -> Attacked:
    """Alice's client at the head of a run, in a federation with a keeper."""
    return following(begun(members=WITH_KEEPER))


def fetches(client: Attacked) -> int:
    return len(client.all(FetchRecord)) + len(client.all(FetchContent))


def ahead(client: Attacked) -> Position:
    """A record of the run that nobody has."""
    return position(client.scribe, head=nowhere("head"), height=9)


def test_a_keeper_leads_no_client_anywhere(client: Attacked) -> None:
    before, manifest = fetches(client), client.manifest
    said: list[Said] = [Head(ahead(client))]
    said += [kind(manifest, PeerState.LEADING, ahead(client)) for kind in (Hello, Beat)]
    said.append(Head(position(client.scribe, run=nowhere("run"), head=nowhere("head"))))
    for each in said:
        client.say(KEEPER, each)
    assert fetches(client) == before


def test_what_a_keeper_changes_on_the_way_is_nobodys_word(client: Attacked) -> None:
    before = fetches(client)
    said = client.said(SERVER, Head(ahead(client))).data
    for at in range(0, len(said), 7):
        client.feed(Received(said[:at] + bytes([said[at] ^ 1]) + said[at + 1 :]))
    assert fetches(client) == before
    client.feed(Received(said))
    assert fetches(client) == before + 1, "as the server said it, it is heard"
