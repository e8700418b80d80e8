"""Blocks, listings and a CAR (``make.py`` writes blocks.json). Bytes are hexadecimal."""

from __future__ import annotations

from typing import Any

from protocol.blocks.car import write_car
from protocol.blocks.cid import Block, cbor_block, encode_cbor, raw_block
from protocol.blocks.listing import pack

LINK = raw_block(b"pollen").cid
VALUES: dict[str, Any] = {
    "null": None,
    "truth values": [True, False],
    "integers": [0, 23, 24, 255, 256, 2**32, 2**64 - 1, -1, -(2**63)],
    "floats are always 64 bits": [0.0, -0.0, 1.0, 1.5, 1e300],
    "bytes and text": [b"", b"\x00\xff", "", "Blüte"],
    "map keys go by length, then by bytes": {"bb": 1, "a": 2, "c": 3},
    "links are tag 42": {"link": LINK},
}
NOT_CANONICAL = {
    "empty": "",
    "a byte after the end": "0000",
    "a number in more bytes than it needs": "1800",
    "a float of 32 bits": "fa3f800000",
    "an integer below -2^63": "3b8000000000000000",
    "the lowest integer of CBOR": "813bffffffffffffffff",
    "not a number": "fb7ff8000000000000",
    "infinity": "fb7ff0000000000000",
    "keys out of order": "a2616201616102",
    "a key twice": "a2616101616102",
    "a key that is no text": "a10102",
    "a list without its length": "9f01ff",
    "text that is not UTF-8": "61ff",
    "undefined": "f7",
    "another tag": "c100",
    "a link without its multibase prefix": "d82a4401711220",
    "33 lists, each in another": "81" * 33 + "00",
}


def block_vectors() -> dict[str, object]:
    """What the file holds."""
    return {
        "raw": [_shown(raw_block(data)) for data in (b"", b"pollen")],
        "dag_cbor": {what: _shown(cbor_block(value)) for what, value in VALUES.items()},
        "not_canonical": NOT_CANONICAL,
        "listing": _listing(),
        "car": _car(),
    }


def _shown(block: Block) -> dict[str, str]:
    return {"data": block.data.hex(), "cid": str(block.cid)}


def _listing() -> dict[str, object]:
    """Items of 1,024 bytes as dag-cbor: 64 of them stay in place, 65 make a tree, 513 a second leaf."""
    item = bytes(1_021)
    trees = {}
    for count in (65, 513):
        listing, blocks = pack([item] * count)
        trees[count] = {"root": str(listing.link), "root_data": blocks[0].data.hex()}
        trees[count]["leaves"] = [str(block.cid) for block in blocks[1:]]
    return {"item": encode_cbor(item).hex(), "in_place": 64, "trees": trees}


def _car() -> dict[str, object]:
    blocks = [cbor_block({"link": LINK}), raw_block(b"pollen")]
    return {
        "roots": [str(blocks[0].cid)],
        "blocks": [_shown(block) for block in blocks],
        "data": b"".join(write_car([blocks[0].cid], blocks)).hex(),
    }
