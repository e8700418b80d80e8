"""What both nonces of `crypto.symmetric` promise, and GMAC's against an implementation of its own."""

from __future__ import annotations

import hmac
import json
import pickle
from itertools import combinations
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import CannotDecrypt, ChangedPlaintext
from crypto.symmetric import OVERHEAD, ChunkNonce, DeterministicCipher, GmacNonce, SymmetricKey

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "crypto.json").read_text("utf-8"))["symmetric"]
KEY = b"k" * 32
BOTH = [SymmetricKey(KEY).of_chunks(how) for how in ChunkNonce]
GMAC = SymmetricKey(KEY).of_chunks(ChunkNonce.GMAC)
NONCE = GmacNonce(b"h" * 32, b"n" * 32)


def expand(key: bytes, label: bytes) -> bytes:
    """HKDF-Expand of RFC 5869 for one block of output."""
    return hmac.digest(key, label + b"\x01", "sha256")


def aes(key: bytes, block: bytes) -> bytes:
    return Cipher(AES(key), ECB()).encryptor().update(block)  # one block: the permutation itself


def product(x: int, y: int) -> int:
    """In GF(2^128), as section 6.3 of SP 800-38D has it: bit 0 is the leftmost."""
    z = 0
    for bit in range(127, -1, -1):
        z ^= y if x >> bit & 1 else 0
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return z


def gmac(key: bytes, nonce: bytes, data: bytes) -> bytes:
    """Section 7.1 of SP 800-38D for an empty plaintext: GHASH of the padded data and the lengths, and one AES block."""
    h, state = int.from_bytes(aes(key, bytes(16)), "big"), 0
    padded = data + bytes(-len(data) % 16) + (8 * len(data)).to_bytes(8, "big") + bytes(8)
    for at in range(0, len(padded), 16):
        state = product(state ^ int.from_bytes(padded[at : at + 16], "big"), h)
    return (state ^ int.from_bytes(aes(key, nonce + b"\0\0\0\1"), "big")).to_bytes(16, "big")


def as_the_readme_says(key: bytes, plaintext: bytes, context: bytes) -> bytes:
    """A chunk, of nothing that `crypto` has."""
    hashed = gmac(expand(key, b"pollen chunk gmac 1"), bytes(12), plaintext)
    said = len(context).to_bytes(8, "big") + context + hashed
    nonce = hmac.digest(expand(key, b"pollen chunk nonce 1"), said, "sha256")[:12]
    return nonce + AESGCM(expand(key, b"pollen chunk aes-256-gcm 1")).encrypt(nonce, plaintext, context)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 31, 32, 33, 1000])
def test_a_chunk_is_what_the_readme_says(size: int) -> None:
    plaintext = bytes(range(256)) * 4
    assert GMAC.encrypt(plaintext[:size], b"chunk") == as_the_readme_says(KEY, plaintext[:size], b"chunk")


@pytest.mark.parametrize("shown", VECTORS["chunks"], ids=lambda shown: f"{len(shown['plaintext']) // 2} bytes")
def test_the_vectors_are_what_the_readme_says_and_what_is_written(shown: dict[str, str]) -> None:
    key, plaintext, context = (
        bytes.fromhex(VECTORS["key"]),
        bytes.fromhex(shown["plaintext"]),
        shown["context"].encode(),
    )
    cipher = SymmetricKey(key).of_chunks(ChunkNonce.GMAC)

    assert as_the_readme_says(key, plaintext, context).hex() == shown["ciphertext"]
    assert cipher.encrypt(plaintext, context).hex() == shown["ciphertext"]
    assert cipher.decrypt(bytes.fromhex(shown["ciphertext"]), context) == plaintext


def test_the_gmac_here_is_that_of_the_standards_example() -> None:
    """Test case 1 of the AES-256 cases that SP 800-38D was published with (13 in McGrew and Viega's paper)."""
    assert gmac(bytes(32), bytes(12), b"").hex() == "530f8afbc74536b9a963b4f1c4cb738b"


@pytest.mark.parametrize("cipher", BOTH, ids=list(ChunkNonce))
@given(plaintext=st.binary(max_size=100), context=st.binary(max_size=20))
def test_what_is_encrypted_comes_back_and_is_the_same_each_time(
    cipher: DeterministicCipher, plaintext: bytes, context: bytes
) -> None:
    ciphertext = cipher.encrypt(memoryview(plaintext), context)

    assert cipher.decrypt(memoryview(ciphertext), context) == plaintext
    assert cipher.encrypt(plaintext, context) == ciphertext
    assert len(ciphertext) == len(plaintext) + OVERHEAD


@pytest.mark.parametrize("cipher", BOTH, ids=list(ChunkNonce))
@given(place=st.integers(0, 7 + OVERHEAD - 1), bit=st.integers(0, 7))
def test_a_changed_bit_is_refused(cipher: DeterministicCipher, place: int, bit: int) -> None:
    changed = bytearray(cipher.encrypt(b"7 bytes", b"c"))
    changed[place] ^= 1 << bit

    with pytest.raises(CannotDecrypt):
        cipher.decrypt(bytes(changed), b"c")


@pytest.mark.parametrize("cipher", [*BOTH, SymmetricKey(b"l" * 32).of_chunks(ChunkNonce.GMAC)])
@pytest.mark.parametrize("context", [b"c", b"d", b""])
def test_a_chunk_opens_under_its_own_key_nonce_and_context_alone(cipher: DeterministicCipher, context: bytes) -> None:
    ciphertext = GMAC.encrypt(b"secret", b"c")
    if (cipher, context) == (BOTH[1], b"c"):
        assert cipher.decrypt(ciphertext, context) == b"secret"
        return
    with pytest.raises(CannotDecrypt):
        cipher.decrypt(ciphertext, context)


def test_a_nonce_that_is_not_the_plaintexts_is_refused() -> None:
    """Somebody with the key could make many ciphertexts of one plaintext, which only look like ours."""
    nonce = b"n" * 12
    sealed = nonce + AESGCM(expand(KEY, b"pollen chunk aes-256-gcm 1")).encrypt(nonce, b"x", b"c")
    with pytest.raises(CannotDecrypt, match="nonce"):
        GMAC.decrypt(sealed, b"c")


def test_what_was_kept_of_a_chunk_makes_it_again_of_the_same_plaintext_alone() -> None:
    ciphertext = bytearray(7 + OVERHEAD)
    seal = GMAC.encrypt_into(b"7 bytes", b"c", memoryview(ciphertext))

    assert bytes(ciphertext) == GMAC.encrypt(b"7 bytes", b"c") == GMAC.encrypt_again(b"7 bytes", b"c", seal)
    with pytest.raises(ChangedPlaintext):  # two ciphertexts with one nonce would show both plaintexts
        GMAC.encrypt_again(b"8 bytes", b"c", seal)


# -- the nonce that is made of a GMAC ------------------------------------------------------------------------------

ALIKE = [
    (b"", b""),
    (b"", b"\0"),
    (b"", bytes(16)),
    (b"", bytes(32)),
    (b"\0", b""),
    (bytes(8), b""),
    (bytes(16), b""),
    (b"a", b"bc"),
    (b"ab", b"c"),
    (b"abc", b""),
    (b"", b"abc"),
    (b"abc", bytes(13)),
    (b"", bytes(2**17)),
    (b"", bytes(2**17 + 1)),
]
"""Plaintexts and contexts that a hash without lengths would take for one another: padded GHASH, or what is joined."""


def test_no_two_of_what_looks_alike_when_joined_or_padded_have_one_nonce() -> None:
    nonces = [NONCE.of(plaintext, context) for plaintext, context in ALIKE]
    assert len(set(nonces)) == len(ALIKE)


@given(st.binary(min_size=1, max_size=200), st.data())
def test_each_bit_of_the_plaintext_counts(plaintext: bytes, data: st.DataObject) -> None:
    changed = bytearray(plaintext)
    changed[data.draw(st.integers(0, len(plaintext) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert NONCE.of(bytes(changed), b"c") != NONCE.of(plaintext, b"c")


@pytest.mark.parametrize("other", [GmacNonce(b"i" * 32, b"n" * 32), GmacNonce(b"h" * 32, b"o" * 32)])
def test_both_keys_count(other: GmacNonce) -> None:
    assert other.of(b"x", b"c") != NONCE.of(b"x", b"c")


def test_a_nonce_shows_no_gmac() -> None:
    """GHASH is linear: GMACs of one nonce that somebody sees give away its key, and with it which chunks collide."""
    chunks = [bytes(size) for size in (0, 16, 32, 48)]
    hashed = [gmac(b"h" * 32, bytes(12), chunk) for chunk in chunks]
    nonces = [NONCE.of(chunk, b"c") for chunk in chunks]

    assert not [(a, b) for a in hashed for b in nonces if a[:12] == b or a[4:] == b]


def test_the_three_keys_of_chunks_and_those_of_all_else_are_different() -> None:
    labels = [
        b"pollen aes-256-gcm 1",
        b"pollen nonce 1",
        b"pollen chunk aes-256-gcm 1",
        b"pollen chunk gmac 1",
        b"pollen chunk nonce 1",
    ]
    assert all(first != second for first, second in combinations([expand(KEY, label) for label in labels], 2))
    assert GMAC.encrypt(b"x", b"c")[:12] != BOTH[0].encrypt(b"x", b"c")[:12]
    with pytest.raises(CannotDecrypt):
        SymmetricKey(KEY).decrypt(GMAC.encrypt(b"x", b"c"), b"c")


def test_a_cipher_and_its_nonces_do_not_print_or_pickle() -> None:
    for secret in (GMAC, NONCE):
        assert "kkkk" not in repr(secret)
        with pytest.raises(TypeError):
            pickle.dumps(secret)


@pytest.mark.parametrize("size", [255, 256, 257, 767, 768, 1023, 1024, 1025])
def test_a_chunk_is_hashed_alike_wherever_it_lies_in_memory(size: int) -> None:
    """OpenSSL hashes many blocks at once where it can, and what is left over by itself."""
    chunk = bytes(range(256)) * 5
    held = memoryview(b"x" + chunk)[1 : 1 + size]
    assert GMAC.encrypt(held, b"chunk") == as_the_readme_says(KEY, chunk[:size], b"chunk")
