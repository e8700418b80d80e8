"""The key file: one identity as JSON text, its secrets encrypted under a passphrase (format: README.md here).

The identity's own signing key signs the whole file. So a damaged file is told apart from a wrong passphrase before
anybody types one, and the name and public keys can be trusted while the file is locked.
"""

from __future__ import annotations

import threading
import unicodedata
from dataclasses import dataclass
from typing import Any, Final, Literal

import cbrrr
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from crypto import dsse
from crypto.described_types import described
from crypto.errors import (
    BadKey,
    BadKeyText,
    BadName,
    BadPassphrase,
    BadSignature,
    KeyFileDamaged,
    KeyFileUnsupported,
    TooManyKeys,
    WrongPassphrase,
)
from crypto.identity import Identity, PublicIdentity, parse_name

FILE_TYPE: Final = "application/vnd.pollen.key-file+dag-cbor"
"""The DSSE type under which a key file is signed."""

MAX_FILE_SIZE: Final = 16 << 10
"""Bytes; a file has about 2,500, and 220 more for each rotation."""
SALT_SIZE: Final = 16
NONCE_SIZE: Final = 12

_VERSION: Final = 1
_ROTATED_VERSION: Final = 2
"""The version of a file that holds retired keys too."""
_LACKING_VERSION: Final = 3
"""The version of a file of which retired decryption keys were destroyed."""
_VERSIONS: Final = (_VERSION, _ROTATED_VERSION, _LACKING_VERSION)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one guess at a passphrase costs, in Argon2id's terms. The default is RFC 9106's second choice, section 4."""

    memory_kib: int = 64 << 10
    iterations: int = 3
    lanes: int = 4


MAX_COST: Final = Cost(memory_kib=256 << 10, iterations=16, lanes=16)
"""A file that asks for more is refused, so that opening one cannot eat the machine's memory or hours of its time."""


_one_by_one: Final = threading.Lock()
"""Held while a file's key is derived. Two derivations at once would wait for ever in OpenSSL (seen with 4.0.3): each
holds some of the threads that it lends out, one for each lane, and waits for the rest."""


class _Argon2id(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="argon2id", tag_field="name"):
    salt: bytes
    memory_kib: int
    iterations: int
    lanes: int

    def key(self, passphrase: str) -> bytes:
        """32 bytes. Takes as much time and memory as the cost says."""
        # NFC, as RFC 8265's OpaqueString: the same characters typed on another system are the same passphrase.
        # Python keeps bytes of an environment variable that are not UTF-8 as surrogates; they become those bytes again.
        typed = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogateescape")
        kdf = Argon2id(
            salt=self.salt,
            length=32,
            iterations=self.iterations,
            lanes=self.lanes,
            memory_cost=self.memory_kib,
        )
        with _one_by_one:
            return kdf.derive(typed)


class _Unlocked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="none", tag_field="name"):
    """The secrets stand in the file unencrypted."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON object; bytes are base64."""

    format: Literal["pollen-key-file"]
    version: Literal[1, 2, 3]
    name: str
    public: str
    """The KEY text."""
    kdf: _Argon2id | _Unlocked
    nonce: bytes
    secret: bytes = b""
    """Both seeds, signing key first, then those of retired keys, newest first; zeros stand for a destroyed one. If
    ``kdf`` gives a key, AES-256-GCM encrypts them with it."""
    signature: bytes = b""

    def __repr__(self) -> str:
        return f"_File({self.name!r}, version {self.version})"

    def signed_bytes(self) -> bytes:
        """What is signed: everything in the JSON except the signature, as dag-cbor."""
        return self._without("signature")

    def header_bytes(self) -> bytes:
        """What the encryption authenticates besides the secret: everything except the secret and the signature."""
        return self._without("signature", "secret")

    def _without(self, *fields: str) -> bytes:
        plain: dict[str, Any] = msgspec.to_builtins(self)  # JSON's own types
        return cbrrr.encode_dag_cbor({key: value for key, value in plain.items() if key not in fields})


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What can be read of a key file without its passphrase. All of it is signed by the identity."""

    name: str
    public: PublicIdentity
    locked: bool
    """Whether a passphrase is needed for the rest."""
    lacks_decryption: bool
    """Whether retired decryption keys were destroyed."""


def lock(identity: Identity, passphrase: str, *, salt: bytes, nonce: bytes, cost: Cost = Cost()) -> bytes:
    """The key file of ``identity``, encrypted under ``passphrase``.

    ``salt`` (16 bytes) and ``nonce`` (12) are random and never used again.

    Raises:
        BadPassphrase: if the passphrase is empty.
    """
    if not passphrase:
        raise BadPassphrase("an empty passphrase locks nothing")
    if len(salt) != SALT_SIZE or len(nonce) != NONCE_SIZE:
        raise ValueError("salt or nonce has the wrong length")
    kdf = _Argon2id(salt, cost.memory_kib, cost.iterations, cost.lanes)
    file = _file(identity, kdf, nonce)
    secret = AESGCM(kdf.key(passphrase)).encrypt(nonce, identity.secret_bytes(), file.header_bytes())
    return _signed(identity, msgspec.structs.replace(file, secret=secret))


def write_unlocked(identity: Identity) -> bytes:
    """The key file of ``identity`` with unencrypted secrets: whoever reads the file has them."""
    return _signed(identity, msgspec.structs.replace(_file(identity, _Unlocked(), b""), secret=identity.secret_bytes()))


def read_public(data: bytes) -> KeyFile:
    """The part of a key file that needs no passphrase.

    Raises:
        KeyFileDamaged: if it is no key file, was cut short, or was changed.
        KeyFileUnsupported: if it has another version, or asks for too much memory or time.
    """
    file, public = _parse(data)
    return KeyFile(file.name, public, isinstance(file.kdf, _Argon2id), file.version == _LACKING_VERSION)


def unlock(data: bytes, passphrase: str | None = None) -> Identity:
    """The identity in a key file. ``passphrase`` may be None if the file is not locked.

    Raises:
        WrongPassphrase: if the file is whole and the passphrase does not open it.
        KeyFileDamaged: if it is no key file, was cut short, or was changed.
        KeyFileUnsupported: if it has another version, or asks for too much memory or time.
    """
    file, public = _parse(data)
    secrets = file.secret
    if isinstance(file.kdf, _Argon2id):
        if passphrase is None:
            raise WrongPassphrase(f"the key file of {file.name} is locked with a passphrase")
        try:
            secrets = AESGCM(file.kdf.key(passphrase)).decrypt(file.nonce, file.secret, file.header_bytes())
        except InvalidTag:
            raise WrongPassphrase(f"wrong passphrase for the key of {file.name}") from None
    identity = _identity(file, secrets)
    if identity.public != public:
        raise KeyFileDamaged("the secret and public keys in the key file do not belong together")
    return identity


def _file(identity: Identity, kdf: _Argon2id | _Unlocked, nonce: bytes) -> _File:
    return _File(
        format="pollen-key-file",
        version=_version_of(identity),
        name=identity.name,
        public=identity.public.key_text(),
        kdf=kdf,
        nonce=nonce,
    )


def _version_of(identity: Identity) -> Literal[1, 2, 3]:
    """The version of the file that holds the identity's keys."""
    if identity.lacks_decryption:
        return _LACKING_VERSION
    return _ROTATED_VERSION if identity.retired else _VERSION


def _identity(file: _File, secrets: bytes) -> Identity:
    try:
        identity = Identity.from_secret_bytes(file.name, secrets)
    except (BadKey, TooManyKeys) as error:
        raise KeyFileDamaged(f"the key file does not hold whole secret keys: {error}") from error
    if _version_of(identity) != file.version:
        raise KeyFileDamaged(f"the key file holds other secret keys than version {file.version} has")
    return identity


def _signed(identity: Identity, file: _File) -> bytes:
    signature = dsse.sign(identity.signing, FILE_TYPE, file.signed_bytes())
    whole = msgspec.json.encode(msgspec.structs.replace(file, signature=signature))
    return msgspec.json.format(whole, indent=2) + b"\n"


def _parse(data: bytes) -> tuple[_File, PublicIdentity]:
    """A whole key file: in a known format, signed by the identity that it names, and within the limits."""
    value = _json(data)
    try:
        file = msgspec.convert(value, described(_File))
        if msgspec.to_builtins(file) != value:  # base64 that can be written in two ways
            raise KeyFileDamaged("the key file is not written as Pollen writes it")
        parse_name(file.name)
        public = PublicIdentity.parse_key_text(file.public)
        dsse.verify(public.signing, FILE_TYPE, file.signed_bytes(), file.signature)
    except msgspec.ValidationError as error:
        raise KeyFileDamaged(f"the key file lacks something, or holds what it should not: {error}") from None
    except (BadKeyText, BadName) as error:
        raise KeyFileDamaged(f"the key file was changed: {error}") from error
    except BadSignature as error:
        raise KeyFileDamaged("the key file was changed: its signature does not fit its content") from error
    _check_limits(file)
    return file, public


def _json(data: bytes) -> dict[str, object]:
    """The JSON object of a key file of our version. Errors quote nothing of it, because the file may be unlocked."""
    if len(data) > MAX_FILE_SIZE:
        raise KeyFileDamaged(f"not a key file: {len(data)} bytes are more than {MAX_FILE_SIZE}")
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise KeyFileDamaged("the key file is cut short, or is no key file: it is not JSON") from None
    if not isinstance(value, dict) or value.get("format") != "pollen-key-file":
        raise KeyFileDamaged("not a key file: it does not say that it is one")
    if type(value.get("version")) is not int or value["version"] not in _VERSIONS:
        known = f"versions {_VERSION} to {_LACKING_VERSION} are known here"
        raise KeyFileUnsupported(f"the key file is of version {value.get('version')}; {known}")
    return value


def _check_limits(file: _File) -> None:
    match file.kdf:
        case _Argon2id(salt, memory_kib, iterations, lanes):
            allowed = (
                0 < iterations <= MAX_COST.iterations
                and 0 < lanes <= MAX_COST.lanes
                and 8 * lanes <= memory_kib <= MAX_COST.memory_kib
            )
            if not allowed:
                asked = f"{memory_kib} KiB, {iterations} iterations, {lanes} lanes"
                raise KeyFileUnsupported(f"the key file asks for an Argon2id that is not allowed here: {asked}")
            if len(salt) != SALT_SIZE or len(file.nonce) != NONCE_SIZE:
                raise KeyFileDamaged("the key file's salt or nonce has the wrong length")
        case _Unlocked():
            if file.nonce:
                raise KeyFileDamaged("the key file has a nonce, but is not encrypted")
