"""The vector files that other implementations test against: they are what the code gives, and the code takes them."""

from __future__ import annotations

import io
import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from chains import Blocks

from crypto.dsse import pae, verify
from crypto.keys import SigningKey
from protocol.blocks import CID, Block, MalformedBlock, cbor_block, checked_block, decode_cbor, raw_block
from protocol.car import read_car
from protocol.chain import Chain
from protocol.manifest import first_manifest, next_manifest, node_id
from protocol.messages import message_id
from protocol.records import RecordType
from protocol.rules import RULES, BrokenRule
from protocol.signed import RECORD_TYPE, parse_record
from protocol.trees import Listing, pack

VECTORS = Path(__file__).parents[1] / "vectors"
MAKE = runpy.run_path(str(VECTORS / "make.py"))


def read(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text("utf-8"))


BLOCKS, RECORDS, CHAIN_RULES = read("blocks"), read("records"), read("chain_rules")


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
    for part in ("manifests", "replies", "chain"):
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


def test_there_is_a_record_of_each_type_but_an_index():
    shown = [each for part in ("manifests", "replies", "chain") for each in RECORDS[part]]
    for each in shown:
        record = parse_record(block_in(each))
        assert (record.body.TYPE, str(record.id)) == (each["type"], each["id"])
        assert record.valid_signers()
    assert {each["type"] for each in shown} == set(RecordType) - {RecordType.INDEX}


def test_the_manifests_follow():
    source = records_source()
    first = first_manifest(parse_record(block_in(RECORDS["manifests"][0])), source)
    assert str(first.cid) == RECORDS["federation"]
    assert next_manifest(first, parse_record(block_in(RECORDS["manifests"][1])), source).version == 2


def test_the_chain_is_verified():
    source, chain = records_source(), Chain(CID.parse(RECORDS["federation"]))
    for shown in RECORDS["chain"]:
        chain.append_block(block_in(shown), source)
    assert chain.closed


# -- chain rules ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CHAIN_RULES["cases"], ids=lambda case: f"{case['rule']}: {case['case']}")
def test_each_broken_chain_is_refused_for_its_rule(case: dict[str, Any]):
    blocks = CHAIN_RULES["blocks"] | case["false_blocks"]
    source = Blocks({CID.parse(cid): bytes.fromhex(data) for cid, data in blocks.items()})
    chain = Chain(CID.parse(case["federation"]))
    for link in map(CID.parse, case["chain"]):
        chain.append_block(Block(link, source.get(link)), source)
    with pytest.raises(BrokenRule) as caught:
        chain.append_block(Block(CID.parse(case["bad"]["cid"]), bytes.fromhex(case["bad"]["data"])), source)
    assert caught.value.name == case["rule"]


def test_every_rule_but_those_of_indexes_has_a_broken_chain():
    assert CHAIN_RULES["rules"] == {str(rule.number): rule.name for rule in RULES.values()}
    assert {case["rule"] for case in CHAIN_RULES["cases"]} == set(CHAIN_RULES["rules"].values()) - {"index-links"}
