"""Signing with DSSE's pre-authentication encoding, so that bytes signed as one type can never pass as another.

Only DSSE's encoding is used (Dead Simple Signing Envelope, protocol 1.0.2, secure-systems-lab/dsse), not its JSON
envelope.
"""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from crypto.errors import BadSignature as BadSignature  # exported here too, beside the functions that raise it
from crypto.keys import SigningKey, VerifyKey
from crypto.remembered import Remembered

MAX_RIGHT: Final = 16_384
"""How many right signatures are remembered, in about 4 MB."""


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are really signed: ``DSSEv1``, then the length and the bytes of the type and of the payload."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(key: SigningKey, payload_type: str, payload: bytes) -> bytes:
    """The 64-byte signature of ``payload`` as a ``payload_type``."""
    return key.sign(pae(payload_type, payload))


def verify(key: VerifyKey, payload_type: str, payload: bytes, signature: bytes) -> None:
    """Check that ``signature`` is by ``key``, over exactly these bytes as this type.

    Strict: exactly 64 bytes, S below the group order, R compared as bytes (the cofactorless check of RFC 8032 that
    OpenSSL makes), so that nobody can turn a signature into another valid one.

    Raises:
        BadSignature: if it is not.
    """
    if len(signature) != 64:
        raise BadSignature(f"a signature has 64 bytes, not {len(signature)}")
    signed = pae(payload_type, payload)
    known = key.raw + signature + hashlib.sha256(signed).digest()
    if _RIGHT.get(known):
        return
    try:
        Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, signed)
    except InvalidSignature:
        raise BadSignature(f"not signed by {key.did} as {payload_type}") from None
    _RIGHT.add(known, True)


_RIGHT: Final = Remembered[bool](MAX_RIGHT)
"""Key, signature and the digest of what is signed, for right signatures: they stay right for ever, and a peer meets
many of them again. A wrong one is not remembered, because its sender could fill this."""
