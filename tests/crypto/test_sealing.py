"""`crypto.sealing`: one reader opens, and nobody else, nor as anything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import CannotDecrypt
from crypto.keys import DecryptionKey
from crypto.sealing import open_sealed, seal

READER, OTHER = DecryptionKey.from_seed(b"r" * 32), DecryptionKey.from_seed(b"o" * 32)
SEALED = seal(READER.public, b"a secret", b"info")
ENCAPSULATED = 1088 + 32
"""Bytes: ML-KEM-768's ciphertext, then an X25519 key."""


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_what_is_sealed_opens_for_its_reader(plaintext: bytes, info: bytes) -> None:
    sealed = seal(READER.public, plaintext, info)

    assert open_sealed(READER, sealed, info) == plaintext
    assert len(sealed) == ENCAPSULATED + len(plaintext) + 16


def test_a_seal_is_another_each_time() -> None:
    assert seal(READER.public, b"a secret", b"info") != SEALED


@pytest.mark.parametrize(("key", "info"), [(OTHER, b"info"), (READER, b"inf"), (READER, b"")])
def test_another_reader_or_purpose_is_refused(key: DecryptionKey, info: bytes) -> None:
    with pytest.raises(CannotDecrypt):
        open_sealed(key, SEALED, info)


@given(st.integers(0, len(SEALED) - 1), st.integers(0, 7))
def test_a_changed_bit_is_refused(place: int, bit: int) -> None:
    changed = bytearray(SEALED)
    changed[place] ^= 1 << bit
    if place == ENCAPSULATED - 1 and bit == 7:
        return  # X25519 ignores this one bit (RFC 7748, section 5)

    with pytest.raises(CannotDecrypt):
        open_sealed(READER, bytes(changed), b"info")


@pytest.mark.parametrize("size", [0, 1, 32, ENCAPSULATED - 1, ENCAPSULATED, ENCAPSULATED + 15])
def test_too_few_bytes_are_refused(size: int) -> None:
    with pytest.raises(CannotDecrypt):
        open_sealed(READER, SEALED[:size], b"info")
