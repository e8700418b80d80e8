"""Which 32 bytes we accept as an Ed25519 public key.

OpenSSL takes any 32 bytes as a key and finds out late, or never, that some are useless. Under a small-order key one
signature can be valid for many messages, and a point with two encodings would be two members. See section 5 and table 6
of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko; 2020) and RFC 8032 section 5.1.3.
"""

from __future__ import annotations

from typing import Final

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_ORDER_EIGHT_Y: Final = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_SMALL_ORDER_Y: Final = frozenset({0, 1, _P - 1, _ORDER_EIGHT_Y, _P - _ORDER_EIGHT_Y})


def why_not_a_key(raw: bytes) -> str:
    """Why ``raw`` is refused as a public key; empty if it is a good one."""
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
