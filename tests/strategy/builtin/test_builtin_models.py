"""Models by name, and of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from strategy.builtin.pollen_app.datasets import SHAPES
from strategy.builtin.pollen_app.models import build_model
from strategy.builtin.pollen_app.names import Dataset, Model

DIGITS = SHAPES[Dataset.DIGITS]
MODELS = [name.value for name in Model]


@pytest.mark.parametrize("dataset", Dataset)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_scores_every_dataset(model: str, dataset: Dataset) -> None:
    shape = SHAPES[dataset]
    images = torch.zeros(2, shape.channels, shape.height, shape.width)
    assert build_model(model, shape)(images).shape == (2, shape.classes)


@pytest.mark.parametrize("model", MODELS)
def test_weights_follow_the_global_generator(model: str) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build_model(model, DIGITS).state_dict())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


@pytest.fixture
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_models.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, channels, height, width, classes):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(channels * height * width, classes))\n"
        "class NoSizes(nn.Module):\n"
        "    def __init__(self): super().__init__()\n"
        "def not_a_model(*sizes): return 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("own_models")
def test_own_class_is_imported_and_built() -> None:
    assert build_model("own_models:Net", DIGITS)(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


@pytest.mark.usefixtures("own_models")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nowhere:Net", "cannot import nowhere"),
        ("own_models:Missing", "no attribute 'Missing'"),
        ("own_models:NoSizes", r"NoSizes\(channels, height, width, classes\) fails"),
        ("own_models:not_a_model", "not_a_model is no class of torch.nn.Module, and is not called"),
        ("builtins:print", "print is no class of torch.nn.Module, and is not called"),
        ("os:PathLike", "PathLike is no class of torch.nn.Module, and is not called"),
        ("resnet", "there is no model"),
    ],
)
def test_what_is_no_model_is_refused_precisely(name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        build_model(name, DIGITS)
