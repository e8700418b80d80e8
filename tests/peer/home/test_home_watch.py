"""`peer.home.home_watch`: what other commands change in a home, before a run looks and while it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto.identity import Identity
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.home_watch import HomeWatch
from peer.home.journal import Journal
from peer.membership.changes import add_member, found_federation
from protocol.records.bodies import Role
from protocol.roles.events import AppsApproved

ADMIN = Identity.generate("server")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@pytest.fixture
def store(home: Home) -> FederationStore:
    return FederationStore(home)


@pytest.fixture
def stored(store: FederationStore) -> StoredFederation:
    stored = found_federation(
        ADMIN, name="trial", member_name="server", roles=[Role.SERVER], swarm_key=bytes(32), time=time.time()
    )
    store.save(stored)
    return stored


@pytest.fixture
def journal(home: Home) -> Iterator[Journal]:
    with Journal(home.journal) as journal:
        yield journal


@pytest.fixture
def watch(store: FederationStore, stored: StoredFederation, journal: Journal) -> HomeWatch:
    return HomeWatch(store, stored.id, journal, with_apps=False)


def with_a_newcomer(stored: StoredFederation) -> StoredFederation:
    newcomer = Identity.generate("new").public_for(bytes(stored.id))
    return add_member(stored, ADMIN, newcomer, name="new", roles=[Role.CLIENT], time=time.time())


def test_a_version_that_came_between_the_beginning_and_the_first_look_is_found(
    watch: HomeWatch, store: FederationStore, stored: StoredFederation
) -> None:
    newer = with_a_newcomer(stored)
    store.save(newer)
    (found,) = watch.look(stored.manifest)
    assert found.cid == newer.manifest.cid
    assert watch.look(newer.manifest) == []


def test_what_the_run_knows_already_is_no_change(
    watch: HomeWatch, store: FederationStore, stored: StoredFederation
) -> None:
    assert watch.look(stored.manifest) == []
    ahead = with_a_newcomer(stored)  # learned from a member, and not kept yet
    store.add_addresses(stored.id, ["/ip4/127.0.0.1/tcp/4001"])
    assert watch.look(ahead.manifest) == []
    assert watch.addresses == ("/ip4/127.0.0.1/tcp/4001",)


def test_apps_are_told_of_first_and_when_they_change(
    store: FederationStore, stored: StoredFederation, journal: Journal
) -> None:
    watch = HomeWatch(store, stored.id, journal, with_apps=True)
    journal.approve_app(stored.id)
    assert watch.look(stored.manifest) == [AppsApproved(frozenset({stored.id}))]
    assert watch.look(stored.manifest) == []
    journal.forget_app(stored.id)
    assert watch.look(stored.manifest) == [AppsApproved(frozenset())]


def test_a_file_that_cannot_be_read_does_not_end_the_watch(
    watch: HomeWatch, store: FederationStore, stored: StoredFederation, caplog: pytest.LogCaptureFixture
) -> None:
    store.path(stored.id).unlink()
    assert watch.look(stored.manifest) == watch.look(stored.manifest) == []
    assert [record.message for record in caplog.records] == ["home-unreadable"]
    newer = with_a_newcomer(stored)
    store.save(newer)
    (found,) = watch.look(stored.manifest)
    assert found.cid == newer.manifest.cid
