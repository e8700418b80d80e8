"""From a ticket to a closed run: the newcomer joins while the admin's server waits for clients, and trains."""

from __future__ import annotations

from pathlib import Path

import pytest
from federation import Federation
from newcomer import join_and_train


@pytest.mark.all  # over Kubo: `tests/kubo/runs/test_join_kubo.py`
def test_a_newcomer_with_a_ticket_trains_in_the_run_that_waits(tmp_path: Path) -> None:
    federation = Federation(tmp_path, f"local:{tmp_path / 'engine'}")
    try:
        join_and_train(federation)
        assert federation.audit()["verdict"] == "verified"
    finally:
        federation.end()
