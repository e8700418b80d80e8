"""Symmetric keys, which encrypt contents, private parts and announcements, and keys of a process's own files.

Encryption makes the same bytes of the same plaintext, so that equal chunks keep equal CIDs. It is AES-256-GCM (NIST SP
800-38D) with a nonce that is a PRF of the context and the plaintext: the synthetic IV of Rogaway and Shrimpton
("Deterministic Authenticated-Encryption", 2006). As in that paper, decrypting makes the nonce again and compares it, so
a plaintext has one ciphertext under a key and context.

There are two such PRFs. `HmacNonce` is HMAC-SHA256 of all of it. Nobody makes a ciphertext that two keys open, which
GCM alone allows: two PRFs would have to agree. `GmacNonce` is HMAC-SHA256 of a short universal hash of the plaintext,
which is how AES-GCM-SIV (RFC 8452) is built, at a tenth of the time. Whoever chooses two keys makes a ciphertext that
both open, so it is only for what stands beside a commitment to the key.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from crypto.errors import BadKey, CannotDecrypt, ChangedPlaintext
from crypto.keys import Secret

KEY_SIZE: Final = 32
_NONCE: Final = 12
_TAG: Final = 16

OVERHEAD: Final = _NONCE + _TAG
"""How many bytes longer a ciphertext is than its plaintext."""


class ChunkNonce(StrEnum):
    """Which PRF makes the nonces of the chunks of contents."""

    HMAC = "hmac"
    GMAC = "gmac"


class HmacNonce(Secret):
    """The first bytes of HMAC-SHA256 of context and plaintext. 0.5 ms a MiB, with SHA instructions."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, plaintext: bytes | memoryview, context: bytes) -> bytes:
        """The nonce of a ``plaintext`` under a ``context``."""
        mac = hmac.new(self._key, _prefixed(context), hashlib.sha256)
        mac.update(plaintext)
        return mac.digest()[:_NONCE]


class GmacNonce(Secret):
    """The first bytes of HMAC-SHA256 of the context and a GMAC of the plaintext, under two keys. 0.04 ms a MiB.

    The GMAC has one nonce for all plaintexts. That would give its key away to somebody who sees GMACs. Nobody does:
    HMAC takes them, and what it gives tells nothing of them but which are equal.
    """

    __slots__ = ("_hash", "_key")

    def __init__(self, hash_key: bytes, key: bytes) -> None:
        self._hash = AESGCM(hash_key)
        self._key = key

    def of(self, plaintext: bytes | memoryview, context: bytes) -> bytes:
        """The nonce of a ``plaintext`` under a ``context``."""
        hashed = self._hash.encrypt(bytes(_NONCE), b"", plaintext)  # the tag of an empty message: a GMAC
        return hmac.digest(self._key, _prefixed(context) + hashed, "sha256")[:_NONCE]


def _prefixed(context: bytes) -> bytes:
    """The context and its length, so that no byte of it is taken for one of the plaintext."""
    return len(context).to_bytes(8, "big") + context


@dataclass(frozen=True, slots=True)
class Seal:
    """What a ciphertext has besides the encrypted plaintext. Whoever kept it encrypts that plaintext again without
    making the nonce of it."""

    nonce: bytes
    tag: bytes


class DeterministicCipher(Secret):
    """AES-256-GCM under one key, with nonces made of what is encrypted."""

    __slots__ = ("_aead", "_nonce")

    def __init__(self, key: bytes, nonce: HmacNonce | GmacNonce) -> None:
        """``key`` is for this alone, and so are the keys of ``nonce``."""
        self._aead = AESGCM(key)
        self._nonce = nonce

    def encrypt(self, plaintext: bytes | memoryview, context: bytes) -> bytes:
        """Nonce, ciphertext and tag. The same plaintext and ``context`` give the same; ``context`` is bound to it."""
        sealed = BytesIO(bytes(OVERHEAD + len(plaintext)))  # its value is that very object, not a copy
        with sealed.getbuffer() as view:
            self.encrypt_into(plaintext, context, view)
        return sealed.getvalue()

    def encrypt_into(self, plaintext: bytes | memoryview, context: bytes, into: memoryview) -> Seal:
        """Write what `encrypt` returns to ``into``, which is as long."""
        return self._encrypt(self._nonce.of(plaintext, context), plaintext, context, into)

    def encrypt_again(self, plaintext: bytes | memoryview, context: bytes, seal: Seal) -> bytes:
        """What `encrypt` returned for the same ``plaintext`` and ``context``, of which ``seal`` was kept.

        Raises:
            ChangedPlaintext: if the plaintext is another. Two ciphertexts with one nonce would show how the two differ.
        """
        sealed = BytesIO(bytes(OVERHEAD + len(plaintext)))
        with sealed.getbuffer() as view:
            again = self._encrypt(seal.nonce, plaintext, context, view)
        if not hmac.compare_digest(again.tag, seal.tag):
            raise ChangedPlaintext("it was changed after it was encrypted first")
        return sealed.getvalue()

    def decrypt(self, ciphertext: bytes | memoryview, context: bytes) -> bytes:
        """The plaintext.

        Raises:
            CannotDecrypt: if it was encrypted with another key or context, or not by `encrypt`, or was changed.
        """
        opened = BytesIO(bytes(max(0, len(ciphertext) - OVERHEAD)))
        with opened.getbuffer() as view:
            self.decrypt_into(ciphertext, context, view)
        return opened.getvalue()

    def decrypt_into(self, ciphertext: bytes | memoryview, context: bytes, into: memoryview) -> None:
        """Write the plaintext to ``into``, which is as long. Nobody may use that if this raises.

        Raises:
            CannotDecrypt: as `decrypt`.
        """
        nonce = bytes(ciphertext[:_NONCE])
        try:
            self._aead.decrypt_into(nonce, ciphertext[_NONCE:], context, into)
        except (InvalidTag, ValueError) as error:  # ValueError: too short for a nonce
            raise CannotDecrypt("it is encrypted under another key or for another place, or was changed") from error
        if not hmac.compare_digest(nonce, self._nonce.of(into, context)):
            raise CannotDecrypt("its nonce is not its plaintext's: another program encrypted it")

    def _encrypt(self, nonce: bytes, plaintext: bytes | memoryview, context: bytes, into: memoryview) -> Seal:
        into[:_NONCE] = nonce
        self._aead.encrypt_into(nonce, plaintext, context, into[_NONCE:])
        return Seal(nonce, bytes(into[-_TAG:]))


class SymmetricKey(Secret):
    """32 secret bytes. Use a key for one purpose only: `derive` makes others from it."""

    __slots__ = ("_cipher", "_raw")

    def __init__(self, raw: bytes) -> None:
        """Raises:
        BadKey: if there are not 32 bytes.
        """
        if len(raw) != KEY_SIZE:
            raise BadKey(f"a symmetric key has {KEY_SIZE} bytes, not {len(raw)}")
        self._raw = bytes(raw)
        nonce = HmacNonce(_expand(self._raw, b"pollen nonce 1"))
        self._cipher = DeterministicCipher(_expand(self._raw, b"pollen aes-256-gcm 1"), nonce)

    @classmethod
    def generate(cls) -> SymmetricKey:
        """A new key, from the operating system's randomness."""
        return cls(AESGCM.generate_key(256))

    def derive(self, label: bytes) -> SymmetricKey:
        """The key for ``label``: HKDF-Expand with SHA-256 (RFC 5869). This key is uniform, so nothing is extracted."""
        return SymmetricKey(_expand(self._raw, b"pollen derived 1 " + label))

    def commitment(self) -> bytes:
        """32 public bytes that no other key has. Whoever gets the key can tell that all others got the same one."""
        return hashlib.sha256(b"pollen key commitment 1" + self._raw).digest()

    def encrypt(self, plaintext: bytes | memoryview, context: bytes) -> bytes:
        """Nonce, ciphertext and tag. The same plaintext and ``context`` give the same; ``context`` is bound to it.
        Nobody makes one that another key opens, too."""
        return self._cipher.encrypt(plaintext, context)

    def decrypt(self, ciphertext: bytes | memoryview, context: bytes) -> bytes:
        """The plaintext.

        Raises:
            CannotDecrypt: if it was encrypted with another key or context, or not by `encrypt`, or was changed.
        """
        return self._cipher.decrypt(ciphertext, context)

    def of_chunks(self, nonce: ChunkNonce) -> DeterministicCipher:
        """What encrypts the chunks of contents, with nonces made in that way. By `ChunkNonce.GMAC`, it does not commit
        to this key: open something of `encrypt` first that stands beside them."""
        match nonce:
            case ChunkNonce.HMAC:
                return self._cipher
            case ChunkNonce.GMAC:
                hashing, nonces = (
                    _expand(self._raw, label) for label in (b"pollen chunk gmac 1", b"pollen chunk nonce 1")
                )
                return DeterministicCipher(
                    _expand(self._raw, b"pollen chunk aes-256-gcm 1"), GmacNonce(hashing, nonces)
                )

    def secret_bytes(self) -> bytes:
        """The 32 bytes, to seal them for somebody or to give them to the app process."""
        return self._raw

    def __repr__(self) -> str:
        return f"SymmetricKey(committed to by {self.commitment().hex()[:8]})"


Hide = Callable[[bytes | memoryview, memoryview], int]
"""Takes bytes and writes as many to a place that has room for them, which may be the same one."""


class ScratchKey(Secret):
    """What hides a scratch file of this process: AES-256 in counter mode, a stream for each place in the file. It is
    gone with the process, and so is what the file holds, whatever the disk keeps of it. It finds no change, and each
    place is to be written once.

    It is GCM (NIST SP 800-38D) without its tag, because OpenSSL's is two to three times as fast as its counter mode.
    """

    __slots__ = ("_cipher",)

    def __init__(self) -> None:
        self._cipher = AES(AESGCM.generate_key(256))

    def stream(self, place: int) -> Hide:
        """Encrypts, or decrypts, what was written from ``place`` on, piece by piece. A stream has 64 GiB at most, which
        OpenSSL checks."""
        return Cipher(self._cipher, GCM(place.to_bytes(_NONCE, "big"))).encryptor().update_into


def _expand(key: bytes, info: bytes) -> bytes:
    return HKDFExpand(SHA256(), KEY_SIZE, info).derive(key)
