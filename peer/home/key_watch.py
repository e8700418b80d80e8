"""Noticing that the owner of a running peer rotates its keys, so that it goes on with the new ones by itself."""

from __future__ import annotations

import logging

from crypto.identity import Identity
from peer.base import logs
from peer.base.errors import PeerError
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases


class KeyWatch:
    """Looks at the key file of one identity. `changed` costs next to nothing: it is asked before every event.

    `peer keys rotate` writes the key file before anything that names the new keys leaves it. So a peer that looks at it
    before each announcement it takes never meets a manifest with a key of its own that it could not have known.
    """

    def __init__(self, store: KeyStore, identity: Identity, passphrases: Passphrases) -> None:
        """``passphrases`` are those that opened the file for ``identity``; nobody is asked again."""
        self._store = store
        self._identity = identity
        self._passphrases = passphrases.unattended()
        self._stamp = store.stamp(identity.name)

    @property
    def identity(self) -> Identity:
        """The identity as it was at the last look."""
        return self._identity

    @property
    def changed(self) -> bool:
        """Whether the file was written since the last look."""
        return self._store.stamp(self._identity.name) != self._stamp

    def newer(self) -> Identity | None:
        """The identity with its new keys; None if it was only locked anew, or cannot be opened.

        Takes as long as the file's key derivation: not for an event loop.
        """
        self._stamp = self._store.stamp(self._identity.name)
        try:
            found = self._store.public(self._identity.name).public
            if found == self._identity.public or found.id != self._identity.id:
                return None
            self._identity = self._store.load(self._identity.name, self._passphrases)
        except PeerError as error:
            fix = f"start the peer again with the passphrase that opens it now ({error.fix})"
            logs.event("keys-unreadable", logging.WARNING, why=str(error), fix=fix)
            return None
        logs.event("keys-changed", did=self._identity.signing.verify_key.did)
        return self._identity
