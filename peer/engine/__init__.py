"""Engines, which store blocks and carry announcements."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from peer.engine.interface import Engine, WrongAddress

if TYPE_CHECKING:
    from peer.engine.kubo.reach import Reach

__all__ = ["open_engine", "without_credentials"]

_LOCAL: Final = re.compile(r"local(?:\+([0-9a-f]{1,64}))?", re.ASCII)


def open_engine(address: str, *, managed: bool = False, reach: Reach | None = None, owner: str = "") -> Engine:
    """The engine at ``address``: ``local:DIR``, or the address of a Kubo node's RPC API, such as
    ``http://127.0.0.1:5001``, ``https://user:password@host/path`` or ``unix:/run/ipfs.sock``. A node is ``managed`` if
    it is this peer's own. ``reach`` says which of a node's addresses others are told (None: those that
    reach farthest). ``owner`` names the home that stores something, so that others' blocks stay when it drops its own.
    An app process is told it with the directory, as ``local+OWNER:DIR``.

    Raises:
        WrongAddress: if ``address`` is neither.
        EngineUnavailable: if the directory cannot be used or the node does not answer.
    """
    kind, _, rest = address.partition(":")
    if (named := _LOCAL.fullmatch(kind)) and rest:
        from peer.engine.local.engine import LocalEngine

        return LocalEngine(Path(rest).expanduser(), owner or named[1] or "")
    if kind in ("http", "https", "unix"):
        from peer.engine.kubo.engine import KuboEngine  # heavy: httpx, requests
        from peer.engine.kubo.reach import ANYWHERE

        return KuboEngine(address, managed=managed, reach=ANYWHERE if reach is None else reach, owner=owner)
    fix = "give --ipfs kubo, --ipfs http://127.0.0.1:5001 or --ipfs local:DIR"
    raise WrongAddress(f"{without_credentials(address)!r} is no engine", fix)


def without_credentials(address: str) -> str:
    """An engine's address, well-formed or not, as people may see it."""
    if address.startswith(("local:", "local+", "unix:")) or "@" not in address:
        return address
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", address)
    return (scheme[0] if scheme else "") + address.rpartition("@")[2]
