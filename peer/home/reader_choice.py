"""The reader of an encrypted run: an identity of this home, with what was granted to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crypto.identity import Identity
from peer.base.errors import PeerError
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from protocol.blocks.cid import Block, BlockError, BlockSource
from protocol.federation.manifest import PUBLIC, federation_of, manifest_at
from protocol.federation.readers import Reader
from protocol.records.bodies import Grant
from protocol.records.signed_records import parse_record


def reader_of(identity: Identity, beside: Iterable[Block] = ()) -> Reader:
    """The reader that ``identity`` is. ``beside`` are records beside the chain, among which grants to it may be."""
    return Reader(identity.id, identity.decryption_keys, list(_grants(beside)))


@dataclass(frozen=True, slots=True)
class ReaderChoice:
    """Whose keys a command may use."""

    identity: str | None
    """As ``--identity`` has it."""
    passphrase_file: Path | None
    needed: bool
    """Whether to ask for a passphrase. If not, a locked key is used only if its passphrase is given already."""

    def open(self, home: Path, beside: Iterable[Block]) -> Reader:
        """The reader that this home is: nobody in particular if it has no identity, or none that can be unlocked.

        Raises:
            PeerError: if an identity is needed, or was named, and cannot be had.
        """
        store = KeyStore(home)
        if self.needed and not store.names():
            raise PeerError(
                f"the run is encrypted, and {home} has no identity that could read it",
                fix="name a member's home with --home DIR; a replay takes that of a server or an auditor",
            )
        if not (self.needed or self.identity) and len(store.names()) != 1:
            return PUBLIC
        passphrases = Passphrases.of_process(self.passphrase_file)
        found = store.public(self.identity)
        if not self.needed and found.locked and not passphrases.is_given(found.name):
            return PUBLIC
        return reader_of(store.load(self.identity, passphrases), beside)


def with_names(reader: Reader, source: BlockSource) -> Reader:
    """``reader`` with the manifest keys that its grants lead to: an auditor who came later reads names too."""
    for grant in reader.grants:
        with contextlib.suppress(BlockError):  # then it reads ids instead of names
            manifest_at(grant.manifest, federation_of(grant.manifest, source), source, reader=reader)
    return reader.remembering(reader.manifest_keys)


def granted_epochs(member: bytes, beside: Iterable[Block]) -> frozenset[int]:
    """The epochs whose keys the records ``beside`` a chain give to ``member`` already."""
    return frozenset(grant.number for grant in _grants(beside) if grant.to == member)


def _grants(blocks: Iterable[Block]) -> Iterator[Grant]:
    for block in blocks:
        try:
            body = parse_record(block).body
        except BlockError:
            continue  # a root of a CAR file that is none of ours
        if isinstance(body, Grant):
            yield body
