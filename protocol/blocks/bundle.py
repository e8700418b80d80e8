"""An app bundle: the files of a Flower app folder as one content (``run``).

The body of the content (see `protocol.blocks.content`) is the dag-cbor list ``[1, [[path, size], ...]]``, in rising
order of the paths' UTF-8 bytes. The linked chunks are the files' bytes, file after file; all chunks of a file are full,
except the last. So equal folders have equal CIDs, and a plain ``ipfs pin add`` of the run keeps the app.

An app's **id** is the CID of its plain bundle. People read, approve and compare it, and it is the same in every run. If
a run is encrypted, its bundle is encrypted too and has another CID in each run; the run's private part holds the id.
`read_named_bundle` checks that an encrypted bundle holds the app with that id.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from protocol.blocks.cid import (
    CHUNK_SIZE,
    CID,
    Block,
    BlockSource,
    MalformedBlock,
    MemoryBlocks,
    decode_cbor,
    encode_cbor,
    raw_block,
)
from protocol.blocks.content import (
    PLAIN,
    ContentError,
    ContentForm,
    ContentKey,
    open_content,
    read_chunks,
    write_manifest,
)

FORMAT: Final = 1
MAX_FILES: Final = 10_000
MAX_SIZE: Final = 1 << 30
"""Bytes of all files of a bundle together."""
MAX_PATH: Final = 400
"""Bytes of a path."""
MAX_NAME: Final = 255
"""Bytes of one name in a path: what the usual file systems take."""

_NAMED: Final = 5
"""How many files of each sort a difference names."""

_BODY_LIMIT: Final = 8 << 20
_RESERVED: Final = frozenset('<>:"|?*\\')
_DEVICE: Final = re.compile(r"con|prn|aux|nul|clock\$|con(in|out)\$|(com|lpt)[0-9]")
"""What Windows takes for a device, whatever follows the first dot
(https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file)."""
_SHORT_NAME: Final = re.compile(r"~[0-9]")
"""As in MODEL_~1.PY, which on Windows may be another name of model_definition.py."""
_COMPILED: Final = (".pyc", ".pyo", ".so", ".pyd", ".dll", ".dylib")
"""Python imports these instead of the source beside them, and the source is what an owner reads."""


class BundleError(ContentError):
    """Not an app bundle, or a bundle over a limit."""


@dataclass(frozen=True, slots=True)
class NamedBundle:
    """The bundle that a run record links, and the app that it is said to hold."""

    app: CID
    """The app's id."""
    content: CID
    key: ContentKey | None
    """What the bundle is encrypted with; None if it is plain, and then ``content`` is ``app``."""


@dataclass(frozen=True, slots=True)
class BundledFile:
    """One file of a bundle."""

    path: str
    """With ``/`` between folders; below the app's folder on every system."""
    size: int
    chunks: tuple[CID, ...]
    form: ContentForm = PLAIN
    """How the chunks are written."""

    def read(self, source: BlockSource) -> bytes:
        """Its bytes.

        Raises:
            ContentError: if their number is not the one in the bundle, or they do not open.
            MissingBlock: if ``source`` lacks a chunk.
        """
        return read_chunks(self.chunks, self.size, source, self.form)

    def pieces(self, source: BlockSource) -> Iterator[bytes]:
        """Its bytes, a chunk's at a time. Raises as `read`."""
        full = self.form.chunk_size
        for place, chunk in enumerate(self.chunks):
            yield read_chunks((chunk,), min(full, self.size - place * full), source, self.form)


def write_bundle(files: Sequence[tuple[str, bytes]], form: ContentForm = PLAIN) -> tuple[CID, list[Block]]:
    """The CID of the bundle of these paths and bytes, and all its blocks. The order of ``files`` does not matter.

    Raises:
        BundleError: if a path cannot be in a bundle, stands twice, or there is too much.
    """
    for path, _ in files:
        _check_path(path)
    ordered = sorted(files, key=lambda file: file[0].encode())
    listed = [(path, len(data)) for path, data in ordered]
    _check([path for path, _ in ordered], [len(data) for _, data in ordered])
    chunks = [raw_block(bytes(form.close_chunk(part))) for _, data in ordered for part in form.split(data)]
    root, blocks = write_manifest(_body(listed), [chunk.cid for chunk in chunks], form)
    return root, list({block.cid: block for block in [*blocks, *chunks]}.values())


def read_bundle(root: CID, source: BlockSource, key: ContentKey | None = None) -> list[BundledFile]:
    """The files of the bundle ``root``; their bytes are not read yet. ``key`` is None if the bundle has to be plain.

    Raises:
        ContentError: if it is no content; a `BundleError` if it is a content, but no bundle.
        MissingBlock: if ``source`` lacks a block.
    """
    opened = open_content(root, source, key, body_limit=_BODY_LIMIT)
    try:
        value = decode_cbor(opened.body, limit=_BODY_LIMIT)
    except MalformedBlock as error:
        raise BundleError(f"bundle {root}: {error}") from error
    paths, sizes = _parse(value)
    _check(paths, sizes)
    expected = sum(map(opened.form.chunk_count, sizes))
    chunks = list(islice(opened.chunks, expected + 1))
    if len(chunks) != expected:
        raise BundleError("a bundle links other chunks than its files have")
    return list(_deal(paths, sizes, chunks, opened.form))


def read_named_bundle(named: NamedBundle, source: BlockSource, limit: int = MAX_SIZE) -> list[BundledFile]:
    """As `read_bundle`, but checks that the files have ``limit`` bytes or fewer and are the app they are said to be.

    Without that check somebody could show an owner one app under the name of another. If the bundle is encrypted, the
    check opens all files, one chunk in memory at a time.

    Raises:
        BundleError: if it is another app, or too large.
        ContentError, MissingBlock: as `read_bundle`.
    """
    files = read_bundle(named.content, source, named.key)
    size = sum(file.size for file in files)
    if size > limit:
        raise BundleError(f"the app {named.app} has {size} bytes, more than the {limit} that are allowed")
    if named.content != named.app and (found := _app_id(files, source)) != named.app:
        raise BundleError(f"the run is said to be of the app {named.app}, and its bundle holds the app {found}")
    return files


@dataclass(frozen=True, slots=True)
class BundleDifference:
    """The files in which an app differs from another that should be the same."""

    changed: tuple[str, ...]
    """Paths in both, with different bytes."""
    lacking: tuple[str, ...]
    """Paths in the other app only."""
    surplus: tuple[str, ...]
    """Paths in this app only."""

    def in_words(self, *, with_surplus: bool = True) -> str:
        """For people: a few files of each sort. Without ``with_surplus`` the files in this app only are counted and not
        named: their names are nobody else's business."""
        parts = [_some(self.changed, "other bytes in"), _some(self.lacking, "lacking here:")]
        if self.surplus:
            few = f"{len(self.surplus)} here alone"
            parts.append(_some(self.surplus, "here alone:") if with_surplus else few)
        return "; ".join(filter(None, parts))


def difference_from(named: NamedBundle, source: BlockSource, files: Sequence[tuple[str, bytes]]) -> BundleDifference:
    """How an app of these paths and bytes differs from the ``named`` one, whose list of files is in ``source``.

    Raises:
        ContentError, MissingBlock: as `read_bundle`.
        BundleError: as `write_bundle`.
    """
    other = read_bundle(named.content, source, named.key)
    content, blocks = write_bundle(files, ContentForm(named.key))
    return difference(read_bundle(content, MemoryBlocks({b.cid: b.data for b in blocks}), named.key), other)


def difference(ours: Sequence[BundledFile], other: Sequence[BundledFile]) -> BundleDifference:
    """How ``ours`` differs from ``other``, by their lists of files only. Both have to be in the same `ContentForm`."""
    mine, others = _by_path(ours), _by_path(other)
    return BundleDifference(
        changed=tuple(path for path, file in mine.items() if path in others and others[path] != file),
        lacking=tuple(path for path in others if path not in mine),
        surplus=tuple(path for path in mine if path not in others),
    )


def _some(paths: Sequence[str], what: str) -> str:
    if not paths:
        return ""
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return f"{what} {', '.join(paths[:_NAMED])}{more}"


def _by_path(files: Sequence[BundledFile]) -> Mapping[str, tuple[int, tuple[CID, ...]]]:
    return {file.path: (file.size, file.chunks) for file in files}


def _app_id(files: Sequence[BundledFile], source: BlockSource) -> CID:
    """The CID of the plain bundle of these files."""
    chunks = [chunk for file in files for chunk in _plain_chunks(file, source)]
    return write_manifest(_body([(file.path, file.size) for file in files]), chunks)[0]


def _plain_chunks(file: BundledFile, source: BlockSource) -> Iterator[CID]:
    """The CIDs that its chunks would have in the plain form. (An encrypted chunk holds a few bytes fewer.)"""
    held = bytearray()
    for piece in file.pieces(source):
        held += piece
        while len(held) >= CHUNK_SIZE:
            yield raw_block(bytes(held[:CHUNK_SIZE])).cid
            del held[:CHUNK_SIZE]
    if held:
        yield raw_block(bytes(held)).cid


def _body(listed: Sequence[tuple[str, int]]) -> bytes:
    return encode_cbor([FORMAT, [list(entry) for entry in listed]])


def _parse(value: Any) -> tuple[list[str], list[int]]:  # the value of any dag-cbor
    paths: list[str] = []
    sizes: list[int] = []
    match value:
        case [1, list(entries)] if type(value[0]) is int:
            for entry in entries:
                match entry:
                    case [str(path), int(size)] if type(size) is int:
                        paths.append(path)
                        sizes.append(size)
                    case _:
                        raise BundleError("a file of a bundle is not [path, size]")
            return paths, sizes
    raise BundleError(f"not a bundle in format {FORMAT}")


def _check(paths: Sequence[str], sizes: Sequence[int]) -> None:
    if len(paths) > MAX_FILES:
        raise BundleError(f"a bundle of {len(paths)} files, more than {MAX_FILES}")
    if any(size < 0 for size in sizes) or sum(sizes) > MAX_SIZE:
        raise BundleError(f"a bundle of {sum(sizes)} bytes, more than {MAX_SIZE}")
    for path in paths:
        _check_path(path)
    written = [path.encode() for path in paths]
    if written != sorted(set(written)):
        raise BundleError("the paths of a bundle are not in order, or one stands twice")
    _check_apart(paths)


def _check_apart(paths: Sequence[str]) -> None:
    """Refuse two paths that some file system takes for the same one: there, one file would hide the other.

    Raises:
        BundleError: names both.
    """
    files = set(paths)
    spelled: dict[str, str] = {}
    for path in paths:
        for place in (*_parents(path), path):
            other = spelled.setdefault(_folded(place), place)
            if other != place:
                raise BundleError(f"{other!a} and {place!a} are one name on some systems: rename one")
            if place in files and place != path:
                raise BundleError(f"{place!a} is a file, and a folder of {path!a}")


def _folded(name: str) -> str:
    """The same text for names that differ only by case or by Unicode form (Unicode 15.0, section 3.13, D147)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name.casefold()).casefold())


def _check_path(path: str) -> None:
    """Refuse a path that does not mean the same harmless thing on every system.

    Raises:
        BundleError: says why.
    """
    why = next(filter(None, map(_why_no_name, path.split("/"))), "")
    if not why and len(path.encode()) > MAX_PATH:
        why = f"is longer than {MAX_PATH} bytes"
    if why:
        raise BundleError(f"{path[:80]!a} cannot be in a bundle: it {why}")


def _why_no_name(part: str) -> str:
    """Why ``part`` of a path is not an ordinary visible name on every system; empty if it is."""
    if part == "":
        return "has an empty name"
    if part[0] in ". " or part[-1] in ". ":
        return "has a name that begins or ends with a dot or a space"
    if not part.isprintable() or _RESERVED & set(part):
        return "has a character that names cannot have"
    if not unicodedata.is_normalized("NFC", part):
        return "is not in Unicode's composed form (NFC)"
    if len(part.encode()) > MAX_NAME:
        return f"has a name longer than {MAX_NAME} bytes"
    plain = _folded(part)
    if _DEVICE.fullmatch(plain.partition(".")[0].rstrip()):
        return "has a name that Windows takes for a device"
    if _SHORT_NAME.search(plain):
        return "has a name that Windows may take for a short one"
    if plain == "__pycache__" or plain.endswith(_COMPILED):
        return "is compiled code, which nobody can read"
    return ""


def _parents(path: str) -> Iterator[str]:
    parts = path.split("/")
    for end in range(1, len(parts)):
        yield "/".join(parts[:end])


def _deal(
    paths: Sequence[str], sizes: Sequence[int], chunks: Sequence[CID], form: ContentForm
) -> Iterator[BundledFile]:
    at = 0
    for path, size in zip(paths, sizes, strict=True):
        count = form.chunk_count(size)
        yield BundledFile(path, size, tuple(chunks[at : at + count]), form)
        at += count
