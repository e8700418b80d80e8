"""`peer.cli.runs.standing_parts`: which parts a standing peer takes up, and what it says of those that come later."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from crypto.identity import Identity
from peer.base.errors import PeerError
from peer.cli.runs.standing_parts import parts_now, parts_to_stand, what_waits
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.key_watch import KeyWatch
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.membership.changes import add_member, found_federation
from protocol.records.bodies import Role

BOTH = [Role.SERVER, Role.CLIENT]


@pytest.fixture
def owner() -> Identity:
    return Identity.generate("server")


@pytest.fixture
def home(owner: Identity, tmp_path: Path) -> Home:
    home = Home(tmp_path / "home").create()
    KeyStore(home.path).add(owner, None)
    FederationStore(home).save(
        found_federation(
            owner, name="trial", member_name="server", roles=[Role.SERVER], swarm_key=bytes(32), time=time.time()
        )
    )
    return home


def waiting(home: Home, owner: Identity, wanted: list[Role]) -> list[str]:
    """What is told once an admin has made the server a client too."""
    begun = parts_to_stand(home, owner, None, wanted)
    keys, store = KeyWatch(KeyStore(home.path), owner, Passphrases()), FederationStore(home)
    stored = store.current()
    assert what_waits(home, keys, partial(parts_now, home, None, wanted), begun) == []
    public = owner.public_for(bytes(stored.id))
    store.save(add_member(stored, owner, public, name="server", roles=BOTH, time=time.time()))
    return what_waits(home, keys, partial(parts_now, home, None, wanted), begun)


def test_a_role_that_came_meanwhile_is_told_of(home: Home, owner: Identity) -> None:
    (line,) = waiting(home, owner, BOTH)
    assert "a client and an admin of trial" in line
    assert "start this peer again" in line


def test_a_role_that_nobody_asked_for_is_not(home: Home, owner: Identity) -> None:
    assert waiting(home, owner, [Role.SERVER]) == []


def test_who_has_no_part_is_told_so(home: Home) -> None:
    with pytest.raises(PeerError, match="neither a server nor a client nor a keeper nor an admin"):
        parts_to_stand(home, Identity.generate("stranger"), None, BOTH)
