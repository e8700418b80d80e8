"""Dialling through a web proxy: the one in ``HTTPS_PROXY``, as every program of this machine uses it.

Kubo honours it for WebSocket over TLS (go-libp2p, ``p2p/transport/websocket/websocket.go``; Go's
``http.ProxyFromEnvironment``): it asks the proxy to CONNECT to the host's name. But first it looks up that name, which
many networks with a proxy cannot do. For an address that has an IP address beside the name, it does not.
"""

from __future__ import annotations

import urllib.request
from dataclasses import replace
from typing import Final

from protocol.wire.node_address import BadAddress, HostKind, NodeAddress, Over

_UNUSED: Final = "192.0.2.1"
"""An address that no host has (RFC 5737): Kubo connects to the proxy instead."""


def dialled(address: str) -> list[str]:
    """What to dial in turn to reach the node at ``address``."""
    try:
        parsed = NodeAddress.parse(address)
    except BadAddress:
        return [address]
    if parsed.over is not Over.WSS or parsed.kind in (HostKind.IP4, HostKind.IP6) or not _is_proxied(parsed.host):
        return [address]
    return [replace(parsed, kind=HostKind.IP4, host=_UNUSED, name=parsed.host).text, address]


def _is_proxied(host: str) -> bool:
    """Whether connections to ``host`` go through the proxy, as far as ``NO_PROXY`` can be read in one way. If Go reads
    it in another, the address itself is dialled next."""
    proxies = urllib.request.getproxies_environment()
    return "https" in proxies and not urllib.request.proxy_bypass(host)
