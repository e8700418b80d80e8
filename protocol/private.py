"""Private parts of records: encrypted under a key, or plain where nothing is encrypted."""

from __future__ import annotations

from typing import TypeVar

from crypto.errors import CannotDecrypt
from crypto.symmetric import SymmetricKey
from protocol.blocks import decode_cbor
from protocol.records import Body
from protocol.signed import RecordError, private_bytes
from protocol.typed import ShapeError, from_plain

P = TypeVar("P")


def private_part(value: object, kind: str, key: SymmetricKey | None) -> bytes:
    """A private part of a record of type ``kind``, plain where there is no key."""
    plain = private_bytes(value)
    return plain if key is None else key.derive(b"private").encrypt(plain, kind.encode())


def open_private(body: Body, key: SymmetricKey) -> bytes:
    """The private part of a record, opened with the key that `private_part` had.

    Raises:
        RecordError: where it does not open.
    """
    try:
        return key.derive(b"private").decrypt(body.private, body.TYPE.encode())
    except CannotDecrypt as error:
        raise RecordError(f"the private part of a {body.TYPE}: {error}") from error


def parse_private(plain: bytes, kind: type[P]) -> P:
    """The ``kind`` in a private part that is plain.

    Raises:
        RecordError: where it is none.
    """
    try:
        return from_plain(decode_cbor(plain), kind)
    except ShapeError as error:
        raise RecordError(str(error)) from error
