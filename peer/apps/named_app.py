"""Which app a peer runs, and what its owner says about it on the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from peer.base.errors import ExitCode, PeerError
from strategy.apps.builtin_app import (
    DataUnavailable,
    builtin_app_folder,
    check_client,
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
    """The owner's choice, checked as far as it can be before the app is read."""

    folder: Path | None
    """None for the built-in app."""
    shared: Mapping[str, Setting]
    """Settings of the run, by their names in the built-in app's ``pyproject.toml``."""
    local: Mapping[str, Setting]
    """Settings of this peer."""
    run_config: Sequence[str]
    node_config: Sequence[str]
    initial_model: str | None = None
    """HEAD or a file, if a new run is to begin with an existing model."""

    @property
    def app_folder(self) -> Path:
        """Where the app is."""
        return builtin_app_folder() if self.folder is None else self.folder.expanduser().absolute()

    def check(self) -> None:
        """Refuse what cannot be meant, before anything is started.

        Raises:
            PeerError: if a name is not known, or a setting is given to an app that is not the built-in one.
        """
        names = {key: str(self.shared[key]) for key in ("dataset", "model", "strategy") if key in self.shared}
        foreign = [key for key in (*names, *self.local) if key in _BUILTIN_FLAGS]
        if self.folder is not None and foreign:
            raise _wrong(
                f"--{foreign[0]} is a setting of the built-in app, and --app names another",
                "give that app's own settings with --run-config or --node-config",
            )
        if self.folder is not None and self.initial_model is not None:
            raise _wrong(
                "--initial-model is for the built-in app, and --app names another: "
                "only that app's author knows what its ServerApp begins with",
                "write the model to a file (peer model HEAD -o FILE), and have the app's ServerApp load it",
            )
        try:
            check_names(**names)
        except ValueError as error:
            raise _wrong(str(error)) from error

    def server_config(self, app: AppConfig) -> RunConfig:
        """The run config: the app's defaults, under ``--run-config``, under the flags.

        Raises:
            PeerError: if a flag or a pair names a setting that the app does not have.
        """
        from strategy.apps.config import AppError, fuse_run_config

        known = dict(app.run_config)
        unknown = [key for key in self.shared if key not in known and key != "min-clients"]
        if unknown:
            flag = _FLAGS.get(unknown[0], unknown[0])
            raise _wrong(f"the app {app.name} has no setting {unknown[0]}, which --{flag} sets")
        try:
            fused = dict(fuse_run_config(app, *self.run_config))
        except AppError as error:
            raise _wrong(str(error), _PAIRS.format("--run-config")) from error
        return tuple({**fused, **{key: value for key, value in self.shared.items() if key in known}}.items())

    def local_config(self, run_config: RunConfig) -> RunConfig:
        """The node config of a server: ``--node-config`` under the flags.

        The run's settings are the owner's own here: a model class that they name is one that the owner named.

        Raises:
            PeerError: if it cannot be read.
        """
        config = self._node_config()
        if self.folder is None and (model := model_class(dict(run_config))) is not None:
            config.setdefault("model", model)
        return tuple(config.items())

    def client_config(self) -> RunConfig:
        """The node config of a client: ``--node-config`` under the flags.

        Raises:
            PeerError: if it cannot be read, or is meant for the built-in app, which could not work with it.
        """
        config = self._node_config()
        try:
            if self.folder is None and (self.local or config.keys() >= _PARTITION):
                check_partition(config)
        except ValueError as error:
            raise _wrong(str(error)) from error
        self._prepare_data(config)
        return tuple(config.items())

    def unfit_for(self, node_config: RunConfig) -> Callable[[RunConfig], str]:
        """Tells why the built-in app, if that is chosen, cannot train in a run with some settings; empty if it can.

        They are the server's word: names that nobody knows, numbers out of bounds, code that nobody named here.
        """

        def why(run_config: RunConfig) -> str:
            if self.folder is not None:
                return ""
            try:
                check_client(dict(run_config), dict(node_config))
            except ValueError as error:
                return str(error)
            return ""

        return why

    def unfit(self, node_config: RunConfig) -> str:
        """Why the built-in app, if that is chosen, cannot run with a client's node config; empty if it can."""
        if self.folder is not None:
            return ""
        try:
            check_partition(dict(node_config))
        except ValueError as error:
            return str(error)
        return ""

    def _node_config(self) -> dict[str, Setting]:
        from strategy.apps.config import AppError, parse_node_config

        try:
            return {**dict(parse_node_config(*self.node_config)), **self.local}
        except AppError as error:
            raise _wrong(str(error), _PAIRS.format("--node-config")) from error

    def _prepare_data(self, config: Mapping[str, object]) -> None:
        """Have the data here before the run needs it, if it is known which."""
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
"""What the built-in app has to be told; a client that is told nothing is there for apps that its owner approves."""


def given(settings: Mapping[str, Setting | None]) -> dict[str, Setting]:
    """The settings that were given."""
    return {key: value for key, value in settings.items() if value is not None}


_PAIRS: Final = "write {0} \"key=value key2='some text'\", or name one TOML file: {0} FILE.toml"


def _wrong(message: str, fix: str = "") -> PeerError:
    return PeerError(message, fix=fix, code=ExitCode.WRONG_USE)
