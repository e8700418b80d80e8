"""`crypto.symmetric`: as crypto/README.md says, deterministic, and refused if anything differs."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import BadKey, CannotDecrypt
from crypto.symmetric import OVERHEAD, ScratchKey, SymmetricKey

VECTOR: dict[str, str] = json.loads((Path(__file__).parents[1] / "vectors" / "crypto.json").read_text("utf-8"))[
    "symmetric"
]
KEY = SymmetricKey(b"k" * 32)


def expand(key: bytes, label: bytes) -> bytes:
    """HKDF-Expand of RFC 5869 for one block of output."""
    return hmac.digest(key, label + b"\x01", "sha256")


def test_the_vector_is_what_the_readme_says() -> None:
    key, context = bytes.fromhex(VECTOR["key"]), VECTOR["context"].encode()
    plaintext = bytes.fromhex(VECTOR["plaintext"])
    said = len(context).to_bytes(8, "big") + context + plaintext
    nonce = hmac.digest(expand(key, b"pollen nonce 1"), said, "sha256")[:12]
    sealed = AESGCM(expand(key, b"pollen aes-256-gcm 1")).encrypt(nonce, plaintext, context)

    assert VECTOR["ciphertext"] == (nonce + sealed).hex()
    assert VECTOR["derived"] == expand(key, b"pollen derived 1 " + VECTOR["label"].encode()).hex()
    assert VECTOR["commitment"] == hashlib.sha256(b"pollen key commitment 1" + key).hexdigest()


def test_a_key_makes_what_the_vector_has() -> None:
    key = SymmetricKey(bytes.fromhex(VECTOR["key"]))
    plaintext, context = bytes.fromhex(VECTOR["plaintext"]), VECTOR["context"].encode()

    assert key.encrypt(plaintext, context).hex() == VECTOR["ciphertext"]
    assert key.derive(VECTOR["label"].encode()).secret_bytes().hex() == VECTOR["derived"]
    assert key.commitment().hex() == VECTOR["commitment"]


@given(st.binary(max_size=100), st.binary(max_size=20))
def test_what_is_encrypted_comes_back_and_is_the_same_each_time(plaintext: bytes, context: bytes) -> None:
    ciphertext = KEY.encrypt(memoryview(plaintext), context)

    assert KEY.decrypt(memoryview(ciphertext), context) == plaintext
    assert KEY.encrypt(plaintext, context) == ciphertext
    assert len(ciphertext) == len(plaintext) + OVERHEAD


@given(st.integers(0, 7 + OVERHEAD - 1), st.integers(0, 7))
def test_a_changed_bit_is_refused(place: int, bit: int) -> None:
    changed = bytearray(KEY.encrypt(b"7 bytes", b"c"))
    changed[place] ^= 1 << bit

    with pytest.raises(CannotDecrypt):
        KEY.decrypt(bytes(changed), b"c")


@pytest.mark.parametrize(
    ("key", "context"), [(SymmetricKey(b"l" * 32), b"c"), (KEY, b"d"), (KEY, b""), (KEY.derive(b"x"), b"c")]
)
def test_another_key_or_context_is_refused(key: SymmetricKey, context: bytes) -> None:
    with pytest.raises(CannotDecrypt):
        key.decrypt(KEY.encrypt(b"secret", b"c"), context)


def test_a_nonce_that_is_not_the_plaintexts_is_refused() -> None:
    """Somebody with the key could make many ciphertexts of one plaintext, which only look like ours."""
    nonce = b"n" * 12
    sealed = nonce + AESGCM(expand(b"k" * 32, b"pollen aes-256-gcm 1")).encrypt(nonce, b"x", b"c")
    with pytest.raises(CannotDecrypt, match="nonce"):
        KEY.decrypt(sealed, b"c")


@pytest.mark.parametrize("size", [0, 11, 12, OVERHEAD - 1])
def test_too_few_bytes_are_refused(size: int) -> None:
    with pytest.raises(CannotDecrypt):
        KEY.decrypt(bytes(size), b"c")


def test_nothing_shows_the_key() -> None:
    assert b"kkkk".hex() not in repr(KEY)
    assert "kkkk" not in repr(KEY)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_has_32_bytes(size: int) -> None:
    with pytest.raises(BadKey):
        SymmetricKey(bytes(size))


def hidden_with(key: ScratchKey, place: int, *pieces: bytes) -> bytes:
    hide, room = key.stream(place), bytearray(1000)
    return b"".join(bytes(room[: hide(piece, memoryview(room))]) for piece in pieces)


def test_a_scratch_key_opens_what_it_hid_at_a_place_and_no_other_key_does() -> None:
    key, plaintext = ScratchKey(), bytes(1000)
    hidden = hidden_with(key, 64, plaintext[:301], plaintext[301:])

    assert hidden_with(key, 64, hidden) == plaintext
    assert len({hidden[at : at + 16] for at in range(0, 992, 16)}) == 62
    assert hidden_with(ScratchKey(), 64, hidden) != plaintext


def test_nothing_that_is_hidden_at_one_place_helps_at_another() -> None:
    key = ScratchKey()
    streams = [hidden_with(key, place, bytes(1000)) for place in range(0, 6400, 64)]
    blocks = [stream[at : at + 16] for stream in streams for at in range(0, 992, 16)]

    assert len(set(blocks)) == len(blocks)
