"""The options that `peer serve` has and `peer start` has not, or not as these."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from peer.apps.app_choice import AppChoice, given
from peer.base.errors import PeerError
from peer.cli.options import bytes_of
from peer.cli.runs.run_options import DataOptions, TakeoverAfterOption
from protocol.jobs.queue import Limits
from protocol.records.bodies import Role
from protocol.votes.silence import LEAST_SILENCE


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

    standby: Annotated[
        bool,
        typer.Option(
            "--standby",
            help="Server: also replay the runs that other servers lead, if their app is --app or approved here.",
        ),
    ] = False

    takeover_after: TakeoverAfterOption = LEAST_SILENCE

    def trains(self, roles: Iterable[Role]) -> bool:
        """Whether a peer with these roles trains.

        Raises:
            PeerError: if it is to stand by, too.
        """
        trains = Role.CLIENT in roles
        if self.standby and trains:
            fix = "peer serve --role server --standby; a client of this member would have to be in the same runs"
            raise PeerError("a peer that trains does not stand by", fix=fix)
        return trains

    def limits(self) -> Limits:
        """What runs side by side."""
        return Limits(self.max_runs, bytes_of(self.run_memory, "--run-memory"), self.run_gpus)


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """With which apps a standing client trains."""

    app_dir: Annotated[
        Path | None,
        typer.Option(
            "--app", metavar="DIR", help="Client, standby: the one app to allow.", show_default="what you approve"
        ),
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

    def to_replay(self, data_dir: Path | None) -> AppChoice:
        """The app of runs that are replayed, and the settings of this machine for it."""
        folder = None if data_dir is None else str(data_dir.expanduser().absolute())
        local = given({"data-dir": folder, "model": self.model}) if self.app_dir is None else {}
        return AppChoice(folder=self.app_dir, shared={}, local=local, run_config=[], node_config=[])

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
