"""Marks of `crypto.remembered`: bytes that were checked are told from any others."""

from __future__ import annotations

import pytest

from crypto.remembered import has_mark, mark

DATA = bytes(range(256)) * 8


def test_bytes_have_the_mark_that_was_made_of_them() -> None:
    assert has_mark(DATA, mark(DATA))


@pytest.mark.parametrize("other", [DATA[:-1], DATA + b"\0", b"\1" + DATA[1:], DATA[:-1] + b"\0", b""])
def test_other_bytes_do_not(other: bytes) -> None:
    assert not has_mark(other, mark(DATA))


def test_no_two_marks_have_one_key() -> None:
    assert mark(DATA)[:32] != mark(DATA)[:32]
