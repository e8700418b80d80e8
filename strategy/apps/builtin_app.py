"""The built-in app from outside: its folder, and checks of settings. Importing this imports neither flwr nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from strategy.builtin.pollen_app.names import Dataset, StrategyName, check_model, choose, is_class
from strategy.builtin.pollen_app.settings import client_settings, model_name, partition_of


def builtin_app_folder() -> Path:
    """The app's folder, as ``--app`` takes it."""
    return Path(__file__).parents[1] / "builtin"


def check_names(*, dataset: str | None = None, model: str | None = None, strategy: str | None = None) -> None:
    """Check what a user chose, before anything starts. Only the form of a model ``module:Class`` is checked.

    Raises:
        ValueError: if a name is unknown; it says which names are known, and the flag.
    """
    if dataset is not None:
        choose(Dataset, dataset)
    if model is not None:
        check_model(model)
    if strategy is not None:
        choose(StrategyName, strategy)


def check_initial_model(run_config: Mapping[str, object], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Check that a run's model takes arrays with these names and shapes. Imports torch.

    A model ``module:Class`` is not checked here: its author's code runs in the app process only, and there the app
    checks the same before it asks anybody for anything.

    Raises:
        ValueError: if it does not; it names the first difference.
    """
    name, dataset = str(run_config["model"]), choose(Dataset, str(run_config["dataset"]))
    if model_class(run_config) is not None:
        return
    import torch

    from strategy.builtin.pollen_app.datasets import SHAPES
    from strategy.builtin.pollen_app.initial import check_fit
    from strategy.builtin.pollen_app.models import build_model

    with torch.device("meta"):  # shapes only
        model = build_model(name, SHAPES[dataset])
    try:
        check_fit(model, shapes)
    except ValueError as error:
        raise ValueError(f"it does not fit --model {name} for {dataset.value}: {error}") from error


def check_partition(node_config: Mapping[str, object]) -> None:
    """Check that a client's node config says which part of the data it has, before it joins a run.

    Raises:
        ValueError: if it does not, or says something impossible; it names the flag.
    """
    partition_of(node_config)


def check_client(run_config: Mapping[str, object], node_config: Mapping[str, object]) -> None:
    """Check that a client can train in a run with these settings, before its app process gets anything from the run.

    Raises:
        ValueError: if it cannot; it says why, and what its owner has to type.
    """
    client_settings(run_config, node_config)


def check_named(run_config: Mapping[str, object], node_config: Mapping[str, object]) -> None:
    """Check that a run's model is the app's own, or a class that this machine's owner named.

    Raises:
        ValueError: if it is neither.
    """
    model_name(run_config, node_config)


def model_class(run_config: Mapping[str, object]) -> str | None:
    """The class ``module:Class`` that a run's model is; None if it is one of the app's own, or unknown."""
    name = run_config.get("model")
    return name if isinstance(name, str) and is_class(name) else None


def default_data_folder() -> Path:
    """Where datasets are, unless ``--data-dir`` says otherwise."""
    from strategy.builtin.pollen_app import datasets

    return datasets.default_data_dir()


class DataUnavailable(Exception):
    """A dataset is not here and cannot be downloaded. ``str`` says where we looked, and the fix."""


def prepare_dataset(dataset: str, data_dir: str = "") -> Path:
    """Make sure that a dataset's files are on this machine; download them if they are not. Returns their folder.

    One process does this before the run, instead of every client after it has begun. Quick if the files are there.

    Raises:
        DataUnavailable: if they are absent and the download failed.
        ValueError: if there is no such dataset.
    """
    chosen = choose(Dataset, dataset)
    from strategy.builtin.pollen_app import datasets  # numpy, and torchvision if it downloads: only when asked

    try:
        return datasets.prepare(chosen, data_dir)
    except datasets.DataUnavailable as error:
        raise DataUnavailable(str(error)) from error
