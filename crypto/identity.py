"""An identity: a name, a signing key and a decryption key; and the KEY text that makes it known to others.

The KEY text is what a newcomer sends to an admin. Its owner's signing key has signed it, so that no character of it can
change unseen and nobody can put an encryption key of theirs beside somebody else's signing key.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

import cbrrr
import msgspec

from crypto import dsse
from crypto.errors import BadKey, BadKeyText, BadName, BadSignature
from crypto.keys import DecryptionKey, EncryptionKey, SigningKey, VerifyKey

KEY_TYPE: Final = "application/vnd.pollen.key+dag-cbor"
"""The DSSE type under which a key text is signed."""

_PREFIX: Final = "pollen-key-1."
_MAX_TEXT: Final = 8192
"""Characters; today's have about 1,850."""
_SIGNATURE: Final = 64
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def parse_name(text: str) -> str:
    """``text`` where it can name an identity (and so a file).

    Raises:
        BadName: where it cannot.
    """
    if not _NAME.fullmatch(text):
        raise BadName(f"{text[:80]!r} cannot be the name of an identity")
    return text


class _KeyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a key text holds, as dag-cbor: the signed bytes."""

    encryption: bytes
    signing: bytes
    suite: str

    def encode(self) -> bytes:
        return cbrrr.encode_dag_cbor(msgspec.structs.asdict(self))


@dataclass(frozen=True, slots=True)
class PublicIdentity:
    """Both public keys of an identity, and the proof that they belong together. Build one with `parse_key_text`."""

    signing: VerifyKey
    encryption: EncryptionKey
    proof: bytes
    """``signing``'s signature over both keys, 64 bytes."""

    @property
    def id(self) -> bytes:
        """The member id: the bytes of its first signing key (design section 6)."""
        return self.signing.raw

    def key_text(self) -> str:
        """The KEY: one line without spaces, the same for the same identity."""
        data = _body(self.signing, self.encryption).encode() + self.proof
        return _PREFIX + base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    @classmethod
    def parse_key_text(cls, text: str) -> PublicIdentity:
        """The keys in a KEY text; space around it is allowed, within it is not.

        Raises:
            BadKeyText: where it is none, is cut short or changed, or its owner did not sign it.
        """
        body, proof = _parse_body(_unwrap(text.strip()))
        try:
            signing = VerifyKey.parse(body.signing)
            encryption = EncryptionKey.parse(body.suite, body.encryption)
            dsse.verify(signing, KEY_TYPE, body.encode(), proof)
        except BadKey as error:
            raise BadKeyText(f"this KEY holds a key that cannot be used: {error}") from error
        except BadSignature as error:
            raise BadKeyText("this KEY is not signed by its owner: a part of it was changed or mixed up") from error
        return cls(signing, encryption, proof)


class Identity:
    """The private whole of an identity. Its ``repr`` shows the public part."""

    __slots__ = ("decryption", "name", "public", "signing")

    def __init__(self, name: str, signing: SigningKey, decryption: DecryptionKey) -> None:
        """Raises:
        BadName: where ``name`` cannot be an identity's.
        """
        self.name = parse_name(name)
        self.signing = signing
        self.decryption = decryption
        proof = dsse.sign(signing, KEY_TYPE, _body(signing.verify_key, decryption.public).encode())
        self.public = PublicIdentity(signing.verify_key, decryption.public, proof)

    @classmethod
    def generate(cls, name: str) -> Identity:
        """A new identity with new keys."""
        return cls(name, SigningKey.generate(), DecryptionKey.generate())

    @property
    def id(self) -> bytes:
        """The member id, 32 bytes."""
        return self.public.id

    def __repr__(self) -> str:
        return f"Identity({self.name!r}, {self.public.signing.did})"


def _body(signing: VerifyKey, encryption: EncryptionKey) -> _KeyBody:
    return _KeyBody(encryption=encryption.raw, signing=signing.raw, suite=encryption.suite.value)


def _unwrap(text: str) -> bytes:
    """The bytes behind the prefix and the base64url."""
    if not text.startswith(_PREFIX):
        raise BadKeyText(f"a KEY begins with {_PREFIX!r}, and this does not")
    if len(text) > _MAX_TEXT:
        raise BadKeyText(f"a KEY has at most {_MAX_TEXT} characters, this has {len(text)}")
    if any(character.isspace() for character in text):
        raise BadKeyText("a space or a line break came into this KEY")
    written = text.removeprefix(_PREFIX)
    try:
        data = base64.b64decode(written + "=" * (-len(written) % 4), altchars="-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadKeyText("this KEY is cut short, or holds characters that no KEY has") from error
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != written:
        raise BadKeyText("this KEY is cut short or changed: its last character is none that Pollen writes")
    return data


def _parse_body(data: bytes) -> tuple[_KeyBody, bytes]:
    signed, proof = data[:-_SIGNATURE], data[-_SIGNATURE:]
    try:
        body = msgspec.convert(cbrrr.decode_dag_cbor(signed), _KeyBody)
        canonical = body.encode() == signed
    except (ValueError, RecursionError, OverflowError) as error:  # msgspec's ValidationError is a ValueError
        raise BadKeyText("this KEY is cut short or changed: it does not hold two keys") from error
    if not canonical:
        raise BadKeyText("this KEY was changed: it is not written as Pollen writes it")
    return body, proof
