"""``peer federation``: founding, changing, handing over and joining, as people do it."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Peer

from crypto.identity import Identity, PublicIdentity
from peer.base.errors import ExitCode, PeerError
from peer.home.federations import FederationStore, StoredFederation, read_federation
from peer.home.home import Home
from peer.home.keystore import KeyStore
from peer.membership.changes import find_member, require_role
from protocol.records.bodies import Role

Peers = Callable[[str], Peer]


@pytest.fixture
def member(peers: Peers) -> Peer:
    """Somebody with an identity, in no federation yet."""
    return peers("member").named("b")


def export(admin: Peer, file: Path) -> Path:
    assert admin("federation", "export", file, "--address", "local:/engine").code == 0
    return file


def stored(peer: Peer) -> StoredFederation:
    return FederationStore(Home(peer.home)).current()


def test_the_founder_is_admin_and_server(admin: Peer) -> None:
    shown = admin("federation", "show", "--json").json
    assert (shown["name"], shown["version"]) == ("trial", 1)
    assert [(each["name"], each["roles"], each["admin"]) for each in shown["members"]] == [
        ("hospital-a", ["server"], True)
    ]


def test_founding_without_encryption_says_so_once(peers: Peers) -> None:
    founder = peers("founder").named("a")
    assert founder("federation", "init", "one", "--no-encrypt").out.count("is not encrypted") == 1
    assert "is not encrypted" not in founder("federation", "init", "two").out


def test_a_name_is_founded_once_in_a_home(admin: Peer) -> None:
    again = admin("federation", "init", "trial")
    assert again.code == ExitCode.WRONG_USE
    assert "already" in again.err


def test_an_impossible_name_is_refused(admin: Peer) -> None:
    assert "printable" in admin("federation", "init", "two\nlines").err


def test_founding_needs_an_identity(peers: Peers) -> None:
    outcome = peers("nobody")("federation", "init", "trial")
    assert outcome.code == ExitCode.WRONG_USE
    assert "peer keys init" in outcome.err


def test_a_member_is_added_with_its_roles(admin: Peer, member: Peer) -> None:
    outcome = admin(
        "federation", "add", member.key_for(admin), "--name", "b", "--role", "client", "--role", "auditor", "--json"
    )
    assert outcome.json["version"] == 2
    assert {each["name"]: each["roles"] for each in outcome.json["members"]}["b"] == ["client", "auditor"]


def test_a_key_that_names_no_federation_is_taken_by_any(admin: Peer, member: Peer) -> None:
    assert admin("federation", "add", member.key, "--name", "b", "--role", "client").code == ExitCode.DONE


def test_a_key_that_names_another_federation_is_refused(admin: Peer, member: Peer, peers: Peers) -> None:
    other = peers("other").named("other")
    other("federation", "init", "theirs")
    outcome = admin("federation", "add", member.key_for(other), "--name", "b", "--role", "client")
    assert outcome.code == ExitCode.WRONG_USE
    assert "peer keys show --federation bafy" in outcome.err


def test_adding_a_member_again_changes_its_roles(admin: Peer, member: Peer) -> None:
    admin("federation", "add", member.key_for(admin), "--name", "b", "--role", "client")
    outcome = admin("federation", "add", member.key_for(admin), "--name", "b", "--role", "auditor", "--json")
    assert {each["name"]: each["roles"] for each in outcome.json["members"]}["b"] == ["auditor"]


def test_two_members_cannot_have_one_name(admin: Peer, member: Peer) -> None:
    outcome = admin("federation", "add", member.key_for(admin), "--name", "hospital-a", "--role", "client")
    assert outcome.code == ExitCode.WRONG_USE
    assert "nobody in the federation has" in outcome.err
    assert stored(admin).manifest.version == 1


def test_what_is_no_key_is_refused(admin: Peer) -> None:
    outcome = admin("federation", "add", "z6Mk", "--name", "b", "--role", "client")
    assert outcome.code == ExitCode.WRONG_USE
    assert "peer keys show" in outcome.err


def test_what_is_no_role_is_refused(admin: Peer, member: Peer) -> None:
    outcome = admin("federation", "add", member.key_for(admin), "--name", "b", "--role", "boss")
    assert outcome.code == ExitCode.WRONG_USE
    assert "'server', 'client', 'auditor'" in outcome.err


def test_a_member_is_removed_by_name(admin: Peer, member: Peer) -> None:
    admin("federation", "add", member.key_for(admin), "--name", "b", "--role", "client")
    outcome = admin("federation", "remove", "b", "--json")
    assert [each["name"] for each in outcome.json["members"]] == ["hospital-a"]


def test_a_member_with_another_key_as_its_name_is_not_taken_for_its_owner(admin: Peer, peers: Peers) -> None:
    keys = [peers(name).named(name).key_for(admin) for name in "bc"]
    first, second = sorted(keys, key=lambda key: PublicIdentity.parse_key_text(key).id)
    did = PublicIdentity.parse_key_text(second).signing.did
    admin("federation", "add", first, "--name", did, "--role", "client")
    admin("federation", "add", second, "--name", "c", "--role", "client")
    assert find_member(stored(admin).manifest, did).id == PublicIdentity.parse_key_text(second).id


def test_removing_nobody_is_refused(admin: Peer) -> None:
    outcome = admin("federation", "remove", "nobody")
    assert outcome.code == ExitCode.WRONG_USE
    assert "peer federation show" in outcome.err


def test_only_an_admin_changes_it(admin: Peer, member: Peer, tmp_path: Path) -> None:
    member("federation", "join", export(admin, tmp_path / "file"))
    outcome = member("federation", "remove", "hospital-a")
    assert outcome.code == ExitCode.WRONG_USE
    assert "no admin" in outcome.err


def test_the_exported_file_is_its_owners_alone(admin: Peer, tmp_path: Path) -> None:
    assert stat.S_IMODE(export(admin, tmp_path / "file").stat().st_mode) == 0o600


def test_a_member_that_joins_has_all_the_admin_has(admin: Peer, member: Peer, tmp_path: Path) -> None:
    admin("federation", "add", member.key_for(admin), "--name", "b", "--role", "client")
    outcome = member("federation", "join", export(admin, tmp_path / "file"), "--json")
    assert outcome.json["you"][0]["roles"] == ["client"]
    assert stored(member) == stored(admin)
    assert stored(member).addresses == ("local:/engine",)


def test_a_member_that_joins_where_all_use_a_directory_is_told_to_start_with_it(
    admin: Peer, member: Peer, tmp_path: Path
) -> None:
    admin("federation", "add", member.key_for(admin), "--name", "b", "--role", "client")

    said = member("federation", "join", export(admin, tmp_path / "file")).out

    assert "next: peer start --role client --ipfs local:/engine" in said


def test_joining_before_being_added_says_what_to_do(admin: Peer, member: Peer, tmp_path: Path) -> None:
    outcome = member("federation", "join", export(admin, tmp_path / "file"))
    assert outcome.code == 0
    assert "peer keys show --federation" in outcome.out
    federation = str(stored(member).id)
    assert outcome.out.splitlines()[0].count(federation[:14]) == 1, "who reads no name is told the id once"


def test_joining_again_takes_in_the_newer_version(admin: Peer, member: Peer, tmp_path: Path) -> None:
    member("federation", "join", export(admin, tmp_path / "old"))
    admin("federation", "add", member.key_for(admin), "--name", "b", "--role", "client")
    member("federation", "join", export(admin, tmp_path / "new"))
    assert stored(member).manifest == stored(admin).manifest


def test_joining_the_same_version_twice_is_harmless(admin: Peer, member: Peer, tmp_path: Path) -> None:
    file = export(admin, tmp_path / "file")
    member("federation", "join", file)
    assert member("federation", "join", file).code == 0


def test_an_older_file_is_refused(admin: Peer, member: Peer, tmp_path: Path) -> None:
    old = export(admin, tmp_path / "old")
    admin("federation", "add", member.key_for(admin), "--name", "b", "--role", "client")
    member("federation", "join", export(admin, tmp_path / "new"))
    outcome = member("federation", "join", old)
    assert outcome.code == ExitCode.WRONG_USE
    assert "older" in outcome.err
    assert stored(member).manifest.version == 2


def test_another_branch_is_refused_as_somebodys_fault(admin: Peer, member: Peer, tmp_path: Path) -> None:
    before = stored(admin)
    admin("federation", "add", member.key_for(admin), "--name", "b", "--role", "client")
    member("federation", "join", export(admin, tmp_path / "one"))
    FederationStore(Home(admin.home)).save(before)  # a home put back from a copy
    admin("federation", "add", member.key_for(admin), "--name", "c", "--role", "client")
    outcome = member("federation", "join", export(admin, tmp_path / "other"))
    assert outcome.code == ExitCode.VERIFICATION_FAILED
    assert "two branches" in outcome.err


def test_another_federation_of_the_same_name_is_refused(
    admin: Peer, member: Peer, peers: Peers, tmp_path: Path
) -> None:
    admin("federation", "add", member.key_for(admin), "--name", "b", "--role", "client")
    member("federation", "join", export(admin, tmp_path / "file"))
    impostor = peers("impostor").named("x")
    impostor("federation", "init", "trial")
    impostor("federation", "add", member.key_for(impostor), "--name", "b", "--role", "client")
    outcome = member("federation", "join", export(impostor, tmp_path / "forged"))
    assert outcome.code == ExitCode.WRONG_USE
    assert "another federation that is called" in outcome.err


def test_no_bit_of_the_file_can_change_unseen_but_for_the_swarm_key_and_addresses(admin: Peer, tmp_path: Path) -> None:
    data = export(admin, tmp_path / "file").read_bytes()
    for position in range(0, len(data), 7):
        spoiled = bytearray(data)
        spoiled[position] ^= 1 << position % 8
        (tmp_path / "spoiled").write_bytes(spoiled)
        with pytest.raises(PeerError):
            read_federation(tmp_path / "spoiled")


def test_a_file_cut_short_is_refused_with_the_fix(admin: Peer, member: Peer, tmp_path: Path) -> None:
    file = export(admin, tmp_path / "file")
    file.write_bytes(file.read_bytes()[:-10])
    outcome = member("federation", "join", file)
    assert outcome.code == ExitCode.WRONG_USE
    assert "send it again" in outcome.err


def test_a_file_that_is_not_there_is_refused(member: Peer, tmp_path: Path) -> None:
    assert "cannot be read" in member("federation", "join", tmp_path / "absent").err


def test_a_home_in_several_federations_asks_which(admin: Peer) -> None:
    admin("federation", "init", "second")
    assert "--federation" in admin("federation", "show").err
    assert admin("federation", "show", "--federation", "second", "--json").json["name"] == "second"


def test_a_home_in_none_says_how_to_join(member: Peer) -> None:
    assert "join one with a ticket (peer join)" in member("federation", "show").err


def test_a_running_peer_can_see_the_change(admin: Peer, member: Peer) -> None:
    store = FederationStore(Home(admin.home))
    before = store.stamp(stored(admin).id)
    admin("federation", "add", member.key_for(admin), "--name", "b", "--role", "client")
    assert store.stamp(stored(admin).id) != before


def test_a_file_is_verified_once_and_again_when_it_has_changed(
    admin: Peer, member: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FederationStore(Home(admin.home))
    read: list[Path] = []
    monkeypatch.setattr(
        "peer.home.federations.read_federation", lambda path: read.append(path) or read_federation(path)
    )
    federation = store.current().id
    for _ in range(3):
        store.get(federation)
    assert len(read) == 1
    admin("federation", "add", member.key, "--name", "m", "--role", "client")
    read.clear()
    found = store.get(federation)
    assert found is not None
    assert (found.manifest.version, len(read)) == (2, 1)


def test_a_stranger_is_told_how_to_be_added(admin: Peer) -> None:
    with pytest.raises(PeerError, match="not in the federation") as raised:
        require_role(stored(admin).manifest, Identity.generate("stranger").public, Role.CLIENT)
    assert "peer federation add KEY" in raised.value.fix


def test_a_member_in_the_wrong_role_is_told_its_own(admin: Peer) -> None:
    founder = KeyStore(admin.home).public().public
    with pytest.raises(PeerError, match="is server in the federation trial, not client") as raised:
        require_role(stored(admin).manifest, founder, Role.CLIENT)
    assert "--role server" in raised.value.fix


def test_a_file_in_no_folder_is_refused_with_what_makes_it(admin: Peer, tmp_path: Path) -> None:
    refused = admin("federation", "export", tmp_path / "nowhere" / "file", "--address", "local:/engine")
    assert (refused.code, f"mkdir -p {tmp_path / 'nowhere'}" in refused.err) == (ExitCode.WRONG_USE, True)


@pytest.mark.parametrize(
    ("command", "fix"),
    [
        (("federation", "sign", "x"), "peer federation proposals"),
        (("app", "approve", "x"), "peer app list"),
        (("show", "x"), "peer import FILE.car"),
    ],
)
def test_what_is_no_cid_is_refused_with_what_shows_some(admin: Peer, command: tuple[str, ...], fix: str) -> None:
    refused = admin(*command)
    assert (refused.code, fix in refused.err) == (ExitCode.WRONG_USE, True)
