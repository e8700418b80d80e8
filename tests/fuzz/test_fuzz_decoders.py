"""No bytes from outside make a decoder raise anything but the errors that it documents."""

from __future__ import annotations

import pytest
from corpus import FOLDER
from fuzzing import feed
from targets import TARGETS

INPUTS = 400
"""For each target; scripts/fuzz tries more."""


@pytest.mark.parametrize("name", TARGETS)
def test_only_documented_errors_come_out(name: str) -> None:
    feed(name, TARGETS[name], seed=1, times=INPUTS)


def test_each_target_has_saved_inputs() -> None:
    assert {folder.name for folder in FOLDER.iterdir()} == set(TARGETS)
