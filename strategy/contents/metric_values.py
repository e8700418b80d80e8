"""The scalars and lists of Flower's metrics and configs as dag-cbor values, exactly.

dag-cbor has no NaN, no infinities, no integers beyond 64 bits and no lone surrogates. These become one-key maps with
the bits: ``{"float": 8 bytes}``, ``{"int": two's complement}``, ``{"str": UTF-8 with surrogates}``. Each value has one
encoding. Flower takes subclasses (``np.float64``, ``np.str_``, an ``IntEnum``); like Flower's protobuf, this makes them
the plain type. Flower's records hold integers of any size, but its messages carry only ``sint64`` and ``uint64``, and
so does this.
"""

from __future__ import annotations

import math
import struct

from protocol.blocks.content import ContentError

Scalar = bool | int | float | str | bytes
Value = Scalar | list[bool] | list[int] | list[float] | list[str] | list[bytes]

_KINDS: tuple[type[Scalar], ...] = (bool, int, float, str, bytes)
_INT64 = range(-(2**63), 2**63)
_CARRIED = range(-(2**63), 2**64)
"""The integers that Flower's messages carry."""
_LONGEST = 9
"""Bytes of the longest such integer, with its sign."""


def encode_scalar(value: object) -> object:
    """``value`` as a dag-cbor value.

    Raises:
        TypeError: if Flower does not take it.
        ValueError: if it is an integer that Flower does not send.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        number = int(value)
        if number not in _CARRIED:
            raise ValueError(f"an integer of {number.bit_length()} bits, and Flower sends -2^63 to 2^64 - 1")
        if number in _INT64:
            return number
        return {"int": number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)}
    if isinstance(value, float):
        number_ = float(value)
        return number_ if math.isfinite(number_) else {"float": struct.pack(">d", number_)}
    if isinstance(value, str):
        text = str.__str__(value)  # not str(value), which is empty for np.str_("\0")
        raw = text.encode("utf-8", "surrogatepass")
        return text if _is_utf8(raw) else {"str": raw}
    if isinstance(value, bytes):
        return bytes.join(b"", [value])
    raise TypeError(f"Flower's records hold bool, int, float, str and bytes, not {type(value).__name__}")


def decode_scalar(value: object) -> Scalar:
    """The inverse of `encode_scalar`.

    Raises:
        ContentError: if ``value`` is not what that gives.
    """
    match value:
        case int() if value in _INT64:
            return value
        case float() | str() | bytes():
            return value
        case int():
            raise ContentError("a Flower value that is not written the one way")
        case {"int": bytes(raw)} if len(raw) > _LONGEST:
            raise ContentError(f"an integer of {len(raw)} bytes, and Flower sends -2^63 to 2^64 - 1")
        case {"int": bytes(raw)}:
            decoded: Scalar = int.from_bytes(raw, "big", signed=True)
        case {"float": bytes(raw)} if len(raw) == 8:
            (decoded,) = struct.unpack(">d", raw)
        case {"str": bytes(raw)}:
            decoded = _decode_text(raw)
        case _:
            raise ContentError(f"a {type(value).__name__} is no Flower value")
    if _written(decoded) != value:
        raise ContentError("a Flower value that is not written the one way")
    return decoded


def _written(decoded: Scalar) -> object:
    try:
        return encode_scalar(decoded)
    except ValueError as error:
        raise ContentError(str(error)) from error


def encode_value(value: object) -> object:
    """A metric's or config's value, a scalar or a list of one kind, as a dag-cbor value.

    Raises:
        TypeError: if Flower does not take it either.
        ValueError: if an integer in it is one that Flower does not send either.
    """
    if not isinstance(value, list):
        return encode_scalar(value)
    # Flower compares a list with the type of its first item by isinstance: [1, True] passes, and is sent as [1, 1]
    for kind in _KINDS:
        if all(isinstance(item, kind) for item in value):
            return [encode_scalar(kind(item) if kind in (int, float) else item) for item in value]
    raise TypeError("the items of a list in a Flower record must be of one type")


def decode_value(value: object) -> Value:
    """The inverse of `encode_value`.

    Raises:
        ContentError: if ``value`` is not what that gives.
    """
    if not isinstance(value, list):
        return decode_scalar(value)
    items = [decode_scalar(item) for item in value]
    if len({type(item) for item in items}) > 1:
        raise ContentError("the items of a list are not of one type")
    return items  # type: ignore[return-value]  # of one type, as just checked


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decode_text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise ContentError(f"text that is not UTF-8: {error}") from error
