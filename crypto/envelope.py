"""DSSE envelopes: signed bytes as one JSON file that other tools verify too.

The records of a run are signed by `crypto.dsse` and travel as dag-cbor. A file for people outside is a DSSE envelope
(secure-systems-lab/dsse, envelope.md) as `securesystemslib` writes and verifies it, which python-tuf uses. What is
signed is encoded alike in both; the type that it is signed as keeps them apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Signature, SSlibKey

from crypto.described_types import described
from crypto.errors import BadEnvelope, BadKey, BadSignature
from crypto.keys import SigningKey, VerifyKey

MAX_ENVELOPE: Final = 4 << 20
"""Bytes of a file."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What an envelope holds, once its signature was found right. Whose key it is, is another question."""

    payload: bytes
    signer: VerifyKey


class _Signature(msgspec.Struct, frozen=True):
    keyid: str
    sig: bytes


class _File(msgspec.Struct, frozen=True, rename="camel"):
    """The JSON object; bytes are base64. Fields that are not known here are passed over, as the specification says."""

    payload: bytes
    payload_type: str
    signatures: list[_Signature]


def sign_envelope(key: SigningKey, payload_type: str, payload: bytes) -> bytes:
    """The file in which ``key`` signs ``payload`` as a ``payload_type``. The key id is the key's ``did:key``."""
    value = envelope_value(payload_type, payload, key.sign, key.verify_key.did)
    return json.dumps(value, indent=2).encode() + b"\n"


def envelope_value(payload_type: str, payload: bytes, sign: Callable[[bytes], bytes], key_id: str) -> dict[str, Any]:
    """An envelope, for JSON, with one signature: what ``sign`` makes of the bytes that are really signed."""
    envelope = Envelope(payload, payload_type, {})
    envelope.signatures[key_id] = Signature(key_id, sign(envelope.pae()).hex())
    value: dict[str, Any] = envelope.to_dict()
    return value


def open_envelope(data: bytes, payload_type: str) -> Opened:
    """What is in an envelope that one Ed25519 key signed as a ``payload_type``; its key id is that key's ``did:key``.

    Raises:
        BadEnvelope: if it is no such envelope.
        BadSignature: if the key that it names did not sign it.
    """
    file = _parsed(data)
    if file.payload_type != payload_type:
        raise BadEnvelope(f"it is signed as {file.payload_type[:80]!r}, not as {payload_type!r}")
    if len(file.signatures) != 1:
        raise BadEnvelope(f"it has {len(file.signatures)} signatures, not one")
    (signature,) = file.signatures
    try:
        signer = VerifyKey.from_did(signature.keyid)
    except BadKey as error:
        raise BadEnvelope(f"its key id names no signer: {error}") from error
    key = SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(signer.raw), keyid=signer.did)
    signed = Envelope(file.payload, file.payload_type, {signer.did: Signature(signer.did, signature.sig.hex())})
    try:
        signed.verify([key], 1)
    except VerificationError:
        raise BadSignature(f"it was not signed by {signer.did}, or was changed since") from None
    return Opened(file.payload, signer)


def _parsed(data: bytes) -> _File:
    if len(data) > MAX_ENVELOPE:
        raise BadEnvelope(f"it is larger than {MAX_ENVELOPE} bytes")
    try:
        return msgspec.convert(json_object(data), described(_File))
    except ValueError as error:  # msgspec's ValidationError is one
        raise BadEnvelope(f"it is no DSSE envelope: {error}") from None


def json_object(data: bytes) -> Mapping[str, Any]:
    """The JSON object in ``data``, which has one reading: no name stands in an object twice, every number is one, and
    every text is Unicode.

    Raises:
        ValueError: if it is none; the message says what is wrong, and quotes little of it.
    """
    try:
        value = json.loads(data.decode(), object_pairs_hook=_each_once, parse_constant=_no_number)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("it is JSON, and no object")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("it escapes half of a character, which is no text") from None
    return value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {name[:80]!r} stands in one object twice")
        found[name] = value
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON's")
