"""Runs in a federation that encrypts: who can read them, and what an outsider finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from federation import APPS, Federation
from safetensors.numpy import load_file

from strategy.bundle import bundle_folder

APP = APPS / "numpy_fedavg"
SECRETS = ("hospital-one", "trial", "num-server-rounds", "FedMedian", "server-round", "num-examples", "float64")
"""Names of a member, the federation and settings; a setting's value; a round, a metric, an array's type."""


@pytest.fixture
def hospitals(tmp_path: Path) -> Iterator[Federation]:
    """A federation whose members' names are not found by chance."""
    made = Federation(tmp_path, f"local:{tmp_path / 'engine'}")
    made.add("hospital-one", "hospital-two")
    yield made
    made.end()


def ran(federation: Federation, app: Path = APP, config: str = "num-server-rounds=2") -> str:
    """A run to its end: its head."""
    server = federation.server(app, "--save-path", federation.root / "model.safetensors", "--run-config", config)
    clients = [federation.client(name, app) for name in federation.names]
    assert [peer.code() for peer in (server, *clients)] == [0, 0, 0], server.said
    return str(federation.head("server").head)


def exported(federation: Federation, head: str) -> Path:
    car = federation.root / "run.car"
    assert federation.run("server", "export", head, car, "--home", federation.home("server").path).code() == 0
    return car


def captured(federation: Federation) -> bytes:
    """All that an outsider with the engine's directory has: blocks and announcements. But for the app's own files."""
    _, app = bundle_folder(APP)
    public = {str(block.cid) for block in app}
    files = [path for path in (federation.root / "engine").rglob("*") if path.is_file()]
    assert any(path.name in public for path in files)
    return b"".join(path.read_bytes() for path in files if path.name not in public)


def test_an_outsider_finds_no_model_metric_setting_or_name(hospitals: Federation) -> None:
    ran(hospitals, config='num-server-rounds=2 strategy="FedMedian"')
    model = load_file(hospitals.root / "model.safetensors")
    secrets = [text.encode() for text in SECRETS] + [array.tobytes()[:32] for array in model.values()]
    everything = captured(hospitals)
    assert [secret for secret in secrets if secret in everything] == []


def test_what_is_searched_for_is_there_where_nothing_is_encrypted(tmp_path: Path) -> None:
    plain = Federation(tmp_path, f"local:{tmp_path / 'engine'}", encrypted=False)
    plain.add("hospital-one", "hospital-two")
    ran(plain, config='num-server-rounds=2 strategy="FedMedian"')
    model = load_file(plain.root / "model.safetensors")
    secrets = [text.encode() for text in SECRETS] + [array.tobytes()[:32] for array in model.values()]
    everything = captured(plain)
    assert [secret for secret in secrets if secret not in everything] == []
