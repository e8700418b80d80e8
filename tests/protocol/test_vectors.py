"""The vector files that other implementations test against: they are what the code gives, and the code takes them."""

from __future__ import annotations

import hashlib
import io
import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from chains import Blocks

from crypto.dsse import pae, verify
from crypto.keys import DecryptionKey, SigningKey
from crypto.sealing import open_sealed
from crypto.symmetric import ChunkNonce
from protocol.blocks.bundle import read_named_bundle
from protocol.blocks.car import read_car
from protocol.blocks.cid import (
    CID,
    Block,
    BlockError,
    MalformedBlock,
    cbor_block,
    checked_block,
    decode_cbor,
    raw_block,
)
from protocol.blocks.listing import Listing, pack
from protocol.chain.chain import Chain
from protocol.chain.rules import RULES, BrokenRule
from protocol.federation.erasures import open_claim, read_word, topic_erasure
from protocol.federation.manifest import PUBLIC, first_manifest, manifest_at, next_manifest, node_id
from protocol.federation.readers import Reader
from protocol.federation.run_keys import read_private
from protocol.federation.voters import voters_of
from protocol.records.bodies import Body, Keys, RecordType, Reply, Run, RunPrivate
from protocol.records.message_ids import message_id
from protocol.records.signed_records import RECORD_TYPE, parse_record
from protocol.roles.leader.run_plan import named_bundle
from protocol.witnesses.dispute import Dispute, dispute_in

VECTORS = Path(__file__).parents[1] / "vectors"
MAKE = runpy.run_path(str(VECTORS / "make.py"))


def read(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text("utf-8"))


BLOCKS, RECORDS, CHAIN_RULES, ENCRYPTED = map(read, ("blocks", "records", "chain_rules", "encrypted"))
ENCRYPTED_BEFORE = read("encrypted_before")


def reader_in(shown: dict[str, str] | None) -> Reader:
    if shown is None:
        return PUBLIC
    return Reader(bytes.fromhex(shown["member"]), [DecryptionKey.from_seed(bytes.fromhex(shown["seed"]))])


def block_in(shown: dict[str, str]) -> Block:
    return checked_block(CID.parse(shown["cid"]), bytes.fromhex(shown["data"]))


@pytest.mark.parametrize("name", MAKE["FILES"])
def test_a_vector_file_is_what_the_code_gives(name: str):
    made = MAKE["text_of"](MAKE["FILES"][name]())
    assert made == (VECTORS / name).read_text("utf-8"), "run tests/vectors/make.py and see what changed"


# -- blocks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", BLOCKS["raw"], ids=lambda shown: shown["data"])
def test_raw_blocks(shown: dict[str, str]):
    assert raw_block(bytes.fromhex(shown["data"])) == block_in(shown)


@pytest.mark.parametrize("what", BLOCKS["dag_cbor"])
def test_dag_cbor_blocks(what: str):
    block = block_in(BLOCKS["dag_cbor"][what])
    assert cbor_block(decode_cbor(block.data)) == block


@pytest.mark.parametrize("what", BLOCKS["not_canonical"])
def test_bytes_that_are_not_canonical_dag_cbor_are_refused(what: str):
    with pytest.raises(MalformedBlock):
        decode_cbor(bytes.fromhex(BLOCKS["not_canonical"][what]))


def test_listings():
    shown = BLOCKS["listing"]
    item = decode_cbor(bytes.fromhex(shown["item"]))
    assert pack([item] * shown["in_place"]) == (Listing((item,) * shown["in_place"]), [])
    for count, tree in shown["trees"].items():
        listing, blocks = pack([item] * int(count))
        assert listing == Listing(CID.parse(tree["root"]))
        assert blocks[0] == block_in({"cid": tree["root"], "data": tree["root_data"]})
        assert [str(block.cid) for block in blocks[1:]] == tree["leaves"]


def test_the_car():
    roots, blocks = read_car(io.BytesIO(bytes.fromhex(BLOCKS["car"]["data"])))
    assert [str(root) for root in roots] == BLOCKS["car"]["roots"]
    assert list(blocks) == [block_in(shown) for shown in BLOCKS["car"]["blocks"]]


# -- records -------------------------------------------------------------------------------------------------------


def records_source() -> Blocks:
    source = Blocks()
    for part in ("manifests", "replies", "chain", "stopped", "elsewhere", "votes", "took_over", "warranted"):
        source.add(*map(block_in, RECORDS[part]))
    return source


def test_keys_and_node_ids():
    for key in RECORDS["keys"].values():
        assert SigningKey.from_seed(bytes.fromhex(key["seed"])).verify_key.raw.hex() == key["public"]
    for each in RECORDS["node_ids"].values():
        assert node_id(bytes.fromhex(each["id"])) == each["node"]


def test_the_signature():
    key = SigningKey.from_seed(bytes.fromhex(RECORDS["keys"]["admin"]["seed"]))
    shown = RECORDS["dsse"]
    payload = bytes.fromhex(shown["payload"])
    assert pae(RECORD_TYPE, payload).hex() == shown["signed"]
    verify(key.verify_key, RECORD_TYPE, payload, bytes.fromhex(shown["signature"]))


def test_message_ids():
    for each in RECORDS["message_ids"]:
        made = message_id(
            CID.parse(each["run"]), each["node"], each["ordinal"], CID.parse(each["content"]), each["type"]
        )
        assert made.hex() == each["id"]


def test_there_is_a_record_of_each_type_that_is_plain_but_an_index():
    parts = ("manifests", "replies", "chain", "stopped", "elsewhere", "votes", "took_over", "warranted")
    shown = [each for part in parts for each in RECORDS[part]]
    for each in shown:
        record = parse_record(block_in(each))
        assert (record.body.TYPE, str(record.id)) == (each["type"], each["id"])
        record.check_signatures()
    encrypted = {RecordType.KEYS, RecordType.GRANT, RecordType.ACK, RecordType.ERASURE}  # encrypted.json has them
    elsewhere = {RecordType.INDEX, *encrypted}
    assert {each["type"] for each in shown} == set(RecordType) - elsewhere


def test_the_manifests_follow():
    source = records_source()
    first = first_manifest(parse_record(block_in(RECORDS["manifests"][0])), source)
    assert str(first.cid) == RECORDS["federation"]
    assert next_manifest(first, parse_record(block_in(RECORDS["manifests"][1])), source).version == 2


def test_a_manifest_says_where_members_are_reached():
    source, shown = records_source(), RECORDS["addressed"]
    block = Block(CID.parse(shown["cid"]), bytes.fromhex(shown["data"]))
    source.add(block)
    manifest = manifest_at(block.cid, CID.parse(RECORDS["federation"]), source)
    assert list(manifest.addresses) == shown["addresses"]


def test_a_manifest_says_who_votes():
    source, shown = records_source(), RECORDS["voting"]
    block = Block(CID.parse(shown["cid"]), bytes.fromhex(shown["data"]))
    source.add(block)
    manifest = manifest_at(block.cid, CID.parse(RECORDS["federation"]), source)
    ids = {name: bytes.fromhex(key["public"]) for name, key in RECORDS["keys"].items()}
    assert voters_of(manifest, CID.parse(shown["run"])) == {ids[name] for name in shown["voters"]}
    assert voters_of(manifest, block.cid) == {ids["server"], ids["second server"]}


def test_a_run_says_what_stays_of_it_and_which_model_is_the_best():
    shown = RECORDS["planned"]
    run = parse_record(Block(CID.parse(shown["cid"]), bytes.fromhex(shown["data"]))).body
    assert isinstance(run, Run)
    private = read_private(run, RunPrivate)
    assert private is not None
    assert (str(run.plan), str(private.best_by)) == (shown["keep"], shown["best"])


def test_a_run_and_a_federation_say_how_many_witnesses_are_needed_and_a_dispute_what_it_is_about():
    shown, source = RECORDS["witnessed"], records_source()
    run, manifest, told = (
        Block(CID.parse(shown[name]["cid"]), bytes.fromhex(shown[name]["data"]))
        for name in ("run", "manifest", "dispute")
    )
    body = parse_record(run).body
    assert isinstance(body, Run)
    source.add(manifest)
    settings = manifest_at(manifest.cid, CID.parse(RECORDS["federation"]), source).settings
    assert (body.witnesses, settings.witnesses) == (shown["run"]["witnesses"], shown["manifest"]["witnesses"])
    assert dispute_in(told) == Dispute(*(CID.parse(shown["dispute"][name]) for name in ("record", "word")))


@pytest.mark.parametrize(("part", "term"), [("chain", 1), ("took_over", 2)])
def test_the_chain_is_verified(part: str, term: int):
    source, chain = records_source(), Chain(CID.parse(RECORDS["federation"]))
    for shown in RECORDS[part]:
        chain.append_block(block_in(shown), source)
    assert (chain.closed, chain.term) == (True, term)


def test_a_takeover_by_warrant_is_verified():
    source, chain = records_source(), Chain(CID.parse(RECORDS["federation"]))
    warrant, takeover = map(block_in, RECORDS["warranted"])
    for block in [*map(block_in, RECORDS["took_over"][:2]), takeover]:
        step = chain.append_block(block, source)
    assert [each.cid for each in step.warrant] == [warrant.cid]


# -- an encrypted run ----------------------------------------------------------------------------------------------


def encrypted_chain(reader: Reader, file: dict[str, Any] = ENCRYPTED) -> tuple[Chain, Blocks]:
    """The run in the file, verified by ``reader``."""
    source, chain = Blocks(), Chain(CID.parse(file["federation"]), reader)
    source.add(*map(block_in, [*file["chain"], *file["beside"], *file["blocks"]]))
    for shown in file["chain"]:
        chain.append_block(block_in(shown), source)
    return chain, source


def reader_named(name: str) -> Reader:
    shown = ENCRYPTED["members"][name]
    return reader_in({"member": shown["id"], "seed": shown["seed"]})


@pytest.mark.parametrize(
    ("name", "kinds"), [("server", "all"), ("carol", "all"), ("alice", "model"), ("dave", "model")]
)
def test_a_member_opens_the_encrypted_run_as_far_as_its_roles_let_it(name: str, kinds: str):
    chain, source = encrypted_chain(reader_named(name))
    assert chain.closed
    for cid, plain in ENCRYPTED["opened"].items():
        body = parse_record(Block(CID.parse(cid), source[CID.parse(cid)])).body
        may = kinds == "all" or not isinstance(body, Reply)
        assert chain.keys.private(body) == (bytes.fromhex(plain) if may else None)


def test_a_run_of_before_there_was_a_choice_of_nonces_is_read_as_it_was():
    chain, source = encrypted_chain(reader_named("server"), ENCRYPTED_BEFORE)
    assert chain.closed
    assert {epoch.body.chunk_nonce for epoch in chain.keys.epochs} == {ChunkNonce.HMAC}
    for cid, plain in ENCRYPTED_BEFORE["opened"].items():
        body = parse_record(Block(CID.parse(cid), source[CID.parse(cid)])).body
        assert chain.keys.private(body) == bytes.fromhex(plain)


def test_a_new_run_says_that_its_nonces_are_faster_ones():
    chain, _ = encrypted_chain(PUBLIC)
    assert {epoch.body.chunk_nonce for epoch in chain.keys.epochs} == {ChunkNonce.GMAC}


def test_keys_with_a_nonce_that_nobody_knows_are_refused_by_name():
    (keys, *_) = [block for shown in ENCRYPTED["blocks"] if isinstance(_body(block := block_in(shown)), Keys)]
    value = decode_cbor(keys.data)
    value["body"]["chunk_nonce"] = "siv"
    with pytest.raises(BlockError, match="Invalid enum value 'siv'"):
        parse_record(cbor_block(value))


def test_a_stranger_verifies_the_encrypted_run_and_opens_nothing():
    chain, source = encrypted_chain(PUBLIC)
    assert chain.closed
    for cid in map(CID.parse, ENCRYPTED["opened"]):
        assert chain.keys.private(parse_record(Block(cid, source[cid])).body) is None


def test_the_keys_that_are_opened_are_those_that_the_file_names():
    chain, source = encrypted_chain(reader_named("carol"))
    for shown in map(block_in, ENCRYPTED["blocks"]):
        if not isinstance(keys := _body(shown), Keys):
            continue
        named = ENCRYPTED["epochs"][str(keys.number)]
        epoch = chain.keys.read(keys, chain.federation, chain.manifest.members[chain.keys.reader.member], source)
        assert epoch.model is not None
        assert epoch.update is not None
        assert epoch.model.secret_bytes().hex() == named["model"]
        assert epoch.update.secret_bytes().hex() == named["update"]
    assert chain.manifest.key is not None
    assert chain.manifest.key.secret_bytes().hex() == ENCRYPTED["manifest_key"]


@pytest.mark.parametrize("file", [ENCRYPTED, ENCRYPTED_BEFORE], ids=["now", "before"])
def test_a_member_reads_the_app_that_the_encrypted_run_names(file: dict[str, Any]):
    chain, source = encrypted_chain(reader_named("dave"), file)  # who came after the run had begun
    run = _body(block_in(file["chain"][0]))
    assert isinstance(run, Run)
    private = read_private(run, RunPrivate, chain.keys)
    assert private is not None
    bundle = named_bundle(run, private, chain.keys)
    assert str(bundle.app) == read("contents")["bundle"]["root"]
    assert [file.path for file in read_named_bundle(bundle, source)] == ["pkg/app.py", "pkg/empty.py", "pyproject.toml"]


def test_a_manifest_shreds_the_encrypted_run_and_a_member_says_that_it_has_destroyed_the_keys():
    chain, source = encrypted_chain(reader_named("alice"))
    shown, federation = ENCRYPTED["shredding"], CID.parse(ENCRYPTED["federation"])
    source.add(block_in(shown["version"]), *map(block_in, shown["blocks"]))
    version = CID.parse(shown["version"]["cid"])
    manifest = manifest_at(version, federation, source, chain.manifest, reader_named("alice"))
    assert [(each.run, each.epoch, each.reason) for each in manifest.shredded] == [(chain.run, 2, "a patient asked")]
    word = read_word(bytes.fromhex(shown["word"]["data"]))
    assert (word.line(), topic_erasure(federation)) == (shown["line"], shown["topic"])
    assert (
        read_word(open_claim(bytes.fromhex(shown["message"]), federation, bytes.fromhex(shown["swarm_key"])).block.data)
        == word
    )
    assert word.is_by_member(manifest)
    assert word.confirms(manifest.shredded[0], {manifest.members[word.member].encryption.key})


def _body(block: Block) -> Body | None:
    try:
        return parse_record(block).body
    except BlockError:
        return None


def test_each_seal_opens_for_its_reader():
    seeds = [each["seed"] for each in ENCRYPTED["members"].values()]
    seeds += [epoch["update"] for epoch in ENCRYPTED["epochs"].values()]
    keys = [DecryptionKey.from_seed(bytes.fromhex(seed)) for seed in seeds]
    readers = {hashlib.sha256(key.public.raw).hexdigest(): key for key in keys}
    known = [each for each in read("sealed").values() if each["reader"] in readers]
    assert known
    for each in known:
        opened = open_sealed(readers[each["reader"]], bytes.fromhex(each["sealed"]), bytes.fromhex(each["info"]))
        assert opened.hex() == each["plaintext"]


# -- chain rules ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CHAIN_RULES["cases"], ids=lambda case: f"{case['rule']}: {case['case']}")
def test_each_broken_chain_is_refused_for_its_rule(case: dict[str, Any]):
    blocks = CHAIN_RULES["blocks"] | case["false_blocks"]
    source = Blocks({CID.parse(cid): bytes.fromhex(data) for cid, data in blocks.items()})
    chain = Chain(CID.parse(case["federation"]), reader_in(case["reader"]))
    for link in map(CID.parse, case["chain"]):
        chain.append_block(Block(link, source.get(link)), source)
    with pytest.raises(BrokenRule) as caught:
        chain.append_block(Block(CID.parse(case["bad"]["cid"]), bytes.fromhex(case["bad"]["data"])), source)
    assert caught.value.name == case["rule"]


def test_every_rule_but_those_of_indexes_has_a_broken_chain():
    assert CHAIN_RULES["rules"] == {str(rule.number): rule.name for rule in RULES.values()}
    assert {case["rule"] for case in CHAIN_RULES["cases"]} == set(CHAIN_RULES["rules"].values()) - {"index-links"}
