"""Sealing a short secret for one reader: HPKE (RFC 9180), base mode, single-shot."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from crypto.errors import CannotDecrypt
from crypto.keys import MLKEM768_BYTES, DecryptionKey, EncryptionKey

_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def seal(reader: EncryptionKey, plaintext: bytes, info: bytes) -> bytes:
    """``plaintext`` for ``reader`` only: the encapsulated key, then the ciphertext. It differs each time.

    ``info`` says what it is and for which place. It opens with the same ``info`` only.
    """
    return _SUITE.encrypt(plaintext, _public(reader.raw), info)


def open_sealed(key: DecryptionKey, sealed: bytes, info: bytes) -> bytes:
    """What was sealed for ``key``.

    Raises:
        CannotDecrypt: if it was sealed for another reader or with another ``info``, or was changed.
    """
    try:
        return _SUITE.decrypt(sealed, _private(key), info)
    except (InvalidTag, ValueError) as error:  # ValueError: too short for an encapsulated key
        raise CannotDecrypt("it is sealed for another reader, or was changed") from error


@lru_cache(maxsize=1024)
def _public(raw: bytes) -> MLKEM768X25519PublicKey:
    return MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(raw[:MLKEM768_BYTES]),
        X25519PublicKey.from_public_bytes(raw[MLKEM768_BYTES:]),
    )


def _private(key: DecryptionKey) -> MLKEM768X25519PrivateKey:
    expanded = hashlib.shake_256(key.secret_bytes()).digest(96)  # as X-Wing expands its decapsulation key
    return MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(expanded[64:])
    )
