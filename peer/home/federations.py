"""The federations a home is in: one file each, ``federations/<federation id>.car``, which is also what is handed over.

The file is a CAR. Its root is a block that names the newest manifest, the swarm key and addresses (`_Root`); the blocks
of every version of the manifest follow. It is replaced whole, so that a running peer that looks sees one version or the
next. It holds the swarm key, hence mode 0600.

If the federation is encrypted, the file also has the manifest keys that an identity of the home was given, so that
names show without a passphrase. They open names and settings, nothing that is trained, and are never handed over.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final

from msgspec import Meta

from crypto.symmetric import KEY_SIZE, SymmetricKey
from peer.base.errors import ExitCode, PeerError
from peer.home.home import PRIVATE_FOLDER, Home, replace_file
from protocol.blocks.car import read_car, write_car
from protocol.blocks.cid import CID, Block, BlockError, MemoryBlocks, cbor_block, checked_block, decode_cbor
from protocol.blocks.typed import ShapeError, from_plain, to_plain
from protocol.federation.manifest import PUBLIC, Manifest, manifest_at
from protocol.federation.readers import Reader
from protocol.records.bodies import Federation, Member
from protocol.records.signed_records import parse_record, typed_items

FORMAT: Final = "pollen federation 1"
SWARM_KEY_SIZE: Final = 32
MAX_FILE_SIZE: Final = 1 << 30
"""Bytes of a federation's file at most; 65,536 members and a few hundred versions fit."""

_SUFFIX: Final = ".car"

Stamp = tuple[int, int, int]
"""What changes when a file is replaced."""


@dataclass(frozen=True, slots=True)
class _Root:
    """The root block of a federation's file."""

    format: str
    federation: CID
    manifest: CID
    swarm_key: Annotated[bytes, Meta(min_length=SWARM_KEY_SIZE, max_length=SWARM_KEY_SIZE)] = field(repr=False)
    addresses: tuple[str, ...]
    manifest_keys: tuple[Annotated[bytes, Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)], ...] = field(repr=False)
    """In a home alone; empty in a file that is handed over."""


@dataclass(frozen=True, slots=True)
class StoredFederation:
    """A federation as a home keeps it: its manifest is verified from version 1."""

    manifest: Manifest
    blocks: Mapping[CID, bytes]
    """Every version of the manifest and its listings, by CID."""
    swarm_key: bytes = field(repr=False)
    """What makes the members' Kubo nodes a private network, 32 bytes."""
    addresses: tuple[str, ...]
    """Where engines of other members are."""
    manifest_keys: tuple[SymmetricKey, ...] = field(default=(), repr=False, compare=False)
    """What opens the names in its versions, as far as an identity of this home was given it."""

    @property
    def id(self) -> CID:
        """The federation's id: the CID of version 1."""
        return self.manifest.federation

    def versions(self) -> Iterator[CID]:
        """The ids of the manifest's versions, newest first (`protocol.federation.manifest.Manifest.id`)."""
        link: CID | None = self.manifest.cid
        while link is not None:
            record = parse_record(Block(link, self.blocks[link]))
            yield record.id
            assert isinstance(record.body, Federation)  # `manifest_at` has read it
            link = record.body.prev

    def signing_keys(self, member: bytes) -> frozenset[bytes]:
        """The keys that a member has had in any version of the manifest; none if it was in none."""
        source, link, keys = MemoryBlocks(self.blocks), self.manifest.cid, set[bytes]()
        while True:
            body = parse_record(Block(link, self.blocks[link])).body
            assert isinstance(body, Federation)  # `manifest_at` has read it
            keys.update(each.signing for each in typed_items(body.members, Member, source) if each.id == member)
            if body.prev is None:
                return frozenset(keys)
            link = body.prev

    def listing(self, key: bytes) -> Manifest | None:
        """The newest version of the manifest that lists ``key`` as a member's signing key; None if no version does."""
        source, link = MemoryBlocks(self.blocks), self.manifest.cid
        while True:
            body = parse_record(Block(link, self.blocks[link])).body
            assert isinstance(body, Federation)  # `manifest_at` has read it
            if any(each.signing == key for each in typed_items(body.members, Member, source)):
                return manifest_at(link, self.id, source, reader=PUBLIC.remembering(self.manifest_keys))
            if body.prev is None:
                return None
            link = body.prev

    def read_by(self, reader: Reader) -> StoredFederation:
        """The federation as ``reader`` reads it, who is given what this home could open before."""
        if not self.manifest.encrypted:
            return self
        knowing = reader.remembering(self.manifest_keys)
        manifest = manifest_at(self.manifest.cid, self.id, MemoryBlocks(self.blocks), reader=knowing)
        return replace(self, manifest=manifest, manifest_keys=knowing.manifest_keys)

    def advanced(self, newest: CID, blocks: Mapping[CID, bytes], reader: Reader) -> StoredFederation:
        """The federation with the ``newest`` version of its manifest, whose ``blocks`` are here.

        Raises:
            protocol.federation.manifest.ManifestError: if it does not follow from the version here.
        """
        merged = {**self.blocks, **blocks}
        knowing = reader.remembering(self.manifest_keys)
        manifest = manifest_at(newest, self.id, MemoryBlocks(merged), known=self.manifest, reader=knowing)
        keys = {key.commitment(): key for key in (*self.manifest_keys, *knowing.manifest_keys)}
        return replace(self, manifest=manifest, blocks=MappingProxyType(merged), manifest_keys=tuple(keys.values()))

    def to_hand_over(self) -> bytes:
        """The file for others: each member opens names with what is wrapped for it."""
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
    """The federation in a file, everything in it verified from version 1.

    Raises:
        PeerError: if it cannot be read, is no such file, was damaged, or must not be trusted.
    """
    try:
        if path.stat().st_size > MAX_FILE_SIZE:
            raise PeerError(f"{path} is too large for a federation's file")
        with path.open("rb") as stream:
            roots, sections = read_car(stream)
            blocks = {block.cid: block.data for block in sections}
        return _parse(roots, blocks)
    except OSError as error:
        raise PeerError(f"{path} cannot be read: {error.strerror}") from error
    except (BlockError, ShapeError) as error:
        raise PeerError(
            f"{path} is no federation's file, or was damaged: {error}",
            fix="ask an admin of the federation to send it again: peer federation export FILE",
        ) from error


@lru_cache(maxsize=4)
def _read_once(path: Path, _: Stamp) -> StoredFederation:
    """As `read_federation` says: 100 versions of 100 members take 0.3 s, and an inviter reads them for each join."""
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
        """Every federation, by name."""
        if not self._folder.is_dir():
            return []
        files = sorted(path for path in self._folder.glob(f"*{_SUFFIX}") if not path.name.startswith("."))
        return sorted(map(read_federation, files), key=lambda stored: stored.manifest.title)

    def current(self, name: str | None = None) -> StoredFederation:
        """The federation called ``name`` (or with that id), or the only one there is.

        Raises:
            PeerError: if there is none, or several and none was named.
        """
        known = self.all()
        names = ", ".join(stored.manifest.title for stored in known)
        by_id = [stored for stored in known if name == str(stored.id)]  # which another may be called by, too
        match by_id or [stored for stored in known if name in (None, stored.manifest.name)]:
            case [stored]:
                return stored
            case [] if not known:
                raise PeerError(
                    "this home is in no federation",
                    fix="peer join with a ticket, or found one: peer federation init NAME",
                )
            case []:
                raise PeerError(
                    f"this home is in no federation {name!r}; it is in: {names}",
                    fix="name one of these with --federation NAME",
                )
        raise PeerError(f"this home is in several federations: {names}", fix="say which, with --federation NAME")

    def get(self, federation: CID) -> StoredFederation | None:
        """The federation with this id, if the home is in it. A file that did not change is not verified again."""
        try:
            return _read_once(self.path(federation), self.stamp(federation))
        except FileNotFoundError:
            return None

    def newest(self, federation: CID) -> CID | None:
        """The newest version of a federation's manifest, as its file says: nothing is verified, so that it is cheap.
        None if the home is not in it, or the file is none."""
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
        """Changes whenever the federation's file does. Cheap: for polling.

        Raises:
            FileNotFoundError: if the home is not, or no longer, in the federation.
        """
        status = os.stat(self.path(federation))
        return (status.st_mtime_ns, status.st_size, status.st_ino)

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Held while a federation is read, changed and saved, so that no other process saves in between."""
        self._folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        with (self._folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def add_addresses(self, federation: CID, addresses: Iterable[str]) -> None:
        """Note where engines are, so that the next export tells others. Does nothing if they are known."""
        with self.changing():
            stored = self.get(federation)
            if stored is not None:
                merged = _merged(stored.addresses, addresses)
                if merged != stored.addresses:
                    self.save(replace(stored, addresses=merged))

    def opened(self, stored: StoredFederation, reader: Reader) -> StoredFederation:
        """The federation as ``reader``, an identity of this home, reads it; what opens its names is kept."""
        if not stored.manifest.encrypted:
            return stored
        with self.changing():
            read = (self.get(stored.id) or stored).read_by(reader)
            self.save(read)
            return read

    def learn(
        self, federation: CID, manifest: CID, blocks: Mapping[CID, bytes], key: SymmetricKey | None = None
    ) -> None:
        """Take in a newer version of the manifest that a running peer heard of; an older one is left alone.

        ``key`` is its manifest key, if the peer could open it.

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
        """Take in a federation's file that somebody handed over, or a newer one of a federation known already.

        Raises:
            PeerError: if it is older than what is here, another branch of it, or another federation of that name.
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
                    f"this home is in another federation that is also called {offered.manifest.title}: {other.id}; "
                    f"the file is of {offered.id}",
                    fix="ask the sender of the file; to be in both, join with another home: --home DIR",
                )


def _merged(known: Iterable[str], more: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*known, *more]))


def newer_of(ours: StoredFederation, theirs: StoredFederation) -> StoredFederation:
    """Whichever of two has the newer version of one federation's manifest; ``ours`` if both have the same.

    Raises:
        PeerError: if they are two branches.
    """
    longer, shorter = (ours, theirs) if ours.manifest.version >= theirs.manifest.version else (theirs, ours)
    if shorter.manifest.id not in longer.versions():
        raise PeerError(
            f"the file's manifest (version {theirs.manifest.version}) and this home's (version "
            f"{ours.manifest.version}) are two branches: an admin of {ours.manifest.title} signed two different "
            "versions with one number",
            fix="keep both files and ask the federation's admins which one holds",
            code=ExitCode.VERIFICATION_FAILED,
        )
    return longer


def _check_newer(known: StoredFederation, offered: StoredFederation) -> None:
    newest, ours, theirs = newer_of(known, offered), known.manifest, offered.manifest
    if newest is known and theirs.version < ours.version:
        raise PeerError(
            f"the file is older than what this home has: version {theirs.version}, not {ours.version}",
            fix="nothing to do; or ask for a newer file: peer federation export FILE",
        )
