"""The options that `peer serve` has and `peer start` has not, or not as these."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from peer.apps.app_choice import AppChoice, given
from peer.cli.options import bytes_of
from peer.cli.runs.run_options import DataOptions
from protocol.jobs.queue import Limits


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """Which jobs a standing server takes, and how many it runs."""

    max_runs: Annotated[
        int, typer.Option("--max-runs", min=1, help="Server: how many runs it leads side by side; others wait.")
    ] = 1
    run_memory: Annotated[
        str | None,
        typer.Option(
            "--run-memory",
            metavar="SIZE",
            help="Server: the memory for all runs, such as 64G, as far as jobs say what they need.",
            show_default="not counted",
        ),
    ] = None
    run_gpus: Annotated[
        int | None, typer.Option("--run-gpus", min=0, help="Server: the GPUs for all runs.", show_default="not counted")
    ] = None
    accept_runs_of: Annotated[
        list[str] | None,
        typer.Option(
            "--accept-runs-of",
            metavar="NAME",
            help="Server: take runs that this admin or server asks for from another machine, whose app then runs here; "
            "may be repeated.",
            show_default="nobody's",
        ),
    ] = None

    def limits(self) -> Limits:
        """What runs side by side."""
        return Limits(self.max_runs, bytes_of(self.run_memory, "--run-memory"), self.run_gpus)


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """With which apps a standing client trains."""

    app_dir: Annotated[
        Path | None,
        typer.Option("--app", metavar="DIR", help="Client: the one app to allow.", show_default="what you approve"),
    ] = None
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="Client, built-in app: as for `peer start`.", show_default="the run's"),
    ] = None
    model: Annotated[
        str | None,
        typer.Option("--model", help="Client, built-in app: the class to allow here.", show_default="no class"),
    ] = None
    train_runs: Annotated[
        int, typer.Option("--train-runs", min=1, help="Client: in how many runs it trains side by side.")
    ] = 1

    def choice(self, data: DataOptions, data_dir: Path | None) -> AppChoice:
        """The app and its settings, with the dataset in ``data_dir``."""
        choice = AppChoice(
            folder=self.app_dir,
            shared={},
            local={**data.settings(data_dir), **given({"dataset": self.dataset, "model": self.model})},
            run_config=[],
            node_config=data.node_config or [],
        )
        choice.check()
        return choice
