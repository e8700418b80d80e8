"""What somebody copies out of one federation, version or run into another does not open there, whoever signs it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chains import (
    ADMIN,
    ALICE,
    BOB,
    CAROL,
    MEMBERS,
    SECOND,
    SERVER,
    STRANGER,
    TIME,
    Scribe,
    begun,
    id_of,
    reader_of,
    unsigned_federation,
)
from msgspec import structs

from crypto.dsse import sign
from crypto.keys import SigningKey
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import CID, Block, BlockError
from protocol.chain.chain import Chain
from protocol.chain.rules import KeysTrue
from protocol.federation.epochs import grant, read_seed, seed_block
from protocol.federation.manifest import Manifest, ManifestError, first_manifest, manifest_at
from protocol.federation.manifest_rules import ManifestRule
from protocol.federation.readers import Reader
from protocol.federation.run_keys import RunKeys
from protocol.federation.unsigned_versions import next_version
from protocol.records.bodies import Federation, Keys
from protocol.records.signed_records import RECORD_TYPE, assemble, parse_record


def two_federations() -> tuple[Scribe, Scribe]:
    """A, and B with the same members, of which a stranger to A is the admin."""
    return Scribe(encrypted=True), Scribe(encrypted=True, founders=[STRANGER])


def body_of(scribe: Scribe, cid: CID) -> Federation:
    body = parse_record(Block(cid, scribe.source[cid])).body
    assert isinstance(body, Federation)
    return body


def with_copied_keys(theirs: Scribe, ours: Scribe) -> Manifest:
    """The next version of ``theirs``, with all that ``ours`` wraps and encrypts, as Alice reads it."""
    ours_body = body_of(ours, ours.first.cid)
    unsigned = next_version(theirs.first, by=id_of(STRANGER), time=TIME)
    copied = replace(unsigned.body, key=ours_body.key, private=ours_body.private, epoch=2)
    theirs.source.update(ours.source)
    block = theirs.next_manifest(replace(unsigned, body=copied), STRANGER)
    return manifest_at(block.cid, theirs.first.cid, theirs.source, reader=reader_of(ALICE))


def test_a_manifest_key_that_is_copied_into_another_federation_is_none_there() -> None:
    a, b = two_federations()
    copied = with_copied_keys(b, a)
    assert first_manifest(parse_record(Block(a.first.cid, a.source[a.first.cid])), a.source, reader_of(ALICE)).readable
    assert (copied.key, copied.misled, copied.name) == (None, True, "")


def test_a_reader_that_has_the_key_already_reads_no_private_part_that_was_copied() -> None:
    """The federation's file knows the key by its commitment, but the private part belongs to another place."""
    a, b = two_federations()
    assert a.first.key is not None
    copied = body_of(a, a.first.cid)
    unsigned = next_version(b.first, by=id_of(STRANGER), time=TIME)
    body = replace(unsigned.body, key=copied.key, private=copied.private, epoch=2)
    b.source.update(a.source)
    block = b.next_manifest(replace(unsigned, body=body), STRANGER)
    knowing = Reader(id_of(ALICE), manifest_keys=[a.first.key])
    with pytest.raises(ManifestError) as caught:
        manifest_at(block.cid, b.first.cid, b.source, reader=knowing)
    assert caught.value.rule is ManifestRule.PRIVATE


def test_a_wrap_of_one_version_does_not_open_in_its_rival() -> None:
    """An admin who was removed signs a rival of the version that removed it, with the wraps of that version in it."""
    scribe = Scribe(encrypted=True, founders=[ADMIN, STRANGER])
    changed = {"time": TIME, "members": [each for each in MEMBERS.values() if each.id != id_of(BOB)], "names": {}}
    true = next_version(scribe.first, by=id_of(ADMIN), admins=[id_of(ADMIN)], **changed)
    rival = next_version(scribe.first, by=id_of(STRANGER), admins=[id_of(STRANGER)], **changed)
    scribe.source.add(*true.blocks)
    copied = replace(rival, body=replace(rival.body, key=true.body.key, private=true.body.private))

    def read(block: Block) -> Manifest:
        return manifest_at(block.cid, scribe.first.cid, scribe.source, reader=reader_of(ALICE))

    assert read(scribe.next_manifest(true)).readable
    assert read(scribe.next_manifest(copied, STRANGER)).misled


@pytest.mark.parametrize("signers", [[ADMIN, STRANGER], [STRANGER]], ids=["one more", "another"])
def test_no_signature_makes_another_federation_of_the_same_version(signers: list[SigningKey]) -> None:
    unsigned = unsigned_federation(key=SymmetricKey.generate())
    record = parse_record(Scribe().sign(unsigned.body, *signers))
    with pytest.raises(ManifestError) as caught:
        first_manifest(record, Scribe().source)
    assert caught.value.rule in (ManifestRule.SIGNERS, ManifestRule.SIGNATURE)


def test_an_admins_signature_that_is_left_out_makes_no_other_federation() -> None:
    admins = sorted([ADMIN, STRANGER], key=id_of)
    unsigned = unsigned_federation(admins=list(map(id_of, admins)), threshold=1)
    whole = parse_record(Scribe().sign(unsigned.body, *admins))
    alone = parse_record(assemble(unsigned.body, {id_of(ADMIN): sign(ADMIN, RECORD_TYPE, whole.body_bytes)}))
    source = Scribe().source
    source.add(*unsigned.blocks)
    assert first_manifest(whole, source).version == 1
    with pytest.raises(ManifestError) as caught:
        first_manifest(alone, source)
    assert caught.value.rule is ManifestRule.SIGNERS


# -- runs ------------------------------------------------------------------------------------------------------------


def keys_of(scribe: Scribe) -> Keys:
    assert scribe.epoch is not None
    return scribe.epoch.body


def test_the_keys_of_a_run_do_not_open_in_another_federation() -> None:
    a, b = two_federations()
    a.add(a.run())
    b.source.update(a.source)
    b.chain = Chain(b.first.cid, reader_of(CAROL))
    with pytest.raises(KeysTrue, match="does not open"):
        b.add(b.run(keys=b.sign(keys_of(a)).cid))


def test_the_keys_of_a_run_do_not_open_in_a_run_of_another_server() -> None:
    """She is a server too. What an auditor opened there, he would grant in her run to whomever she lists."""
    scribe = Scribe(encrypted=True)
    scribe.add(scribe.run())
    copied = scribe.sign(replace(keys_of(scribe), by=id_of(SECOND)), SECOND)
    chain = Chain(scribe.first.cid, reader_of(CAROL))
    scribe.chain = chain
    run = replace(scribe.run(keys=copied.cid), by=id_of(SECOND))
    with pytest.raises(KeysTrue, match="does not open"):
        chain.append_block(scribe.sign(run, SECOND), scribe.source)


def test_a_grant_of_one_run_opens_nothing_in_another() -> None:
    one, other = (begun(encrypted=True) for _ in range(2))
    assert one.epoch is not None
    given = grant(one.chain.run, one.epoch, one.first, MEMBERS["carol"], by=id_of(SERVER), time=TIME)
    moved = replace(given, run=other.chain.run)
    reader = Reader(id_of(CAROL), reader_of(CAROL)._keys, [moved])
    assert reader.granted(keys_of(one), one.epoch.run) != (None, None)
    assert other.epoch is not None
    assert reader.granted(keys_of(one), other.epoch.run) == (None, None)


def test_the_seed_of_one_run_does_not_open_in_another() -> None:
    one, other = (begun(encrypted=True, reader=reader_of(SERVER)) for _ in range(2))
    assert one.epoch is not None
    assert other.epoch is not None
    moved = seed_block(b"s" * 32, replace(one.epoch, run=other.epoch.run))
    assert read_seed(seed_block(b"s" * 32, one.epoch), one.chain.keys) == b"s" * 32
    with pytest.raises(BlockError):
        read_seed(moved, one.chain.keys)


def test_a_private_part_opens_at_its_own_height_alone() -> None:
    scribe = begun(encrypted=True, reader=reader_of(SERVER))
    record = scribe.dispatch(scribe.group(BOB))
    assert scribe.chain.keys.private(record) is not None
    with pytest.raises(BlockError):
        scribe.chain.keys.private(replace(record, height=record.height + 1))


def test_a_replys_private_part_answers_its_own_message_alone() -> None:
    scribe = begun(encrypted=True, reader=reader_of(SERVER))
    reply = scribe.reply_body(ALICE, content=None, code=2, reason="out of memory")
    assert scribe.chain.keys.private(reply) is not None
    with pytest.raises(BlockError):
        scribe.chain.keys.private(replace(reply, message=b"another message, of 32 bytes too"))


def test_one_key_in_two_runs_gives_contents_of_two_keys() -> None:
    """A leader that uses a key twice makes nothing in one run that opens in the other."""
    scribe = begun(encrypted=True, reader=reader_of(SERVER))
    epoch = scribe.epoch
    assert epoch is not None
    elsewhere = replace(epoch, run=structs.replace(epoch.run, federation=scribe.chain.run))
    here, there = (RunKeys(reader_of(SERVER), {1: each}).content(1) for each in (epoch, elsewhere))
    assert here != there
