"""Secrets as words: BIP-39's encoding."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import BadWords
from crypto.words import MAX_PAIRS, WORDS, from_words, to_words

SECRETS = bytes(range(64))


def test_the_list_is_that_of_bip_39() -> None:
    text = "".join(f"{word}\n" for word in WORDS)  # as bip-0039/english.txt has it
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
    )


@given(st.integers(1, MAX_PAIRS).flatmap(lambda pairs: st.binary(min_size=64 * pairs, max_size=64 * pairs)))
def test_words_spell_the_secrets(secrets: bytes) -> None:
    words = to_words(secrets)
    assert len(words) == 48 * len(secrets) // 64
    assert from_words(" ".join(words)) == secrets


def test_the_words_of_one_pair() -> None:
    """Written out once, so that a second implementation can compare."""
    words = to_words(SECRETS)
    bits = "".join(f"{WORDS.index(word):011b}" for word in words)
    assert bits == "".join(f"{byte:08b}" for byte in SECRETS + hashlib.sha256(SECRETS).digest()[:2])


def test_case_and_line_breaks_mean_nothing() -> None:
    assert from_words("\n".join(to_words(SECRETS)).upper()) == SECRETS


@pytest.mark.parametrize("at", range(47))
def test_two_words_swapped_are_noticed(at: int) -> None:
    words = list(to_words(hashlib.sha512(b"secrets").digest()))
    words[at : at + 2] = words[at + 1], words[at]
    with pytest.raises(BadWords):
        from_words(" ".join(words))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "0 words"),
        ("abandon " * 47, "47 words"),
        ("abandon " * 48 * (MAX_PAIRS + 1), "816 words"),
        ("abandon " * 47 + "secret1", "word 48 is not"),
        ("abandon " * 48, "a word is wrong"),
    ],
)
def test_what_is_no_backup_is_named(text: str, why: str) -> None:
    with pytest.raises(BadWords, match=why) as caught:
        from_words(text)
    assert "secret1" not in str(caught.value)


def test_too_many_pairs_have_no_words() -> None:
    with pytest.raises(BadWords):
        to_words(bytes(64 * (MAX_PAIRS + 1)))


@given(st.text())
def test_any_other_text_is_bad_words(text: str) -> None:
    with pytest.raises(BadWords):
        from_words(text)
