"""Bytes as one line of text that people copy: a prefix that says what it is, then base64url without padding.

Each line has one spelling, so that no change goes unseen.
"""

from __future__ import annotations

import base64
import binascii


class BadLine(ValueError):
    """A text that is no such line. The message never repeats the text, which may hold a secret."""


def write_line(prefix: str, data: bytes) -> str:
    """``data`` as a line."""
    return prefix + base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def read_line(prefix: str, text: str, *, what: str, limit: int) -> bytes:
    """The bytes in a line of at most ``limit`` characters that begins with ``prefix``. ``what`` is its name for people.

    Raises:
        BadLine: if it is too long, has a space within, or is not as `write_line` writes it.
    """
    if len(text) > limit:
        raise BadLine(f"a {what} has at most {limit} characters, this has {len(text)}")
    if any(character.isspace() for character in text):
        raise BadLine(f"a space or a line break came into this {what}")
    written = text.removeprefix(prefix)
    try:
        data = base64.b64decode(written + "=" * (-len(written) % 4), altchars="-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadLine(f"this {what} is cut short, or holds characters that no {what} has") from error
    if write_line(prefix, data) != text:
        raise BadLine(f"this {what} is cut short or changed: Pollen does not write its last character")
    return data
