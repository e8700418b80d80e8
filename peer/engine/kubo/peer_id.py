"""The peer id of a managed node: its own, even if its repository is a copy of another's.

Two nodes with one peer id do not hear each other. And pubsub drops what a node says after it was restored from an older
copy (`BasicSeqnoValidator`). So a repository notes its place, and a node that starts elsewhere takes another id.
"""

from __future__ import annotations

import logging
import uuid
from pathlib import Path
from typing import Any, Final

from peer.base import logs
from peer.engine.disk_errors import translated
from peer.engine.interface import EngineError
from peer.engine.kubo.config import broken, read_config, run_ipfs, write_config
from peer.home.home import replace_file
from peer.home.home_location import location_of

_FORMER: Final = 4
"""How many former ids of a node are called. A copy of a copy has two."""


def identify(program: Path, repository: Path) -> None:
    """Give the node another peer id if its repository has moved since it got the one it has. Pins and blocks stay. The
    node must not run.

    It goes on calling its former id (Kubo's ``Peering``), because the node of which this is a copy may run.

    Raises:
        EngineError: if that cannot be done.
    """
    note = repository / "place"
    with translated(repository):
        here = location_of(repository)
        was = note.read_text() if note.is_file() else here
    if was != here:
        _rotate(program, repository)
    with translated(repository):
        if was != here or not note.is_file():
            replace_file(note, [here.encode()])


def former_addresses(repository: Path) -> list[str]:
    """Addresses of the node that now has this one's former id, if it runs."""
    peers = _peering(read_config(repository))
    return [f"{address}/p2p/{peer['ID']}" for peer in peers for address in peer["Addrs"]]


def _peering(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The peers that Kubo stays connected to."""
    return list((config.get("Peering") or {}).get("Peers") or [])


def _rotate(program: Path, repository: Path) -> None:
    former = _called(repository)
    failure = run_ipfs(program, repository, "key", "rotate", "--oldkey", f"before-{uuid.uuid4().hex}")
    if failure is not None:
        raise EngineError(
            f"the Kubo node in {repository} is a copy of another, and gets no peer id of its own: {failure}",
            f"rm -r {repository}",
        )
    config = read_config(repository)
    config["Peering"] = {"Peers": [former, *_peering(config)][:_FORMER]}
    write_config(repository, config)
    logs.event(
        "node-has-a-new-peer-id",
        logging.WARNING,
        before=former["ID"],
        now=config["Identity"]["PeerID"],
        why="its home was copied or restored: it is in another place",
    )


def _called(repository: Path) -> dict[str, Any]:
    """The peer id, and where the node listens, as others on this machine call it."""
    config = read_config(repository)
    try:
        listens = [str(address) for address in config["Addresses"]["Swarm"]]
        name = str(config["Identity"]["PeerID"])
    except (KeyError, TypeError) as error:
        raise broken(repository, error) from error
    near = [each.replace("/ip4/0.0.0.0/", "/ip4/127.0.0.1/").replace("/ip6/::/", "/ip6/::1/") for each in listens]
    return {"ID": name, "Addrs": near}
