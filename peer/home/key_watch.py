"""Notices that the owner of a running peer has rotated its keys, so that the peer goes on with the new ones."""

from __future__ import annotations

import logging
import threading

from crypto.identity import Identity
from peer.base import logs
from peer.base.errors import PeerError
from peer.home.home import Stamp, stamp_of
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases


class KeyWatch:
    """Watches the key file of one identity. `changed` is cheap, so a peer can call it before each event.

    `peer keys rotate` writes the key file before it tells anybody of the new keys. So a peer that looks before each
    announcement never meets a manifest with keys of its own that it does not have.
    """

    def __init__(self, store: KeyStore, identity: Identity, passphrases: Passphrases) -> None:
        """``passphrases`` have opened the file for ``identity``, however long ago. Nobody is asked again."""
        self._store = store
        self._identity = identity
        self._file = store.path(identity.name)
        self._passphrases = passphrases.unattended()
        self._stamp: Stamp | None = None
        """Of the file as it was looked at last; None before, so that no change since it was opened is lost."""
        self._looking = threading.Lock()

    def again(self) -> KeyWatch:
        """Another watch of the same file, for another run: each is told of new keys once."""
        return KeyWatch(self._store, self._identity, self._passphrases)

    @property
    def identity(self) -> Identity:
        """The identity, as `newer` found it last."""
        return self._identity

    @property
    def passphrases(self) -> Passphrases:
        """What opens the file. Nobody is asked."""
        return self._passphrases

    @property
    def changed(self) -> bool:
        """Whether the file was written since `newer` was last called, or that was never called."""
        return self._stamp_now() != self._stamp

    def _stamp_now(self) -> Stamp | None:
        """None while there is no file."""
        try:
            return stamp_of(self._file)
        except FileNotFoundError:
            return None

    def newest(self) -> Identity:
        """The identity with the newest keys that can be opened. As slow as `newer` if the file has changed."""
        with self._looking:
            if self.changed:
                self.newer()
            return self._identity

    def newer(self) -> Identity | None:
        """The identity with its new keys, or without those that were destroyed; None if nothing of that has changed, or
        the file cannot be opened.

        Deriving the file's key is slow, so do not call it in an event loop.
        """
        self._stamp = self._stamp_now()
        try:
            found, known = self._store.public(self._identity.name), self._identity
            may_have_fewer = found.lacks_decryption and len(known.decryption_keys) > 1
            if (found.public == known.public and not may_have_fewer) or found.public.id != known.id:
                return None
            self._identity = self._store.load(self._identity.name, self._passphrases)
        except PeerError as error:
            fix = f"start the peer again with the passphrase that opens it now ({error.fix})"
            logs.event("keys-unreadable", logging.WARNING, why=str(error), fix=fix)
            return None
        logs.event("keys-changed", did=self._identity.signing.verify_key.did)
        return self._identity
