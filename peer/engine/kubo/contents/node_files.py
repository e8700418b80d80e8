"""Blocks of a Kubo node on this machine, in its own files.

Asking the node for a block costs several times as much as reading and checking it: the node reads the file, and both
sides copy it through HTTP. So a block is read from the file if it is there. If it is not, only the node can tell
whether it has the block. Whatever is read is checked against its CID, as any answer is.

Chunks are written here, too, for a node that looks for a block each time it is asked, and that syncs what it writes
itself, as a managed node does: the API would copy each twice, and hash it. Other nodes remember which blocks they have
not (boxo/blockstore/twoqueue_cache.go).

The files are those of ``flatfs`` (https://github.com/ipfs/go-ds-flatfs): ``blocks/<shard>/<key>.data``. The key is the
multihash in base32, and the shard is the two characters before its last. A file is written in ``blocks/.temp``, which
the node empties as it starts, and renamed to its name once it is whole and synced.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from peer.base.posix import own_user
from peer.engine.block_writer import BlockWriter
from protocol.blocks.cid import CID, Block

REPOSITORY: Final = "repository"
"""The link to the repository, beside the socket of a node whose repository has too long a path for a socket."""

_SHARDING: Final = "/repo/flatfs/shard/v1/next-to-last/2"
"""What ``ipfs init`` chooses, and a private node has."""


class NodeFiles:
    """The block files of one node. Safe from several threads."""

    def __init__(self, blocks: Path, *, takes_blocks: bool) -> None:
        self.takes_blocks = takes_blocks
        """Whether the node finds what is written here."""
        self._blocks = blocks
        self._writer = BlockWriter(blocks, blocks / ".temp", self._place)

    @property
    def repository(self) -> Path:
        """The node's repository."""
        return self._blocks.parent

    @classmethod
    def beside(cls, socket: Path) -> Self | None:
        """The files of the node whose RPC API listens at ``socket``; None if we do not know them, or may not read
        them."""
        for repository in (socket.parent, socket.parent / REPOSITORY):
            with suppress(OSError, ValueError):
                blocks = repository.resolve() / "blocks"
                names_it = (repository / "api").read_text().strip() == f"/unix{socket}"  # in a copy, the original's
                if names_it and (blocks / "SHARDING").read_text().strip() == _SHARDING:
                    is_ours = blocks.stat().st_uid == own_user()
                    return cls(blocks, takes_blocks=is_ours and _looks_each_time(repository / "config"))
        return None

    def read(self, cid: CID) -> bytes | None:
        """What the file of ``cid`` holds, unchecked; None if there is no such file for us."""
        try:
            return self._place(cid).read_bytes()
        except OSError:
            return None

    def has(self, cid: CID) -> bool:
        """Whether there is a file for ``cid``."""
        return self._place(cid).exists()

    def size(self, cid: CID) -> int | None:
        """The bytes of the file of ``cid``; None if there is no such file."""
        try:
            return self._place(cid).stat().st_size
        except OSError:
            return None

    def write(self, blocks: Iterable[Block], then: Callable[[], Iterable[Path]] = tuple) -> None:
        """Store ``blocks``, all on disk at return. What ``then`` does and what is raised, `BlockWriter.put` says."""
        self._writer.put(blocks, then)

    def total_bytes(self) -> int:
        """How many bytes all blocks have. The node itself does not count those that were written here."""
        total = 0
        for path in self._blocks.glob("*/*.data"):
            with suppress(FileNotFoundError):  # it was dropped meanwhile
                total += path.stat().st_size
        return total

    def close(self) -> None:
        """End the threads that write."""
        self._writer.close()

    def _place(self, cid: CID) -> Path:
        return block_file(self._blocks, cid)


def block_file(blocks: Path, cid: CID) -> Path:
    """Where a node with the folder ``blocks`` keeps a block."""
    key = base64.b32encode(bytes(cid)[2:]).decode().rstrip("=")  # without the version and the codec
    return blocks / key[-3:-1] / f"{key}.data"


def _looks_each_time(config: Path) -> bool:
    """Whether a node with this configuration remembers nothing of what it has, and syncs what it stores."""
    try:
        datastore = json.loads(config.read_bytes())["Datastore"]
        synced = [mount.get("sync") for mount in datastore["Spec"]["mounts"] if mount.get("type") == "flatfs"]
        forgets = datastore["BlockKeyCacheSize"] == 0 and not datastore.get("BloomFilterSize", 0)
        return forgets and synced == [True]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
