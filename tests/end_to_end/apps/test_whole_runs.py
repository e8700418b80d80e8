"""Whole runs of real peers, for each way in which a Flower app may be written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from federation import APPS, Federation
from safetensors.numpy import load_file


def test_a_run_of_a_server_and_two_clients(federation: Federation, tmp_path: Path) -> None:
    app = tmp_path / "elsewhere"
    shutil.copytree(APPS / "numpy_fedavg", app)
    model = tmp_path / "model.safetensors"
    server = federation.server(app, "--save-path", model, "--run-config", "num-server-rounds=2")
    clients = [federation.client(name, app) for name in federation.names]

    assert [peer.code() for peer in (server, *clients)] == [0, 0, 0]

    heads = {federation.head(name).head for name in ("server", "one", "two")}
    assert heads == {federation.head("server").head}
    assert all(federation.head(name).closed for name in ("server", "one", "two"))
    assert server.json["head"] == str(heads.pop())
    assert load_file(model)["w"].dtype == np.float64
    report = federation.audit()
    assert report["verdict"] == "verified"
    assert federation.orphans() == []
    assert federation.half_written() == []


@pytest.mark.all  # in one process: `tests/strategy`
@pytest.mark.parametrize(
    ("app", "config"),
    [
        ("legacy_fedavg", "num-server-rounds=1"),
        ("secagg", "num-server-rounds=1"),
        ("polling", "updates=3"),
        ("client_state", "rounds=3 raise-at=2"),
        ("own_modules", ""),
    ],
)
def test_every_kind_of_app_runs(app: str, config: str, federation: Federation) -> None:
    federation.add("three")
    server = federation.server(APPS / app, "--run-config", config, clients=3)
    clients = [federation.client(name, APPS / app) for name in federation.names]

    assert [peer.code() for peer in (server, *clients)] == [0, 0, 0, 0], server.said
    code, report = federation.replay(
        str(federation.head("server").head), APPS / app, "--home", str(federation.home("server").path)
    )
    assert (code, report["verdict"]) == (0, "verified"), report["findings"]
    assert report["replay"]["messages"] > 0
