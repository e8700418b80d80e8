"""Engines, which store blocks and carry announcements."""

from __future__ import annotations

import re
from pathlib import Path

from peer.engine.interface import Engine, WrongAddress

__all__ = ["open_engine", "without_credentials"]


def open_engine(address: str, *, managed: bool = False) -> Engine:
    """The engine at ``address``: ``local:DIR``, or the address of a Kubo node's RPC API, such as
    ``http://127.0.0.1:5001``, ``https://user:password@host/path`` or ``unix:/run/ipfs.sock``. A node is ``managed`` if
    it is this peer's own.

    Raises:
        WrongAddress: if ``address`` is neither.
        EngineUnavailable: if the directory cannot be used or the node does not answer.
    """
    kind, _, rest = address.partition(":")
    if kind == "local" and rest:
        from peer.engine.local.engine import LocalEngine

        return LocalEngine(Path(rest).expanduser())
    if kind in ("http", "https", "unix"):
        from peer.engine.kubo.engine import KuboEngine  # heavy: httpx, requests

        return KuboEngine(address, managed=managed)
    fix = "give --ipfs kubo, --ipfs http://127.0.0.1:5001 or --ipfs local:DIR"
    raise WrongAddress(f"{without_credentials(address)!r} is no engine", fix)


def without_credentials(address: str) -> str:
    """An engine's address, well-formed or not, as people may see it."""
    if address.startswith(("local:", "unix:")) or "@" not in address:
        return address
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", address)
    return (scheme[0] if scheme else "") + address.rpartition("@")[2]
