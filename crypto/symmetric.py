"""Symmetric keys, which encrypt contents, private parts and announcements.

Encryption is deterministic under one key, so that equal chunks keep equal CIDs. It is AES-256-GCM (NIST SP 800-38D)
with a nonce that is a PRF of the plaintext, HMAC-SHA256 under a key of its own: the synthetic IV of Rogaway and
Shrimpton ("Deterministic Authenticated-Encryption", 2006), made of two primitives that CPUs have instructions for.
AES-GCM-SIV (RFC 8452) gives the same at a quarter of the speed, in the OpenSSL that `cryptography` brings.

As in that paper, decrypting computes the synthetic IV again and compares it. So a plaintext has one ciphertext under a
key and context. And nobody can make a ciphertext that two keys open, which GCM alone allows: two PRFs would have to
agree.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Seal:
    """What a ciphertext has besides the encrypted plaintext. Whoever kept it encrypts that plaintext again without
    hashing it."""

    nonce: bytes
    tag: bytes


class SymmetricKey(Secret):
    """32 secret bytes. Use a key for one purpose only: `derive` makes others from it."""

    __slots__ = ("_aead", "_nonce_key", "_raw")

    def __init__(self, raw: bytes) -> None:
        """Raises:
        BadKey: if there are not 32 bytes.
        """
        if len(raw) != KEY_SIZE:
            raise BadKey(f"a symmetric key has {KEY_SIZE} bytes, not {len(raw)}")
        self._raw = bytes(raw)
        self._aead = AESGCM(_expand(self._raw, b"pollen aes-256-gcm 1"))
        self._nonce_key = _expand(self._raw, b"pollen nonce 1")

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
        """Nonce, ciphertext and tag. The same plaintext and ``context`` give the same; ``context`` is bound to it."""
        sealed = BytesIO(bytes(OVERHEAD + len(plaintext)))  # its value is that very object, not a copy
        with sealed.getbuffer() as view:
            self.encrypt_into(plaintext, context, view)
        return sealed.getvalue()

    def encrypt_into(self, plaintext: bytes | memoryview, context: bytes, into: memoryview) -> Seal:
        """Write what `encrypt` returns to ``into``, which is as long."""
        return self._encrypt(self._nonce(plaintext, context), plaintext, context, into)

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
        if not hmac.compare_digest(nonce, self._nonce(into, context)):
            raise CannotDecrypt("its nonce is not its plaintext's: another program encrypted it")

    def _encrypt(self, nonce: bytes, plaintext: bytes | memoryview, context: bytes, into: memoryview) -> Seal:
        into[:_NONCE] = nonce
        self._aead.encrypt_into(nonce, plaintext, context, into[_NONCE:])
        return Seal(nonce, bytes(into[-_TAG:]))

    def _nonce(self, plaintext: bytes | memoryview, context: bytes) -> bytes:
        mac = hmac.new(self._nonce_key, len(context).to_bytes(8, "big") + context, hashlib.sha256)
        mac.update(plaintext)
        return mac.digest()[:_NONCE]

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
