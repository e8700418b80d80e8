"""What is dialled if the machine has a web proxy."""

from __future__ import annotations

import os

import pytest

from peer.engine.kubo.web_proxy import dialled

NODE = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
WEB = f"/dns4/peers.hospital.org/tcp/443/tls/ws/p2p/{NODE}"
NAMED = f"/ip4/192.0.2.1/tcp/443/tls/sni/peers.hospital.org/ws/p2p/{NODE}"


@pytest.fixture(autouse=True)
def proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.clinic.org:8080")


def test_a_name_is_left_to_the_proxy_and_looked_up_only_if_that_fails() -> None:
    assert dialled(WEB) == [NAMED, WEB]


@pytest.mark.parametrize(
    "address",
    [
        f"/dns4/peers.hospital.org/tcp/4001/p2p/{NODE}",
        f"/ip4/10.0.0.5/tcp/80/ws/p2p/{NODE}",
        NAMED,
        f"/ip4/10.0.0.5/udp/4001/quic-v1/p2p/{NODE}",
    ],
)
def test_other_addresses_are_dialled_as_they_are(address: str) -> None:
    assert dialled(address) == [address]


@pytest.mark.parametrize(("variable", "value"), [("NO_PROXY", ".hospital.org"), ("HTTPS_PROXY", "")])
def test_a_name_that_is_not_for_the_proxy_is_dialled_as_it_is(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert dialled(WEB) == [WEB]
