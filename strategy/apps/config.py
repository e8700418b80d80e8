"""An app's ``pyproject.toml``, and the configs of runs and nodes, read as Flower reads them."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocol.records.bodies import RunConfig
from strategy.apps.plain_app import (
    PYPROJECT,
    FlatConfig,
    config_overrides,
    flat,
    is_plain,
    parsed_pairs,
    parsed_pyproject,
)


class AppError(Exception):
    """A folder that is no Flower app, or a config that does not fit the app. The message says what to change."""


@dataclass(frozen=True, slots=True)
class AppConfig:
    """A Flower app, as its ``pyproject.toml`` describes it."""

    name: str
    version: str
    server: str
    """Where its ServerApp is: ``module:attribute``."""
    client: str
    """Where its ClientApp is: ``module:attribute``."""
    run_config: RunConfig
    """The settings it has, with their defaults, nested ones as ``a.b``."""
    dependencies: tuple[str, ...] = ()
    """The packages that it needs, as its author wrote them."""


def read_app(app_dir: Path) -> AppConfig:
    """The app in a folder.

    Raises:
        AppError: if its ``pyproject.toml`` is absent, or lacks what Flower requires.
    """
    if not app_dir.is_dir():
        raise AppError(f"there is no folder {app_dir}")
    try:
        config = _project_config(app_dir)
        defaults = flat(config["tool"]["flwr"]["app"].get("config", {}))
    except (ValueError, RecursionError) as error:  # a TOML error is a ValueError; settings may be nested without end
        raise AppError(f"{app_dir} is not a Flower app: {error}") from error
    components = config["tool"]["flwr"]["app"]["components"]
    missing = [name for name in ("serverapp", "clientapp") if not isinstance(components.get(name), str)]
    if missing:
        raise AppError(f"{app_dir} is not a Flower app: [tool.flwr.app.components] names no {missing[0]}")
    return AppConfig(
        name=str(config["project"]["name"]),
        version=str(config["project"]["version"]),
        server=components["serverapp"],
        client=components["clientapp"],
        run_config=recordable(defaults),
        dependencies=_texts(config["project"].get("dependencies")),
    )


def _project_config(app_dir: Path) -> dict[str, Any]:
    """An app's ``pyproject.toml``, with the fields that Flower requires.

    Raises:
        ValueError: if there is no such file, or it lacks a field; the message says which.
    """
    try:
        config = parsed_pyproject((app_dir / PYPROJECT).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"Cannot find {PYPROJECT} in {app_dir}") from error
    except (OSError, RecursionError) as error:
        raise ValueError(f"{PYPROJECT} cannot be read: {error}") from error
    if not is_plain(config):
        from strategy.flower_compat import check_project_config  # imports flwr, which is slow

        check_project_config(app_dir)
    return config


def check_components(pyproject: bytes, paths: Collection[str]) -> None:
    """Check that an app from the network names its ServerApp and ClientApp among its own files, ``paths``: those are
    the files that an owner could read and approve.

    Raises:
        AppError: if it names another module, or cannot be read.
    """
    try:
        config = tomllib.loads(pyproject.decode())
        components = config.get("tool", {}).get("flwr", {}).get("app", {}).get("components", {})
        named = {str(kind): str(reference).partition(":")[0] for kind, reference in components.items()}
    except (ValueError, AttributeError, RecursionError) as error:
        raise AppError(f"its pyproject.toml cannot be read: {error}") from error
    for kind, module in named.items():
        place = module.replace(".", "/")
        if f"{place}.py" not in paths and f"{place}/__init__.py" not in paths:
            raise AppError(f"its {kind[:40]} is in the module {module[:100]!r}, which is not one of its files")


def _texts(value: object) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def fuse_run_config(app: AppConfig, *overrides: str) -> RunConfig:
    """The app's run config: its defaults, and overrides such as ``lr=0.1 name="x"``. The last of a key counts. A single
    override may be the name of a TOML file.

    A value keeps the type in which it is written, as with Flower: ``lr=1`` is an integer, whatever the default is.

    Raises:
        AppError: if they cannot be read, or name a setting that the app does not have.
    """
    try:
        return recordable(config_overrides(dict(app.run_config), overrides))
    except ValueError as error:
        raise AppError(f"--run-config {' '.join(overrides)!r}: {error}") from error


def parse_node_config(*texts: str) -> RunConfig:
    """A node config such as ``partition-id=0 num-partitions=3``, read like a run config.

    Raises:
        AppError: if it cannot be read.
    """
    try:
        return recordable(parsed_pairs(texts))
    except ValueError as error:
        raise AppError(f"--node-config {' '.join(texts)!r}: {error}") from error


def recordable(config: FlatConfig) -> RunConfig:
    """The settings, if a run record can hold them.

    Raises:
        AppError: if it cannot.
    """
    for key, value in config.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise AppError(f"the setting {key} is {value}: a run record holds finite numbers only")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise AppError(
                f"the setting {key} is an integer of {value.bit_length()} bits: a run record holds 63 and a sign"
            )
    return tuple(config.items())
