"""An app bundle: the files of a Flower app folder as one content (design section 6, ``run``).

The body of the content (see `protocol.content`) is the dag-cbor list ``[1, [[path, size], ...]]``, in rising order of
the paths' UTF-8 bytes. The linked chunks are the files' bytes, file after file, each file's chunks but its last full.
So equal folders have equal CIDs, and a plain ``ipfs pin add`` of the run keeps the app.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from protocol.blocks import CID, Block, BlockSource, MalformedBlock, decode_cbor, encode_cbor, raw_block
from protocol.content import PLAIN, ContentError, open_content, read_chunks, write_manifest

FORMAT: Final = 1
MAX_FILES: Final = 10_000
MAX_SIZE: Final = 1 << 30
"""Bytes of all files of a bundle together."""
MAX_PATH: Final = 400
"""Bytes of a path."""

_BODY_LIMIT: Final = 8 << 20
_RESERVED: Final = frozenset('<>:"|?*\\')


class BundleError(ContentError):
    """Not an app bundle, or one over a limit; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class BundledFile:
    """One file of a bundle."""

    path: str
    """With ``/`` between folders; below the app's folder on every system."""
    size: int
    chunks: tuple[CID, ...]

    def read(self, source: BlockSource) -> bytes:
        """Its bytes.

        Raises:
            ContentError: where they are not as many as the bundle says.
            MissingBlock: where ``source`` lacks a chunk.
        """
        return read_chunks(self.chunks, self.size, source)


def write_bundle(files: Sequence[tuple[str, bytes]]) -> tuple[CID, list[Block]]:
    """The CID of the bundle of these paths and bytes, and all its blocks. The order of ``files`` does not matter.

    Raises:
        BundleError: where a path cannot be in a bundle, stands twice, or there is too much.
    """
    for path, _ in files:
        _check_path(path)
    ordered = sorted(files, key=lambda file: file[0].encode())
    listed = [[path, len(data)] for path, data in ordered]
    _check([path for path, _ in ordered], [len(data) for _, data in ordered])
    chunks = [raw_block(bytes(part)) for _, data in ordered for part in PLAIN.split(data)]
    root, blocks = write_manifest(encode_cbor([FORMAT, listed]), [chunk.cid for chunk in chunks])
    return root, list({block.cid: block for block in [*blocks, *chunks]}.values())


def read_bundle(root: CID, source: BlockSource) -> list[BundledFile]:
    """The files of the bundle ``root``; their bytes are not read yet.

    Raises:
        ContentError: where it is none; a `BundleError` where it is a content, but not of a bundle.
        MissingBlock: where ``source`` lacks a block.
    """
    opened = open_content(root, source, None, body_limit=_BODY_LIMIT)
    try:
        value = decode_cbor(opened.body, limit=_BODY_LIMIT)
    except MalformedBlock as error:
        raise BundleError(f"bundle {root}: {error}") from error
    paths, sizes = _parse(value)
    _check(paths, sizes)
    expected = sum(map(PLAIN.chunk_count, sizes))
    chunks = list(islice(opened.chunks, expected + 1))
    if len(chunks) != expected:
        raise BundleError("a bundle links other chunks than its files have")
    return list(_deal(paths, sizes, chunks))


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
    # a file system that takes a.py and A.py for one would let one file hide the other
    folded = {path.casefold() for path in paths}
    folders = {parent.casefold() for path in paths for parent in _parents(path)}
    if len(folded) != len(paths) or folded & folders:
        raise BundleError("two paths of a bundle are one on some systems")


def _check_path(path: str) -> None:
    parts = path.split("/")
    if not all(map(_is_name, parts)) or len(path.encode()) > MAX_PATH:
        raise BundleError(f"{path[:80]!r} is no path that a bundle takes")


def _is_name(part: str) -> bool:
    """Whether every system takes ``part`` as the name of a file, and none as a hidden one or a way up."""
    return (
        part != "" and part[0] not in ". " and part[-1] not in ". " and part.isprintable() and not _RESERVED & set(part)
    )


def _parents(path: str) -> Iterator[str]:
    parts = path.split("/")
    for end in range(1, len(parts)):
        yield "/".join(parts[:end])


def _deal(paths: Sequence[str], sizes: Sequence[int], chunks: Sequence[CID]) -> Iterator[BundledFile]:
    at = 0
    for path, size in zip(paths, sizes, strict=True):
        count = PLAIN.chunk_count(size)
        yield BundledFile(path, size, tuple(chunks[at : at + count]))
        at += count
