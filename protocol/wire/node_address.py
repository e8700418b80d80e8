"""The addresses of Kubo nodes, as multiaddrs (https://github.com/multiformats/multiaddr): the kinds that a private
network of libp2p can use, which are TCP and WebSocket.

An address comes from another party, or from the owner of a peer. Both are parsed here, so that what is dialled, told
and signed is one of a few known forms.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from crypto import base58

MAX_TEXT: Final = 512
"""Characters of an address that is parsed. A host's name has 253 at most, a node's 64."""

_PORT: Final = re.compile(r"[1-9]\d{0,4}")
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_OWNERS: Final = re.compile(
    r"(?:(?P<scheme>[a-z]+)://)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^/:\[\]]+):?(?P<port>(?<=:)\d+)?/?"
)
_MAX_PORT: Final = (1 << 16) - 1
_MAX_HOST: Final = 253

_NAT64: Final = IPv6Network("64:ff9b::/96")
"""Addresses of IPv4 hosts for those that have IPv6 alone (RFC 6052)."""

_IDENTITY, _SHA256 = 0x00, 0x12
"""Codes of multihashes: a peer id is one of these of the node's public key (libp2p's specification of peer ids)."""


class BadAddress(ValueError):
    """A text that is no address of a Kubo node, or one that a private network cannot use."""


class Over(StrEnum):
    """What carries a connection between two nodes."""

    TCP = "tcp"
    WS = "ws"
    """WebSocket without TLS, which a node itself can listen on."""
    WSS = "wss"
    """WebSocket over TLS, which a web server in front of a node ends."""


class Scope(IntEnum):
    """Who can reach an IP address."""

    MACHINE = 0
    """Only programs of the same machine."""
    LINK = 1
    PRIVATE = 2
    """Those in the same local network, or VPN."""
    WORLD = 3


class HostKind(StrEnum):
    """How a multiaddr names its host."""

    IP4 = "ip4"
    IP6 = "ip6"
    DNS4 = "dns4"
    DNS6 = "dns6"
    DNS = "dns"


_OVER: Final = {(): Over.TCP, ("ws",): Over.WS, ("tls", "ws"): Over.WSS, ("wss",): Over.WSS}
_ENDING: Final = {Over.TCP: "", Over.WS: "/ws", Over.WSS: "/tls/ws"}
_SCHEMES: Final = {None: Over.TCP} | {over.value: over for over in Over}
_DEFAULT_PORTS: Final = {Over.WS: 80, Over.WSS: 443}


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node is reached."""

    kind: HostKind
    host: str
    """An IP address in its shortest form, or a name in lower case."""
    port: int
    over: Over = Over.TCP
    node: str = ""
    """The peer id of the node there; empty if the address does not say."""
    name: str = ""
    """The name of the web server at an IP address, for its certificate; empty if that is the host's name."""

    @classmethod
    def parse(cls, text: str) -> NodeAddress:
        """The address in a multiaddr.

        Raises:
            BadAddress: if it is none, or of a kind that a private network cannot use.
        """
        parts = text.split("/") if len(text) <= MAX_TEXT else []
        if len(parts) < 5 or parts[0] or parts[3] != "tcp":
            raise BadAddress(f"{text!r:.200} is not /ip4/IP/tcp/PORT, or another multiaddr with a host and a TCP port")
        node = parts[-1] if parts[-2] == "p2p" and len(parts) > 5 else ""
        ways = parts[5 : -2 if node else None]
        name = ways.pop(2) if ways[:2] == ["tls", "sni"] and len(ways) == 4 else ""
        over = _OVER.get(tuple(each for each in ways if each != "sni" or not name))
        if over is None:
            raise BadAddress(f"{text!r:.200}: nodes of a private network talk over tcp, tcp/.../ws and tcp/.../tls/ws")
        return cls(
            *_host(parts[1], parts[2]), _port(parts[4]), over, _node(node), name and _host(HostKind.DNS, name)[1]
        )

    @classmethod
    def of_owner(cls, text: str) -> NodeAddress:
        """The address that a node's owner gives: ``HOST:PORT``, ``ws://HOST:PORT``, ``wss://HOST``, or a multiaddr.

        Raises:
            BadAddress: if it is none of them.
        """
        if text.startswith("/"):
            return cls.parse(text)
        over, host, port = read_place(text)
        port = port or _DEFAULT_PORTS.get(over)
        if port is None:
            raise BadAddress(f"{text!r:.200} has no port")
        return cls(*host, port, over)

    @property
    def text(self) -> str:
        """The multiaddr."""
        ending = f"/p2p/{self.node}" if self.node else ""
        over = f"/tls/sni/{self.name}/ws" if self.name else _ENDING[self.over]
        return f"/{self.kind}/{self.host}/tcp/{self.port}{over}{ending}"

    def at(self, node: str) -> NodeAddress:
        """The address with the node's name, unless it has one."""
        return self if self.node else replace(self, node=node)

    @property
    def scope(self) -> Scope:
        """Who can reach it, as far as the address tells."""
        if self.kind not in (HostKind.IP4, HostKind.IP6):
            return Scope.MACHINE if self.host == "localhost" or self.host.endswith(".localhost") else Scope.WORLD
        return scope_of(ip_address(self.host))

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for all addresses of a machine, and so for none that others could use."""
        return self.kind in (HostKind.IP4, HostKind.IP6) and ip_address(self.host).is_unspecified


def read_place(text: str) -> tuple[Over, tuple[HostKind, str], int | None]:
    """What ``HOST``, ``HOST:PORT`` or ``ws://HOST:PORT`` says: over what, the host, and the port if there is one.

    Raises:
        BadAddress: if it is none of them.
    """
    try:
        return Over.TCP, _named_host(str(IPv6Address(text))), None  # its colons begin no port
    except ValueError:
        found = _OWNERS.fullmatch(text) if len(text) <= MAX_TEXT else None
    if found is None or found["scheme"] not in _SCHEMES:
        raise BadAddress(f"{text!r:.200} is not HOST:PORT, ws://HOST:PORT, wss://HOST or a multiaddr")
    over = _SCHEMES[found["scheme"]]
    return over, _named_host(found["host"].strip("[]")), None if found["port"] is None else _port(found["port"])


def scope_of(ip: IPv4Address | IPv6Address) -> Scope:
    """Who can reach an IP address, by the registries of special addresses (RFC 6890)."""
    if isinstance(ip, IPv6Address):
        ip = _ipv4_in(ip) or ip
    if ip.is_loopback or ip.is_unspecified:
        return Scope.MACHINE
    if ip.is_link_local or ip.is_multicast:
        return Scope.LINK
    is_inside = ip.is_reserved or (isinstance(ip, IPv6Address) and ip.is_site_local)
    return Scope.WORLD if ip.is_global and not is_inside else Scope.PRIVATE


def _ipv4_in(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to; None if it is one by itself."""
    return IPv4Address(int(ip) & 0xFFFF_FFFF) if ip in _NAT64 else ip.ipv4_mapped or ip.sixtofour


def _named_host(host: str) -> tuple[HostKind, str]:
    try:
        ip = ip_address(host)
    except ValueError:
        return _host(HostKind.DNS, host.lower())
    return HostKind.IP4 if ip.version == 4 else HostKind.IP6, str(ip)


def _host(kind: str, host: str) -> tuple[HostKind, str]:
    """The kind and the host, which has to be written in the one way."""
    is_right = False
    with suppress(ValueError):
        match HostKind(kind):
            case HostKind.IP4:
                is_right = str(IPv4Address(host)) == host
            case HostKind.IP6:
                is_right = str(IPv6Address(host)) == host and "%" not in host
            case HostKind.DNS | HostKind.DNS4 | HostKind.DNS6:
                labels = host.split(".")
                is_right = len(host) <= _MAX_HOST and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()
    if not is_right:
        raise BadAddress(f"{host!r:.200} is not a host's {'name' if kind.startswith('dns') else 'IP address'}")
    return HostKind(kind), host


def _port(text: str) -> int:
    if _PORT.fullmatch(text) is None or int(text) > _MAX_PORT:
        raise BadAddress(f"{text!r:.20} is not a port from 1 to {_MAX_PORT}")
    return int(text)


def _node(text: str) -> str:
    """The peer id, if it is one."""
    if not text:
        return text
    try:
        data = base58.decode(text) if len(text) <= 64 else b""
    except ValueError:
        data = b""
    if len(data) < 2 or data[0] not in (_IDENTITY, _SHA256) or data[1] != len(data) - 2:
        raise BadAddress(f"{text!r:.80} is not the peer id of a node")
    return text
