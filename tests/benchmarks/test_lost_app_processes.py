"""A benchmark measures no replay: an app process that is lost ends it."""

from __future__ import annotations

from pathlib import Path

import pytest
from measured import raise_if_lost

from peer.base.errors import PeerError
from peer.demo.processes import LogEvent
from protocol.roles.effects import What


def test_a_lost_app_process_ends_the_benchmark_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="server was lost, so another began again: killed by signal 9"):
        raise_if_lost(LogEvent("server", What.APP_LOST, {"why": "killed by signal 9"}), tmp_path)


def test_a_message_that_is_collected_does_not(tmp_path: Path) -> None:
    raise_if_lost(LogEvent("server", What.COLLECTED, {}), tmp_path)
