"""Changes that several admins have to sign: proposed to them, fetched, signed, and in force once enough have signed.

A proposal is a record and its listings. It lies in the engine, for the other admins, and in the home, in
``proposals/<federation>/<id>.car``. Nothing in it is secret. ``<id>.rejected.json`` says which admins do not sign it.
A peer that stands passes proposals on by itself (`peer.desk.passing_on`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import msgspec

from crypto.described_types import described
from crypto.identity import Identity
from peer.base.errors import ExitCode, PeerError
from peer.engine.chosen_engine import borrowed
from peer.engine.interface import Engine, Unreachable
from peer.engine.record_fetcher import Blocks as FetchedFrom
from peer.engine.record_fetcher import RecordFetcher
from peer.engine.sound_blocks import SoundBlocks
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import PRIVATE_FOLDER, Home, replace_file
from peer.home.invitations import Invitations
from peer.home.reader_choice import reader_of
from peer.membership.changes import OthersMustSign
from protocol.blocks.car import read_car, write_car
from protocol.blocks.cid import CID, Block, BlockError, BlockSource, MemoryBlocks, MissingBlock, checked_block
from protocol.federation.manifest import Manifest, ManifestError
from protocol.federation.proposals import Outdated, Proposal, countersigned, read_proposal, together
from protocol.federation.readers import Reader
from protocol.records.bodies import Federation
from protocol.records.signed_records import Record, checked_record, parse_record

Blocks = dict[CID, bytes]


@dataclass(frozen=True, slots=True)
class Pending:
    """A proposal in this home."""

    record: Record
    blocks: Blocks
    """The record and its listings."""
    proposal: Proposal | None
    """None if it is outdated: it follows a version that is no longer the newest."""
    rejected_by: frozenset[bytes] = frozenset()
    """The members, admins once, that do not sign it."""


class Rejections(msgspec.Struct, frozen=True):
    """Which members do not sign a proposal."""

    version: int
    """Of the manifest that it would make."""
    by: list[str]
    """Their ids, in hexadecimal."""


class ProposalStore:
    """The proposals for one federation that a home made or signed."""

    def __init__(self, home: Home, stored: StoredFederation) -> None:
        self._folder = home.proposals / str(stored.id)
        self._stored = stored

    def keep(self, cid: CID, blocks: Blocks) -> None:
        """Keep the proposal in block ``cid``, in place of one that fewer admins signed. It is on disk at return."""
        self._folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        record = parse_record(Block(cid, blocks[cid]))
        prev = record.body.prev if isinstance(record.body, Federation) else None
        if prev is not None and prev in self._stored.blocks:  # later this home may have that version in another block
            blocks = {**blocks, prev: self._stored.blocks[prev]}
        parts = write_car([cid], (Block(each, data) for each, data in blocks.items()))
        replace_file(self._folder / f"{record.id}.car", parts)

    def forget(self, id: CID) -> None:
        """Remove a proposal that is in force, or outdated."""
        (self._folder / f"{id}.car").unlink(missing_ok=True)
        self._rejections(id).unlink(missing_ok=True)

    def rejected_by(self, id: CID) -> frozenset[bytes]:
        """The members that do not sign a proposal."""
        noted = self._noted(self._rejections(id))
        return frozenset() if noted is None else frozenset(map(bytes.fromhex, noted.by))

    def note_rejection(self, record: Record, member: bytes, *, own: bool) -> None:
        """Note, on disk at return, that ``member`` does not sign a proposal. If it is ours (``own``), the proposal is
        not kept any more."""
        assert isinstance(record.body, Federation)
        by = self.rejected_by(record.id) | {member}
        self._folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        noted = Rejections(record.body.version, sorted(each.hex() for each in by))
        replace_file(self._rejections(record.id), [msgspec.json.encode(noted)])
        if own:
            (self._folder / f"{record.id}.car").unlink(missing_ok=True)

    def take_back_rejection(self, id: CID) -> None:
        """Forget who rejects a proposal, because its owner signs it after all."""
        self._rejections(id).unlink(missing_ok=True)

    def rejected(self, member: bytes) -> Iterator[CID]:
        """The proposals that ``member`` does not sign, and that are not outdated."""
        for path in sorted(self._folder.glob("[!.]*.rejected.json")):
            noted = self._noted(path)
            if noted is not None and member.hex() in noted.by and noted.version > self._stored.manifest.version:
                yield CID.parse(path.name.partition(".")[0])

    def tidy(self, own: Iterable[bytes]) -> None:
        """Remove what can come into force no more, but for outdated proposals that one of the keys ``own`` signed:
        their author may want to make them again."""
        in_force, keys = set(self._stored.versions()), frozenset(own)
        for path in sorted(self._folder.glob("[!.]*.car")):
            with contextlib.suppress(BlockError):  # what is damaged is told by what needs it
                pending = self._open(path)
                outdated = pending.proposal is None and not keys.intersection(pending.record.signers)
                if pending.record.id in in_force or (outdated and self._is_past(pending.record)):
                    self.forget(pending.record.id)
        for path in sorted(self._folder.glob("[!.]*.rejected.json")):
            noted = self._noted(path)
            if noted is None or noted.version <= self._stored.manifest.version:
                path.unlink(missing_ok=True)

    def _is_past(self, record: Record) -> bool:
        return isinstance(record.body, Federation) and record.body.version <= self._stored.manifest.version

    def _rejections(self, id: CID) -> Path:
        return self._folder / f"{id}.rejected.json"

    def _noted(self, path: Path) -> Rejections | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=described(Rejections))
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def all(self) -> Iterator[Pending]:
        """The proposals that are not in force, by id, as far as this home reads them without a passphrase.

        Raises:
            PeerError: if a file is damaged.
        """
        in_force = set(self._stored.versions())
        for path in sorted(self._folder.glob("[!.]*.car")):
            try:
                pending = self._open(path)
            except BlockError as error:
                raise PeerError(
                    f"{path} is no proposal, or was damaged: {error}",
                    fix=f"remove {path}, and ask another admin who signed it for its CID: peer federation sign CID",
                ) from error
            if pending.record.id not in in_force:
                yield pending

    def _open(self, path: Path) -> Pending:
        with path.open("rb") as stream:
            roots, sections = read_car(stream)
            blocks = {block.cid: block.data for block in sections}
        if len(roots) != 1:
            raise BlockError(f"it has {len(roots)} roots, not one")
        record = parse_record(checked_block(roots[0], MemoryBlocks(blocks).get(roots[0])))
        return Pending(record, blocks, self._read(record, blocks), self.rejected_by(record.id))

    def signed_by(self, admin: Identity) -> Pending | None:
        """A proposal with ``admin``'s signature, which others may complete: then a version made now would be a second
        one."""
        keys = {key.verify_key.raw for key in admin.signing_keys}
        return next((each for each in self.all() if each.proposal and keys & each.proposal.signers), None)

    def find(self, cid: CID) -> Pending | None:
        """The proposal with this id, or in this block."""
        return next((each for each in self.all() if cid in (each.record.id, each.record.cid)), None)

    def _read(self, record: Record, blocks: Blocks) -> Proposal | None:
        reader = Reader(manifest_keys=self._stored.manifest_keys)
        source = MemoryBlocks(blocks, self._stored.blocks)
        try:
            return read_proposal(record, _base(record, self._stored.manifest, source), source, reader)
        except (Outdated, MissingBlock):  # it follows a version that is not known here
            return None


@contextlib.contextmanager
def proposing(home: Home, stored: StoredFederation, admin: Identity, ipfs: str | None) -> Iterator[Proposing]:
    """An admin at work. The engine that ``ipfs`` names is opened only if it is needed."""
    with contextlib.ExitStack() as stack:
        engine = cache(lambda: stack.enter_context(borrowed(home, ipfs, stored)))
        yield Proposing(home, FederationStore(home), stored, admin, engine)


@dataclass(frozen=True, slots=True)
class Proposing:
    """An admin at work on one federation of its home."""

    home: Home
    store: FederationStore
    stored: StoredFederation
    admin: Identity
    engine: Callable[[], Engine]
    """Opens the engine when it is needed. The caller closes it."""

    @property
    def _kept(self) -> ProposalStore:
        return ProposalStore(self.home, self.stored)

    def change(self, make: Callable[[StoredFederation], StoredFederation]) -> StoredFederation | Proposal:
        """The federation after a change, saved; or a proposal of the change, for the other admins.

        Raises:
            PeerError: if ``make`` refuses, or others may still complete another proposal of this admin's.
            EngineError: if a proposal cannot be put into the engine.
        """
        try:
            with self.store.changing():
                current = self.store.current(str(self.stored.id))
                newer = make(current)
                if (waiting := self._kept.signed_by(self.admin)) is not None:
                    raise _waits(waiting)
                self._save(current, newer)
                return newer
        except OthersMustSign as asked:
            self._put(asked.proposal.record.cid, dict(asked.blocks))
            return asked.proposal

    def look(self, cid: CID) -> tuple[Proposal, Blocks]:
        """The proposal in block ``cid``, from this home or through the engine, with the signatures that this home knew
        already. It is verified, except for the signatures that are still missing.

        Raises:
            PeerError: if it cannot be signed.
        """
        kept = self._kept.find(cid)
        blocks = dict(kept.blocks) if kept else self._fetch(cid)
        record = kept.record if kept else _parsed(cid, blocks)
        if kept is None and (same := self._kept.find(record.id)) is not None:
            joined = together(same.record, record)
            record = parse_record(joined)
            blocks[joined.cid] = joined.data
        return self._read(record, blocks), blocks

    def sign(self, proposal: Proposal, blocks: Blocks) -> StoredFederation | Proposal:
        """The federation with the proposal in force, saved; or the proposal with this admin's signature.

        Raises:
            PeerError: if this identity is not an admin, before or after.
        """
        keys = [key for key in self.admin.signing_keys if proposal.may_sign(key.verify_key.raw)]
        if not keys:
            raise PeerError(
                f"{self.admin.name} is no admin of the federation {self.stored.manifest.title}",
                fix="sign with an admin's identity: --identity NAME",
            )
        block = countersigned(proposal.record, keys)
        signed = replace(proposal, record=parse_record(block))
        blocks = {**blocks, block.cid: block.data}
        self._kept.take_back_rejection(signed.id)
        self._put(block.cid, blocks)
        if not signed.is_complete:
            return signed
        with self.store.changing():
            current = self.store.current(str(self.stored.id))
            if current.manifest.id != proposal.base.id:
                raise _outdated()
            newer = current.advanced(block.cid, blocks, reader_of(self.admin))
            self._save(current, newer)
        self._kept.forget(signed.id)
        return newer

    def _save(self, current: StoredFederation, newer: StoredFederation) -> None:
        save_newer(self.home, current, newer, reader_of(self.admin))

    def _put(self, cid: CID, blocks: Blocks) -> None:
        """Keep the proposal in the home, then put it into the engine. If the engine fails, `peer federation sign` with
        the proposal's id tries again."""
        record = parse_record(Block(cid, blocks[cid]))
        wanted = {each: data for each, data in blocks.items() if each == cid or not _is_signed_copy(each, data, record)}
        self._kept.keep(cid, wanted)
        self.engine().put([Block(each, data) for each, data in wanted.items()], pin=list(wanted))

    def _fetch(self, cid: CID) -> Blocks:
        engine = self.engine()
        engine.connect(self.stored.reached_at)
        try:
            return fetched_proposal(cid, self.stored, SoundBlocks(engine))
        except Unreachable as error:
            raise Unreachable(
                cid,
                f"nobody within reach has the proposal {cid}",
                "the engine of the admin who named it must run there (peer start, serve, or doctor --start-daemon)",
            ) from error

    def _read(self, record: Record, blocks: Blocks) -> Proposal:
        reader = reader_of(self.admin).remembering(self.stored.manifest_keys)
        try:
            return read_as_next(record, blocks, self.stored, reader)
        except Outdated as error:
            raise _outdated() from error
        except ManifestError as error:
            raise PeerError(
                f"that cannot be the next manifest: {error}",
                fix="do not sign it; ask who made it, or look if it belongs to another federation: --federation",
                code=ExitCode.VERIFICATION_FAILED,
            ) from error


def save_newer(home: Home, current: StoredFederation, newer: StoredFederation, reader: Reader) -> None:
    """Save a newer version, and end the invitations by which members who left could come back. Call it inside
    `peer.home.federations.FederationStore.changing`."""
    FederationStore(home).save(newer)
    invitations = Invitations(home, newer.id)
    invitations.end_of_those_who_left(current.read_by(reader).manifest, newer.manifest, time.time())


def fetched_proposal(cid: CID, stored: StoredFederation, source: FetchedFrom) -> Blocks:
    """The proposal in block ``cid``, with all that it takes to verify it.

    Raises:
        PeerError: if it is no proposal, or follows a version that is not known here.
        EngineError: if a block does not come.
        protocol.blocks.cid.BlockError: if one is malformed.
    """
    record = _parsed(cid, {cid: source.get(cid)})
    assert isinstance(record.body, Federation)
    if record.body.version > stored.manifest.version + 1:
        raise PeerError(
            f"it would be version {record.body.version}, and this home has version {stored.manifest.version}",
            fix="take in the newest one first: peer federation join FILE",
        )
    newest = stored.manifest.cid
    before = parse_record(Block(newest, stored.blocks[newest])).body
    assert isinstance(before, Federation)
    # If the version that it follows is not here, it may be the newest one in another block.
    trusted = record.body.prev if record.body.prev in stored.blocks else before.prev
    with contextlib.closing(RecordFetcher(source)) as fetcher:
        return fetcher.fetch(cid, Federation, trusted or newest)


def read_as_next(record: Record, blocks: Blocks, stored: StoredFederation, reader: Reader) -> Proposal:
    """The proposal in ``record``, to follow the newest version in ``stored``.

    Raises:
        Outdated, ManifestError, MissingBlock: as `protocol.federation.proposals.read_proposal`.
    """
    source = MemoryBlocks(blocks, stored.blocks)
    return read_proposal(record, _base(record, stored.manifest, source), source, reader)


def _base(record: Record, newest: Manifest, source: BlockSource) -> Manifest:
    """The newest version, in the block that a proposal names, which may have other admins' signatures."""
    prev = record.body.prev if isinstance(record.body, Federation) else None
    if prev is None or prev == newest.cid:
        return newest
    before = checked_record(prev, source)
    return replace(newest, cid=prev) if before.id == newest.id else newest


def _parsed(cid: CID, blocks: Blocks) -> Record:
    try:
        record = parse_record(checked_block(cid, blocks[cid]))
        if isinstance(record.body, Federation):
            return record
        why = f"it is a {record.body.TYPE} record"
    except BlockError as error:
        why = str(error)
    fix = "use the CID that peer federation printed where it was made or signed last"
    raise PeerError(f"{cid} is no proposal: {why}", fix=fix)


def _is_signed_copy(cid: CID, data: bytes, record: Record) -> bool:
    """Whether a block is the same proposal, with other signatures."""
    try:
        return parse_record(Block(cid, data)).id == record.id
    except BlockError:
        return False


def _waits(pending: Pending) -> PeerError:
    return PeerError(
        f"the proposal {pending.record.cid} waits, and others may complete it with your signature. A change made now "
        "would be another version with the same number",
        fix="have it signed first; or, if no other admin has it, "
        f"give it up: peer federation reject {pending.record.cid}",
    )


def _outdated() -> PeerError:
    return PeerError(
        "the federation has another version since this was proposed",
        fix="make it again: the admin who proposed it gives the same peer federation command once more",
    )
