"""What others change in a standing server's home while no run is on: the next run begins with it."""

from __future__ import annotations

import time

import pytest
from standing_server import APP, Server

from peer.apps.taken_apps import take_app
from peer.base.errors import PeerError
from peer.home.federations import FederationStore
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.membership.changes import add_member, remove_member, rotate_in
from peer.roles.leading import leading
from peer.run.peer import Prepared
from protocol.records.bodies import Role
from protocol.replies.checks_and_limits import Admission
from protocol.roles.leader.run_plan import LeaderSettings


def next_run(server: Server) -> Prepared:
    app = take_app(server.session.home, APP)
    settings = LeaderSettings(min_clients=1, client_timeout=60.0, leave_timeout=60.0, admission=Admission())
    led = leading(server.session, app, (), (), settings, seed=None, initial=None, new_run=True, wait_for_members=None)
    return led.prepared


def test_a_removed_member_is_none_of_the_next_runs(server: Server) -> None:
    store, owner = FederationStore(server.session.home), server.session.identity
    assert server.asker.id in next_run(server).machine.newest.manifest.members
    store.save(remove_member(store.current(), owner, "second", time=time.time()))
    assert server.asker.id not in next_run(server).machine.newest.manifest.members


def test_the_next_run_signs_with_keys_that_were_rotated(server: Server) -> None:
    store, owner = FederationStore(server.session.home), server.session.identity
    rotated = owner.rotated()
    keys = KeyStore(server.session.home.path)
    keys.replace(rotated, None, keys.opened(None, Passphrases()))
    store.save(rotate_in(store.current(), rotated, time=time.time()))
    assert next_run(server).machine.newest.key.verify_key == rotated.signing.verify_key


def test_a_server_that_is_none_any_more_begins_no_run(server: Server) -> None:
    store, owner = FederationStore(server.session.home), server.session.identity
    stored = store.current()
    public = owner.public_for(bytes(stored.id))
    store.save(add_member(stored, owner, public, name="server", roles=[Role.CLIENT], time=time.time()))
    with pytest.raises(PeerError, match="not server"):
        next_run(server)
