"""The models.

To use one of your own, either copy the folder of this app, edit `CustomCNN` and start with ``--app FOLDER``, or write a
class with the same four parameters anywhere Python finds it and start with ``--model module:Class``, at the server and
at each client: a class counts only if that machine's owner names it (`settings`).
"""

from __future__ import annotations

import importlib

import torch
from torch import Tensor, nn

from .datasets import Shape
from .names import Model, check_model, choose, is_class


class CNN(nn.Module):
    """Two convolutions, each halving the picture, and two full layers."""

    def __init__(self, channels: int, height: int, width: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64 * (height // 4) * (width // 4), 128),
            nn.ReLU(),
            nn.Linear(128, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Class scores of images shaped (n, channels, height, width)."""
        scores: Tensor = self.classifier(self.features(images))
        return scores


class MLP(nn.Sequential):
    """Full layers only: the smallest model that learns, and the quickest."""

    def __init__(self, channels: int, height: int, width: int, classes: int) -> None:
        super().__init__(
            nn.Flatten(),
            nn.Linear(channels * height * width, 128),
            nn.ReLU(),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Linear(64, classes),
        )


class CustomCNN(nn.Module):
    """The one to copy and edit. Keep the four parameters, and return one score for each class."""

    def __init__(self, channels: int, height: int, width: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 16, kernel_size=3, padding=1)
        # GroupNorm keeps no running statistics: those of BatchNorm would be averaged over clients like weights.
        self.norm = nn.GroupNorm(num_groups=4, num_channels=16)
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(16 * (height // 2) * (width // 2), 64)
        self.output = nn.Linear(64, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Class scores of images shaped (n, channels, height, width)."""
        features = self.pool(torch.relu(self.norm(self.conv(images))))
        scores: Tensor = self.output(torch.relu(self.hidden(features.flatten(1))))
        return scores


def build_model(name: str, shape: Shape) -> nn.Module:
    """A new model for images of ``shape``; its weights come from torch's global generator.

    `settings` has read ``name``, so a class that nobody named on this machine does not get here.

    Raises:
        ValueError: if the name is unknown, or names no class that makes such a model.
    """
    check_model(name)
    sizes = (shape.channels, shape.height, shape.width, shape.classes)
    if is_class(name):
        return _build_own(name, sizes)
    match choose(Model, name):
        case Model.CNN:
            return CNN(*sizes)
        case Model.MLP:
            return MLP(*sizes)
        case Model.CUSTOM_CNN:
            return CustomCNN(*sizes)


def _build_own(name: str, sizes: tuple[int, int, int, int]) -> nn.Module:
    module_name, _, class_name = name.partition(":")
    try:
        kind = getattr(importlib.import_module(module_name), class_name)
    except ImportError as error:
        raise ValueError(
            f"--model {name}: cannot import {module_name} ({error}); "
            "put it into the folder you start from, or install it, at the server and at every client"
        ) from error
    except AttributeError as error:
        raise ValueError(f"--model {name}: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ValueError(f"--model {name}: {class_name} is no class of torch.nn.Module, and is not called")
    try:
        return kind(*sizes)
    except TypeError as error:
        raise ValueError(
            f"--model {name}: {class_name}(channels, height, width, classes) fails ({error}); "
            "pollen_app/models.py has an example to copy, CustomCNN"
        ) from error
