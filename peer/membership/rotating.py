"""Rotates the keys of an identity: first in its home, then in its federations, as far as it may do that itself."""

from __future__ import annotations

import time
from dataclasses import dataclass

from crypto.identity import Identity
from peer.base.errors import PeerError
from peer.engine.interface import EngineError
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import reader_in
from peer.membership.changes import may_rotate_in, rotate_in
from peer.membership.proposing import ProposalStore, proposing
from protocol.federation.manifest import Manifest
from protocol.federation.proposals import Proposal


@dataclass(frozen=True, slots=True)
class NotRotated:
    """A federation that has the old keys until somebody acts."""

    stored: StoredFederation
    why: PeerError | EngineError | None = None
    """What went wrong; None if only an admin may add the new keys."""


RotatedIn = StoredFederation | Proposal | NotRotated
"""A federation after the rotation: its new version, or a proposal of that, or neither."""


def rotate_keys(
    home: Home, keys: KeyStore, name: str | None, passphrases: Passphrases, ipfs: str | None
) -> tuple[Identity, list[RotatedIn]]:
    """The identity with its new keys, and what came of it in each of its federations."""
    opened = keys.opened(name, passphrases)
    identity = opened.identity.rotated()
    keys.replace(identity, opened.passphrase, opened)  # first, so that this home has the keys when others hear of them
    mine = [stored for stored in FederationStore(home).all() if _is_in(stored.manifest, identity)]
    return identity, [_rotate_in(home, stored, identity, ipfs) for stored in mine]


def list_new_keys(home: Home, stored: StoredFederation, identity: Identity, ipfs: str | None) -> RotatedIn | None:
    """Put the newest keys of ``identity`` into a federation, or propose it, if it is an admin there and they are not
    listed or proposed yet. None if there is nothing that it may do itself."""
    opened = FederationStore(home).opened(stored, reader_in(home, identity))
    if not may_rotate_in(opened.manifest, identity) or ProposalStore(home, opened).signed_by(identity) is not None:
        return None
    return _rotate_in(home, opened, identity, ipfs)


def _is_in(manifest: Manifest, identity: Identity) -> bool:
    return identity.id in manifest.members or may_rotate_in(manifest, identity)


def _rotate_in(home: Home, stored: StoredFederation, identity: Identity, ipfs: str | None) -> RotatedIn:
    stored = FederationStore(home).opened(stored, reader_in(home, identity))
    if not may_rotate_in(stored.manifest, identity):
        return NotRotated(stored)
    with proposing(home, stored, identity, ipfs) as work:
        try:
            return work.change(lambda current: rotate_in(current, identity, time=time.time()))
        except (PeerError, EngineError) as error:
            return NotRotated(stored, error)
