"""Secrets as words that a person can write down: BIP-39's encoding, for more bytes than BIP-39 foresees.

A checksum follows the secrets: the first bytes of their SHA-256, one for each 32 bytes. Then each 11 bits are one word.
So the two secrets of a pair of keys, 64 bytes, are 48 words. The checksum misses one mistake in 65,536; the did:key
shows that one.
"""

from __future__ import annotations

import hashlib
from typing import Final

from crypto.errors import BadWords
from crypto.wordlist import WORDS

PAIR: Final = 64
"""Bytes of the secrets of one pair of keys."""
WORDS_PER_PAIR: Final = 48
MAX_PAIRS: Final = 16
"""SHA-256 has no more bytes for the checksum, and nobody writes down so many words."""

_VALUES: Final = {word: value for value, word in enumerate(WORDS)}
_BITS: Final = 11


def to_words(secrets: bytes) -> tuple[str, ...]:
    """The words of ``secrets``, 64 bytes for each pair of keys.

    Raises:
        BadWords: if there are too many secrets.
    """
    pairs = len(secrets) // PAIR
    if pairs > MAX_PAIRS:
        raise BadWords(f"{pairs} pairs of keys are too many for words")
    number = int.from_bytes(secrets + _checksum(secrets), "big")
    count = pairs * WORDS_PER_PAIR
    return tuple(WORDS[number >> _BITS * (count - 1 - at) & (1 << _BITS) - 1] for at in range(count))


def from_words(text: str) -> bytes:
    """The secrets that ``text`` spells. Case, line breaks and extra spaces mean nothing.

    Raises:
        BadWords: if a word is not in the list, or words are missing, wrong or out of order. It quotes no word.
    """
    words = text.lower().split()
    if len(words) % WORDS_PER_PAIR or not 0 < len(words) <= MAX_PAIRS * WORDS_PER_PAIR:
        raise BadWords(f"{len(words)} words cannot be right: there are {WORDS_PER_PAIR} for each pair of keys")
    number = 0
    for at, word in enumerate(words, 1):
        if word not in _VALUES:
            raise BadWords(f"word {at} is not in the list")
        number = number << _BITS | _VALUES[word]
    pairs = len(words) // WORDS_PER_PAIR
    data = number.to_bytes(pairs * WORDS_PER_PAIR * _BITS // 8, "big")
    secrets, checksum = data[: pairs * PAIR], data[pairs * PAIR :]
    if _checksum(secrets) != checksum:
        raise BadWords("a word is wrong, or they are not in order")
    return secrets


def _checksum(secrets: bytes) -> bytes:
    return hashlib.sha256(secrets).digest()[: len(secrets) // 32]
