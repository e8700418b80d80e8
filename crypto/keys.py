"""Signing and encryption keys, as values.

Public keys are plain frozen values; their bytes were checked once. Private keys never show their secret, neither in
``repr`` nor in ``str``. `SigningKey.secret_bytes` and `DecryptionKey.secret_bytes` are the only ways to it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final, NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto import base58
from crypto.errors import BadKey as BadKey  # exported here too, beside the functions that raise it

_DID_PREFIX: Final = "did:key:z"
_ED25519_PUB: Final = b"\xed\x01"
"""The multicodec of an Ed25519 public key, as a varint."""
_MAX_DID: Final = 64
"""Characters. Real ones have 56, and base58 is slow on long text."""
MLKEM768_BYTES: Final = 1184
MAX_KEYS: Final = 65_536
"""How many good public keys are remembered, so that each is checked once: one for every member of the largest
federation, in about 16 MB."""

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_ORDER_EIGHT_Y: Final = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_SMALL_ORDER_Y: Final = frozenset({0, 1, _P - 1, _ORDER_EIGHT_Y, _P - _ORDER_EIGHT_Y})


@dataclass(frozen=True, slots=True, order=True)
class VerifyKey:
    """An Ed25519 public key, checked. Ordered by its bytes. Make one with `parse` or `from_did`."""

    raw: bytes
    """32 bytes."""

    @classmethod
    def parse(cls, raw: bytes) -> VerifyKey:
        """The key of 32 bytes from outside.

        Raises:
            BadKey: if there are not 32 bytes, or they are no point, not its canonical encoding, or of small order.
        """
        return _checked(bytes(raw))

    @property
    def did(self) -> str:
        """``did:key:z6Mk...``, what people see (W3C CCG, "The did:key Method", section 3)."""
        return _DID_PREFIX + base58.encode(_ED25519_PUB + self.raw)

    @classmethod
    def from_did(cls, text: str) -> VerifyKey:
        """The key written as a ``did:key``.

        Raises:
            BadKey: if ``text`` is not the ``did:key`` of a good Ed25519 key.
        """
        if not text.startswith(_DID_PREFIX) or len(text) > _MAX_DID:
            raise BadKey(f"not a did:key of an Ed25519 key (did:key:z6Mk...): {text[:_MAX_DID]!r}")
        try:
            data = base58.decode(text.removeprefix(_DID_PREFIX))
        except ValueError as error:
            raise BadKey(f"not a did:key: {error}") from error
        if not data.startswith(_ED25519_PUB):
            raise BadKey(f"{text} is not the did:key of an Ed25519 key; those begin with did:key:z6Mk")
        return cls.parse(data.removeprefix(_ED25519_PUB))

    def __str__(self) -> str:
        return self.did


@lru_cache(maxsize=MAX_KEYS)
def _checked(raw: bytes) -> VerifyKey:
    """`VerifyKey.parse`. Checking that bytes are a point costs as much as verifying a signature, and few keys sign
    everything."""
    if why := _why_no_point(raw):
        raise BadKey(f"not an Ed25519 public key: {why}")
    return VerifyKey(raw)


def _why_no_point(raw: bytes) -> str:
    """Why ``raw`` is refused as a public key; empty if it is a good one.

    OpenSSL takes any 32 bytes as a key and finds out late, or never, that some are useless. Under a small-order key one
    signature can be valid for many messages, and a point with two encodings would be two members. See section 5 and
    table 6 of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko; 2020) and RFC 8032 section 5.1.3.
    """
    if len(raw) != 32:
        return f"an Ed25519 key has 32 bytes, not {len(raw)}"
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _P:
        return "not the canonical encoding of a point"
    if y in _SMALL_ORDER_Y:  # includes every point with x = 0, the one case in which the sign bit may be wrong
        return "a point of small order, under which anybody can sign"
    # x^2 = (y^2 - 1) / (d y^2 + 1) has a root if Euler's criterion gives 1; the quotient is a square times the product
    square = (y * y - 1) * (_D * y * y + 1) % _P
    if pow(square, (_P - 1) // 2, _P) != 1:
        return "not a point on the curve"
    return ""


class Secret:
    """What private keys share: they do not print, pickle, or compare by accident."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} is not pickled")


class SigningKey(Secret):
    """An Ed25519 private key."""

    __slots__ = ("_private", "verify_key")

    verify_key: VerifyKey

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.verify_key = VerifyKey(private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key, from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The key of RFC 8032's 32-byte private key.

        Raises:
            BadKey: if ``seed`` has another length.
        """
        if len(seed) != 32:
            raise BadKey(f"an Ed25519 private key has 32 bytes, not {len(seed)}")
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    def sign(self, message: bytes) -> bytes:
        """64 bytes; the same for the same message (Ed25519 needs no randomness)."""
        return self._private.sign(message)

    def secret_bytes(self) -> bytes:
        """The seed, for the key file only."""
        return self._private.private_bytes_raw()

    def __repr__(self) -> str:
        return f"SigningKey(of {self.verify_key.did})"


class EncryptionSuite(StrEnum):
    """The HPKE suites (KEM, KDF and AEAD together) of keys. There is one for now; its name makes room for more."""

    MLKEM768X25519 = "mlkem768x25519-hkdfsha256-aes256gcm"
    """`cryptography`'s ``Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)``: the hybrid also called X-Wing
    (HPKE KEM 0x647a), safe while either ML-KEM-768 or X25519 is."""


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """The public half of a `DecryptionKey`, checked. Make one with `parse`."""

    suite: EncryptionSuite
    raw: bytes
    """For the hybrid: the ML-KEM-768 key (1184 bytes), then the X25519 key (32 bytes)."""

    @classmethod
    def parse(cls, suite: str, raw: bytes) -> EncryptionKey:
        """The key from outside, given as a suite's name and bytes.

        Raises:
            BadKey: if the suite is unknown, or the bytes are no key of it.
        """
        try:
            known = EncryptionSuite(suite)
        except ValueError as error:
            raise BadKey(f"encryption suite {suite[:64]!r} is not known here (known: {_known_suites()})") from error
        if len(raw) != MLKEM768_BYTES + 32:
            raise BadKey(f"a {known} key has {MLKEM768_BYTES + 32} bytes, not {len(raw)}")
        try:
            MLKEM768PublicKey.from_public_bytes(raw[:MLKEM768_BYTES])
        except ValueError as error:  # FIPS 203's modulus check; any 32 bytes are an X25519 key
            raise BadKey("not an ML-KEM-768 key: a coefficient is out of range") from error
        return cls(known, bytes(raw))


def _known_suites() -> str:
    return ", ".join(EncryptionSuite)


class DecryptionKey(Secret):
    """The private key of the hybrid suite, as in X-Wing: a 32-byte seed, from which both private keys are derived."""

    __slots__ = ("_seed", "public")

    public: EncryptionKey

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        # draft-connolly-cfrg-xwing-kem, section 5.2: expandDecapsulationKey
        expanded = hashlib.shake_256(seed).digest(96)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64]).public_key().public_bytes_raw()
        x25519 = X25519PrivateKey.from_private_bytes(expanded[64:]).public_key().public_bytes_raw()
        self.public = EncryptionKey(EncryptionSuite.MLKEM768X25519, mlkem + x25519)

    @classmethod
    def generate(cls) -> DecryptionKey:
        """A new key, from the operating system's randomness."""
        return cls(AESGCM.generate_key(256))  # `cryptography` gives 32 random bytes this way

    @classmethod
    def from_seed(cls, seed: bytes) -> DecryptionKey:
        """The key of X-Wing's 32-byte decapsulation key.

        Raises:
            BadKey: if ``seed`` has another length.
        """
        if len(seed) != 32:
            raise BadKey(f"a decryption key has 32 bytes, not {len(seed)}")
        return cls(bytes(seed))

    def secret_bytes(self) -> bytes:
        """The seed, for the key file only."""
        return self._seed

    def __repr__(self) -> str:
        return f"DecryptionKey({self.public.suite})"
