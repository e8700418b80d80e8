"""Seeding every generator that an app may draw from."""

from __future__ import annotations

import hashlib
import random
import sys
from typing import Final

import numpy as np

_WORDS: Final = 8  # 32 bits each


def seed_generators(seed: bytes) -> None:
    """Seed ``random``, numpy and (where it is imported) torch, and numpy's source of fresh entropy.

    The last makes ``np.random.default_rng()`` repeatable: without a seed it reads ``randbits``. What an app takes from
    the system itself (``os.urandom``, ``uuid4``, ``secrets``) stays as it is.
    """
    random.seed(_derived(seed, b"random"))
    words = _derived(seed, b"numpy")
    np.random.seed([words >> (32 * at) & 0xFFFFFFFF for at in range(_WORDS)])
    entropy = random.Random(_derived(seed, b"entropy"))
    np.random.bit_generator.randbits = entropy.getrandbits  # type: ignore[attr-defined]  # not in numpy's stubs
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(_derived(seed, b"torch") & (2**63 - 1))


def _derived(seed: bytes, label: bytes) -> int:
    """256 bits of ``seed``'s, others for each label, so that no two generators give the same stream."""
    return int.from_bytes(hashlib.sha256(label + b"\0" + seed).digest(), "big")
