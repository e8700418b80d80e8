"""Contents: the manifest block, an app bundle, and a Flower RecordDict (``make.py`` writes contents.json)."""

from __future__ import annotations

import struct
from typing import Any

from protocol.blocks import Block, encode_cbor, raw_block
from protocol.bundle import write_bundle
from protocol.content import HEAD_SIZE, write_manifest

FILES = [("pyproject.toml", b"[project]\n"), ("pkg/app.py", b"app = 1\n"), ("pkg/empty.py", b"")]
TENSOR = bytes(range(256)) * 20
"""5,120 bytes: too many to stand in the body."""
BODY: list[Any] = [
    1,
    [
        ["model", "array", [["w", "uint8", [20, 256], "raw", len(TENSOR)], ["b", "", [], "numpy.ndarray", b"\0"]]],
        ["metrics", "metric", [["loss", {"float": struct.pack(">d", float("nan"))}], ["n", 3], ["xs", [0.5, -0.0]]]],
        [
            "config",
            "config",
            [
                ["yes", True],
                ["big", {"int": (2**64).to_bytes(9, "big")}],
                ["half a pair", {"str": b"\xed\xa0\x80"}],
                ["raw", b"\0"],
                ["none", []],
            ],
        ],
    ],
]
"""As `strategy.content` writes ``tests/strategy/test_content_vectors.py``'s records."""


def content_vectors() -> dict[str, object]:
    """What the file holds. Bytes are hexadecimal."""
    tensor = raw_block(TENSOR)
    long_body = encode_cbor(bytes(HEAD_SIZE))
    root, blocks = write_bundle(FILES)
    return {
        "records": _shown(encode_cbor(BODY), [tensor]),
        "long_body": {
            "size": len(long_body),
            "zeros": HEAD_SIZE,
            "root": str(write_manifest(long_body, [])[0]),
            "rest": [_block(block) for block in write_manifest(long_body, [])[1][1:]],
        },
        "bundle": {
            "files": [[path, data.hex()] for path, data in FILES],
            "root": str(root),
            "blocks": [_block(block) for block in blocks],
        },
    }


def _shown(body: bytes, chunks: list[Block]) -> dict[str, object]:
    root, blocks = write_manifest(body, [chunk.cid for chunk in chunks])
    return {"body": body.hex(), "root": str(root), "blocks": [_block(block) for block in [*blocks, *chunks]]}


def _block(block: Block) -> dict[str, str]:
    return {"cid": str(block.cid), "data": block.data.hex()}
