"""Blocks of a Kubo node on this machine, read from its own files.

Asking the node for a block costs several times as much as reading and checking it: the node reads the file, and both
sides copy it through HTTP. So a block is read from the file if it is there. If it is not, only the node can tell
whether it has the block. Nothing is written here, and whatever is read is checked against its CID, as any answer is.

The files are those of ``flatfs`` (https://github.com/ipfs/go-ds-flatfs): ``blocks/<shard>/<key>.data``. The key is the
multihash in base32, and the shard is the two characters before its last. A file is renamed to its name once it is
whole.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from protocol.blocks.cid import CID

REPOSITORY: Final = "repository"
"""The link to the repository, beside the socket of a node whose repository has too long a path for a socket."""

_SHARDING: Final = "/repo/flatfs/shard/v1/next-to-last/2"
"""What ``ipfs init`` chooses, and a private node has."""


class NodeFiles:
    """The block files of one node. Safe from several threads."""

    def __init__(self, blocks: Path) -> None:
        self._blocks = blocks

    @classmethod
    def beside(cls, socket: Path) -> Self | None:
        """The files of the node whose RPC API listens at ``socket``; None if we do not know them, or may not read
        them."""
        for repository in (socket.parent, socket.parent / REPOSITORY):
            with suppress(OSError, ValueError):
                blocks = repository.resolve() / "blocks"
                names_it = (repository / "api").read_text().strip() == f"/unix{socket}"  # in a copy, the original's
                if names_it and (blocks / "SHARDING").read_text().strip() == _SHARDING:
                    return cls(blocks)
        return None

    def read(self, cid: CID) -> bytes | None:
        """What the file of ``cid`` holds, unchecked; None if there is no such file for us."""
        key = base64.b32encode(bytes(cid)[2:]).decode().rstrip("=")  # without the version and the codec
        try:
            return (self._blocks / key[-3:-1] / f"{key}.data").read_bytes()
        except OSError:
            return None
