"""A federation whose apps are confined: they train as others do, without their machines' files, ports and engines."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from federation import APPS, Federation

from peer.confinement.means import tried

APP = APPS / "reaching"

pytestmark = pytest.mark.skipif(tried().found is None, reason="nothing here can confine an app")


def metrics(report: dict[str, Any], name: str) -> list[float]:
    return [exchange["metrics"][name] for exchange in report["exchanges"]]


def test_confined_apps_train_and_reach_nothing_of_their_machines(federation: Federation, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        key = next(federation.home("one").path.rglob("*.key"))
        places = [str(key), str(tmp_path / "engine"), f"port:{listener.getsockname()[1]}", "variable:SECRET"]
        reach = f'reach="{",".join(places)}"'
        server = federation.server(APP, "--confine", "--run-config", f"{reach} size=400000", SECRET="x")
        for name, more in (("one", ["--confine"]), ("two", ["--confine", "--allow-read", key.parent])):
            federation.client(name, APP, reach, *more, SECRET="x")

        assert [peer.code() for peer in federation.processes] == [0] * 3, server.said

    report = federation.audit()
    assert report["verdict"] == "verified"
    assert metrics(report, "reached") == [(0 + 1) / 2] * 2
    assert federation.orphans() == []
