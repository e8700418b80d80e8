"""Asks a server on another machine for a run."""

from __future__ import annotations

import logging
import time
from typing import Final

from crypto.symmetric import SymmetricKey
from peer.base import logs
from peer.base.errors import ExitCode, PeerError
from peer.engine.interface import Engine, EngineError
from peer.home.federations import StoredFederation
from protocol.jobs.request import AskedJob, ToldJob
from protocol.wire.asking import BadMessage, Channel

ASK_AGAIN: Final = 1.0
"""Seconds until all nodes are asked again, as long as none answers."""


def ask_server(
    engine: Engine, stored: StoredFederation, server: bytes, signed: bytes, key: str, seconds: float
) -> ToldJob:
    """What the server ``server`` says to a signed request. It is asked through every node that is connected, again and
    again for ``seconds``: asked twice, it is one job, known by its ``key``.

    Raises:
        PeerError: if it does not answer.
        EngineError: if our own engine cannot be used.
    """
    streams = engine.streams
    if streams is None:
        raise PeerError(
            "other machines are asked over Kubo, and this engine is a folder",
            fix="ask on the server's machine: peer run --home ITS-HOME; or use a node: --ipfs kubo",
        )
    channel = Channel(stored.id, server, SymmetricKey(stored.swarm_key))
    until = time.monotonic() + seconds
    while True:
        try:
            engine.connect(stored.addresses)
        except EngineError as error:
            logs.event("connect-failed", logging.DEBUG, why=str(error))
        for node in streams.nodes():
            try:
                return channel.read(streams.ask(node, channel.name, channel.write(AskedJob(signed))), ToldJob)
            except (EngineError, BadMessage) as error:
                logs.event("not-answered", logging.DEBUG, node=node, why=str(error))
        if time.monotonic() >= until:
            raise PeerError(
                f"{stored.manifest.name_of(server)} does not answer: it may have the job or not",
                fix="see that it stands (peer serve there) and is reached (peer doctor here), and ask again with "
                f"--key {key}, so that it is one job",
                code=ExitCode.UNFINISHED,
            )
        time.sleep(ASK_AGAIN)
