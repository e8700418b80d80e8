"""Homes for the tests of commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Peer

sys.path.append(str(Path(__file__).parent.parent / "protocol"))  # for `chains`, which writes runs


@pytest.fixture
def peers(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Peer]:
    """Makes peers, each with a home of its own; no variable of the tester's leaks into them."""
    for name in [name for name in os.environ if name.startswith("POLLEN_")]:
        monkeypatch.delenv(name)
    return lambda name: Peer(tmp_path / name, capsys)
