"""What a standing admin's peer does with the proposals and versions of the manifest that other admins name: it takes
them in, after every check, and puts into force what enough admins have signed. It never signs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from crypto.identity import Identity
from peer.base.errors import ExitCode, PeerError
from peer.engine.interface import Engine
from peer.engine.record_fetcher import RecordFetcher
from peer.engine.sound_blocks import SoundBlocks
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.reader_choice import reader_of
from peer.membership.proposing import ProposalStore, fetched_proposal, read_as_next, save_newer
from protocol.blocks.cid import CID, Block
from protocol.desk.desk import why_not_taken
from protocol.federation.manifest import ManifestError
from protocol.federation.proposals import Outdated, together
from protocol.records.bodies import Federation
from protocol.records.signed_records import parse_record
from protocol.wire.announcements import ManifestRef

MAX_PROPOSAL: Final = 64 << 20
"""Bytes of a proposal with its listings; one of 65,536 members has some 20 MB."""


@dataclass(frozen=True, slots=True)
class InlineFirst:
    """Blocks that came with an announcement, and an engine for the others."""

    inline: Mapping[CID, bytes]
    engine: Engine

    def get(self, cid: CID, *, timeout: float = 30.0) -> bytes:
        """As `peer.engine.interface.Engine.get`. Inline blocks hash to their CIDs: the announcement was parsed so."""
        data = self.inline.get(cid)
        return SoundBlocks(self.engine).get(cid, timeout=timeout) if data is None else data


@dataclass(frozen=True, slots=True)
class TakingIn:
    """Takes in what is named to the admin ``identity``, in one federation of its home. Its methods read files and wait
    for blocks: they are not for an event loop."""

    home: Home
    federation: CID
    identity: Identity
    engine: Engine

    def take_manifest(self, ref: ManifestRef, inline: Mapping[CID, bytes]) -> bool:
        """Take in a version of the manifest that enough admins have signed. Returns whether it is the newest now.

        Raises:
            PeerError, EngineError, protocol.blocks.cid.BlockError: if it does not come, or breaks a rule.
        """
        store, reader = FederationStore(self.home), reader_of(self.identity)
        known = self._stored(store)
        fetcher = RecordFetcher(InlineFirst(inline, self.engine))
        try:
            blocks = fetcher.fetch(ref.cid, Federation, known.manifest.cid)
        finally:
            fetcher.close()
        with store.changing():
            current = self._stored(store)
            if current.manifest.version < ref.version:
                save_newer(self.home, current, current.advanced(ref.cid, blocks, reader), reader)
            return self._stored(store).manifest.version >= ref.version

    def take_proposal(self, cid: CID, inline: Mapping[CID, bytes]) -> StoredFederation | None:
        """Keep the proposal in block ``cid``, with the signatures that this home knew already. If enough admins have
        signed it, returns the federation with it in force.

        Raises:
            PeerError: if it is not taken.
            EngineError, protocol.blocks.cid.BlockError: if it does not come, or is malformed.
        """
        store, reader = FederationStore(self.home), reader_of(self.identity)
        blocks = fetched_proposal(cid, self._stored(store), InlineFirst(inline, self.engine))
        if sum(map(len, blocks.values())) > MAX_PROPOSAL:
            raise _not_taken(f"it has more than {MAX_PROPOSAL >> 20} MiB")
        record = parse_record(Block(cid, blocks[cid]))
        with store.changing():
            current = self._stored(store)
            kept = ProposalStore(self.home, current)
            try:
                proposal = read_as_next(record, blocks, current, reader.remembering(current.manifest_keys))
            except (Outdated, ManifestError) as error:
                raise _not_taken(str(error)) from error
            if self.identity.id in kept.rejected_by(record.id):
                return None
            waiting = [each.proposal for each in kept.all() if each.proposal is not None]
            if why := why_not_taken(proposal, waiting):
                raise _not_taken(why)
            if (same := kept.find(record.id)) is not None:
                joined = together(record, same.record)
                if joined.cid == same.record.cid and not (same.proposal and same.proposal.is_complete):
                    return None  # nothing new: one can sign the same in endless ways
                del blocks[cid]
                blocks[joined.cid] = joined.data
                record = parse_record(joined)
                proposal = read_as_next(record, blocks, current, reader.remembering(current.manifest_keys))
            kept.keep(record.cid, blocks)
            self.engine.put([Block(each, data) for each, data in blocks.items()], pin=list(blocks))
            if not proposal.is_complete:
                return None
            newer = current.advanced(record.cid, blocks, reader)
            save_newer(self.home, current, newer, reader)
            kept.forget(record.id)
            return newer

    def note_rejection(self, id: CID, by: bytes) -> None:
        """Note that another admin does not sign a proposal that this home has."""
        store = FederationStore(self.home)
        with store.changing():
            kept = ProposalStore(self.home, self._stored(store))
            found = kept.find(id)
            if found is not None and by not in found.rejected_by:
                kept.note_rejection(found.record, by, own=False)

    def _stored(self, store: FederationStore) -> StoredFederation:
        if (stored := store.get(self.federation)) is None:
            raise PeerError(f"this home is not in the federation {self.federation} any more")
        return stored


def _not_taken(why: str) -> PeerError:
    return PeerError(f"the proposal is not taken: {why}", code=ExitCode.VERIFICATION_FAILED)
