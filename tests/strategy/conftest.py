"""Here so that the tests in the folders below find the modules beside this one."""

from types import SimpleNamespace

import pytest
from flwr.app.message import arrayrecord


@pytest.fixture(autouse=True)
def no_collections_of_flowers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower's Bulyan and QFedAvg collect garbage for each reply, through all that the tests have imported."""
    monkeypatch.setattr(arrayrecord, "gc", SimpleNamespace(collect=lambda: 0))
