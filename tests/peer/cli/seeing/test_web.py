"""`peer web`: what it refuses before it serves anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Peer

from peer.base.errors import ExitCode


def test_a_home_that_is_not_there_is_not_made_by_looking_at_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = Peer(tmp_path / "typo", capsys)
    refused = nobody("web")
    assert (refused.code, nobody.home.exists()) == (ExitCode.WRONG_USE, False)
