"""Real parts for the tests of jobs: a home, a journal, a federation of two servers, an engine in a folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from standing_server import Server

from crypto.identity import Identity
from peer.apps.app_python import OUR_PYTHON
from peer.base.interrupts import Interrupts
from peer.engine.local.engine import LocalEngine
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal
from peer.home.key_watch import KeyWatch
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.membership.changes import add_member, found_federation
from peer.run.session import ActingAuthor, Computing, Session
from protocol.records.bodies import Role
from protocol.records.environment import Numerics


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    home, owner, asker = Home(tmp_path / "home").create(), Identity.generate("server"), Identity.generate("second")
    KeyStore(home.path).add(owner, None)
    stored = found_federation(
        owner, name="trial", member_name="server", roles=[Role.SERVER], swarm_key=bytes(32), time=time.time()
    )
    public = asker.public_for(bytes(stored.id))
    stored = add_member(stored, owner, public, name="second", roles=[Role.SERVER], time=time.time())
    FederationStore(home).save(stored)
    engine = LocalEngine(tmp_path / "engine")
    with Journal(home.journal) as journal:
        session = Session(
            home=home,
            federation=stored.id,
            keys=KeyWatch(KeyStore(home.path), owner, Passphrases()),
            engine=engine,
            engine_name=engine.address,
            journal=journal,
            computing=Computing(1, OUR_PYTHON, Numerics.PORTABLE),
            on_report=lambda _: None,
            interrupts=Interrupts(),
            acting=ActingAuthor.of(journal),
        )
        yield Server(session, asker)
    engine.close()
