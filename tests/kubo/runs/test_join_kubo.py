"""A newcomer on a machine of its own: its node enters the private swarm with what the ticket says."""

from __future__ import annotations

from pathlib import Path

import pytest
from federation import Federation
from newcomer import join_and_train

pytestmark = pytest.mark.kubo


def test_a_newcomer_with_a_ticket_and_its_own_node_trains_in_the_run_that_waits(
    ipfs_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLLEN_KUBO", str(ipfs_program))
    federation = Federation(tmp_path, "kubo")
    try:
        join_and_train(federation)
    finally:
        federation.end()
