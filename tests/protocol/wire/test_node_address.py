"""Addresses of Kubo nodes: which texts are some, and which a private network can use."""

from __future__ import annotations

import pytest

from crypto import base58
from protocol.wire.node_address import BadAddress, HostKind, NodeAddress, Over, Scope

NODE = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
RSA = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"

OTHER_HASH = base58.encode(bytes([0x14, 32, *range(32)]))


@pytest.mark.parametrize(
    ("text", "over"),
    [
        ("/ip4/192.0.2.7/tcp/4001", Over.TCP),
        (f"/ip6/2001:db8::7/tcp/4001/p2p/{NODE}", Over.TCP),
        (f"/ip4/192.0.2.7/tcp/8081/ws/p2p/{NODE}", Over.WS),
        (f"/dns4/peers.hospital.org/tcp/443/tls/ws/p2p/{RSA}", Over.WSS),
        ("/dns/localhost/tcp/1/ws", Over.WS),
        (f"/ip4/192.0.2.7/tcp/443/tls/sni/peers.hospital.org/ws/p2p/{NODE}", Over.WSS),
    ],
)
def test_a_multiaddr_of_a_kind_that_private_networks_have_is_read_and_written_the_same(text: str, over: Over) -> None:
    address = NodeAddress.parse(text)
    assert (address.text, address.over) == (text, over)


def test_the_short_name_of_websocket_over_tls_is_written_in_full() -> None:
    assert NodeAddress.parse("/dns4/a.org/tcp/443/wss").text == "/dns4/a.org/tcp/443/tls/ws"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "local:/engine",
        "/ip4/192.0.2.7",
        "x/ip4/192.0.2.7/tcp/4001",
        "/ip4/192.0.2.7/udp/4001",
        "/ip4/192.0.2.7/udp/4001/quic-v1",
        "/ip4/192.0.2.7/tcp/4001/http",
        "/ip4/192.0.2.7/tcp/4001/",
        "/ip4/192.0.2.7/tcp/4001/p2p-circuit",
        f"/ip4/192.0.2.7/tcp/4001/p2p/{NODE}/p2p-circuit/p2p/{NODE}",
        "/ip4/192.0.2.07/tcp/4001",
        "/ip4/300.0.2.7/tcp/4001",
        "/ip4/peers.org/tcp/4001",
        "/ip6/2001:DB8::7/tcp/4001",
        "/ip6/fe80::1%eth0/tcp/4001",
        "/dns4/192.0.2.7/tcp/4001",
        "/dns4/Peers.org/tcp/4001",
        "/dns4/a..org/tcp/4001",
        "/dns4/-a.org/tcp/4001",
        "/dns4/a b/tcp/4001",
        "/dns4/a\x1b[31m.org/tcp/4001",
        f"/dns4/{'a.' * 130}org/tcp/4001",
        "/dnsaddr/a.org/tcp/4001",
        "/unix/run/a.sock/tcp/4001",
        "/ip4/192.0.2.7/tcp/443/tls/sni/Peers.org/ws",
        "/ip4/192.0.2.7/tcp/443/tls/sni/ws",
        "/ip4/192.0.2.7/tcp/443/sni/a.org/tls/ws",
        "/ip4/192.0.2.7/tcp/0",
        "/ip4/192.0.2.7/tcp/65536",
        "/ip4/192.0.2.7/tcp/04001",
        "/ip4/192.0.2.7/tcp/4001/p2p/",
        "/ip4/192.0.2.7/tcp/4001/p2p/0OIl",
        f"/ip4/192.0.2.7/tcp/4001/p2p/{NODE[:-1]}",
        f"/ip4/192.0.2.7/tcp/4001/p2p/{OTHER_HASH}",
        f"/ip4/192.0.2.7/tcp/4001/p2p/{NODE * 20}",
    ],
)
def test_any_other_text_is_no_address(text: str) -> None:
    with pytest.raises(BadAddress):
        NodeAddress.parse(text)


@pytest.mark.parametrize(
    ("given", "multiaddr"),
    [
        ("192.0.2.7:4001", "/ip4/192.0.2.7/tcp/4001"),
        ("[2001:DB8::7]:4001", "/ip6/2001:db8::7/tcp/4001"),
        ("Peers.Hospital.org:4001", "/dns/peers.hospital.org/tcp/4001"),
        ("tcp://peers.hospital.org:4001", "/dns/peers.hospital.org/tcp/4001"),
        ("ws://192.0.2.7", "/ip4/192.0.2.7/tcp/80/ws"),
        ("wss://peers.hospital.org", "/dns/peers.hospital.org/tcp/443/tls/ws"),
        ("wss://peers.hospital.org:8443/", "/dns/peers.hospital.org/tcp/8443/tls/ws"),
        ("/dns4/peers.hospital.org/tcp/443/wss", "/dns4/peers.hospital.org/tcp/443/tls/ws"),
    ],
)
def test_an_owner_gives_a_host_and_a_port_or_the_address_of_a_web_server(given: str, multiaddr: str) -> None:
    assert NodeAddress.of_owner(given).text == multiaddr


@pytest.mark.parametrize(
    "given",
    ["", "192.0.2.7", "peers.org", "peers.org:", "a:b:c", "https://peers.org", "ws://peers.org/path", "ws://u:p@a.org"],
)
def test_what_an_owner_gives_has_to_say_a_port_and_nothing_that_a_node_cannot_do(given: str) -> None:
    with pytest.raises(BadAddress):
        NodeAddress.of_owner(given)


@pytest.mark.parametrize(
    ("host", "scope"),
    [
        ("127.0.0.9", Scope.MACHINE),
        ("::1", Scope.MACHINE),
        ("0.0.0.0", Scope.MACHINE),
        ("::ffff:127.0.0.1", Scope.MACHINE),
        ("169.254.1.1", Scope.LINK),
        ("224.0.0.1", Scope.LINK),
        ("fe80::1", Scope.LINK),
        ("10.1.2.3", Scope.PRIVATE),
        ("100.64.0.1", Scope.PRIVATE),
        ("fd00::1", Scope.PRIVATE),
        ("9.9.9.9", Scope.WORLD),
        ("2620:fe::9", Scope.WORLD),
        ("fec0::1", Scope.PRIVATE),
        ("64:ff9b::a01:203", Scope.PRIVATE),  # 10.1.2.3 behind NAT64
        ("64:ff9b::909:909", Scope.WORLD),
        ("64:ff9b:1::a01:203", Scope.PRIVATE),
        ("2002:7f00:1::", Scope.MACHINE),  # 127.0.0.1 by 6to4
        ("::10.1.2.3", Scope.PRIVATE),
    ],
)
def test_an_ip_address_tells_who_can_reach_it(host: str, scope: Scope) -> None:
    kind = HostKind.IP6 if ":" in host else HostKind.IP4
    assert NodeAddress(kind, host, 1).scope == scope


@pytest.mark.parametrize(
    ("name", "scope"),
    [("localhost", Scope.MACHINE), ("a.localhost", Scope.MACHINE), ("localhost.org", Scope.WORLD)],
)
def test_a_name_may_lead_anywhere_but_for_those_of_the_machine(name: str, scope: Scope) -> None:
    assert NodeAddress(HostKind.DNS, name, 1).scope == scope


def test_an_address_that_names_a_node_keeps_its_name() -> None:
    address = NodeAddress.parse(f"/ip4/192.0.2.7/tcp/4001/p2p/{NODE}")
    assert address.at(RSA) == address
    assert NodeAddress.parse("/ip4/192.0.2.7/tcp/4001").at(NODE) == address
