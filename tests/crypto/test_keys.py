"""Keys: which bytes are a key, how keys are written, and that secrets stay secret."""

from __future__ import annotations

import hashlib
import pickle
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from crypto import base58
from crypto.errors import BadKey
from crypto.keys import DecryptionKey, EncryptionKey, EncryptionSuite, SigningKey, VerifyKey

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
SEEDS = st.binary(min_size=32, max_size=32)


def encoded(y: int, sign: int = 0) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


def order_divides_eight(raw: bytes) -> bool:
    """By the curve's own addition law (RFC 8032 section 5.1.4), not by a list."""
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    xx = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(xx, (P + 3) // 8, P)
    x = x if (x * x - xx) % P == 0 else x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - xx) % P == 0, "not on the curve"
    for _ in range(3):
        k = D * x * x % P * y % P * y % P
        x, y = 2 * x * y * pow(1 + k, -1, P) % P, (y * y + x * x) * pow(1 - k, -1, P) % P
    return (x, y) == (0, 1)


ORDER_EIGHT = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
SMALL_ORDER = [encoded(y, sign) for y in (0, 1, P - 1, ORDER_EIGHT, P - ORDER_EIGHT) for sign in (0, 1)]


@pytest.mark.parametrize("raw", SMALL_ORDER, ids=bytes.hex)
def test_a_point_of_small_order_is_no_key(raw: bytes) -> None:
    assert order_divides_eight(raw)
    with pytest.raises(BadKey, match="small order"):
        VerifyKey.parse(raw)


@pytest.mark.parametrize("y", [P, P + 1, P + 3, 2**255 - 1])
@pytest.mark.parametrize("sign", [0, 1])
def test_a_second_encoding_of_a_point_is_no_key(y: int, sign: int) -> None:
    with pytest.raises(BadKey, match="canonical"):
        VerifyKey.parse(encoded(y, sign))


def test_bytes_off_the_curve_are_no_key() -> None:
    with pytest.raises(BadKey, match="not a point"):
        VerifyKey.parse(encoded(2))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_another_length_is_no_key(length: int) -> None:
    with pytest.raises(BadKey, match=f"32 bytes, not {length}"):
        VerifyKey.parse(b"\x05" * length)


@given(SEEDS)
def test_every_key_that_a_seed_makes_is_accepted_and_written_as_its_did(seed: bytes) -> None:
    key = SigningKey.from_seed(seed).verify_key
    assert VerifyKey.parse(key.raw) == key
    assert VerifyKey.from_did(key.did) == key


def test_a_signing_key_is_rfc_8032s() -> None:
    """Section 7.1, test 2."""
    key = SigningKey.from_seed(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    assert key.verify_key.raw.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert key.sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


def test_a_did_is_the_did_key_methods() -> None:
    """The first Ed25519 key in the test vectors of the W3C CCG's did:key method."""
    did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"
    raw = bytes.fromhex("3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29")
    assert VerifyKey.parse(raw).did == did
    assert SigningKey.from_seed(bytes(32)).verify_key.did == did


KEY = SigningKey.from_seed(bytes(32)).verify_key


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (KEY.did.removeprefix("did:key:z"), "not a did:key of an Ed25519 key"),
        ("did:web:example.org", "not a did:key of an Ed25519 key"),
        (KEY.did + "1" * 100_000, "not a did:key of an Ed25519 key"),
        (KEY.did.replace("z6Mk", "z6M0"), "'0' is no base58 digit"),
        ("did:key:z" + base58.encode(b"\xec\x01" + KEY.raw), "begin with did:key:z6Mk"),
        ("did:key:z" + base58.encode(KEY.raw), "begin with did:key:z6Mk"),
        ("did:key:z" + base58.encode(b"\xed\x01" + bytes(32)), "small order"),
    ],
    ids=["bare", "web", "long", "digit", "x25519", "no codec", "small order"],
)
def test_what_is_no_did_of_an_ed25519_key_is_named(text: str, why: str) -> None:
    with pytest.raises(BadKey, match=why):
        VerifyKey.from_did(text)


@given(st.one_of(st.text(), st.text().map("did:key:z".__add__), st.text("123abcXYZ").map("did:key:z6Mk".__add__)))
def test_any_text_is_a_did_or_a_bad_key(text: str) -> None:
    with suppress(BadKey):
        assert VerifyKey.from_did(text).did == text


@given(SEEDS)
def test_keys_are_ordered_as_their_bytes(seed: bytes) -> None:
    one, other = SigningKey.from_seed(seed).verify_key, SigningKey.from_seed(bytes(32)).verify_key
    assert (one < other) == (one.raw < other.raw)
    assert len({one, VerifyKey(one.raw)}) == 1


@given(st.binary(max_size=40))
def test_base58_reads_what_it_writes(data: bytes) -> None:
    assert base58.decode(base58.encode(data)) == data


def test_a_public_encryption_key_and_its_seed_fit_hpke() -> None:
    """`cryptography`'s own HPKE, with X-Wing's key expansion written out."""
    key = DecryptionKey.from_seed(bytes(range(32)))
    expanded = hashlib.shake_256(bytes(range(32))).digest(96)
    mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    private = hpke.MLKEM768X25519PrivateKey(mlkem, X25519PrivateKey.from_private_bytes(expanded[64:]))
    raw = key.public.raw
    public = hpke.MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(raw[:1184]), X25519PublicKey.from_public_bytes(raw[1184:])
    )
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    assert suite.decrypt(suite.encrypt(b"sealed", public, b"info"), private, b"info") == b"sealed"


def test_a_decryption_key_expands_as_the_published_vector() -> None:
    """unsigned-connolly-cfrg-xwing-kem-10, appendix C, the first: where its 1216 bytes begin and end."""
    seed = bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26")
    raw = DecryptionKey.from_seed(seed).public.raw.hex()
    assert raw.startswith("e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5")
    assert raw.endswith("859edb06eff389b27dce59844570216223593d4ba32d9abac8cd049040ef6534")


def test_an_encryption_key_is_read_back() -> None:
    key = DecryptionKey.generate().public
    assert EncryptionKey.parse("mlkem768x25519-hkdfsha256-aes256gcm", key.raw) == key


@pytest.mark.parametrize(
    ("suite", "raw", "why"),
    [
        ("rot13", bytes(1216), "suite 'rot13' is not known"),
        (EncryptionSuite.MLKEM768X25519, bytes(1215), "1216 bytes, not 1215"),
        (EncryptionSuite.MLKEM768X25519, b"\xff" * 1216, "out of range"),
    ],
)
def test_what_is_no_encryption_key_is_refused(suite: str, raw: bytes, why: str) -> None:
    with pytest.raises(BadKey, match=why):
        EncryptionKey.parse(suite, raw)


@given(st.sampled_from(EncryptionSuite) | st.text(), st.binary(max_size=64) | st.binary(min_size=1216, max_size=1216))
def test_any_bytes_are_an_encryption_key_or_a_bad_key(suite: str, raw: bytes) -> None:
    with suppress(BadKey):
        assert EncryptionKey.parse(suite, raw).raw == raw


@pytest.mark.parametrize("kind", [SigningKey, DecryptionKey])
def test_a_private_key_never_shows_its_secret(kind: type[SigningKey] | type[DecryptionKey]) -> None:
    secret = bytes(range(32))
    key = kind.from_seed(secret)
    assert secret.hex() not in f"{key!r} {key}"
    assert repr(secret)[2:20] not in f"{key!r} {key}"
    with pytest.raises(TypeError):
        pickle.dumps(key)


@pytest.mark.parametrize("kind", [SigningKey, DecryptionKey])
def test_a_seed_of_another_length_is_refused_without_being_shown(kind: type[SigningKey] | type[DecryptionKey]) -> None:
    with pytest.raises(BadKey, match="32 bytes, not 5") as caught:
        kind.from_seed(b"siesa")
    assert "siesa" not in str(caught.value)
