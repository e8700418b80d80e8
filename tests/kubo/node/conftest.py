"""What several tests of a node look at."""

from __future__ import annotations

from typing import Any

import pytest

from peer.engine.kubo.api import KuboApi
from peer.engine.kubo.engine import KuboEngine


@pytest.fixture
def calls(engine: KuboEngine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the node was called for since."""
    made: list[str] = []
    call = KuboApi.open

    def noted(api: KuboApi, path: str, *args: str, **more: Any) -> Any:
        made.append(path)
        return call(api, path, *args, **more)

    monkeypatch.setattr(KuboApi, "open", noted)
    return made
