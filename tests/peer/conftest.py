"""Homes for the tests of commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Peer


@pytest.fixture
def peers(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Peer]:
    """Makes peers, each with a home of its own; no variable of the tester's leaks into them."""
    import os

    for name in [name for name in os.environ if name.startswith("POLLEN_")]:
        monkeypatch.delenv(name)
    return lambda name: Peer(tmp_path / name, capsys)
