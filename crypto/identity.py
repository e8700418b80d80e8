"""An identity: a name, a signing key and a decryption key; and the KEY text that makes it known to others.

A newcomer sends the KEY text to an admin. The owner's signing key signs it, so that no change goes unseen and nobody
can put their own encryption key beside somebody else's signing key.

Keys can be rotated. The first signing key stays the member's id. Older keys are kept: signing keys to sign what is
judged by an older manifest, decryption keys to read what was sealed for them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cbrrr
import msgspec

from crypto import dsse
from crypto.described_types import described
from crypto.errors import BadKey, BadKeyText, BadName, BadSignature, TooManyKeys
from crypto.handover import NewKeys
from crypto.keys import DecryptionKey, EncryptionKey, SigningKey, VerifyKey
from crypto.lines import BadLine, read_line, write_line

KEY_TYPE: Final = "application/vnd.pollen.key+dag-cbor"
"""The DSSE type under which a key text is signed."""

MAX_RETIRED: Final = 32
"""How many older pairs of keys an identity may have."""

ANY_FEDERATION: Final = b""
"""Instead of a federation's id: the keys may be listed in any federation."""

_PREFIX: Final = "pollen-key-1."
_ROTATED_PREFIX: Final = "pollen-key-2."
_MAX_TEXT: Final = 8192
"""Characters; one has about 1,850, and 128 more for each rotation."""
_SIGNATURE: Final = 64
_SEED: Final = 32
_DESTROYED: Final = bytes(_SEED)
"""Stands in the place of a retired decryption key that was destroyed."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def parse_name(text: str) -> str:
    """``text``, if it can name an identity (and so a file).

    Raises:
        BadName: if it cannot.
    """
    if not _NAME.fullmatch(text):
        raise BadName(f"{text[:80]!r} cannot be the name of an identity")
    return text


class _KeyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a key text holds, as dag-cbor: the signed bytes."""

    encryption: bytes
    federation: bytes
    signing: bytes
    suite: str

    def encode(self) -> bytes:
        return cbrrr.encode_dag_cbor(msgspec.structs.asdict(self))


def sign_first_keys(signing: SigningKey, suite: str, encryption: bytes, federation: bytes) -> bytes:
    """The proof, 64 bytes, that the first keys of an identity belong together and may be listed in ``federation``. It
    is the KEY text's signature."""
    body = _KeyBody(encryption=encryption, federation=federation, signing=signing.verify_key.raw, suite=suite)
    return dsse.sign(signing, KEY_TYPE, body.encode())


def check_first_keys(signing: VerifyKey, suite: str, encryption: bytes, federation: bytes, proof: bytes) -> None:
    """Check that the owner of ``signing`` signed that this is its encryption key in ``federation``.

    Raises:
        BadSignature: if it did not.
    """
    body = _KeyBody(encryption=encryption, federation=federation, signing=signing.raw, suite=suite)
    dsse.verify(signing, KEY_TYPE, body.encode(), proof)


class _RotatedBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the key text of a rotated identity holds."""

    encryption: bytes
    federation: bytes
    new: bytes
    old: list[tuple[bytes, bytes]]
    signing: bytes
    suite: str

    def encode(self) -> bytes:
        return cbrrr.encode_dag_cbor(msgspec.structs.asdict(self) | {"old": [list(pair) for pair in self.old]})


@dataclass(frozen=True, slots=True)
class Handovers:
    """The signatures of an identity's earlier signing keys under its newest keys (`crypto.handover`)."""

    new: bytes
    """The newest signing key's signature."""
    old: tuple[tuple[bytes, bytes], ...]
    """Each earlier signing key with its signature, oldest first: one of them is the key that a federation still
    lists."""

    def by(self, key: bytes) -> bytes | None:
        """The signature of an earlier signing key."""
        return dict(self.old).get(key)


@dataclass(frozen=True, slots=True)
class PublicIdentity:
    """Both public keys of an identity, and the proof that they belong together. Make one with `parse_key_text`."""

    signing: VerifyKey
    encryption: EncryptionKey
    proof: bytes
    """``signing``'s signature over the body of the key text, 64 bytes."""
    federation: bytes = ANY_FEDERATION
    """The federation in which the owner allows these keys: its id (36 bytes); for version 1, which has no id yet, its
    founder's signing key (32 bytes); `ANY_FEDERATION` if the owner named no federation."""
    handovers: Handovers | None = None
    """None if these are its first keys."""

    @property
    def id(self) -> bytes:
        """The member id: the bytes of its first signing key."""
        return self.handovers.old[0][0] if self.handovers else self.signing.raw

    def key_text(self) -> str:
        """The KEY: one line without spaces, the same for the same identity."""
        data = _body(self.signing, self.encryption, self.federation, self.handovers).encode() + self.proof
        prefix = _ROTATED_PREFIX if self.handovers else _PREFIX
        return write_line(prefix, data)

    @classmethod
    def parse_key_text(cls, text: str) -> PublicIdentity:
        """The keys in a KEY text. Space around it is allowed, but not within it.

        Raises:
            BadKeyText: if it is no KEY, is cut short or changed, or its owner did not sign it.
        """
        body, proof = _parse_body(*_unwrap(text.strip()))
        try:
            signing = VerifyKey.parse(body.signing)
            encryption = EncryptionKey.parse(body.suite, body.encryption)
            dsse.verify(signing, KEY_TYPE, body.encode(), proof)
            handovers = _parse_handovers(body) if isinstance(body, _RotatedBody) else None
        except BadKey as error:
            raise BadKeyText(f"this KEY holds a key that cannot be used: {error}") from error
        except BadSignature as error:
            raise BadKeyText("this KEY is not signed by its owner: a part of it was changed or mixed up") from error
        return cls(signing, encryption, proof, body.federation, handovers)


@dataclass(frozen=True, slots=True)
class RetiredKeys:
    """What an identity signed and decrypted with before it had newer keys."""

    signing: SigningKey
    decryption: DecryptionKey | None
    """None if it was destroyed, so that this identity never again opens what was sealed for it."""


class Identity:
    """An identity with its private keys. Its ``repr`` shows only the public part."""

    __slots__ = ("decryption", "name", "public", "retired", "signing")

    def __init__(
        self, name: str, signing: SigningKey, decryption: DecryptionKey, retired: Sequence[RetiredKeys] = ()
    ) -> None:
        """``retired`` are its earlier keys, newest first.

        Raises:
            BadName: if ``name`` cannot be an identity's.
            TooManyKeys: if more than `MAX_RETIRED` are retired.
        """
        if len(retired) > MAX_RETIRED:
            raise TooManyKeys(f"an identity has at most {MAX_RETIRED} retired pairs of keys")
        self.name = parse_name(name)
        self.signing = signing
        self.decryption = decryption
        self.retired = tuple(retired)
        self.public = self.public_for(b"")

    def public_for(self, federation: bytes) -> PublicIdentity:
        """What its owner shows to be listed in ``federation`` only: see `PublicIdentity.federation`."""
        signing, encryption = self.signing.verify_key, self.decryption.public
        handovers = _handovers(self, federation) if self.retired else None
        body = _body(signing, encryption, federation, handovers)
        proof = dsse.sign(self.signing, KEY_TYPE, body.encode())
        return PublicIdentity(signing, encryption, proof, federation, handovers)

    @classmethod
    def generate(cls, name: str) -> Identity:
        """A new identity with new keys."""
        return cls(name, SigningKey.generate(), DecryptionKey.generate())

    def rotated(self) -> Identity:
        """The same identity with new keys. Its present keys are retired.

        Raises:
            TooManyKeys: if it was rotated too often.
        """
        retired = (RetiredKeys(self.signing, self.decryption), *self.retired)
        return Identity(self.name, SigningKey.generate(), DecryptionKey.generate(), retired)

    def without_retired_decryption(self) -> Identity:
        """The same identity, which opens nothing that was sealed for its retired keys. It signs with them as before."""
        retired = [RetiredKeys(keys.signing, None) for keys in self.retired]
        return Identity(self.name, self.signing, self.decryption, retired)

    @property
    def id(self) -> bytes:
        """The member id, 32 bytes."""
        return self.public.id

    @property
    def signing_keys(self) -> tuple[SigningKey, ...]:
        """All of them, newest first. The last is the first that it had."""
        return (self.signing, *(pair.signing for pair in self.retired))

    @property
    def decryption_keys(self) -> tuple[DecryptionKey, ...]:
        """All that were not destroyed, the newest first."""
        return (self.decryption, *(keys.decryption for keys in self.retired if keys.decryption is not None))

    @property
    def lacks_decryption(self) -> bool:
        """Whether a retired decryption key was destroyed."""
        return any(keys.decryption is None for keys in self.retired)

    def secret_bytes(self) -> bytes:
        """All secrets: both seeds, signing key first, then those of retired keys. For the key file and words only."""
        pairs = ((keys.signing, keys.decryption) for keys in self.retired)
        return b"".join(
            signing.secret_bytes() + (_DESTROYED if decryption is None else decryption.secret_bytes())
            for signing, decryption in ((self.signing, self.decryption), *pairs)
        )

    @classmethod
    def from_secret_bytes(cls, name: str, secrets: bytes) -> Identity:
        """The identity with these secrets.

        Raises:
            BadKey: if they are not the secrets of whole pairs of keys.
            BadName, TooManyKeys: as in `Identity`.
        """
        if not secrets or len(secrets) % (2 * _SEED):
            raise BadKey(f"{len(secrets)} bytes are not the secrets of pairs of keys")
        seeds = [secrets[start : start + _SEED] for start in range(0, len(secrets), _SEED)]
        newest, *retired = (
            RetiredKeys(SigningKey.from_seed(signing), None if seed == _DESTROYED else DecryptionKey.from_seed(seed))
            for signing, seed in zip(seeds[::2], seeds[1::2], strict=True)
        )
        if newest.decryption is None:
            raise BadKey("the newest decryption key is not there")
        return cls(name, newest.signing, newest.decryption, retired)

    def __repr__(self) -> str:
        return f"Identity({self.name!r}, {self.public.signing.did})"


def _handovers(identity: Identity, federation: bytes) -> Handovers:
    first, encryption = identity.retired[-1].signing.verify_key.raw, identity.decryption.public
    keys = NewKeys(federation, first, identity.signing.verify_key.raw, encryption.suite.value, encryption.raw)
    old = [(pair.signing.verify_key.raw, keys.sign(pair.signing)) for pair in reversed(identity.retired)]
    return Handovers(keys.sign(identity.signing), tuple(old))


def _body(
    signing: VerifyKey, encryption: EncryptionKey, federation: bytes, handovers: Handovers | None
) -> _KeyBody | _RotatedBody:
    suite = encryption.suite.value
    if handovers is None:
        return _KeyBody(encryption=encryption.raw, federation=federation, signing=signing.raw, suite=suite)
    return _RotatedBody(
        encryption=encryption.raw,
        federation=federation,
        new=handovers.new,
        old=list(handovers.old),
        signing=signing.raw,
        suite=suite,
    )


def _parse_handovers(body: _RotatedBody) -> Handovers:
    """The hand-overs, all checked; raises BadSignature."""
    keys = NewKeys(body.federation, body.old[0][0], body.signing, body.suite, body.encryption)
    for key, signature in (*body.old, (body.signing, body.new)):
        keys.check(key, signature)
    return Handovers(body.new, tuple(body.old))


def _unwrap(text: str) -> tuple[type[_KeyBody | _RotatedBody], bytes]:
    """The type of body that the prefix announces, and the decoded bytes."""
    kind, prefix = (_RotatedBody, _ROTATED_PREFIX) if text.startswith(_ROTATED_PREFIX) else (_KeyBody, _PREFIX)
    if not text.startswith(prefix):
        raise BadKeyText(f"a KEY begins with {_PREFIX!r} or {_ROTATED_PREFIX!r}, and this does not")
    try:
        return kind, read_line(prefix, text, what="KEY", limit=_MAX_TEXT)
    except BadLine as error:
        raise BadKeyText(str(error)) from error


def _parse_body(kind: type[_KeyBody | _RotatedBody], data: bytes) -> tuple[_KeyBody | _RotatedBody, bytes]:
    signed, proof = data[:-_SIGNATURE], data[-_SIGNATURE:]
    try:
        body = msgspec.convert(cbrrr.decode_dag_cbor(signed), described(kind))
        canonical = body.encode() == signed
    except (ValueError, RecursionError, OverflowError) as error:  # msgspec's ValidationError is a ValueError
        raise BadKeyText("this KEY is cut short or changed: it does not hold two keys") from error
    if not canonical:
        raise BadKeyText("this KEY was changed: it is not written as Pollen writes it")
    if isinstance(body, _RotatedBody):
        keys = [*(key for key, _ in body.old), body.signing]
        if not 0 < len(body.old) <= MAX_RETIRED or len(set(keys)) != len(keys):
            raise BadKeyText(f"this KEY names no earlier keys, or one twice, or more than {MAX_RETIRED}")
    return body, proof
