"""Private parts of records, which an encrypting federation encrypts."""

from __future__ import annotations

import contextlib
from functools import lru_cache
from typing import Any, Final, TypeVar

from crypto.errors import CannotDecrypt
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import decode_cbor
from protocol.blocks.typed import ShapeError, from_plain
from protocol.keeping.best import BestError
from protocol.records.bodies import (
    EARLIER_FORMATS,
    AddressedFederationPrivate,
    Body,
    EarlierRunPrivate,
    FederationPrivate,
    FederationPrivates,
    RunPrivate,
    ShreddingFederationPrivate,
)
from protocol.records.contexts import ManifestPrivate, RecordPrivate, ReplyPrivate, decrypt, encrypt
from protocol.records.signed_records import RecordError, private_bytes

P = TypeVar("P")

MAX_KNOWN: Final = 128
"""Bytes of the largest private part that is remembered as it was parsed."""

PrivateContext = ManifestPrivate | RecordPrivate | ReplyPrivate


def private_part(value: object, key: SymmetricKey, context: PrivateContext) -> bytes:
    """An encrypted private part. `protocol.records.signed_records.private_bytes` makes a plain one."""
    return encrypt(key, private_bytes(value), context)


def open_private(body: Body, key: SymmetricKey, context: PrivateContext) -> bytes:
    """The private part of a record, decrypted with the key and the context that `private_part` had.

    Raises:
        RecordError: if it does not open.
    """
    try:
        return decrypt(key, body.private, context)
    except CannotDecrypt as error:
        raise RecordError(f"the private part of a {body.TYPE}: {error}") from error


def parse_private(plain: bytes, kind: type[P]) -> P:
    """The ``kind`` in a plain private part.

    Raises:
        RecordError: if it holds something else.
    """
    key: Any = kind  # mypy takes no class of a type variable as hashable
    parsed = _parsed_small(plain, key) if len(plain) <= MAX_KNOWN else _parsed(plain, kind)
    assert isinstance(parsed, kind)
    return parsed


def parse_federation_private(plain: bytes) -> FederationPrivates:
    """The private part of a manifest, with or without addresses and shreddings.

    Raises:
        RecordError: if it holds something else.
    """
    with contextlib.suppress(RecordError):
        return parse_private(plain, ShreddingFederationPrivate)
    with contextlib.suppress(RecordError):
        return parse_private(plain, AddressedFederationPrivate)
    return parse_private(plain, FederationPrivate)


def _parsed(plain: bytes, kind: type[object]) -> object:
    try:
        value = decode_cbor(plain)
        if kind is RunPrivate and isinstance(value, dict) and value.get("replay_format") in EARLIER_FORMATS:
            return from_plain(value, EarlierRunPrivate).as_now()
        parsed = from_plain(value, kind)
    except ShapeError as error:
        raise RecordError(str(error)) from error
    if isinstance(parsed, RunPrivate) and parsed.best:
        _check_best(parsed)
    return parsed


def _check_best(private: RunPrivate) -> None:
    try:
        if str(private.best_by) == private.best:
            return
    except BestError as error:
        raise RecordError(f"best: {error}") from error
    raise RecordError(f"best: {private.best!r} is not written in its one way")


_parsed_small = lru_cache(maxsize=256)(_parsed)
"""Most private parts of a run are the same few bytes, as of replies without an error. Parsed, they are frozen."""
