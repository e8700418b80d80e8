"""Contents: the manifest block, an app bundle, and a Flower RecordDict (``make.py`` writes contents.json)."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

from crypto.symmetric import ChunkNonce
from protocol.blocks.bundle import write_bundle
from protocol.blocks.cid import CHUNK_SIZE, Block, encode_cbor, raw_block
from protocol.blocks.content import HEAD_SIZE, PLAIN, WHOLE_BODY, ContentForm, ContentKey, write_manifest

FILES = [("pyproject.toml", b"[project]\n"), ("pkg/app.py", b"app = 1\n"), ("pkg/empty.py", b"")]
TENSOR = bytes(range(256)) * 257
"""65,792 bytes: too many to stand in the body."""
SMALL = bytes(range(256)) * 20
"""5,120 bytes, for which the body has room."""
SHARING = [25_000, 26_000]
"""The sizes of arrays, of zeros, that are too many for the body together, and share a chunk."""
KEY = ContentKey(3, bytes(range(32)), ChunkNonce.GMAC)
BODY: list[Any] = [
    3,
    0,
    [
        [
            "model",
            "array",
            [
                ["w", "uint8", [257, 256], "raw", len(TENSOR)],
                ["v", "uint8", [20, 256], "raw", SMALL],
                ["b", "", [], "numpy.ndarray", b"\0"],
            ],
        ],
        ["metrics", "metric", [["loss", {"float": struct.pack(">d", float("nan"))}], ["n", 3], ["xs", [0.5, -0.0]]]],
        [
            "config",
            "config",
            [
                ["yes", True],
                ["big", {"int": (2**64 - 1).to_bytes(9, "big")}],
                ["half a pair", {"str": b"\xed\xa0\x80"}],
                ["raw", b"\0"],
                ["none", []],
            ],
        ],
    ],
]
"""As `strategy.contents.codec` writes ``tests/strategy/contents/test_content_vectors.py``'s records."""


def content_vectors() -> dict[str, object]:
    """What the file holds. Bytes are hexadecimal."""
    return {
        "records": _records(PLAIN),
        "shared": _shared(PLAIN),
        "long_body": _long_body(PLAIN, HEAD_SIZE),
        "long_records": _long_body(PLAIN, WHOLE_BODY, records=True),
        "encrypted": _encrypted(KEY),
        "encrypted_hmac": _encrypted(replace(KEY, chunk_nonce=ChunkNonce.HMAC)),
        "bundle": _bundle(PLAIN),
    }


def _encrypted(key: ContentKey) -> dict[str, object]:
    form = ContentForm(key)
    return {
        "epoch": key.epoch,
        "key": key.key.hex(),
        "chunk_nonce": key.chunk_nonce.value,
        "records": _records(form),
        "shared": _shared(form),
        "long_body": _long_body(form, HEAD_SIZE),
        "long_records": _long_body(form, WHOLE_BODY, records=True),
        "chunks": _chunks(form),
        "bundle": _bundle(form),
    }


def _bundle(form: ContentForm) -> dict[str, object]:
    root, blocks = write_bundle(FILES, form)
    return {
        "files": [[path, data.hex()] for path, data in FILES],
        "root": str(root),
        "blocks": [_block(block) for block in blocks],
    }


def _records(form: ContentForm) -> dict[str, object]:
    body, tensor = encode_cbor(BODY), raw_block(bytes(form.close_chunk(memoryview(TENSOR))))
    root, blocks = write_manifest(body, [tensor.cid], form)
    return {"body": body.hex(), "root": str(root), "blocks": [_block(block) for block in [*blocks, tensor]]}


def _shared(form: ContentForm) -> dict[str, object]:
    """Small arrays that share a chunk."""
    chunk = raw_block(bytes(form.close_chunk(memoryview(bytes(sum(SHARING))))))
    entries = [[str(number), "uint8", [size], "raw", [size]] for number, size in enumerate(SHARING)]
    body = encode_cbor([3, sum(SHARING), [["model", "array", entries]]])
    root, blocks = write_manifest(body, [chunk.cid], form)
    return {
        "zeros": SHARING,
        "body": body.hex(),
        "root": str(root),
        "blocks": [_block(block) for block in blocks],
        "chunk": {"cid": str(chunk.cid), "size": len(chunk.data)},
    }


def _long_body(form: ContentForm, zeros: int, *, records: bool = False) -> dict[str, object]:
    """A body that goes on in a chunk, or stands there as a whole."""
    body = encode_cbor(bytes(zeros))
    root, blocks = write_manifest(body, [], form, records=records)
    return {
        "size": len(body),
        "zeros": zeros,
        "root": str(root),
        "rest": [_block(block) for block in blocks[1:]],
    }


def _chunks(form: ContentForm) -> dict[str, object]:
    """The chunks of an array of a full plain chunk's size."""
    chunks = [raw_block(bytes(form.close_chunk(part))) for part in form.split(bytes(CHUNK_SIZE))]
    sizes = [{"cid": str(chunk.cid), "size": len(chunk.data)} for chunk in chunks]
    return {"zeros": CHUNK_SIZE, "chunks": sizes}


def _block(block: Block) -> dict[str, str]:
    return {"cid": str(block.cid), "data": block.data.hex()}
