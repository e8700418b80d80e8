"""The content vectors: what the codecs write, and read, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from small_leader import MemoryStore

from crypto.symmetric import ChunkNonce
from protocol.blocks.bundle import NamedBundle, read_named_bundle, write_bundle
from protocol.blocks.cid import CID, checked_block, encode_cbor, raw_cid
from protocol.blocks.content import ContentForm, ContentKey, open_content, write_manifest
from strategy.contents.codec import decode, encode

KeyedVector = tuple[dict[str, Any], ContentKey | None]
VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "contents.json").read_text("utf-8"))


def held(blocks: list[dict[str, str]]) -> MemoryStore:
    checked = [checked_block(CID.parse(block["cid"]), bytes.fromhex(block["data"])) for block in blocks]
    return MemoryStore({block.cid: block.data for block in checked})


@pytest.fixture
def records() -> RecordDict:
    arrays = {
        "w": Array("uint8", (257, 256), "raw", bytes(range(256)) * 257),
        "v": Array("uint8", (20, 256), "raw", bytes(range(256)) * 20),
        "b": Array("", (), "numpy.ndarray", b"\0"),
    }
    config: dict[str, Any] = {"yes": True, "big": 2**64 - 1, "half a pair": "\ud800", "raw": b"\0", "none": []}
    metrics: dict[str, Any] = {"loss": float("nan"), "n": 3, "xs": [0.5, -0.0]}
    return RecordDict({"model": ArrayRecord(arrays), "metrics": MetricRecord(metrics), "config": ConfigRecord(config)})


ENCRYPTED = ["encrypted", "encrypted_hmac"]


def encrypted_vectors(name: str) -> tuple[dict[str, Any], ContentKey]:
    vectors = VECTORS[name]
    return vectors, ContentKey(vectors["epoch"], bytes.fromhex(vectors["key"]), ChunkNonce(vectors["chunk_nonce"]))


@pytest.fixture(params=["plain", *ENCRYPTED])
def vectors(request: pytest.FixtureRequest) -> KeyedVector:
    if request.param == "plain":
        return VECTORS, None
    return encrypted_vectors(request.param)


def test_records_are_written_as_the_vector_has_them(records: RecordDict, vectors: KeyedVector) -> None:
    vector, key = vectors[0]["records"], vectors[1]
    encoded = encode(records, key)

    assert str(encoded.root) == vector["root"]
    assert {block.cid: block.data for block in encoded.blocks()} == held(vector["blocks"])


def test_records_are_read_from_the_vector(records: RecordDict, vectors: KeyedVector) -> None:
    vector, key = vectors[0]["records"], vectors[1]

    received = decode(CID.parse(vector["root"]), held(vector["blocks"]), key)

    assert repr(received) == repr(records)


def test_the_body_of_the_vector_is_its_own(vectors: KeyedVector) -> None:
    vector, key = vectors[0]["records"], vectors[1]

    opened = open_content(CID.parse(vector["root"]), held(vector["blocks"]), key, body_limit=1 << 20)

    assert opened.body.hex() == vector["body"]


def test_small_arrays_share_the_chunk_of_the_vector(vectors: KeyedVector) -> None:
    vector, key = vectors[0]["shared"], vectors[1]
    arrays = {str(at): Array("uint8", (size,), "raw", bytes(size)) for at, size in enumerate(vector["zeros"])}

    encoded = encode(RecordDict({"model": ArrayRecord(arrays)}), key)
    *manifest, chunk = encoded.blocks()

    assert str(encoded.root) == vector["root"]
    assert {block.cid: block.data for block in manifest} == held(vector["blocks"])
    assert {"cid": str(chunk.cid), "size": len(chunk.data)} == vector["chunk"]


@pytest.mark.parametrize(("name", "records"), [("long_body", False), ("long_records", True)])
def test_a_long_body_lies_in_the_chunk_of_the_vector(vectors: KeyedVector, name: str, records: bool) -> None:
    vector, key = vectors[0][name], vectors[1]

    root, blocks = write_manifest(encode_cbor(bytes(vector["zeros"])), [], ContentForm(key), records=records)

    assert str(root) == vector["root"]
    assert {block.cid: block.data for block in blocks[1:]} == held(vector["rest"])


@pytest.mark.parametrize("name", ENCRYPTED)
def test_an_array_lies_in_the_encrypted_chunks_of_the_vector(name: str) -> None:
    encrypted, key = encrypted_vectors(name)
    array = Array("", (), "x", bytes(encrypted["chunks"]["zeros"]))

    encoded = encode(RecordDict({"r": ArrayRecord({"w": array})}), key)
    stored = {block.cid: block.data for block in encoded.blocks()}

    assert [
        {"cid": str(raw_cid(stored[piece.cid])), "size": len(stored[piece.cid])} for piece in encoded.pieces
    ] == encrypted["chunks"]["chunks"]


def test_the_bundle_of_the_vector(vectors: KeyedVector) -> None:
    vector, key = vectors[0]["bundle"], vectors[1]
    files = {path: bytes.fromhex(data) for path, data in vector["files"]}
    source = held(vector["blocks"])
    named = NamedBundle(CID.parse(VECTORS["bundle"]["root"]), CID.parse(vector["root"]), key)

    read = {file.path: file.read(source) for file in read_named_bundle(named, source)}

    assert read == files
    assert str(write_bundle(list(files.items()), ContentForm(key))[0]) == vector["root"]
