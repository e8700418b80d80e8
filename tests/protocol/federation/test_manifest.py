"""Which manifests are trusted, and what one says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from chains import (
    ADMIN,
    ALICE,
    BOB,
    DAVE,
    MEMBERS,
    SECOND,
    SERVER,
    STRANGER,
    TIME,
    Blocks,
    begun,
    id_of,
    key,
    member,
    node_of,
    rotated,
    unsigned_federation,
)
from hypothesis import given
from hypothesis import strategies as st

from crypto.keys import SigningKey
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import Block, MissingBlock, encode_cbor, raw_block
from protocol.blocks.listing import Listing, pack
from protocol.blocks.typed import to_plain
from protocol.federation.manifest import (
    MAX_NAME,
    Manifest,
    ManifestError,
    ManifestRule,
    Settings,
    first_manifest,
    next_manifest,
    node_id,
)
from protocol.federation.unsigned_versions import next_version, with_member, without_member
from protocol.records.bodies import MAX_ADDRESS, MAX_ADDRESSES, EncryptionKeyText, Federation, FederationPrivate, Role
from protocol.records.signed_records import Record, parse_record, private_bytes, sign_record

SECOND_ADMIN, THIRD_ADMIN = key("second admin"), key("third admin")


def signed(body: Federation, *admins: SigningKey) -> Record:
    return parse_record(sign_record(body, admins or [ADMIN]))


def first(body: Federation, *admins: SigningKey) -> Manifest:
    return first_manifest(signed(body, *admins), Blocks())


FIRST = first(unsigned_federation().body)
NEXT = {"by": id_of(ADMIN), "time": TIME}


# -- what a manifest says ------------------------------------------------------------------------------------------


def test_a_node_id_is_63_bits_of_the_hash_of_the_member_id():
    assert node_id(bytes(32)) == 0x66687AADF862BD77
    assert all(0 <= node_id(bytes([n]) * 32) < 2**63 for n in range(256))


def test_a_manifest_finds_members_by_key_and_by_node():
    alice = MEMBERS["alice"]
    assert FIRST.member_by_key(id_of(ALICE)) == alice == FIRST.member_by_node(node_of(ALICE))
    assert FIRST.member_by_key(id_of(STRANGER)) is FIRST.member_by_node(node_of(STRANGER)) is None


def test_a_manifest_lists_the_nodes_of_a_role_in_rising_order():
    servers = FIRST.nodes_of(Role.SERVER)
    assert servers == tuple(sorted([node_of(SERVER), node_of(SECOND)]))


def test_people_see_names_and_else_the_did():
    assert FIRST.name_of(id_of(ALICE)) == "alice"
    assert FIRST.name_of(id_of(DAVE)) == DAVE.verify_key.did
    assert FIRST.name_of(bytes(32)).startswith("did:key:z")


def test_the_federation_is_the_first_versions_cid():
    assert FIRST.federation == FIRST.cid
    second = next_manifest(FIRST, signed(next_version(FIRST, **NEXT).body), Blocks())
    assert (second.federation, second.version) == (FIRST.cid, 2)


def test_a_manifest_cannot_be_changed():
    with pytest.raises(TypeError):
        FIRST.members[id_of(DAVE)] = member(DAVE, Role.SERVER)  # type: ignore[index]  # that is the point


def test_a_manifest_of_many_members_spills_into_blocks():
    many = {str(n): member(key(f"member {n}"), Role.CLIENT) for n in range(600)}
    unsigned = unsigned_federation(many, names={})
    source = Blocks()
    source.add(*unsigned.blocks)
    record = signed(unsigned.body)
    assert len(first_manifest(record, source).nodes_of(Role.CLIENT)) == 600
    with pytest.raises(MissingBlock):
        first_manifest(record, Blocks())


def test_an_encrypted_private_part_leaves_defaults():
    manifest = first(unsigned_federation(key=SymmetricKey.generate()).body)
    assert (manifest.name, dict(manifest.names), manifest.settings) == ("", {}, Settings())


def test_settings_that_are_not_named_have_their_defaults():
    settings = Settings(max_reason_chars=7)
    assert settings.pairs() == (("max_reason_chars", 7),)
    assert Settings.parse(settings.pairs()) == settings
    assert first(unsigned_federation(settings=settings).body).settings == settings


# -- unsigned versions -----------------------------------------------------------------------------------------------


def test_with_member_adds_or_replaces_one():
    unsigned = with_member(FIRST, member(DAVE, Role.CLIENT, place=FIRST.federation), "dave", **NEXT)
    second = next_manifest(FIRST, signed(unsigned.body), Blocks())
    assert second.name_of(id_of(DAVE)) == "dave"
    unsigned = with_member(second, member(DAVE, Role.AUDITOR, place=FIRST.federation), "auditor dave", **NEXT)
    third = next_manifest(second, signed(unsigned.body), Blocks())
    assert third.members[id_of(DAVE)].roles == (Role.AUDITOR,)
    assert len(third.members) == len(FIRST.members) + 1


def test_without_member_removes_one_and_its_name():
    unsigned = without_member(FIRST, id_of(BOB), **NEXT)
    second = next_manifest(FIRST, signed(unsigned.body), Blocks())
    assert id_of(BOB) not in second.members
    assert id_of(BOB) not in second.names


# -- succession ----------------------------------------------------------------------------------------------------


def two_of_three() -> Manifest:
    """A federation with three admins, two of whom have to sign."""
    admins = [id_of(each) for each in (ADMIN, SECOND_ADMIN, THIRD_ADMIN)]
    return first(unsigned_federation(admins=admins, threshold=2).body, ADMIN, SECOND_ADMIN, THIRD_ADMIN)


def test_new_admins_need_the_old_ones_too():
    old = two_of_three()
    unsigned = next_version(old, admins=[id_of(STRANGER)], threshold=1, by=id_of(STRANGER), time=TIME)
    new = next_manifest(old, signed(unsigned.body, STRANGER, ADMIN, THIRD_ADMIN), Blocks())
    assert new.admins == (id_of(STRANGER),)
    assert broken(lambda: next_manifest(old, signed(unsigned.body, STRANGER, ADMIN), Blocks())) == (
        ManifestRule.OLD_SIGNERS
    )
    assert broken(lambda: next_manifest(old, signed(unsigned.body, ADMIN, THIRD_ADMIN), Blocks())) == (
        ManifestRule.SIGNERS
    )


@pytest.mark.parametrize("change", [{}, {"threshold": 1}, {"admins": [id_of(ADMIN)], "threshold": 1}])
def test_one_admin_of_several_changes_nothing_alone(change: dict[str, Any]):
    old = two_of_three()
    unsigned = next_version(old, by=id_of(ADMIN), time=TIME, **change)
    for signers in ([ADMIN], [ADMIN, STRANGER]):
        rule = broken(lambda signers=signers: next_manifest(old, signed(unsigned.body, *signers), Blocks()))
        assert rule in (ManifestRule.SIGNERS, ManifestRule.OLD_SIGNERS, ManifestRule.SIGNATURE)
    assert next_manifest(old, signed(unsigned.body, ADMIN, THIRD_ADMIN), Blocks()).version == old.version + 1


def test_a_member_may_get_a_new_signing_key():
    alice = rotated(MEMBERS["alice"], ALICE, STRANGER, place=FIRST.federation)
    second = next_manifest(FIRST, signed(with_member(FIRST, alice, "alice", **NEXT).body), Blocks())
    assert second.member_by_key(id_of(STRANGER)) == alice
    assert second.member_by_key(id_of(ALICE)) is None
    assert second.member_by_node(node_of(ALICE)) == alice


def broken(check: Callable[[], object]) -> ManifestRule:
    """The rule that ``check`` finds broken."""
    with pytest.raises(ManifestError) as caught:
        check()
    return caught.value.rule


BODY = unsigned_federation().body
SUCCESSOR = next_version(FIRST, **NEXT).body


def members_of(*members: object) -> Federation:
    return replace(BODY, members=pack(to_plain(sorted(members, key=lambda each: each.id)))[0], private=private())


def private(name: str = "trial", names: tuple = (), settings: tuple = ()) -> bytes:
    return private_bytes(FederationPrivate(name=name, names=names, settings=settings))


NODE, OTHER_NODE = (
    "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X",
    "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
)
ADDRESSES = (
    f"/dns4/peers.hospital.org/tcp/443/tls/ws/p2p/{NODE}",
    f"/ip4/10.0.0.5/tcp/4001/p2p/{OTHER_NODE}",
)


def addressed(*addresses: object) -> Federation:
    """A version with these addresses, written whatever they are."""
    value = {"name": "trial", "names": [], "settings": [], "addresses": list(addresses)}
    return replace(BODY, private=encode_cbor(value))


ALICE_MEMBER, BOB_MEMBER = MEMBERS["alice"], MEMBERS["bob"]
IN_ORDER = tuple(sorted([(id_of(ALICE), "alice"), (id_of(BOB), "bob")]))

BROKEN_FIRSTS = {
    "a later version": (ManifestRule.SUCCESSION, replace(BODY, version=2)),
    "a version with one before it": (ManifestRule.SUCCESSION, replace(BODY, prev=FIRST.cid)),
    "no admin": (ManifestRule.ADMINS, replace(BODY, admins=())),
    "an admin twice": (ManifestRule.ADMINS, replace(BODY, admins=(id_of(ADMIN),) * 2)),
    "admins out of order": (
        ManifestRule.ADMINS,
        replace(BODY, admins=tuple(sorted([id_of(ADMIN), id_of(SECOND_ADMIN)], reverse=True))),
    ),
    "an admin key of small order": (ManifestRule.ADMINS, replace(BODY, admins=(bytes(32), id_of(ADMIN)))),
    "a threshold out of reach": (ManifestRule.THRESHOLD, replace(BODY, threshold=2)),
    "an author who is no admin": (ManifestRule.AUTHOR, replace(BODY, by=id_of(ALICE))),
    "members out of order": (
        ManifestRule.MEMBERS,
        replace(BODY, members=Listing(BODY.members.value[::-1]), private=private()),
    ),
    "a member twice": (ManifestRule.MEMBERS, members_of(ALICE_MEMBER, ALICE_MEMBER)),
    "a member without a role": (ManifestRule.MEMBER_ROLES, members_of(replace(ALICE_MEMBER, roles=()))),
    "a role twice": (ManifestRule.MEMBER_ROLES, members_of(replace(ALICE_MEMBER, roles=(Role.CLIENT,) * 2))),
    "a keeper that is a client too": (
        ManifestRule.MEMBER_ROLES,
        members_of(replace(ALICE_MEMBER, roles=(Role.KEEPER, Role.CLIENT))),
    ),
    "a signing key of small order": (
        ManifestRule.MEMBER_KEYS,
        members_of(replace(ALICE_MEMBER, id=bytes(32), signing=bytes(32))),
    ),
    "a new member whose id is not its key": (
        ManifestRule.HANDOVER,
        members_of(replace(ALICE_MEMBER, signing=id_of(STRANGER))),
    ),
    "no encryption key": (
        ManifestRule.MEMBER_KEYS,
        members_of(replace(ALICE_MEMBER, encryption=EncryptionKeyText(suite="test", key=b""))),
    ),
    "no encryption suite": (
        ManifestRule.MEMBER_KEYS,
        members_of(replace(ALICE_MEMBER, encryption=EncryptionKeyText(suite="", key=b"key"))),
    ),
    "an encryption key of absurd length": (
        ManifestRule.MEMBER_KEYS,
        members_of(replace(ALICE_MEMBER, encryption=EncryptionKeyText(suite="test", key=bytes(5_000)))),
    ),
    "names out of order": (ManifestRule.NAMES, replace(BODY, private=private(names=IN_ORDER[::-1]))),
    "a name of a stranger": (
        ManifestRule.NAMES,
        replace(BODY, private=private(names=((id_of(DAVE), "dave"),))),
    ),
    "one name for two": (
        ManifestRule.NAMES,
        replace(BODY, private=private(names=tuple((each, "alice") for each, _ in IN_ORDER))),
    ),
    "a name that moves the cursor": (
        ManifestRule.NAMES,
        replace(BODY, private=private(names=((id_of(ALICE), "alice\x1b[2J"),))),
    ),
    "a name that is too long": (
        ManifestRule.NAMES,
        replace(BODY, private=private(name="x" * (MAX_NAME + 1))),
    ),
    "no name": (ManifestRule.NAMES, replace(BODY, private=private(name=""))),
    "a setting that is not known": (
        ManifestRule.SETTINGS,
        replace(BODY, private=private(settings=(("x", 1),))),
    ),
    "a setting twice": (
        ManifestRule.SETTINGS,
        replace(BODY, private=private(settings=(("max_reason_chars", 1),) * 2)),
    ),
    "a limit of nothing": (
        ManifestRule.SETTINGS,
        replace(BODY, private=private(settings=(("max_reason_chars", 0),))),
    ),
    "addresses out of order": (ManifestRule.ADDRESSES, addressed(*ADDRESSES[::-1])),
    "an address twice": (ManifestRule.ADDRESSES, addressed(ADDRESSES[0], ADDRESSES[0])),
    "an address without a node": (ManifestRule.ADDRESSES, addressed("/ip4/10.0.0.5/tcp/4001")),
    "an address that is written in another way": (
        ManifestRule.ADDRESSES,
        addressed(f"/dns4/a.org/tcp/1/wss/p2p/{NODE}"),
    ),
    "an address of each member's own machine": (ManifestRule.ADDRESSES, addressed(f"/ip4/127.0.0.1/tcp/22/p2p/{NODE}")),
    "an address of whoever is near": (ManifestRule.ADDRESSES, addressed(f"/ip4/169.254.169.254/tcp/80/p2p/{NODE}")),
    "an address over what private networks lack": (
        ManifestRule.ADDRESSES,
        addressed(f"/ip4/10.0.0.5/udp/4001/quic-v1/p2p/{NODE}"),
    ),
    "an address that moves the cursor": (ManifestRule.ADDRESSES, addressed(f"/dns4/a\x1b[2J/tcp/1/p2p/{NODE}")),
    "a directory for an address": (ManifestRule.ADDRESSES, addressed("local:/etc")),
    "no address where there must be one": (ManifestRule.PRIVATE, addressed()),
    "a number for an address": (ManifestRule.PRIVATE, addressed(7)),
    "an address that is too long": (ManifestRule.PRIVATE, addressed("/" * (MAX_ADDRESS + 1))),
    "too many addresses": (
        ManifestRule.PRIVATE,
        addressed(*(f"/ip4/10.0.0.{n}/tcp/1/p2p/{NODE}" for n in range(MAX_ADDRESSES + 1))),
    ),
    "no private part": (ManifestRule.PRIVATE, replace(BODY, private=b"")),
}


@pytest.mark.parametrize(("rule", "body"), BROKEN_FIRSTS.values(), ids=BROKEN_FIRSTS.keys())
def test_a_first_version_that_breaks_a_rule_is_refused(rule: ManifestRule, body: Federation):
    assert broken(lambda: first(body)) == rule


def test_a_manifest_says_where_members_are_reached_and_the_next_one_says_so_too() -> None:
    told = first(addressed(*ADDRESSES))
    after = next_manifest(told, signed(next_version(told, **NEXT).body), Blocks())
    assert told.addresses == after.addresses == ADDRESSES


def test_a_manifest_without_addresses_is_the_same_bytes_as_before_there_were_any() -> None:
    assert unsigned_federation(addresses=[]).body == BODY
    assert b"addresses" not in BODY.private
    with_one = first(unsigned_federation(addresses=ADDRESSES).body)
    assert b"addresses" not in next_version(with_one, addresses=[], **NEXT).body.private


BROKEN_NEXTS = {
    "a version left out": (ManifestRule.SUCCESSION, replace(SUCCESSOR, version=3)),
    "the same version": (ManifestRule.SUCCESSION, replace(SUCCESSOR, version=1)),
    "another version before it": (ManifestRule.SUCCESSION, replace(SUCCESSOR, prev=raw_block(b"").cid)),
    "no version before it": (ManifestRule.SUCCESSION, replace(SUCCESSOR, prev=None)),
    "a rotated key that is another's id": (
        ManifestRule.MEMBER_KEYS,
        with_member(FIRST, replace(ALICE_MEMBER, signing=id_of(BOB)), "alice", **NEXT).body,
    ),
    "a new key for two": (
        ManifestRule.MEMBER_KEYS,
        next_version(
            FIRST,
            members=[replace(each, signing=id_of(DAVE)) for each in (ALICE_MEMBER, BOB_MEMBER)],
            names={},
            **NEXT,
        ).body,
    ),
}


@pytest.mark.parametrize(("rule", "body"), BROKEN_NEXTS.values(), ids=BROKEN_NEXTS.keys())
def test_a_later_version_that_breaks_a_rule_is_refused(rule: ManifestRule, body: Federation):
    assert broken(lambda: next_manifest(FIRST, signed(body), Blocks())) == rule


def test_a_version_that_no_admin_signed_is_refused():
    assert broken(lambda: first(BODY, STRANGER)) == ManifestRule.SIGNATURE
    assert broken(lambda: next_manifest(FIRST, signed(SUCCESSOR, STRANGER), Blocks())) == ManifestRule.SIGNATURE


def test_a_version_that_somebody_else_signed_too_is_refused_before_a_signature_is_verified(verifications):
    strangers = [key(f"stranger {number}") for number in range(100)]
    assert broken(lambda: first(BODY, ADMIN, *strangers)) == ManifestRule.SIGNATURE
    assert verifications() == 0


def test_one_admin_cannot_sign_for_two():
    admins = [id_of(ADMIN), id_of(SECOND_ADMIN)]
    body = unsigned_federation(admins=admins, threshold=2).body
    assert broken(lambda: first(body, ADMIN)) == ManifestRule.SIGNERS


def test_a_wrong_signature_is_refused_even_if_enough_are_right():
    record = signed(unsigned_federation(admins=sorted([id_of(ADMIN), id_of(STRANGER)])).body, ADMIN, STRANGER)
    spoiled = tuple(replace(each, sig=bytes(64)) if each.by == id_of(STRANGER) else each for each in record.signatures)
    assert broken(lambda: first_manifest(replace(record, signatures=spoiled), Blocks())) == ManifestRule.SIGNATURE


def test_two_members_with_one_node_id_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "protocol.federation.manifest.node_id", lambda member_id: 7
    )  # no collision of 63 bits is at hand
    assert broken(lambda: first(BODY)) == ManifestRule.NODES


def test_too_many_members_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("protocol.federation.member_rules.MAX_MEMBERS", len(MEMBERS) - 1)
    assert broken(lambda: first(BODY)) == ManifestRule.MEMBERS


def test_a_record_of_another_type_is_no_manifest():
    scribe = begun()
    record = parse_record(Block(scribe.chain.run, scribe.source[scribe.chain.run]))
    assert broken(lambda: first_manifest(record, scribe.source)) == ManifestRule.TYPE


@given(st.lists(st.tuples(st.text(), st.integers(-(2**63), 2**63 - 1))))
def test_settings_from_anywhere_parse_or_are_refused(pairs: list[tuple[str, int]]):
    try:
        settings = Settings.parse(pairs)
    except ManifestError:
        return
    assert Settings.parse(settings.pairs()) == settings
