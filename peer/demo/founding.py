"""Founds the demo's federation: what people do with `peer keys` and `peer federation`."""

from __future__ import annotations

import secrets
import time

from crypto.identity import Identity
from peer.demo.plan import FEDERATION, DemoPeer, DemoPlan
from peer.home.federations import SWARM_KEY_SIZE, FederationStore, StoredFederation
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import reader_of
from peer.membership.changes import add_member, found_federation
from protocol.federation.readers import Reader


def found(plan: DemoPlan, *, encrypt: bool = True) -> StoredFederation:
    """The demo's federation with all its peers, in the server's home. It is founded if it is not there yet.

    The keys are not locked, because nobody is there to type passphrases. Outside the demo they are worth nothing.
    """
    store = FederationStore(plan.server.home.create())
    founder = _identity(plan.server)
    known = {stored.manifest.name: stored for stored in store.all()}
    stored = known.get(FEDERATION) or found_federation(
        founder,
        name=FEDERATION,
        member_name=plan.server.name,
        roles=[plan.server.role],
        swarm_key=secrets.token_bytes(SWARM_KEY_SIZE),
        time=time.time(),
        encrypt=encrypt,
    )
    for peer in plan.joining:
        public = _identity(peer).public_for(bytes(stored.id))
        if public.id not in stored.manifest.members:
            stored = add_member(stored, founder, public, name=peer.name, roles=[peer.role], time=time.time())
    store.save(stored)
    return stored


def join(plan: DemoPlan, stored: StoredFederation, addresses: tuple[str, ...]) -> None:
    """Give the federation to each other peer, with the ``addresses`` of a server's engine."""
    store = FederationStore(plan.server.home)
    store.add_addresses(stored.id, addresses)
    offered = store.current(str(stored.id))
    for peer in plan.joining:
        FederationStore(peer.home.create()).join(offered)


def server_reader(plan: DemoPlan) -> Reader:
    """The server that audits the run, as its reader."""
    return reader_of(_identity(plan.auditing))


def _identity(peer: DemoPeer) -> Identity:
    """The peer's identity, which its first demo makes."""
    keys = KeyStore(peer.home.create().path)
    if peer.name not in keys.names():
        keys.add(Identity.generate(peer.name), None)
    return keys.load(peer.name, Passphrases.of_process(None))
