"""The federations of a home, each in a file ``federations/<federation id>.car``. Members hand the same file over.

The file is a CAR. Its root names the newest manifest, the swarm key and addresses (`_Root`). The blocks of all versions
of the manifest follow. The file is always replaced whole, so a running peer sees one version or the next. It has mode
0600, because it holds the swarm key.

If the federation is encrypted, the file also has the manifest keys that the home's identities were given, so that names
show without a passphrase. These keys open names and settings, but nothing that is trained. They are never handed over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final

from msgspec import Meta

from crypto.symmetric import KEY_SIZE, SymmetricKey
from peer.base import posix
from peer.base.errors import ExitCode, PeerError
from peer.home.home import PRIVATE_FOLDER, Home, Stamp, replace_file, stamp_of
from protocol.blocks.car import read_car, write_car
from protocol.blocks.cid import CID, Block, BlockError, MemoryBlocks, cbor_block, checked_block, decode_cbor
from protocol.blocks.typed import ShapeError, from_plain, to_plain
from protocol.federation.manifest import PUBLIC, Manifest, manifest_at
from protocol.federation.readers import Reader
from protocol.records.bodies import Federation, Member
from protocol.records.signed_records import Record, parse_record, typed_items

FORMAT: Final = "pollen federation 1"
SWARM_KEY_SIZE: Final = 32
MAX_FILE_SIZE: Final = 1 << 30
"""The most bytes in a federation's file; 65,536 members and a few hundred versions fit."""

_SUFFIX: Final = ".car"
_WRITTEN: Final = "name a file that an admin of the federation has written: peer federation export FILE"


@dataclass(frozen=True, slots=True)
class _Root:
    """The root block of a federation's file."""

    format: str
    federation: CID
    manifest: CID
    swarm_key: Annotated[bytes, Meta(min_length=SWARM_KEY_SIZE, max_length=SWARM_KEY_SIZE)] = field(repr=False)
    addresses: tuple[str, ...]
    manifest_keys: tuple[Annotated[bytes, Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)], ...] = field(repr=False)
    """Empty in a file that is handed over."""


@dataclass(frozen=True, slots=True)
class StoredFederation:
    """A federation in a home. Its manifest is verified from version 1."""

    manifest: Manifest
    blocks: Mapping[CID, bytes]
    """All versions of the manifest with their listings, by CID."""
    swarm_key: bytes = field(repr=False)
    """The key of the members' private Kubo network, 32 bytes."""
    addresses: tuple[str, ...]
    """Where other members' engines are, as this home has heard; see `reached_at`."""
    manifest_keys: tuple[SymmetricKey, ...] = field(default=(), repr=False, compare=False)
    """The manifest keys that this home's identities were given."""

    @property
    def id(self) -> CID:
        """The federation's id: the CID of version 1 of its manifest."""
        return self.manifest.federation

    @property
    def reached_at(self) -> tuple[str, ...]:
        """Where other members' engines may be: as the manifest says, and as this home has heard."""
        return _merged(self.manifest.addresses, self.addresses)

    def versions(self) -> Iterator[CID]:
        """The ids of the manifest's versions, newest first (`protocol.federation.manifest.Manifest.id`)."""
        return (record.id for record, _ in self._versions())

    def signing_keys(self, member: bytes) -> frozenset[bytes]:
        """The keys that a member has had in any version of the manifest; none if it was in none."""
        return frozenset(
            each.signing for _, body in self._versions() for each in self._members(body) if each.id == member
        )

    def encryption_keys(self, member: bytes, up_to: int) -> frozenset[bytes]:
        """The encryption keys that a member has had in the versions of the manifest ``up_to`` that one."""
        versions = (body for _, body in self._versions() if body.version <= up_to)
        return frozenset(each.encryption.key for body in versions for each in self._members(body) if each.id == member)

    def listing(self, key: bytes) -> Manifest | None:
        """The newest version of the manifest that lists ``key`` as a member's signing key; None if no version does."""
        reader = PUBLIC.remembering(self.manifest_keys)
        for record, body in self._versions():
            if any(each.signing == key for each in self._members(body)):
                return manifest_at(record.cid, self.id, MemoryBlocks(self.blocks), reader=reader)
        return None

    def _versions(self) -> Iterator[tuple[Record, Federation]]:
        link: CID | None = self.manifest.cid
        while link is not None:
            record = parse_record(Block(link, self.blocks[link]))
            assert isinstance(record.body, Federation)  # `manifest_at` has read it
            yield record, record.body
            link = record.body.prev

    def _members(self, body: Federation) -> Iterator[Member]:
        return typed_items(body.members, Member, MemoryBlocks(self.blocks))

    def read_by(self, reader: Reader) -> StoredFederation:
        """The federation as ``reader`` reads it, with the manifest keys of this home."""
        if not self.manifest.encrypted:
            return self
        knowing = reader.remembering(self.manifest_keys)
        manifest = manifest_at(self.manifest.cid, self.id, MemoryBlocks(self.blocks), reader=knowing)
        return replace(self, manifest=manifest, manifest_keys=knowing.manifest_keys)

    def advanced(self, newest: CID, blocks: Mapping[CID, bytes], reader: Reader) -> StoredFederation:
        """The federation with a newer version of its manifest, whose CID and blocks are given.

        Raises:
            protocol.federation.manifest.ManifestError: if it does not follow from the version here.
        """
        merged = {**self.blocks, **blocks}
        knowing = reader.remembering(self.manifest_keys)
        manifest = manifest_at(newest, self.id, MemoryBlocks(merged), known=self.manifest, reader=knowing)
        keys = {key.commitment(): key for key in (*self.manifest_keys, *knowing.manifest_keys)}
        return replace(self, manifest=manifest, blocks=MappingProxyType(merged), manifest_keys=tuple(keys.values()))

    def to_hand_over(self) -> bytes:
        """The file for other members, without manifest keys: each opens the one wrapped for it."""
        return replace(self, manifest_keys=()).to_bytes()

    def to_bytes(self) -> bytes:
        """The file for this home."""
        keys = tuple(key.secret_bytes() for key in self.manifest_keys)
        root = cbor_block(
            to_plain(_Root(FORMAT, self.id, self.manifest.cid, self.swarm_key, tuple(self.addresses), keys))
        )
        blocks = (Block(cid, data) for cid, data in self.blocks.items())
        return b"".join(write_car([root.cid], [root, *blocks]))


def read_federation(path: Path) -> StoredFederation:
    """Read the federation in a file, and verify it from version 1.

    Raises:
        PeerError: if it cannot be read, or what it holds is no federation, is damaged, or breaks a rule.
    """
    try:
        if path.stat().st_size > MAX_FILE_SIZE:
            raise PeerError(f"{path} is too large for a federation's file", fix=_WRITTEN)
        with path.open("rb") as stream:
            roots, sections = read_car(stream)
            blocks = {block.cid: block.data for block in sections}
        return _parse(roots, blocks)
    except OSError as error:
        raise PeerError(f"{path} cannot be read: {error.strerror}", fix=_WRITTEN) from error
    except (BlockError, ShapeError) as error:
        raise PeerError(
            f"{path} is not a federation's file, or is damaged: {error}",
            fix="ask an admin of the federation to send it again: peer federation export FILE",
        ) from error


@lru_cache(maxsize=16)
def _read_once(path: Path, _: Stamp) -> StoredFederation:
    """`read_federation`, once for each stamp: 100 versions of 100 members take 0.3 s, and each join needs them."""
    return read_federation(path)


def _parse(roots: tuple[CID, ...], blocks: Mapping[CID, bytes]) -> StoredFederation:
    if len(roots) != 1:
        raise BlockError(f"it has {len(roots)} roots, not one")
    root = from_plain(decode_cbor(MemoryBlocks(blocks).get(roots[0])), _Root)
    if root.format != FORMAT:
        raise BlockError(f"it is in the format {root.format!r:.60}, not {FORMAT!r}")
    reader = Reader(manifest_keys=map(SymmetricKey, root.manifest_keys))
    manifest = manifest_at(root.manifest, root.federation, MemoryBlocks(blocks), reader=reader)
    others = {cid: data for cid, data in blocks.items() if cid != roots[0]}
    return StoredFederation(manifest, MappingProxyType(others), root.swarm_key, root.addresses, reader.manifest_keys)


class FederationStore:
    """The federations of one home."""

    def __init__(self, home: Home) -> None:
        self._folder = home.federations

    def path(self, federation: CID) -> Path:
        """The federation's file."""
        return self._folder / f"{federation}{_SUFFIX}"

    def all(self) -> list[StoredFederation]:
        """All federations, in order of name."""
        if not self._folder.is_dir():
            return []
        files = sorted(path for path in self._folder.glob(f"*{_SUFFIX}") if not path.name.startswith("."))
        return sorted((_read_once(path, stamp_of(path)) for path in files), key=lambda stored: stored.manifest.title)

    def current(self, name: str | None = None) -> StoredFederation:
        """The federation with this name or id; without a name, the only one.

        Raises:
            PeerError: if there is none, or there are several and none was named.
        """
        known = self.all()
        names = ", ".join(stored.manifest.title for stored in known)
        by_id = [stored for stored in known if name == str(stored.id)]  # comes first: a name may look like an id
        match by_id or [stored for stored in known if name in (None, stored.manifest.name)]:
            case [stored]:
                return stored
            case [] if not known:
                raise PeerError(
                    "this home is in no federation",
                    fix="join one with a ticket (peer join), or found one: peer federation init NAME",
                )
            case []:
                raise PeerError(
                    f"this home is in no federation {name!r}; it is in: {names}",
                    fix="name one of these with --federation NAME",
                )
        raise PeerError(f"this home is in several federations: {names}", fix="say which, with --federation NAME")

    def get(self, federation: CID) -> StoredFederation | None:
        """The federation with this id, if the home is in it. An unchanged file is not verified again."""
        try:
            return _read_once(self.path(federation), self.stamp(federation))
        except FileNotFoundError:
            return None

    def newest(self, federation: CID) -> CID | None:
        """The newest version of a federation's manifest, by its file, without verifying anything; so it is cheap. None
        if the home is not in the federation, or its file cannot be read."""
        try:
            with self.path(federation).open("rb") as stream:
                roots, sections = read_car(stream)
                root = next(block for block in sections if (block.cid,) == roots)
                return from_plain(decode_cbor(root.data), _Root).manifest
        except (OSError, BlockError, ShapeError, StopIteration):
            return None

    def save(self, stored: StoredFederation) -> None:
        """Write the federation's file, whole and on disk at return."""
        self._folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        replace_file(self.path(stored.id), [stored.to_bytes()])

    def stamp(self, federation: CID) -> Stamp:
        """Changes whenever the federation's file does. Cheap, for polling.

        Raises:
            FileNotFoundError: if the home is not in the federation.
        """
        return stamp_of(self.path(federation))

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """A lock, to be held from reading a federation to saving it, so that no other process saves in between."""
        self._folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        with (self._folder / ".lock").open("w") as file:
            posix.lock(file)
            yield

    def add_addresses(self, federation: CID, addresses: Iterable[str]) -> None:
        """Add addresses of engines, before those that are known, so that the next export tells others. A node that has
        new addresses does not have its old ones any more."""
        with self.changing():
            stored = self.get(federation)
            if stored is not None:
                merged = _with_newer(stored.addresses, tuple(addresses))
                if merged != stored.addresses:
                    self.save(replace(stored, addresses=merged))

    def opened(self, stored: StoredFederation, reader: Reader) -> StoredFederation:
        """The federation as ``reader``, an identity of this home, reads it. Keeps the manifest keys that are new."""
        if not stored.manifest.encrypted:
            return stored
        with self.changing():
            kept = self.get(stored.id) or stored
            read = kept.read_by(reader)
            if _commitments(read) != _commitments(kept):
                self.save(read)
            return read

    def learn(
        self, federation: CID, manifest: CID, blocks: Mapping[CID, bytes], key: SymmetricKey | None = None
    ) -> None:
        """Take in a version of the manifest that a running peer has heard of, if it is newer.

        ``key`` is its manifest key, if the peer has it.

        Raises:
            protocol.federation.manifest.ManifestError: if it does not follow from the version here.
        """
        with self.changing():
            stored = self.get(federation)
            if stored is None:
                return
            record = parse_record(checked_block(manifest, MemoryBlocks(blocks, stored.blocks).get(manifest)))
            if record.id in stored.versions():
                return
            self.save(stored.advanced(manifest, blocks, PUBLIC.remembering([key] if key else [])))

    def join(self, offered: StoredFederation) -> StoredFederation:
        """Take in a federation's file from a member: a new federation, or a newer version of one.

        Raises:
            PeerError: if the version is older, or on another branch, or another federation has the same name.
        """
        with self.changing():
            known = self.get(offered.id)
            if known is None:
                self._refuse_same_name(offered)
            else:
                _check_newer(known, offered)
                offered = replace(offered, addresses=_merged(known.addresses, offered.addresses)).read_by(
                    PUBLIC.remembering(known.manifest_keys)
                )
            self.save(offered)
            return offered

    def _refuse_same_name(self, offered: StoredFederation) -> None:
        for other in self.all():
            if offered.manifest.name and other.manifest.name == offered.manifest.name:
                raise PeerError(
                    f"this home is in another federation that is called {offered.manifest.title}: {other.id}; "
                    f"the file is of {offered.id}",
                    fix="ask the sender of the file, or join with another home: --home DIR",
                )


def _commitments(stored: StoredFederation) -> set[bytes]:
    return {key.commitment() for key in stored.manifest_keys}


def _merged(known: Iterable[str], more: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*known, *more]))


def _with_newer(known: Iterable[str], newer: Sequence[str]) -> tuple[str, ...]:
    moved = {node for node in map(_node, newer) if node}
    return _merged(newer, (each for each in known if _node(each) not in moved))


def _node(address: str) -> str:
    """The node that an address names; empty if it names none."""
    return address.rpartition("/p2p/")[2] if "/p2p/" in address else ""


def newer_of(ours: StoredFederation, theirs: StoredFederation) -> StoredFederation:
    """The one with the newer version of the manifest; ``ours`` if both have the same.

    Raises:
        PeerError: if the versions are on two branches.
    """
    longer, shorter = (ours, theirs) if ours.manifest.version >= theirs.manifest.version else (theirs, ours)
    if shorter.manifest.id not in longer.versions():
        raise PeerError(
            f"the file's manifest (version {theirs.manifest.version}) and this home's (version "
            f"{ours.manifest.version}) are two branches: an admin of {ours.manifest.title} signed two versions with "
            "the same number",
            fix="keep both files, and ask the federation's admins which one holds",
            code=ExitCode.VERIFICATION_FAILED,
        )
    return longer


def _check_newer(known: StoredFederation, offered: StoredFederation) -> None:
    newest, ours, theirs = newer_of(known, offered), known.manifest, offered.manifest
    if newest is known and theirs.version < ours.version:
        raise PeerError(
            f"the file has version {theirs.version}, which is older than this home's version {ours.version}",
            fix="ask an admin for a newer file (peer federation export FILE), if there is one",
        )
