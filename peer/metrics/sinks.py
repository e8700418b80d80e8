"""Where the numbers of a run may go besides standard output. The libraries are extras, imported when they are asked
for."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

from peer.base.errors import ExitCode, PeerError
from peer.engine import without_credentials
from peer.history.rounds import Exchange
from peer.metrics.points import Point, points_of
from protocol.blocks.cid import CID

MEAN: Final = "mean"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_NAME: Final = 60
"""Characters of a name that others gave, in the name of a tag or folder."""


class Sink(Protocol):
    """Takes the exchanges of one run, in order."""

    def take(self, exchange: Exchange) -> None:
        """Write down what an exchange gave."""

    def close(self) -> None:
        """Have it all written."""


class TensorBoardSink:
    """Event files in a folder, which TensorBoard shows: a run for the means, and one for each participant."""

    def __init__(self, folder: Path) -> None:
        """Raises:
        PeerError: if tensorboardX is not installed, or the folder holds something already.
        """
        self._module = _extra("tensorboardX", "tensorboard")
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise PeerError(
                f"{folder} holds something already, and TensorBoard would draw both as one",
                fix="name a new folder",
            )
        self._folder = folder
        self._writers: dict[str, Any] = {}

    def take(self, exchange: Exchange) -> None:
        """As `Sink`."""
        for point in points_of(exchange):
            self._writer(point).add_scalar(tag_of(point), point.value, point.step, walltime=point.time)
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """As `Sink`."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, point: Point) -> Any:  # of an extra, which is not there for the type checker
        name = MEAN if point.node is None else participant_label(point)
        if name not in self._writers:
            self._writers[name] = self._module.SummaryWriter(logdir=str(self._folder / name))
        return self._writers[name]


class MlflowSink:
    """One MLflow run, found again by its tag: what it has already is not logged twice."""

    def __init__(self, uri: str, run: CID, federation: str, app: str) -> None:
        """Raises:
        PeerError: if MLflow is not installed, or what is at ``uri`` cannot be used.
        """
        _extra("mlflow", "mlflow")
        self._entities = import_module("mlflow.entities")
        try:
            self._client = import_module("mlflow.tracking").MlflowClient(tracking_uri=uri)
            experiment = self._experiment(f"pollen {_plain(federation)}")
            found = self._client.search_runs([experiment], f"tags.`pollen.run` = '{run}'", max_results=1)
            if found:
                (known,) = found
                self._id, self._done = known.info.run_id, int(known.data.tags.get("pollen.exchanges", 0))
            else:
                tags = {"pollen.run": str(run), "mlflow.runName": f"{_plain(app)} {run.label}".strip()}
                self._id, self._done = self._client.create_run(experiment, tags=tags).info.run_id, 0
        except Exception as error:  # whatever the library raises of what is at that address
            raise PeerError(
                f"MLflow at {without_credentials(uri)} cannot be used: {type(error).__name__}: {error}",
                fix="name a folder (file:DIR), a database (sqlite:///FILE.db), or a server (http://HOST:5000)",
                code=ExitCode.UNFINISHED,
            ) from error

    def take(self, exchange: Exchange) -> None:
        """As `Sink`."""
        if exchange.number <= self._done:
            return
        metrics = [
            self._entities.Metric(_mlflow_key(point), point.value, round(point.time * 1000), point.step)
            for point in points_of(exchange)
        ]
        for at in range(0, len(metrics), _BATCH):
            self._client.log_batch(self._id, metrics=metrics[at : at + _BATCH])
        self._client.set_tag(self._id, "pollen.exchanges", str(exchange.number))

    def close(self) -> None:
        """As `Sink`."""
        self._client.set_terminated(self._id)

    def _experiment(self, name: str) -> str:
        known = self._client.get_experiment_by_name(name)
        identity: str = self._client.create_experiment(name) if known is None else known.experiment_id
        return identity


_BATCH: Final = 1000
"""Metrics that MLflow takes at a time."""


def tag_of(point: Point) -> str:
    """The tag of a number: ``train/loss``."""
    return f"{_plain(point.type) or 'exchange'}/{_plain(point.metric)}"


def participant_label(point: Point) -> str:
    """A participant as part of a path or a key: its name as far as that is plain, and its node id, which tells names
    apart that look alike."""
    return f"{_plain(point.participant)}-{point.node or 0:x}"


def _mlflow_key(point: Point) -> str:
    return tag_of(point) if point.node is None else f"{tag_of(point)}/{participant_label(point)}"


def _plain(foreign: str) -> str:
    """A name that others gave, without anything that leads elsewhere: no slash, and no dot at its beginning."""
    return _UNSAFE.sub("_", foreign)[:_NAME].lstrip(".")


def _extra(module: str, extra: str) -> ModuleType:
    try:
        return import_module(module)
    except ImportError as error:
        raise PeerError(
            f"{module} is not installed", fix=f"pip install 'pollen-fl[{extra}]', or pip install {module}"
        ) from error
