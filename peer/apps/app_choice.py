"""Which app a peer runs, and the settings for it from the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from peer.apps.app_folder import unusable_app
from peer.apps.app_python import OUR_PYTHON
from peer.base.errors import ExitCode, PeerError
from peer.base.installed_versions import INSTALL_TORCH, absent_for_training, require_torch_extra
from strategy.apps.builtin_app import (
    DataUnavailable,
    builtin_app_folder,
    check_client,
    check_named,
    check_names,
    check_partition,
    model_class,
    prepare_dataset,
)

if TYPE_CHECKING:
    from protocol.records.bodies import RunConfig
    from strategy.apps.config import AppConfig

Setting = str | int | float


@dataclass(frozen=True, slots=True)
class AppChoice:
    """The owner's choice of app and settings."""

    folder: Path | None
    """None for the built-in app."""
    shared: Mapping[str, Setting]
    """Settings for the whole run, named as in the built-in app's ``pyproject.toml``."""
    local: Mapping[str, Setting]
    """Settings for this peer alone."""
    run_config: Sequence[str]
    node_config: Sequence[str]
    initial_model: str | None = None
    """HEAD or a file, if a new run begins with an existing model."""

    @property
    def app_folder(self) -> Path:
        """Where the app is."""
        return builtin_app_folder() if self.folder is None else self.folder.expanduser().absolute()

    def check(self) -> None:
        """Find mistakes in the options before anything starts.

        Raises:
            PeerError: if a name is unknown, or a setting of the built-in app comes with another app.
        """
        names = {key: str(self.shared[key]) for key in ("dataset", "model", "strategy") if key in self.shared}
        foreign = [key for key in (*names, *self.local) if key in _BUILTIN_FLAGS]
        if self.folder is not None and foreign:
            raise _wrong(
                f"--{foreign[0]} is a setting of the built-in app, but --app names another app",
                "give that app its own settings with --run-config or --node-config",
            )
        if self.folder is not None and self.initial_model is not None:
            raise _wrong(
                "--initial-model is for the built-in app, but --app names another app",
                "write the model to a file (peer model HEAD -o FILE) and let that app's ServerApp load it",
            )
        try:
            check_names(**names)
        except ValueError as error:
            raise _wrong(str(error)) from error

    def server_config(self, app: AppConfig) -> RunConfig:
        """The run config: flags come before ``--run-config``, and that before the app's defaults.

        Raises:
            PeerError: if a flag or a pair names a setting that the app does not have.
        """
        from strategy.apps.config import AppError, fuse_run_config

        known = dict(app.run_config)
        unknown = [key for key in self.shared if key not in known and key != "min-clients"]
        if unknown:
            flag = _FLAGS.get(unknown[0], unknown[0])
            raise _wrong(f"--{flag} sets {unknown[0]}, but the app {app.name} has no such setting")
        try:
            fused = dict(fuse_run_config(app, *self.run_config))
        except AppError as error:
            raise _wrong(str(error), _PAIRS.format("--run-config")) from error
        return tuple({**fused, **{key: value for key, value in self.shared.items() if key in known}}.items())

    def local_config(self, run_config: RunConfig) -> RunConfig:
        """A server's node config: flags come before ``--node-config``.

        The owner wrote the run config too, so a model class named there may run here.

        Raises:
            PeerError: if the node config cannot be read.
        """
        config = self._node_config()
        if self.folder is None and (model := model_class(dict(run_config))) is not None:
            config.setdefault("model", model)
        return tuple(config.items())

    def check_installed(self, python: tuple[str, ...]) -> None:
        """Check that the built-in app can run, if it is chosen and our own Python runs it.

        Raises:
            PeerError: if what it trains with is not installed.
        """
        if self.folder is None and python == OUR_PYTHON:
            require_torch_extra("the built-in app")

    def client_config(self, python: tuple[str, ...]) -> RunConfig:
        """A client's node config: flags come before ``--node-config``.

        Raises:
            PeerError: if the node config cannot be read, or is for the built-in app and that cannot work with it.
        """
        config = self._node_config()
        if (self.local or config.keys() >= _PARTITION) and (why := self._unfit_with(tuple(config.items()))):
            raise _wrong(why)
        if self.local:  # a setting that no other app has
            self.check_installed(python)
        if not self.unfit(tuple(config.items()), python):
            self._prepare_data(config)
        return tuple(config.items())

    def unfit(self, node_config: RunConfig, python: tuple[str, ...]) -> str:
        """Why the built-in app cannot run here with a client's node config; empty if it can, or another app is chosen.

        A client for which it cannot still trains in runs of the apps that its owner approves.
        """
        if self.folder is None and python == OUR_PYTHON and (absent := absent_for_training()):
            return f"{absent} is not installed ({INSTALL_TORCH})"
        return self._unfit_with(node_config)

    def _unfit_with(self, node_config: RunConfig) -> str:
        return "" if self.folder is not None else _why_not(check_partition, node_config)

    def unfit_for(self, run_config: RunConfig, node_config: RunConfig) -> str:
        """Why the built-in app cannot train in a run with these settings; empty if it can, or another app is chosen.

        The settings come from the server: unknown names, numbers out of bounds, code that nobody named here.
        """
        return "" if self.folder is not None else _why_not(check_client, run_config, node_config)

    def unnamed_here(self, run_config: RunConfig, node_config: RunConfig) -> str:
        """Why the built-in app cannot be replayed in another's run with these settings; empty if it can, or another app
        is chosen. They come from the run's leader, who may name code that nobody named here."""
        return "" if self.folder is not None else _why_not(check_named, run_config, node_config)

    def _node_config(self) -> dict[str, Setting]:
        from strategy.apps.config import AppError, parse_node_config

        try:
            return {**dict(parse_node_config(*self.node_config)), **self.local}
        except AppError as error:
            raise _wrong(str(error), _PAIRS.format("--node-config")) from error

    def _prepare_data(self, config: Mapping[str, object]) -> None:
        """Load the dataset now, if one is named, and not in the middle of a run."""
        dataset = config.get("dataset")
        if self.folder is not None or not isinstance(dataset, str):
            return
        try:
            prepare_dataset(dataset, str(config.get("data-dir", "")))
        except DataUnavailable as error:
            raise PeerError(str(error), code=ExitCode.UNFINISHED) from error


_FLAGS = {"num-server-rounds": "rounds"}
_BUILTIN_FLAGS = frozenset({"dataset", "model", "strategy", "data-dir", "batch-size"})
_PARTITION = frozenset({"partition-id", "num-partitions"})
"""Settings that the built-in app needs. A client without them runs only apps that its owner approves."""

_PAIRS: Final = "write {0} \"key=value key2='some text'\", or name one TOML file: {0} FILE.toml"


def clients_to_begin_with(given: int | None, folder: Path, run_config: Sequence[str]) -> int:
    """How many clients have to be here before a run begins: as ``--min-clients`` says; or else as the setting
    ``min-clients`` of the app in ``folder``, if it has one, with what ``--run-config`` makes of it; or else 2.

    Raises:
        PeerError: if the app or the run config cannot be read.
    """
    from strategy.apps.config import AppError, fuse_run_config, read_app

    if given is not None:
        return given
    try:
        app = read_app(folder.expanduser().absolute())
    except (AppError, OSError) as error:
        raise unusable_app(error) from error
    try:
        setting = dict(fuse_run_config(app, *run_config)).get("min-clients")
    except AppError as error:
        raise _wrong(str(error), _PAIRS.format("--run-config")) from error
    return setting if type(setting) is int and setting >= 1 else 2


def given(settings: Mapping[str, Setting | None]) -> dict[str, Setting]:
    """The settings without those that are None."""
    return {key: value for key, value in settings.items() if value is not None}


def _why_not(check: Callable[..., None], *configs: RunConfig) -> str:
    try:
        check(*map(dict, configs))
    except ValueError as error:
        return str(error)
    return ""


def _wrong(message: str, fix: str = "") -> PeerError:
    return PeerError(message, fix=fix)
