"""Engines: what stores blocks and carries announcements."""

from __future__ import annotations

from pathlib import Path

from peer.engine.interface import Engine
from peer.errors import ExitCode, PeerError

__all__ = ["open_engine"]


def open_engine(address: str) -> Engine:
    """The engine at ``address``: ``local:DIR``, or the URL of a Kubo node's RPC API such as ``http://127.0.0.1:5001``.

    Raises:
        PeerError: where ``address`` is neither.
        EngineUnavailable: where the directory cannot be used or the node does not answer.
    """
    kind, _, rest = address.partition(":")
    if kind == "local" and rest:
        from peer.engine.local import LocalEngine

        return LocalEngine(Path(rest).expanduser())
    if kind in ("http", "https"):
        from peer.engine.kubo import KuboEngine  # heavy: httpx, requests

        return KuboEngine(address)
    mend = "give --ipfs kubo, --ipfs http://127.0.0.1:5001 or --ipfs local:DIR"
    raise PeerError(f"{address!r} is no engine", mend=mend, code=ExitCode.WRONG_USE)
