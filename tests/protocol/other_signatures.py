"""Another good signature of the same bytes with the same key: a hostile signer chooses the nonce of Ed25519."""

from __future__ import annotations

import hashlib

from crypto.dsse import pae
from crypto.keys import SigningKey
from protocol.blocks.cid import Block
from protocol.records.signed_records import RECORD_TYPE, Record, assemble, parse_record

_ORDER = (1 << 252) + 27742317777372353535851937790883648493
"""Of the group (RFC 8032, section 5.1)."""


def signed_otherwise(record: Record, key: SigningKey, nonce: bytes) -> Block:
    """The record that ``key`` alone signed, with another signature; ``nonce`` is 32 bytes."""
    point = SigningKey.from_seed(nonce).verify_key.raw
    message = pae(RECORD_TYPE, record.body_bytes)
    digest = hashlib.sha512(point + key.verify_key.raw + message).digest()
    s = (_scalar(nonce) + int.from_bytes(digest, "little") * _scalar(key.secret_bytes())) % _ORDER
    block = assemble(record.body, {key.verify_key.raw: point + s.to_bytes(32, "little")})
    parse_record(block).check_signatures()
    return block


def _scalar(seed: bytes) -> int:
    low = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    return (low & ((1 << 254) - 8)) | (1 << 254)
