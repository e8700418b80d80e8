"""The reader of an encrypted run: an identity of this home, with its grants."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crypto.identity import Identity
from peer.base.errors import PeerError
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from protocol.blocks.cid import Block, BlockError, BlockSource
from protocol.federation.manifest import PUBLIC, federation_of, manifest_at
from protocol.federation.readers import Reader
from protocol.records.bodies import Grant
from protocol.records.signed_records import parse_record


def reader_of(identity: Identity, beside: Iterable[Block] = ()) -> Reader:
    """``identity`` as a reader. ``beside`` are records beside the chain, among which may be grants for it."""
    return Reader(identity.id, identity.decryption_keys, list(grants_in(beside)))


def reader_in(home: Home, identity: Identity, beside: Iterable[Block] = ()) -> Reader:
    """As `reader_of`, with what the home keeps for the identity, because its older keys may be destroyed: the keys of
    epochs that stay, and manifest keys."""
    kept: list[Block] = []
    if home.journal.exists():
        with Journal(home.journal) as journal:
            kept = journal.kept_keys()
    known = (key for stored in FederationStore(home).all() for key in stored.manifest_keys)
    return reader_of(identity, [*beside, *kept]).remembering(known)


@dataclass(frozen=True, slots=True)
class ReaderChoice:
    """Whose keys a command may use."""

    identity: str | None
    """The name after ``--identity``."""
    passphrases: Passphrases
    """Nobody is asked twice, however often an identity is opened."""
    needed: bool
    """Whether to ask for a passphrase. If not, a locked key is used only if its passphrase was given."""

    def open(self, home: Path, beside: Iterable[Block]) -> Reader:
        """This home as a reader. Without an identity that can be unlocked, the reader has no keys.

        Raises:
            PeerError: if an identity is needed or was named, and cannot be unlocked.
        """
        store = KeyStore(home)
        if self.needed and not store.names():
            raise PeerError(
                f"the run is encrypted, and {home} has no identity that can read it",
                fix="name a member's home with --home DIR; a replay needs that of a server or an auditor",
            )
        if not (self.needed or self.identity) and len(store.names()) != 1:
            return PUBLIC
        found = store.public(self.identity)
        if not self.needed and found.locked and not self.passphrases.is_given(found.name):
            return PUBLIC
        return reader_in(Home(home), self.unlocked(home), beside)

    def unlocked(self, home: Path) -> Identity:
        """The identity, to sign with.

        Raises:
            PeerError: if there is none, several and no name, or its passphrase is missing or wrong.
        """
        return KeyStore(home).load(self.identity, self.passphrases)


def with_names(reader: Reader, source: BlockSource, beside: Iterable[Block]) -> Reader:
    """``reader`` with the manifest keys to which the grants ``beside`` a run lead, so that a later auditor can read
    names too."""
    for grant in grants_in(beside):
        with contextlib.suppress(BlockError):  # the reader then sees ids instead of names
            manifest_at(grant.manifest, federation_of(grant.manifest, source), source, reader=reader)
    return reader.remembering(reader.manifest_keys)


def granted_epochs(member: bytes, beside: Iterable[Block]) -> frozenset[int]:
    """The epochs that the records ``beside`` a chain grant to ``member``."""
    return frozenset(grant.number for grant in grants_in(beside) if grant.to == member)


def grants_in(blocks: Iterable[Block]) -> Iterator[Grant]:
    """The grants among records."""
    for block in blocks:
        try:
            body = parse_record(block).body
        except BlockError:
            continue  # another root of a CAR file
        if isinstance(body, Grant):
            yield body
