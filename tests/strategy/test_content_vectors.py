"""The content vectors: what the codecs write, and read, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from small_leader import MemoryStore

from protocol.blocks import CID, checked_block
from protocol.bundle import read_bundle, write_bundle
from protocol.content import open_content
from strategy.content import decode, encode

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "contents.json").read_text("utf-8"))


def held(blocks: list[dict[str, str]]) -> MemoryStore:
    checked = [checked_block(CID.parse(block["cid"]), bytes.fromhex(block["data"])) for block in blocks]
    return MemoryStore({block.cid: block.data for block in checked})


@pytest.fixture
def records() -> RecordDict:
    arrays = {
        "w": Array("uint8", (20, 256), "raw", bytes(range(256)) * 20),
        "b": Array("", (), "numpy.ndarray", b"\0"),
    }
    config: dict[str, Any] = {"yes": True, "big": 2**64, "half a pair": "\ud800", "raw": b"\0", "none": []}
    metrics: dict[str, Any] = {"loss": float("nan"), "n": 3, "xs": [0.5, -0.0]}
    return RecordDict({"model": ArrayRecord(arrays), "metrics": MetricRecord(metrics), "config": ConfigRecord(config)})


def test_records_are_written_as_the_vector_has_them(records: RecordDict) -> None:
    vector = VECTORS["records"]
    encoded = encode(records, None)

    assert str(encoded.root) == vector["root"]
    assert {block.cid: block.data for block in encoded.blocks()} == held(vector["blocks"])


def test_records_are_read_from_the_vector(records: RecordDict) -> None:
    vector = VECTORS["records"]

    received = decode(CID.parse(vector["root"]), held(vector["blocks"]), None)

    assert repr(received) == repr(records)


def test_the_body_of_the_vector_is_its_own() -> None:
    vector = VECTORS["records"]

    opened = open_content(CID.parse(vector["root"]), held(vector["blocks"]), None, body_limit=1 << 20)

    assert opened.body.hex() == vector["body"]


def test_the_bundle_of_the_vector() -> None:
    vector = VECTORS["bundle"]
    files = {path: bytes.fromhex(data) for path, data in vector["files"]}
    source = held(vector["blocks"])

    read = {file.path: file.read(source) for file in read_bundle(CID.parse(vector["root"]), source)}

    assert read == files
    assert str(write_bundle(list(files.items()))[0]) == vector["root"]
