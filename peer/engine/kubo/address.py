"""The address of a Kubo node's RPC API, and the credentials that it asks for.

An address may hold credentials. What people are shown never does.
"""

from __future__ import annotations

import base64
import re
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from peer.engine import without_credentials
from peer.engine.interface import WrongAddress

UNIX: Final = "unix:"
"""How an address begins if the node listens on a Unix socket. The socket's path follows."""

BEARER: Final = "bearer"
"""The user name that stands for a bearer token: ``http://bearer:TOKEN@host``, in the words of ``ipfs --api-auth``."""

_EXAMPLE: Final = "give one such as http://127.0.0.1:5001, https://USER:PASSWORD@HOST/PATH or unix:/run/ipfs.sock"

_PORTS: Final = range(1, 1 << 16)

_LONGEST_SOCKET: Final = 100
"""Bytes in the path of a Unix socket: 107 on Linux, 103 elsewhere."""

_IN_SOCKETS: Final = re.compile(r"[a-z0-9/._~-]+", re.ASCII)
"""ipfshttpclient makes the path the host of a URL. Hosts are in lower case, and what a URL has to quote (RFC 3986, 2.3)
would be quoted twice."""


@dataclass(frozen=True, slots=True)
class KuboAddress:
    """One node's RPC API."""

    text: str = field(repr=False)
    """As `peer.engine.open_engine` takes it, with the credentials."""
    shown: str
    """The same without the credentials, for people."""
    base: str
    """The URL under which the calls are, without the credentials."""
    multiaddr: str
    """Host, port and scheme, or the socket, as ipfshttpclient takes them."""
    path: str
    """The path of `base`, without its leading slash."""
    socket: str | None = None
    authorization: str | None = field(default=None, repr=False)
    """The value of the header ``Authorization``."""

    @classmethod
    def parse(cls, text: str) -> KuboAddress:
        """The address in ``text``.

        Raises:
            WrongAddress: if it is not one. The error does not show the credentials.
        """
        if text.startswith(UNIX):
            return cls._of_socket(text, text.removeprefix(UNIX))
        try:
            url = httpx.URL(text)
            port = (443 if url.scheme == "https" else 80) if url.port is None else url.port
        except (httpx.InvalidURL, TypeError, ValueError):
            raise _no_url(text) from None  # httpx's own message quotes the URL
        if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment or port not in _PORTS:
            raise _no_url(text)
        path = f"{url.path.strip('/').removesuffix('api/v0').rstrip('/')}/api/v0".strip("/")
        plain = url.copy_with(userinfo=b"")
        return cls(
            text=text,
            shown=str(plain),
            base=str(plain.copy_with(path=f"/{path}/")),
            multiaddr=f"/{_protocol_of(url.host)}/{url.host}/tcp/{port}/{url.scheme}",
            path=path,
            authorization=_authorization(url.username, url.password),
        )

    @classmethod
    def _of_socket(cls, text: str, path: str) -> KuboAddress:
        if not path.startswith("/") or "\0" in path:
            raise WrongAddress(f"{text!r} does not give the whole path of a Unix socket", _EXAMPLE)
        if not fits_socket(Path(path)):
            fix = "ln -s its folder to a short name in lower case, and name the socket there: unix:/tmp/ipfs/api.sock"
            why = "the path is too long, or has other characters than a to z, 0 to 9, and . _ ~ - /"
            raise WrongAddress(f"{text!r} cannot be used: {why}", fix)
        return cls(
            text=text,
            shown=text,
            base="http://kubo/api/v0/",
            multiaddr=f"/unix{path}",
            path="api/v0",
            socket=path,
        )

    @property
    def is_near(self) -> bool:
        """Whether the node is on this machine, as far as the address shows."""
        if self.socket is not None:
            return True
        host = httpx.URL(self.base).host
        return host in ("localhost", "::1") or host.startswith("127.")


def fits_socket(path: Path) -> bool:
    """Whether a Unix socket may have this path: a short one of `_IN_SOCKETS`."""
    return len(str(path)) <= _LONGEST_SOCKET and _IN_SOCKETS.fullmatch(str(path)) is not None


def _no_url(text: str) -> WrongAddress:
    return WrongAddress(f"{without_credentials(text)!r} is not the URL of an RPC API", _EXAMPLE)


def _authorization(user: str, password: str) -> str | None:
    if not user and not password:
        return None
    if user == BEARER:
        return f"Bearer {password}"
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _protocol_of(host: str) -> str:
    for family, protocol in ((socket.AF_INET, "ip4"), (socket.AF_INET6, "ip6")):
        with suppress(OSError):
            socket.inet_pton(family, host)
            return protocol
    return "dns"
