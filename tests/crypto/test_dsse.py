"""DSSE signatures: the published encoding, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto import dsse
from crypto.errors import BadSignature
from crypto.keys import SigningKey
from crypto.remembered import Remembered

KEY = SigningKey.from_seed(bytes(range(32)))
ORDER = 2**252 + 27742317777372353535851937790883648493
"""The order of Ed25519's group."""


def test_the_encoding_is_dsses_own_example() -> None:
    """protocol.md of DSSE 1.0.2, "Test Vectors"."""
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_lengths_are_of_bytes_not_of_characters() -> None:
    assert dsse.pae("ü", b"") == b"DSSEv1 2 \xc3\xbc 0 "


@given(st.text(), st.binary(), st.text(), st.binary())
def test_different_things_are_encoded_differently(type_a: str, a: bytes, type_b: str, b: bytes) -> None:
    assert (dsse.pae(type_a, a) == dsse.pae(type_b, b)) == ((type_a, a) == (type_b, b))


@given(st.text(), st.binary())
def test_a_signature_verifies(payload_type: str, payload: bytes) -> None:
    dsse.verify(KEY.verify_key, payload_type, payload, dsse.sign(KEY, payload_type, payload))


def test_a_signature_is_for_its_type_alone() -> None:
    signature = dsse.sign(KEY, "a/one", b"payload")
    with pytest.raises(BadSignature, match="a/two"):
        dsse.verify(KEY.verify_key, "a/two", b"payload", signature)


def test_a_signature_is_its_keys_alone() -> None:
    other = SigningKey.from_seed(bytes(32)).verify_key
    with pytest.raises(BadSignature, match=other.did):
        dsse.verify(other, "a/type", b"payload", dsse.sign(KEY, "a/type", b"payload"))


@given(st.integers(0, 511))
def test_a_signature_with_one_bit_changed_is_refused(bit: int) -> None:
    signature = bytearray(dsse.sign(KEY, "a/type", b"payload"))
    signature[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadSignature):
        dsse.verify(KEY.verify_key, "a/type", b"payload", bytes(signature))


def test_a_signature_is_not_malleable() -> None:
    """S + the group's order satisfies the equation just as well, but RFC 8032 section 5.1.7 refuses it."""
    signature = dsse.sign(KEY, "a/type", b"payload")
    s = int.from_bytes(signature[32:], "little") + ORDER
    with pytest.raises(BadSignature):
        dsse.verify(KEY.verify_key, "a/type", b"payload", signature[:32] + s.to_bytes(32, "little"))


@given(st.binary(max_size=130))
def test_any_bytes_that_are_no_signature_are_a_bad_signature(signature: bytes) -> None:
    with pytest.raises(BadSignature):
        dsse.verify(KEY.verify_key, "a/type", b"payload", signature)


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_has_64_bytes(length: int) -> None:
    with pytest.raises(BadSignature, match=f"64 bytes, not {length}"):
        dsse.verify(KEY.verify_key, "a/type", b"payload", bytes(length))


def test_a_right_signature_is_verified_once_and_a_wrong_one_each_time(verifications: Callable[[], int]) -> None:
    signature = dsse.sign(KEY, "a", b"said")
    for _ in range(3):
        dsse.verify(KEY.verify_key, "a", b"said", signature)
    assert verifications() == 1
    for _ in range(3):
        with pytest.raises(BadSignature):
            dsse.verify(KEY.verify_key, "b", b"said", signature)
    assert verifications() == 4


def test_no_more_right_signatures_are_remembered_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsse, "_RIGHT", Remembered(8))
    said = [bytes([number]) for number in range(20)]
    for payload in said:
        dsse.verify(KEY.verify_key, "a", payload, dsse.sign(KEY, "a", payload))
    assert 0 < len(dsse._RIGHT) <= 8
