"""What goes to files without names."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What has been written to such files, piece by piece."""
    pieces: list[bytes] = []
    write = os.pwrite

    def watched(descriptor: int, data: memoryview, at: int) -> int:
        pieces.append(bytes(data))
        return write(descriptor, data, at)

    monkeypatch.setattr(os, "pwrite", watched)
    return pieces
