"""``peer federation bootstrap``: the addresses by which members find each other again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Outcome, Peer

from peer.base.errors import ExitCode
from peer.home.federations import FederationStore
from peer.home.home import Home

NODE = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
WEB = f"/dns/peers.hospital.org/tcp/443/tls/ws/p2p/{NODE}"
LAN = f"/ip4/10.0.0.5/tcp/4001/p2p/{NODE}"


def bootstrap(peer: Peer, *options: str) -> Outcome:
    return peer("federation", "bootstrap", *options)


def named(peer: Peer) -> list[str]:
    """The addresses in the manifest of its home."""
    return [each["address"] for each in bootstrap(peer, "--json").json["bootstrap"]]


def test_an_admin_names_addresses_and_takes_them_out_again(admin: Peer) -> None:
    assert bootstrap(admin, "--add", LAN, "--add", WEB).code == ExitCode.DONE
    assert named(admin) == sorted([WEB, LAN])
    assert bootstrap(admin, "--remove", LAN).code == ExitCode.DONE
    assert named(admin) == admin("federation", "show", "--json").json["bootstrap"] == [WEB]


def test_a_member_dials_them_before_what_its_file_says(
    admin: Peer, peers: Callable[[str], Peer], tmp_path: Path
) -> None:
    member = peers("member").named("b")
    admin("federation", "add", member.key_for(admin), "--name", "b", "--role", "client")
    bootstrap(admin, "--add", WEB)
    admin("federation", "export", tmp_path / "file", "--address", LAN)
    assert member("federation", "join", tmp_path / "file").code == ExitCode.DONE
    assert FederationStore(Home(member.home)).current().reached_at == (WEB, LAN)


def test_other_changes_keep_them(admin: Peer, peers: Callable[[str], Peer]) -> None:
    bootstrap(admin, "--add", WEB)
    admin("federation", "add", peers("member").named("b").key_for(admin), "--name", "b", "--role", "client")
    assert named(admin) == [WEB]


def test_a_node_on_loopback_is_told_how_others_reach_it(admin: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    loopback = f"/ip4/127.0.0.1/tcp/4001/p2p/{NODE}"
    monkeypatch.setattr("peer.cli.federation.bootstrap.addresses_for_others", lambda *_: (loopback,))
    outcome = bootstrap(admin, "--add-own")
    assert outcome.code == ExitCode.WRONG_USE
    assert "start it with --listen IP:PORT" in outcome.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--add", f"/ip4/127.0.0.1/tcp/4001/p2p/{NODE}"], "other machines can reach"),
        (["--add", "nonsense"], "no place where others reach"),
        (["--add", "local:/engine"], "a directory is no address"),
        (["--remove", WEB], "does not have the address"),
        ([word for n in range(17) for word in ("--add", f"/ip4/10.0.0.{n}/tcp/1/p2p/{NODE}")], "16 at most"),
    ],
)
def test_what_cannot_be_an_address_of_the_manifest_is_refused(admin: Peer, options: list[str], words: str) -> None:
    refused = bootstrap(admin, *options)
    assert (refused.code, named(admin)) == (ExitCode.WRONG_USE, [])
    assert words in refused.err


def test_only_admins_change_them(admin: Peer, peers: Callable[[str], Peer], tmp_path: Path) -> None:
    member = peers("member").named("b")
    admin("federation", "add", member.key_for(admin), "--name", "b", "--role", "client")
    admin("federation", "export", tmp_path / "file", "--address", LAN)
    member("federation", "join", tmp_path / "file")
    assert "is no admin" in bootstrap(member, "--add", WEB).err
