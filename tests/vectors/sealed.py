"""Secrets that are the same each time, and seals that are recorded once, because HPKE gives others each time.

``sealed.json`` has the seals that the other files' chains were made with, so that these files come out alike. Each is a
vector too: the private key of ``reader`` opens ``sealed`` under ``info`` to ``plaintext``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from unittest.mock import patch

from crypto.keys import DecryptionKey, EncryptionKey
from crypto.sealing import seal
from crypto.symmetric import SymmetricKey

FILE = Path(__file__).parent / "sealed.json"


def _seals() -> dict[str, dict[str, str]]:
    return json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}


_RECORDED = _seals()
_USED: dict[str, dict[str, str]] = {}


@contextmanager
def fixed_secrets() -> Iterator[None]:
    """While it lasts, new keys come from numbers, the first from 0, and what is sealed again is as it was recorded."""
    numbers = count()

    def secret() -> bytes:
        return hashlib.sha256(f"vector key {next(numbers)}".encode()).digest()

    with (
        patch.object(SymmetricKey, "generate", lambda: SymmetricKey(secret())),
        patch.object(DecryptionKey, "generate", lambda: DecryptionKey(secret())),
        patch("protocol.records.contexts.seal", _recorded),
    ):
        yield


def _recorded(reader: EncryptionKey, plaintext: bytes, info: bytes) -> bytes:
    shown = {"reader": hashlib.sha256(reader.raw).hexdigest(), "info": info.hex(), "plaintext": plaintext.hex()}
    name = hashlib.sha256(json.dumps(shown).encode()).hexdigest()
    if name not in _RECORDED:
        _RECORDED[name] = shown | {"sealed": seal(reader, plaintext, info).hex()}
    _USED[name] = _RECORDED[name]
    return bytes.fromhex(_RECORDED[name]["sealed"])


def seals_used() -> dict[str, object]:
    """What ``sealed.json`` holds, once all files that need it are made: by a hash of the rest, in rising order."""
    return dict(sorted(_USED.items()))
