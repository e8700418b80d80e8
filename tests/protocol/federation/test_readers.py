"""Who reads what of an encrypted run: everybody verifies it, and keys open what a member's roles let it read."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from chains import (
    ADMIN,
    ALICE,
    BOB,
    CAROL,
    DAVE,
    MEMBERS,
    SERVER,
    TIME,
    Scribe,
    begun,
    decryption_key,
    id_of,
    member,
    reader_of,
)
from rostered import bring, remove

from crypto.keys import SigningKey
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import CID, Block, BlockError
from protocol.chain.chain import Chain
from protocol.chain.closure import missing
from protocol.chain.rules import KeysTrue
from protocol.federation.epochs import grant, read_seed, seed_block
from protocol.federation.manifest import PUBLIC, Settings, first_manifest
from protocol.federation.readers import Reader
from protocol.federation.run_keys import read_private
from protocol.federation.unsigned_versions import with_member
from protocol.records.bodies import DispatchPrivate, Grant, Keys, ReasonPrivate, Reply, Role
from protocol.records.signed_records import parse_record

PROTOCOL = Path(__file__).parents[3] / "protocol"


def encrypted_run() -> tuple[Scribe, Reply]:
    """A run with a reply of Alice's in epoch 1, which a collect took."""
    scribe = begun(encrypted=True)
    reply = scribe.taken(ALICE).reply
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    body = parse_record(Block(reply, scribe.source[reply])).body
    assert isinstance(body, Reply)
    return scribe, body


def read_by(scribe: Scribe, reader: Reader) -> Chain:
    """The scribe's chain, verified from the beginning."""
    links: list[CID] = []
    head = scribe.chain.head
    while head is not None:
        links.append(head)
        head = parse_record(Block(head, scribe.source[head])).body.prev  # type: ignore[attr-defined]  # all chained
    chain = Chain(scribe.first.cid, reader)
    for link in reversed(links):
        chain.append_block(Block(link, scribe.source[link]), scribe.source)
    return chain


def with_dave(scribe: Scribe, *roles: Role) -> None:
    """Dave becomes a member."""
    manifest = scribe.read_manifest(scribe.chain.manifest.cid)
    unsigned = with_member(
        manifest, member(DAVE, *roles, place=manifest.federation), "dave", by=id_of(ADMIN), time=TIME
    )
    bring(scribe, unsigned)


def granted(scribe: Scribe, to: SigningKey, *roles: Role) -> Grant:
    """The keys of the newest epoch, for ``to``."""
    assert scribe.epoch is not None
    reader = member(to, *roles)
    return grant(scribe.chain.run, scribe.epoch, scribe.manifest, reader, by=id_of(SERVER), time=TIME)


def opens_epoch_1(scribe: Scribe, chain: Chain) -> bool:
    """Whether the chain's reader has the model key of epoch 1."""
    link = next(iter(scribe.chain.open.values())).dispatch
    dispatch = parse_record(Block(link, scribe.source[link])).body
    return read_private(dispatch, DispatchPrivate, chain.keys) is not None


# -- by role -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reader", "model", "updates"),
    [
        (reader_of(SERVER), True, True),
        (reader_of(CAROL), True, True),  # an auditor too
        (reader_of(BOB), True, False),
        (reader_of(DAVE), False, False),
        (PUBLIC, False, False),
    ],
    ids=["server", "auditor", "client", "no member", "no keys"],
)
def test_all_verify_a_run_and_read_what_their_roles_let_them(reader: Reader, model: bool, updates: bool):
    scribe, reply = encrypted_run()
    chain = read_by(scribe, reader)
    assert chain.head == scribe.chain.head
    assert (chain.keys.content(1) is not None, opens_epoch_1(scribe, chain)) == (model, model)
    assert (chain.keys.reply_content(reply) is not None) == updates
    assert (read_private(reply, ReasonPrivate, chain.keys) is not None) == updates


def test_the_seed_is_for_servers_and_auditors():
    scribe, _ = encrypted_run()
    block = seed_block(b"s" * 32, scribe.epoch)
    for signer in (SERVER, CAROL):
        assert read_seed(block, read_by(scribe, reader_of(signer)).keys) == b"s" * 32
    with pytest.raises(BlockError):
        read_seed(block, read_by(scribe, reader_of(ALICE)).keys)


@pytest.mark.parametrize("reader", [reader_of(ALICE), reader_of(CAROL), PUBLIC], ids=["client", "auditor", "stranger"])
def test_names_are_for_members(reader: Reader):
    scribe = Scribe(encrypted=True)
    read = first_manifest(parse_record(Block(scribe.first.cid, scribe.source[scribe.first.cid])), scribe.source, reader)
    assert (read.name == "trial") == (reader is not PUBLIC)
    assert read.encrypted


# -- epochs --------------------------------------------------------------------------------------------------------


def test_a_member_that_left_reads_nothing_of_the_next_epoch():
    scribe, _ = encrypted_run()
    remove(scribe, BOB)
    keys = read_by(scribe, reader_of(BOB)).keys
    assert keys.content(1) is not None
    assert keys.content(2) is None


@pytest.mark.parametrize(("roles", "updates"), [([Role.CLIENT], False), ([Role.AUDITOR], True)])
def test_a_member_that_comes_later_reads_the_past_as_its_roles_let_it(roles: list[Role], updates: bool):
    scribe, reply = encrypted_run()
    with_dave(scribe, *roles)
    keys = read_by(scribe, reader_of(DAVE)).keys
    assert keys.content(1) is not None
    assert (keys.reply_content(reply) is not None) == updates


def test_a_grant_opens_an_epoch_for_a_new_auditor():
    scribe, reply = encrypted_run()
    given = granted(scribe, DAVE, Role.AUDITOR)
    keys = read_by(scribe, Reader(id_of(DAVE), [decryption_key(DAVE)], [given])).keys
    assert keys.content(1) is not None
    assert keys.reply_content(reply) is not None


def test_a_grant_to_a_client_opens_no_updates():
    scribe, reply = encrypted_run()
    given = granted(scribe, DAVE, Role.CLIENT)
    keys = read_by(scribe, Reader(id_of(DAVE), [decryption_key(DAVE)], [given])).keys
    assert keys.content(1) is not None
    assert keys.reply_content(reply) is None


def test_a_grant_of_the_newest_epoch_opens_the_past_once_foreseen():
    scribe, reply = encrypted_run()
    first = scribe.epoch
    with_dave(scribe, Role.CLIENT)
    given = granted(scribe, ALICE, Role.AUDITOR)
    reader = Reader(id_of(ALICE), [decryption_key(ALICE)], [given])
    assert first is not None
    assert scribe.epoch is not None
    reader.foresee([scribe.epoch.body, first.body], scribe.first.cid, scribe.source)
    assert read_by(scribe, reader).keys.reply_content(reply) is not None


# -- grants that are none ------------------------------------------------------------------------------------------


def no_grants() -> dict[str, Grant]:
    """Grants to Dave that must not count, and must not spoil a chain either: anybody can hand one over."""
    scribe, _ = encrypted_run()
    other = granted(begun(encrypted=True), DAVE, Role.AUDITOR)
    good = granted(scribe, DAVE, Role.AUDITOR)
    return {
        "of another run": other,
        "sealed for another": replace(granted(scribe, BOB, Role.AUDITOR), to=id_of(DAVE)),
        "no seal": replace(good, model=b"no seal"),
    }


@pytest.mark.parametrize("given", no_grants().values(), ids=no_grants().keys())
def test_a_grant_of_no_keys_of_the_run_opens_nothing_and_refuses_nothing(given: Grant):
    scribe, _ = encrypted_run()
    chain = read_by(scribe, Reader(id_of(DAVE), [decryption_key(DAVE)], [given]))
    assert chain.head == scribe.chain.head
    assert chain.keys.content(1) is None


def test_a_grant_of_a_model_key_that_nobody_committed_to_opens_nothing():
    """It is sealed in the right place and for the right reader: only the commitment tells that it is another."""
    scribe, _ = encrypted_run()
    assert scribe.epoch is not None
    epoch, reader = replace(scribe.epoch, model=SymmetricKey.generate()), member(DAVE, Role.AUDITOR)
    given = grant(scribe.chain.run, epoch, scribe.manifest, reader, by=id_of(SERVER), time=TIME)
    chain = read_by(scribe, Reader(id_of(DAVE), [decryption_key(DAVE)], [given]))
    assert chain.head == scribe.chain.head
    assert chain.keys.content(1) is None


def test_each_key_of_an_epoch_is_compared_with_its_commitment_or_made_here():
    """Chunks of contents do not commit to their key, so each way to a key has to end there."""
    makers = {
        f"{path.name}: {function.name}"
        for path in PROTOCOL.rglob("*.py")
        if "Epoch(" in (text := path.read_text("utf-8"))
        for function in ast.walk(ast.parse(text))
        if isinstance(function, ast.FunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Epoch"
    }
    assert makers == {"epochs.py: new_epoch", "run_keys.py: _epoch"}


def test_the_update_key_of_another_run_in_a_grant_is_not_taken():
    scribe, reply = encrypted_run()
    other = granted(begun(encrypted=True), DAVE, Role.AUDITOR)
    mixed = replace(granted(scribe, DAVE, Role.AUDITOR), update=other.update)
    keys = read_by(scribe, Reader(id_of(DAVE), [decryption_key(DAVE)], [mixed])).keys
    assert keys.content(1) is None
    assert keys.reply_content(reply) is None


# -- what does not open --------------------------------------------------------------------------------------------


def test_a_member_without_the_key_that_it_is_listed_with_verifies_and_reads_nothing():
    """For example from an old backup: the leader is not to blame for a wrap that does not open."""
    scribe, _ = encrypted_run()
    chain = read_by(scribe, Reader(id_of(ALICE), [decryption_key(BOB)]))
    assert chain.head == scribe.chain.head
    assert chain.keys.content(1) is None


@pytest.mark.parametrize("spoiled", ["model_before", "update_before"])
@pytest.mark.parametrize("reader", [reader_of(CAROL), reader_of(DAVE)], ids=["who had them", "who comes later"])
def test_all_that_can_open_them_refuse_keys_of_the_epoch_before_that_are_others(reader: Reader, spoiled: str):
    """Otherwise a leader could make a chain that breaks only for later auditors."""
    scribe = begun(encrypted=True)
    unsigned = with_member(
        scribe.manifest, member(DAVE, Role.AUDITOR, place=scribe.first.cid), "dave", by=id_of(ADMIN), time=TIME
    )
    manifest = scribe.read_manifest(scribe.next_manifest(unsigned).cid)
    made = scribe.keys(manifest, **{spoiled: bytes(60)})
    scribe.add(scribe.roster(manifest.cid, keys=scribe.begin(made)))
    with pytest.raises(KeysTrue):
        read_by(scribe, reader)


def test_a_key_sealed_for_another_place_is_refused():
    scribe, reply = encrypted_run()
    keys = read_by(scribe, reader_of(SERVER)).keys
    for moved in (replace(reply, by=id_of(BOB)), replace(reply, run=scribe.first.cid)):
        with pytest.raises(BlockError):
            keys.private(moved)


def test_a_private_part_opens_as_its_own_type_alone():
    scribe, _ = encrypted_run()
    keys = read_by(scribe, reader_of(SERVER)).keys
    close = scribe.close()
    assert keys.private(close) is not None
    with pytest.raises(BlockError):
        keys.private(replace(scribe.dispatch(), private=close.private))


def test_keys_are_among_what_a_record_needs():
    scribe = Scribe(encrypted=True)
    run = scribe.run()
    block = scribe.sign(run)
    keys = scribe.source.pop(run.keys)
    assert missing(block, scribe.source) == [run.keys]
    scribe.source[run.keys] = keys
    assert missing(block, scribe.source) == []


def test_keys_that_are_wrapped_for_many_need_the_blocks_of_their_listings():
    people = {f"client {n}": member(SigningKey.from_seed(bytes([n]) * 32), Role.CLIENT) for n in range(1, 60)}
    scribe = Scribe(MEMBERS | people, encrypted=True)
    run = scribe.run()
    block = scribe.sign(run)
    assert missing(block, scribe.source) == []
    body = parse_record(Block(run.keys, scribe.source[run.keys])).body
    assert isinstance(body, Keys)
    root = next(iter(body.model.wraps.blocks(scribe.source)))
    del scribe.source[root]
    assert missing(block, scribe.source) == [root]


def test_a_reader_that_cannot_read_the_limit_of_reasons_refuses_none_for_its_length():
    """A later auditor has the keys of a run by grant, and perhaps not the manifest key of its time."""
    scribe = Scribe(encrypted=True, settings=Settings(max_reason_chars=9_000))
    scribe.add(scribe.run())
    scribe.add(scribe.dispatch())
    scribe.add(scribe.collect(scribe.taken(ALICE, content=None, code=2, reason="x" * 8_000)))
    given = granted(scribe, DAVE, Role.AUDITOR)
    chain = read_by(scribe, Reader(id_of(DAVE), [decryption_key(DAVE)], [given]))
    assert chain.head == scribe.chain.head
    assert not chain.manifest.readable
