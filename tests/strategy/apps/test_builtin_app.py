"""The built-in app as others see it: a folder, names, and a dataset to prepare."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from flwr.common.config import get_project_config

from strategy.apps.builtin_app import (
    DataUnavailable,
    builtin_app_folder,
    check_names,
    check_partition,
    prepare_dataset,
)
from strategy.builtin.pollen_app.names import Dataset, StrategyName

HEAVY = "{'flwr', 'torch', 'numpy', 'sklearn', 'torchvision', 'datasets'}"


def python(code: str, *, folder: Path, path: str) -> str:
    """Run ``code`` in a Python of its own that sees ``path`` besides what is installed."""
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_names_are_known_without_heavy_imports(tmp_path: Path) -> None:
    root = str(builtin_app_folder().parent.parent)
    code = f"import strategy.apps.builtin_app, sys; print({HEAVY} & set(sys.modules) or None)"
    assert python(code, folder=tmp_path, path=root) == "None"


def test_folder_is_a_flower_app() -> None:
    config = get_project_config(builtin_app_folder())
    assert config["tool"]["flwr"]["app"]["components"] == {
        "serverapp": "pollen_app.server_app:app",
        "clientapp": "pollen_app.client_app:app",
    }


def test_runs_on_digits_from_a_copied_folder_without_our_packages(tmp_path: Path) -> None:
    """Nor with the modules that would cost every process seconds."""
    shutil.copytree(builtin_app_folder(), tmp_path / "copy")
    code = """
import sys
sys.meta_path.insert(0, type("Hidden", (), {"find_spec": staticmethod(lambda name, *_: (_ for _ in ()).throw(
    ImportError(name)) if name.split(".")[0] in ("strategy", "peer", "protocol", "crypto") else None)}))
from pollen_app import client_app, server_app
from pollen_app.datasets import Split, load
from pollen_app.models import build_model, Shape
from pollen_app.names import Dataset
from pollen_app.partitions import as_examples
from pollen_app.training import train
train(build_model("mlp", Shape(1, 8, 8, 10)), as_examples(load(Dataset.DIGITS, Split.TEST)),
      lr=0.1, momentum=0.9, epochs=1, batch_size=64)
print({"sklearn", "torchvision", "datasets", "torch._dynamo"} & set(sys.modules) or None)
"""
    assert python(code, folder=tmp_path / "copy", path=str(tmp_path / "copy")) == "None"


@pytest.mark.parametrize(
    ("choice", "fix"),
    [
        ({"dataset": "digit"}, "--dataset among digits, mnist, fashion-mnist, cifar10"),
        ({"model": "cnm"}, "choose among cnn, mlp, custom_cnn"),
        ({"model": ":Net"}, "choose among cnn, mlp, custom_cnn"),
        ({"model": ".nets:Net"}, "choose among cnn, mlp, custom_cnn"),
        ({"model": "nets:Net;rm"}, "choose among cnn, mlp, custom_cnn"),
        ({"strategy": "FedAvg"}, "--strategy among fedavg, fedprox"),
    ],
)
def test_unknown_name_is_refused_with_those_that_are_known(choice: dict[str, str], fix: str) -> None:
    with pytest.raises(ValueError, match="there is no") as caught:
        check_names(**choice)
    assert fix in str(caught.value)


def test_known_names_and_own_models_pass() -> None:
    for dataset in Dataset:
        check_names(dataset=dataset.value)
    for strategy in StrategyName:
        check_names(strategy=strategy.value, model="my.nets:Net")


@pytest.mark.parametrize("node", [{}, {"partition-id": 0}, {"num-partitions": 3}])
def test_client_without_its_part_is_told_the_flag(node: dict[str, int]) -> None:
    with pytest.raises(ValueError, match='--node-config "partition-id=0 num-partitions=3"'):
        check_partition(node)


def test_preparing_digits_needs_nothing(tmp_path: Path) -> None:
    prepare_dataset("digits", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_preparing_absent_data_without_a_network_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(DataUnavailable) as caught:
        prepare_dataset("mnist", str(tmp_path))
    assert f"{tmp_path}/MNIST/raw" in str(caught.value)
    assert "--data-dir" in str(caught.value)
