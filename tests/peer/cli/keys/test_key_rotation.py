"""``peer keys rotate`` and ``peer keys revoke``: what they change in a home and in its federations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Peer

from crypto.identity import PublicIdentity
from peer.base.errors import ExitCode, PeerError
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.membership.changes import require_role
from protocol.records.bodies import Member, Role

Peers = Callable[[str], Peer]


@pytest.fixture
def member(peers: Peers, admin: Peer, tmp_path: Path) -> Peer:
    """A client that has joined it."""
    peer = peers("member").named("b")
    assert admin("federation", "add", peer.key_for(admin), "--name", "b", "--role", "client").code == 0
    hand_over(admin, peer, tmp_path)
    return peer


def hand_over(admin: Peer, peer: Peer, folder: Path) -> None:
    """The federation's file, from home to home."""
    assert admin("federation", "export", folder / "file", "--address", "local:/engine").code == 0
    assert peer("federation", "join", folder / "file").code == 0


def stored(peer: Peer) -> StoredFederation:
    return FederationStore(Home(peer.home)).current()


def public(peer: Peer) -> PublicIdentity:
    return KeyStore(peer.home).public().public


def listed(admin: Peer, peer: Peer) -> Member:
    """The peer as the admin's home lists it."""
    return stored(admin).manifest.members[public(peer).id]


def test_an_admin_that_rotates_is_the_same_admin_and_member_at_once(admin: Peer) -> None:
    before = public(admin)
    rotated = admin("keys", "rotate", "--json").json
    now, manifest = public(admin), stored(admin).manifest
    assert (now.id, now.signing != before.signing, now.encryption != before.encryption) == (before.id, True, True)
    assert (rotated["did"], rotated["federations"]) == (now.signing.did, {str(stored(admin).id): 2})
    assert (manifest.version, manifest.admins) == (2, (now.signing.raw,))
    assert listed(admin, admin).signing == now.signing.raw
    assert listed(admin, admin).roles == (Role.SERVER,)


def test_an_admin_may_rotate_again_and_still_change_the_federation(admin: Peer, peers: Peers) -> None:
    admin("keys", "rotate")
    admin("keys", "rotate")
    other = peers("other").named("c")
    assert admin("federation", "add", other.key_for(admin), "--name", "c", "--role", "client").code == 0
    assert stored(admin).manifest.version == 4


def test_a_member_that_rotates_is_taken_over_from_its_key_with_name_and_role_as_they_were(
    admin: Peer, member: Peer, tmp_path: Path
) -> None:
    said = member("keys", "rotate").out
    assert f"until an admin (hospital-a) runs this:\npeer federation add {member.key_for(admin)}" in said
    assert admin("federation", "add", member.key_for(admin)).code == 0
    assert (listed(admin, member).signing, listed(admin, member).roles) == (public(member).signing.raw, (Role.CLIENT,))
    hand_over(admin, member, tmp_path)
    require_role(stored(member).manifest, public(member), Role.CLIENT)


def test_two_rotations_between_two_versions_are_one_hand_over(admin: Peer, member: Peer) -> None:
    member("keys", "rotate")
    member("keys", "rotate")
    assert admin("federation", "add", member.key_for(admin)).code == 0
    assert listed(admin, member).signing == public(member).signing.raw


def test_an_older_key_is_not_taken(admin: Peer, member: Peer) -> None:
    older = member.key_for(admin)
    member("keys", "rotate")
    admin("federation", "add", member.key_for(admin))
    refused = admin("federation", "add", older)
    assert (refused.code, "that KEY is older than" in refused.err) == (ExitCode.WRONG_USE, True)


def test_a_newcomer_that_has_rotated_keeps_its_first_key_as_its_id(admin: Peer, peers: Peers) -> None:
    other = peers("other").named("c")
    other("keys", "rotate")
    assert admin("federation", "add", other.key_for(admin), "--name", "c", "--role", "client").code == 0
    assert listed(admin, other).signing == public(other).signing.raw


def test_an_identity_that_has_rotated_may_found_a_federation(peers: Peers) -> None:
    founder = peers("founder").named("d")
    founder("keys", "rotate")
    assert founder("federation", "init", "later").code == 0
    assert stored(founder).manifest.admins == (public(founder).signing.raw,)


def test_a_newcomer_needs_a_name_and_a_role(admin: Peer, peers: Peers) -> None:
    refused = admin("federation", "add", peers("other").named("c").key_for(admin))
    assert (refused.code, "--role client" in refused.err) == (ExitCode.WRONG_USE, True)


def test_rotating_keeps_the_passphrase_and_the_keys_before(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLLEN_PASSPHRASE", "open sesame")
    peer = peers("locked")
    peer("keys", "init", "--name", "a")
    passphrases = Passphrases(environ={"POLLEN_PASSPHRASE": "open sesame"})
    before = KeyStore(peer.home).load("a", passphrases)
    assert peer("keys", "rotate").code == 0
    after = KeyStore(peer.home).load("a", passphrases)
    assert KeyStore(peer.home).public().locked
    assert after.signing_keys[1].verify_key == before.signing.verify_key
    assert after.decryption_keys[1].public == before.decryption.public


def test_a_home_with_older_keys_than_the_federation_is_told_so(admin: Peer, member: Peer) -> None:
    older = public(member)
    member("keys", "rotate")
    admin("federation", "add", member.key_for(admin))
    with pytest.raises(PeerError, match="this home has older ones"):
        require_role(stored(admin).manifest, older, Role.CLIENT)


def test_a_revoked_member_is_out_and_stays_out(admin: Peer, member: Peer) -> None:
    revoked = admin("keys", "revoke", "b", "--json").json
    assert revoked["revoked"] == [public(member).signing.did]
    assert public(member).id not in stored(admin).manifest.members
    assert admin("federation", "show", "--json").json["revoked"] == revoked["revoked"]
    assert "1, which never count again" in admin("federation", "show").out
    again = admin("federation", "add", member.key_for(admin), "--name", "b", "--role", "client")
    assert (again.code, "peer keys init" in again.err) == (ExitCode.WRONG_USE, True)
    assert "was revoked in this federation" in again.err


def test_an_admin_does_not_revoke_itself(admin: Peer) -> None:
    refused = admin("keys", "revoke", "hospital-a")
    assert (refused.code, "peer keys rotate" in refused.err) == (ExitCode.WRONG_USE, True)


def test_only_an_admin_revokes(member: Peer) -> None:
    assert member("keys", "revoke", "hospital-a").code == ExitCode.WRONG_USE
