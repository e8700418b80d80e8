"""Where a home's node listens, and what it tells others: what the owner says, and what follows from it."""

from __future__ import annotations

import pytest

from peer.engine.kubo.reach import AskedReach, Reach
from protocol.wire.node_address import BadAddress

NODE = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
LOOPBACK, DOCKER, LAN, PUBLIC = (
    f"/ip4/{ip}/tcp/4001/p2p/{NODE}" for ip in ("127.0.0.1", "172.17.0.1", "10.0.0.5", "9.9.9.9")
)
PUBLIC6 = f"/ip6/2620:fe::9/tcp/4001/p2p/{NODE}"


def reach(listen: str = "", announce: str = "", *, internal: bool | None = None) -> Reach:
    return AskedReach.parse(listen.split(), announce.split(), internal).over(Reach())


def test_a_node_listens_where_its_owner_says() -> None:
    listens = reach("0.0.0.0 10.0.0.5:4001 ws://127.0.0.1:8081 [::1]:4001 ws://[::]:80").listen
    assert [listen.multiaddr(7) for listen in listens] == [
        "/ip4/0.0.0.0/tcp/7",
        "/ip4/10.0.0.5/tcp/4001",
        "/ip4/127.0.0.1/tcp/8081/ws",
        "/ip6/::1/tcp/4001",
        "/ip6/::/tcp/80/ws",
    ]


@pytest.mark.parametrize("listen", ["peers.org:4001", "wss://10.0.0.5:443", "ws://10.0.0.5", "10.0.0.5:0", "10.0.0"])
def test_a_node_cannot_listen_elsewhere(listen: str) -> None:
    with pytest.raises(BadAddress):
        reach(listen)


@pytest.mark.parametrize("announce", ["0.0.0.0:4001", "[::]:4001", "none peers.org:1", "peers.org"])
def test_what_nobody_could_reach_is_not_announced(announce: str) -> None:
    with pytest.raises(BadAddress):
        reach(announce=announce)


def test_what_is_announced_is_all_that_others_are_told_with_the_nodes_name() -> None:
    told = reach(announce="wss://peers.org").told(NODE, [LAN, LOOPBACK])
    assert told == (f"/dns/peers.org/tcp/443/tls/ws/p2p/{NODE}",)


def test_internal_addresses_are_told_beside_it_if_the_owner_asks() -> None:
    told = reach(announce="peers.org:4001", internal=True).told(NODE, [LOOPBACK, LAN])
    assert told == (f"/dns/peers.org/tcp/4001/p2p/{NODE}", LAN, LOOPBACK)


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ([LOOPBACK], (LOOPBACK,)),
        ([LOOPBACK, LAN, DOCKER], (LAN, DOCKER)),
        ([LOOPBACK, LAN, PUBLIC], (PUBLIC,)),
        ([LAN, PUBLIC6], (PUBLIC6, LAN)),  # one of each kind, because not everybody has both
        ([], ()),
    ],
)
def test_of_all_a_machines_addresses_those_that_reach_farthest_are_told(own: list[str], told: tuple[str, ...]) -> None:
    assert reach("0.0.0.0").told(NODE, own) == told


def test_an_address_that_the_owner_named_to_listen_at_is_told() -> None:
    assert reach("10.0.0.5:4001 9.9.9.9:4001").told(NODE, [LAN, PUBLIC]) == (PUBLIC, LAN)


def test_what_an_owner_does_not_say_stays_as_it_was() -> None:
    known = reach("10.0.0.5:4001", "peers.org:4001", internal=True)
    assert AskedReach.parse([], [], None).over(known) == known
    assert AskedReach.parse([], ["none"], None).over(known) == reach("10.0.0.5:4001", internal=True)


def test_a_home_remembers_it_as_text() -> None:
    known = reach("0.0.0.0 ws://[::1]:80", f"/dns4/peers.org/tcp/443/wss/p2p/{NODE} 9.9.9.9:1", internal=True)
    assert Reach.from_text(known.to_text()) == known


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"listen": [1], "announce": [], "internal": 0}'])
def test_a_text_that_no_home_wrote_is_refused(text: str) -> None:
    with pytest.raises(BadAddress):
        Reach.from_text(text)
