"""The peer id of a managed node: its own, also if its repository is a copy of another's.

Two nodes with one peer id do not hear each other, and pubsub drops what a node says that was put back to an older copy
of itself (`BasicSeqnoValidator`). So a repository notes its place; a node that starts elsewhere takes another id.
"""

from __future__ import annotations

import logging
import subprocess
import uuid
from pathlib import Path
from typing import Any, Final

from peer.base import logs
from peer.engine.interface import EngineError
from peer.engine.kubo.config import broken, environment, read_config, write_config
from peer.engine.local.block_files import translated
from peer.home.home import replace_file
from peer.home.home_location import location_of

_FORMER: Final = 4
"""How many former ids of a node are called: of a copy of a copy, say."""


def identify(program: Path, repository: Path) -> None:
    """Give the node whose repository this is another peer id, if it is in another place than when it got the one it
    has. Pins and blocks stay. The node must not run.

    The node of the id that it had stays one to be called (Kubo's ``Peering``): this may be a copy of one that runs.

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
    done = subprocess.run(
        [str(program), "key", "rotate", "--oldkey", f"before-{uuid.uuid4().hex}"],
        env=environment(repository),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        why = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise EngineError(
            f"the Kubo node in {repository} is a copy of another, and gets no peer id of its own: {' '.join(why)}",
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
        why="its home was copied, or put back: it is in another place",
    )


def _called(repository: Path) -> dict[str, Any]:
    """The peer id, and where the node listens, as it can be called from this machine."""
    config = read_config(repository)
    try:
        listens = [str(address) for address in config["Addresses"]["Swarm"]]
        name = str(config["Identity"]["PeerID"])
    except (KeyError, TypeError) as error:
        raise broken(repository, error) from error
    near = [each.replace("/ip4/0.0.0.0/", "/ip4/127.0.0.1/").replace("/ip6/::/", "/ip6/::1/") for each in listens]
    return {"ID": name, "Addrs": near}
