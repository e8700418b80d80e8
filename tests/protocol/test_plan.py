"""The model that a run begins with, as its record says it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chains import CONTENT, Scribe

from protocol.app_calls import ContentKey, KeyedContent
from protocol.blocks import BlockError
from protocol.plan import initial_content
from protocol.reading import read_private
from protocol.records import Run, RunPrivate

KEY = bytes(range(32))


def recorded(key: bytes, **changes: object) -> tuple[Run, RunPrivate]:
    """A run record that links a model, and what its private part says."""
    body = Scribe().run(initial_model=CONTENT)
    private = read_private(body, RunPrivate)
    assert private is not None
    return replace(body, **changes), replace(private, initial_model_key=key)


def test_a_plain_run_has_no_key_of_it() -> None:
    assert initial_content(*recorded(b"")) == KeyedContent(CONTENT, None)


def test_an_encrypted_run_says_its_key() -> None:
    assert initial_content(*recorded(KEY, epoch=1)) == KeyedContent(CONTENT, ContentKey(1, KEY))


def test_a_run_that_links_none_has_none() -> None:
    assert initial_content(*recorded(KEY, epoch=1, initial_model=None)) is None


@pytest.mark.parametrize("key", [b"", KEY[:-1]])
def test_an_encrypted_run_without_the_key_is_refused(key: bytes) -> None:
    with pytest.raises(BlockError, match="has no key of its initial model"):
        initial_content(*recorded(key, epoch=1))
