"""The P-256 key with which an identity signs model files for tools that take no Ed25519, such as the OpenSSF's.

It is made of the identity's signing key, so there is nothing more to keep, lock or back up: HKDF-Expand with SHA-256
(RFC 5869) gives 48 bytes, and they give the scalar as FIPS 186-5, A.2.1, makes one of 64 bits more than the order has.
The signing key cannot be found from it, and another signing key has another one.
"""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crypto.keys import Secret, SigningKey

_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the group P-256 (SP 800-186, 3.2.1.3)."""
_BYTES: Final = 48
_LABEL: Final = b"pollen model key p-256 1"


class ModelKey(Secret):
    """An ECDSA private key on P-256."""

    __slots__ = ("_private", "public_pem")

    public_pem: str
    """The public key as the tools take it: a SubjectPublicKeyInfo in PEM."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private
        spki = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.public_pem = spki.decode("ascii")

    @classmethod
    def of(cls, key: SigningKey) -> ModelKey:
        """The one of an identity's signing key."""
        expanded = HKDFExpand(SHA256(), _BYTES, _LABEL).derive(key.secret_bytes())
        scalar = int.from_bytes(expanded, "big") % (_ORDER - 1) + 1
        return cls(ec.derive_private_key(scalar, ec.SECP256R1()))

    def sign(self, message: bytes) -> bytes:
        """ECDSA with SHA-256, in DER; the same for the same message (RFC 6979 takes the nonce from it)."""
        return self._private.sign(message, ec.ECDSA(SHA256(), deterministic_signing=True))

    def __repr__(self) -> str:
        return f"ModelKey({hashlib.sha256(self.public_pem.encode()).hexdigest()[:8]})"
