"""Homes for the tests of commands, and the way to what writes runs for them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from command_line import admin, peers

from crypto import keyfile
from crypto.keyfile import Cost

__all__ = ["admin", "peers"]

for other in ("protocol", "strategy"):  # for `chains` and `any_records`
    sys.path.append(str(Path(__file__).parent.parent / other))


@pytest.fixture(autouse=True)
def cheap_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lock a key file in no time. How much a guess at its passphrase costs: `tests/crypto/test_keyfile.py`."""
    monkeypatch.setitem(keyfile.lock.__kwdefaults__, "cost", Cost(memory_kib=64, iterations=1, lanes=1))
