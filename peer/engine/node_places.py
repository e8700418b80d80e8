"""Where the nodes of a home are: one for each federation, because a Kubo node is in one private network.

The first federation's is in the home itself, in ``ipfs``, as in homes that are in one federation. Others are in folders
of their own. Each has its own name, ports and addresses.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final, Protocol

from peer.engine.kubo.config import SWARM_KEY, swarm_key_text
from peer.home.home import Home

NODES: Final = "nodes"
"""The folder of the nodes of all federations but the first."""


class InSwarm(Protocol):
    """What says in which private network a node is: a federation, or a ticket to one."""

    @property
    def swarm_key(self) -> bytes:
        """32 bytes."""


def node_folder(home: Home, federation: InSwarm | None) -> Path:
    """The folder in which the node's repository is, as ``ipfs``. None names the first federation."""
    first = home.path / "ipfs" / SWARM_KEY
    if federation is None or not first.is_file() or first.read_bytes() == swarm_key_text(federation.swarm_key):
        return home.path
    return home.path / NODES / hashlib.sha256(b"pollen node 1" + federation.swarm_key).hexdigest()[:16]
