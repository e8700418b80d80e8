"""A new run of the built-in app that begins with a model of an earlier run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation import Federation, PeerProcess
from safetensors.numpy import load_file, save_file

from peer.base.errors import ExitCode
from strategy.builtin.pollen_app.datasets import SHAPES
from strategy.builtin.pollen_app.models import build_model
from strategy.builtin.pollen_app.names import Dataset

SETTINGS = ("--model", "mlp", "--rounds", "1", "--min-clients", "1", "--run-config", "local-epochs=1")


def start_server(federation: Federation, *options: str | Path) -> PeerProcess:
    return federation.start("server", "--role", "server", *SETTINGS, *options)


def trained(federation: Federation, *options: str | Path) -> Any:
    """What the server says of a run of one round with one client."""
    client = ("--role", "client", "--once", "--node-config", "partition-id=0 num-partitions=2")
    peers = [start_server(federation, *options), federation.start("one", *client)]
    assert [peer.code() for peer in peers] == [0, 0], peers[0].said
    return peers[0].json


def model_of(federation: Federation, run: str | Path, *options: str) -> dict[str, np.ndarray]:
    file = federation.root / "model.safetensors"
    federation.done("server", "model", run, "-o", file, *options)
    return load_file(file)


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(tensor, other[name]) for name, tensor in one.items())


def test_a_run_begins_with_the_model_of_a_file_and_is_replayed_from_a_car_alone(federation: Federation) -> None:
    file = federation.root / "began.safetensors"
    made = build_model("mlp", SHAPES[Dataset.DIGITS]).state_dict()
    save_file({name: tensor.numpy() for name, tensor in made.items()}, file)

    run = trained(federation, "--initial-model", file)

    assert equal(model_of(federation, run["head"], "--round", "0"), load_file(file))
    car, home = federation.exported(), str(federation.home("server").path)
    shutil.rmtree(federation.root / "engine")
    auditor = federation.run("auditor", "audit", car, "--replay", "--json", "--home", home)  # who has the keys
    assert (auditor.code(), auditor.json["verdict"]) == (0, "verified"), auditor.said


@pytest.mark.all
def test_a_run_begins_where_another_ended(federation: Federation) -> None:
    first = trained(federation)

    second = trained(federation, "--initial-model", first["head"])

    ended, began = model_of(federation, first["head"]), model_of(federation, second["head"], "--round", "0")
    assert equal(ended, began)
    assert not equal(began, model_of(federation, second["head"]))


@pytest.mark.all  # the rule: tests/strategy/models/test_initial_model.py
def test_a_model_of_another_kind_is_refused_before_a_run_begins(federation: Federation, tmp_path: Path) -> None:
    save_file({"w": np.ones(3)}, tmp_path / "other.safetensors")

    server = start_server(federation, "--initial-model", tmp_path / "other.safetensors")

    assert server.code() == ExitCode.WRONG_USE
    assert "does not fit --model mlp for digits: it lacks the tensor '1.weight'" in server.said
    assert "same --model and --dataset" in server.said
    assert server.events("run-opened") == []
