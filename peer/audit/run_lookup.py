"""Finding the run or the proof that somebody names, and opening it for its reader."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from peer.audit.audit import Audit
from peer.audit.equivocation_proof import CheckedProof, check_proof
from peer.audit.kept_reports import KeptReports
from peer.audit.root_of_trust import given_root, trusted_federations
from peer.audit.terms.promise_proof import CheckedPromise, check_promise
from peer.base.errors import ExitCode, PeerError
from peer.engine.chosen_engine import to_read_from
from peer.history.named_runs import NoSuchRun, head_named, is_car, named_cid
from peer.history.run_sources import CarSource, EngineSource, RunSource, Waits, untold
from peer.history.scratch import Scratch
from peer.home.acks_grants_proofs import AcksGrantsProofs, beside_head, beside_of, run_named
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.journal import Journal
from peer.home.reader_choice import ReaderChoice, with_names
from peer.keeping.dropped import dropped_here
from protocol.blocks.cid import CID, MAX_BLOCK_SIZE, Block, BlockError, BlockSource, MemoryBlocks, MissingBlock
from protocol.federation.manifest import PUBLIC
from protocol.federation.readers import Reader
from protocol.records.bodies import Run
from protocol.records.broken_promises import promise_links
from protocol.records.equivocation import proof_links
from protocol.records.signed_records import WellSigned, read_record
from protocol.witnesses.dispute import dispute_in

SECONDS_A_BLOCK = 30.0
"""How long an engine may look for one block, unless the user says otherwise."""

MAX_PROOF_FILE = 5 * MAX_BLOCK_SIZE
"""Bytes of a proof's CAR file at most: it has four blocks."""


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A run that was found: its head, its blocks, and who reads it."""

    head: CID
    source: RunSource
    reader: Reader


@dataclass(frozen=True, slots=True)
class RunLookup:
    """Where to look for runs, and whose keys open what is encrypted."""

    home: Home
    ipfs: str | None
    """The engine; None for the one that the home used last. CAR files need none."""
    reader: ReaderChoice
    timeout: float = SECONDS_A_BLOCK
    waits: Waits = untold
    """What is told of waits for others."""

    @contextlib.contextmanager
    def blocks(self) -> Iterator[EngineSource]:
        """The blocks of the engine."""
        with to_read_from(self.home, self.ipfs) as engine:
            yield EngineSource(engine, self.timeout, waits=self.waits)

    @contextlib.contextmanager
    def audit(
        self,
        named: str,
        scratch: Scratch,
        *,
        root: str | None = None,
        with_contents: bool = True,
        well_signed: WellSigned = frozenset(),
    ) -> Iterator[Audit]:
        """An audit, not run yet, of what ``named`` is: a CAR file, a head, or a run of this home.

        ``root`` is the root of trust, as the auditor named it. What is ``well_signed`` is not verified again.

        Raises:
            PeerError: if it is none of these (`NoSuchRun`), or ``root`` names no federation.
            EngineError: if the engine cannot be used.
        """
        joined = FederationStore(self.home).all()
        given = None if root is None else given_root(root, joined)
        with self._opened(named, joined) as (head, height, source, in_file):
            beside = in_file.and_of(beside_head(self.home, head, source))
            audit = Audit(
                head,
                source,
                scratch,
                known=joined if given is None else given.known,
                root=None if given is None else given.federation,
                reader=self._reader(head, source, beside),
                beside=beside,
                head_height=height,
                with_contents=with_contents,
                well_signed=well_signed,
                dropped_here=frozenset() if is_car(named) else dropped_here(self.home, head),
            )
            with contextlib.closing(audit):
                yield audit

    @contextlib.contextmanager
    def reading(self, named: str, scratch: Scratch, *, root: str | None = None) -> Iterator[Audit]:
        """As `audit`, to show a run: no content is read, and no signature that this home found right is verified
        again."""
        with (
            KeptReports(self.home).well_signed() as well_signed,
            self.audit(named, scratch, root=root, with_contents=False, well_signed=well_signed) as audit,
        ):
            yield audit

    @contextlib.contextmanager
    def opened(self, named: str) -> Iterator[OpenedRun]:
        """What ``named`` is, to read it record by record. Raises as `audit`."""
        with self._opened(named, FederationStore(self.home).all()) as (head, _, source, in_file):
            beside = in_file.and_of(beside_head(self.home, head, source))
            yield OpenedRun(head, source, self._reader(head, source, beside))

    def known(self, root: str | None) -> list[StoredFederation]:
        """The federations that tell whose a key is: those of the home, or only the one that the auditor named."""
        return trusted_federations(root, FederationStore(self.home).all())

    def proof(self, named: str, known: Sequence[StoredFederation]) -> CheckedProof | CheckedPromise | None:
        """The proof of equivocation or of a broken promise that ``named`` is: a CAR file's root, or a CID in the home
        or an engine. None if it is something else.

        Raises:
            PeerError: if it has the shape of a proof, and proves nothing.
        """
        if is_car(named):
            return _proof_in_file(Path(named), known)
        cid = named_cid(self.home, named)
        if self.home.journal.exists():
            with Journal(self.home.journal) as journal:
                if journal.head_of(cid) or journal.run_of(cid):
                    return None
                kept = next((proof for proof in journal.proofs() if proof[0].cid == cid), None)
            if kept is not None:
                return _proof(cid, MemoryBlocks({block.cid: block.data for block in kept}), known)
        with self.blocks() as source:
            return _proof(cid, source, known)

    @contextlib.contextmanager
    def _opened(
        self, named: str, joined: list[StoredFederation]
    ) -> Iterator[tuple[CID, int | None, RunSource, AcksGrantsProofs]]:
        """The head, its height if the home knows it, the source of its blocks, and what a file has beside the chain."""
        if is_car(named):
            with contextlib.closing(CarSource(Path(named))) as car:
                head, beside = roots_of(car, named)
                yield head, None, car, beside
            return
        head, height = head_named(self.home, named)
        federation = joined[0] if len(joined) == 1 else federation_of(self.home, head)
        with to_read_from(self.home, self.ipfs, federation) as engine:
            source = EngineSource(engine, self.timeout, dropped_here(self.home, head), self.waits)
            yield head, height, source, AcksGrantsProofs()

    def _reader(self, head: CID, source: RunSource, beside: AcksGrantsProofs) -> Reader:
        """The reader of the run of ``head``; the public one if the run is not encrypted, or is damaged."""
        try:
            body = read_record(run_named(head, source), source).body
        except BlockError:
            return PUBLIC
        if not isinstance(body, Run) or body.keys is None:
            return PUBLIC
        return with_names(self.reader.open(self.home.path, beside.grants), source, beside.grants)


def federation_of(home: Home, head: CID) -> StoredFederation | None:
    """The federation of a run of this home; None if the home does not know the run, or is not in that federation."""
    if not home.journal.exists():
        return None
    with Journal(home.journal) as journal:
        known = journal.head_of(head) or journal.run_of(head)
    return None if known is None else FederationStore(home).get(known.federation)


def roots_of(car: CarSource, named: str) -> tuple[CID, AcksGrantsProofs]:
    """The head in a CAR file, which is its first root, or the record that a dispute is about; and what is beside the
    chain, which its other roots name.

    Raises:
        NoSuchRun: if it has no root, or a root that is neither.
        PeerError: if a root is not there, because the file is cut short.
    """
    if not car.roots:
        raise _no_run(named, "has no root")
    head, *others = car.roots
    with contextlib.suppress(BlockError):  # of a root that is not here, an audit says so
        if (told := dispute_in(Block(head, car.get(head)))) is not None:
            head, others = told.record, [each for each in others if each != told.record]
    try:
        return head, beside_of(others, car)
    except BlockError as error:
        if car.cut_short:
            raise PeerError(
                f"{named} is only a part of what was exported: {car.cut_short}",
                fix="get it again from whoever exported it: peer export HEAD FILE.car",
                code=ExitCode.UNFINISHED,
            ) from error
        raise _no_run(named, f"has {len(car.roots)} roots, and one of them belongs to no run: {error}") from error


def _no_run(named: str, what: str) -> NoSuchRun:
    return NoSuchRun(
        f"{named} {what}",
        fix="peer import and peer audit are for files that `peer export HEAD FILE.car` or `ipfs dag export` wrote",
    )


def _proof_in_file(file: Path, known: Sequence[StoredFederation]) -> CheckedProof | CheckedPromise | None:
    if not file.is_file() or file.stat().st_size > MAX_PROOF_FILE:
        return None
    with contextlib.closing(CarSource(file)) as car:
        return _proof(car.roots[0], car, known) if len(car.roots) == 1 else None


def _proof(cid: CID, source: BlockSource, known: Sequence[StoredFederation]) -> CheckedProof | CheckedPromise | None:
    try:
        block = Block(cid, source.get(cid))
        of_promise = promise_links(block) is not None
        if not of_promise and proof_links(block) is None:
            return None
    except BlockError:
        return None  # an audit says what is wrong with it
    try:
        return (check_promise if of_promise else check_proof)(block, source, known)
    except MissingBlock as error:
        raise PeerError(
            f"the proof {cid} is not whole here: {error}",
            fix="name the engine that has its records with --ipfs ENGINE",
            code=ExitCode.UNFINISHED,
        ) from error
    except BlockError as error:
        raise PeerError(
            f"{cid} is no proof of {'a broken promise' if of_promise else 'equivocation'}: {error}",
            fix="it shows nothing about anybody; to audit a run, name its head: peer ls shows those of this home",
        ) from error
