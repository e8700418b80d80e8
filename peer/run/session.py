"""What a peer of either role needs, whichever of its runs it is for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from crypto.identity import Identity
from peer.base.errors import ExitCode, PeerError
from peer.base.interrupts import Interrupts
from peer.confinement.confined import Confiner
from peer.engine.interface import Engine
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.journal import Journal
from peer.home.key_watch import KeyWatch
from peer.home.reader_choice import reader_in, reader_of
from peer.membership.changes import require_role
from protocol.blocks.cid import CID, Block, MemoryBlocks
from protocol.federation.manifest import why_unreadable
from protocol.federation.readers import Reader
from protocol.records.bodies import Role
from protocol.records.environment import Numerics
from protocol.records.equivocation import Equivocation, read_proof
from protocol.roles.acting import Acting
from protocol.roles.effects import Report
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.votes.promise import KeptVote
from protocol.wire.announcements import first_counter


@dataclass(frozen=True, slots=True)
class Computing:
    """How the app process computes."""

    threads: int
    """Threads for each numerical library."""
    python: tuple[str, ...]
    """The command that starts its Python."""
    numerics: Numerics
    """For the ServerApp of a new run. An open run keeps its own, and a ClientApp is always native."""


@dataclass(frozen=True, slots=True)
class ActingAuthor:
    """As whom this process acts in a federation."""

    session: bytes
    """16 random bytes."""
    first_counter: int
    acting: Acting

    @classmethod
    def of(cls, journal: Journal) -> ActingAuthor:
        """For a process that begins. Its number, in the journal, is higher than that of any before."""
        first = first_counter(journal.next_start(time.time()))
        votes = {run: KeptVote.of(vote) for run, vote in journal.votes().items()}
        return cls(os.urandom(16), first, Acting(first, votes))


@dataclass(frozen=True, slots=True)
class Session:
    """What a peer of either role needs.

    It may stand for months, and other commands change its home meanwhile. So it holds neither the federation nor its
    member's keys: each run that begins asks the home for the newest.
    """

    home: Home
    federation: CID
    keys: KeyWatch
    engine: Engine
    engine_name: str
    journal: Journal
    computing: Computing
    on_report: Callable[[Report], None]
    interrupts: Interrupts
    """Has the interrupts from before there was an event loop."""
    acting: ActingAuthor
    """Shared by all runs of this process in the federation."""
    confiner: Confiner | None = None
    """Confines the app; None lets it do whatever the peer may do."""

    @property
    def identity(self) -> Identity:
        """The member, with the keys that were found last."""
        return self.keys.identity

    def stored(self) -> StoredFederation:
        """The federation as this home has it now. Cheap, unless it was changed.

        Raises:
            PeerError: if the home is not in it any more.
        """
        if (stored := FederationStore(self.home).get(self.federation)) is None:
            raise PeerError(
                f"the home {self.home.path} is not in the federation {self.federation} any more",
                fix="take in what an admin exports now: peer federation join FILE",
            )
        return stored

    def reader(self, beside: Iterable[Block] = ()) -> Reader:
        """The member as a reader of runs, with the keys that were found last. ``beside`` may hold grants for it."""
        return reader_in(self.home, self.identity, beside)

    def author(self) -> Author:
        """As whom a machine that begins now acts. Not for an event loop: new keys are slow to open."""
        identity, ours = self.keys.newest(), self.acting
        reader = reader_in(self.home, identity)
        return Author(identity.id, identity.signing_keys, ours.first_counter, reader, ours.session, ours.acting)

    def trusted(self, role: Role) -> TrustedManifest:
        """The manifest that a run of ``role`` begins with: the newest that this home has.

        Raises:
            PeerError: if it does not give this member the role, or the member cannot open it. Nobody could then hear
                this peer, nor it the others.
        """
        identity = self.keys.newest()
        stored = FederationStore(self.home).opened(self.stored(), reader_of(identity))
        manifest = stored.manifest
        require_role(manifest, identity.public, role)
        if manifest.misled:
            raise PeerError(
                f"{identity.name} cannot take part: {why_unreadable(manifest)}",
                fix="after that admin has made any change and exported it (peer federation export FILE): "
                "peer federation join FILE",
                code=ExitCode.VERIFICATION_FAILED,
            )
        if not manifest.readable:
            raise PeerError(
                f"{identity.name} cannot open the encrypted manifest of the federation {stored.id}",
                fix="restore its newest keys (peer keys restore FILE), or take in what an admin exports now: "
                "peer federation join FILE",
            )
        return TrustedManifest(manifest, stored.blocks, tuple(_proofs(self.journal)))


def _proofs(journal: Journal) -> Iterator[Equivocation]:
    """The proofs against members that this peer no longer follows."""
    for proof, *records in journal.proofs():
        yield read_proof(proof, MemoryBlocks({block.cid: block.data for block in records}))
