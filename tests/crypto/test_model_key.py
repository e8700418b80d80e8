"""The P-256 key of an identity: made of its signing key, the same each time."""

from __future__ import annotations

import pickle

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from crypto.keys import SigningKey
from crypto.model_key import ModelKey

SIGNING = SigningKey.from_seed(b"a" * 32)
KEY = ModelKey.of(SIGNING)
PEM = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEw/Q82O6oUGolzv086fb+9zn4k1ST
ABoE94qhXQzvaR1+H/y4vK1SxcLRetp6W1olbwWjP0/zrRrsmUZdZeYECg==
-----END PUBLIC KEY-----
"""


def test_it_is_made_of_the_signing_key_and_the_same_each_time() -> None:
    assert KEY.public_pem == PEM
    assert ModelKey.of(SigningKey.from_seed(b"a" * 32)).sign(b"said") == KEY.sign(b"said")


def test_another_signing_key_has_another() -> None:
    assert ModelKey.of(SigningKey.from_seed(b"b" * 32)).public_pem != PEM


def test_it_signs_as_ecdsa_with_sha_256() -> None:
    public = load_pem_public_key(PEM.encode())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(KEY.sign(b"said"), b"said", ec.ECDSA(SHA256()))
    with pytest.raises(InvalidSignature):
        public.verify(KEY.sign(b"said"), b"sold", ec.ECDSA(SHA256()))


def test_it_shows_no_secret_and_is_not_pickled() -> None:
    assert SIGNING.secret_bytes().hex() not in repr(KEY)
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
