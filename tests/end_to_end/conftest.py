"""Federations of real processes, on the local engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from federation import Federation, Gate


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    """A server and two clients; whatever still runs at the end is killed."""
    made = Federation(tmp_path, f"local:{tmp_path / 'engine'}")
    made.add("one", "two")
    yield made
    made.end()


@pytest.fixture
def federation_in_the_clear(tmp_path: Path) -> Iterator[Federation]:
    """The same without encryption: anybody may replay its runs."""
    made = Federation(tmp_path, f"local:{tmp_path / 'engine'}", encrypted=False)
    made.add("one", "two")
    yield made
    made.end()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """What the gated app waits for."""
    return Gate(tmp_path / "gate")
