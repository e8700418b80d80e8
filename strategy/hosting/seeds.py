"""Seeding every generator that an app may draw from."""

from __future__ import annotations

import hashlib
import random
import sys
from types import MethodType
from typing import Any, Final

import numpy as np

_WORDS: Final = 8  # 32 bits each
_PLAIN_SEED: Final = random.Random.seed


def seed_generators(seed: bytes) -> None:
    """Seed ``random``, numpy and torch (if it is imported), and the source of seeds for generators that get none.

    The last makes ``random.Random()``, ``random.seed()`` and ``np.random.default_rng()`` repeatable. What an app takes
    from the system itself (``os.urandom``, ``uuid4``, ``secrets``, ``torch.seed``) stays random.
    """
    _seed_fresh_generators(random.Random(_derived(seed, b"fresh")))
    random.seed(_derived(seed, b"random"))
    words = _derived(seed, b"numpy")
    np.random.seed([words >> (32 * at) & 0xFFFFFFFF for at in range(_WORDS)])
    entropy = random.Random(_derived(seed, b"entropy"))
    np.random.bit_generator.randbits = entropy.getrandbits  # type: ignore[attr-defined]  # not in numpy's stubs
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(_derived(seed, b"torch") & (2**63 - 1))


def _seed_fresh_generators(fresh: random.Random) -> None:
    """Let Python's generators that get no seed begin with what ``fresh`` draws."""

    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        _PLAIN_SEED(self, fresh.getrandbits(32 * _WORDS) if a is None else a, version)

    random.Random.seed = seed  # type: ignore[method-assign]
    random.seed = MethodType(seed, random.seed.__self__)  # type: ignore[attr-defined]  # the module's own generator


def _derived(seed: bytes, label: bytes) -> int:
    """256 bits derived from ``seed`` and ``label``, so that no two generators give the same stream."""
    return int.from_bytes(hashlib.sha256(label + b"\0" + seed).digest(), "big")
