"""``peer metrics``: what clients measured in a run, for other tools."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peer.base.errors import PeerError
from peer.base.terminal import flush, put, say
from peer.cli.options import JsonOption, RunOptions, grouped, new_app
from peer.cli.output import put_json, put_json_line

if TYPE_CHECKING:  # they import flwr, which is slow
    from peer.metrics.followed import Followed

app = new_app()


@app.command("metrics")
@grouped
def metrics(
    run: Annotated[str, typer.Argument(metavar="RUN|HEAD|FILE.car", help="The run.")],
    *,
    options: RunOptions,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV: one line for each number.")] = False,
    tensorboard: Annotated[
        Path | None, typer.Option("--tensorboard", metavar="DIR", help="Write event files for TensorBoard.")
    ] = None,
    mlflow: Annotated[
        str | None,
        typer.Option("--mlflow", metavar="URI", help="Log to MLflow: file:DIR, sqlite:///FILE.db, http://..."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the run does, until it is closed.")] = False,
    json: JsonOption = False,
) -> None:
    """Hand on what clients measured in a run: the mean of each round, and each client's own numbers.

    Each record is verified. With --follow and --json, one object for each exchange, a line each.
    """
    if sum([csv, json, tensorboard is not None, mlflow is not None]) != 1:
        raise PeerError(
            "nothing says where the numbers are to go, or more than one option does",
            fix="--csv, --json, --tensorboard DIR or --mlflow URI",
        )
    from peer.metrics.followed import followed

    with followed(options.lookup(needed=False), run) as found, contextlib.suppress(KeyboardInterrupt):
        if json:
            _put_json(found, follow=follow)
        elif csv:
            _put_csv(found, follow=follow)
        else:
            _fill(found, tensorboard, mlflow, follow=follow)


def _put_json(found: Followed, *, follow: bool) -> None:
    from peer.metrics.text_forms import json_line, json_whole

    if follow:
        for exchange in found.exchanges(until_closed=True):
            put_json_line(json_line(found.run, exchange))
            flush()
        return
    exchanges = list(found.exchanges(until_closed=False))
    put_json(json_whole(found.run, found.head, found.follower.chain.closed, exchanges))


def _put_csv(found: Followed, *, follow: bool) -> None:
    from peer.metrics.text_forms import csv_header, csv_lines

    put(csv_header())
    for exchange in found.exchanges(until_closed=follow):
        for line in csv_lines(exchange):
            put(line)
        flush()


def _fill(found: Followed, tensorboard: Path | None, mlflow: str | None, *, follow: bool) -> None:
    from peer.metrics.sinks import MlflowSink, TensorBoardSink

    def mlflow_sink() -> MlflowSink:
        assert mlflow is not None
        return MlflowSink(mlflow, found.run, found.federation, found.app)

    count = 0
    sink = mlflow_sink() if tensorboard is None else TensorBoardSink(tensorboard.expanduser())
    with contextlib.closing(sink):
        for exchange in found.exchanges(until_closed=follow):
            sink.take(exchange)
            count += 1
    say(f"{count} exchanges of the run {found.run.label} are there now")
