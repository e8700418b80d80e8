"""``peer stop``: closes a run in its chain, or gives up a job that waits."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from peer.base.errors import ExitCode, PeerError
from peer.cli.options import DEFAULT_HOME, HomeOption, JsonOption, OneRunArgument, new_app
from peer.cli.output import put_result
from peer.control.asking import ask
from peer.control.requests import CancelJob, StopRun
from peer.history.named_runs import job_without_run, run_here
from peer.home.home import Home
from peer.home.journal import Journal
from protocol.blocks.cid import CID
from protocol.blocks.json_values import json_value

app = new_app()

LOOK: Final = 0.25
"""Seconds between looks whether it is closed."""


@app.command("stop")
def stop(
    run: OneRunArgument,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0, help="How long to wait until it is closed.")
    ] = 60.0,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> ExitCode:
    """Close a run that the running peer of this home leads, with a record that says so. It cannot be resumed.

    It asks that peer (`peer serve` or `peer start`), so one has to run with this home. A job that still waits is given
    up. To stop the peer and leave its runs open: Ctrl-C, or SIGTERM.
    """
    place = Home(home)
    if (job := job_without_run(place, run)) is not None:
        if job.ended is not None:
            raise PeerError(
                f"{run} was given up already: {job.why}", fix=f"put it into the queue again: peer resume {run}"
            )
        cancelled = ask(place, CancelJob(job.number))
        if cancelled is None:
            raise _nobody(place)
        put_result(json_value(cancelled), json, f"{cancelled.name} is given up")
        return ExitCode.DONE
    head = run_here(place, run)
    if head.closed:
        raise PeerError(f"the run {head.run} is closed already", fix=f"see it: peer history {head.run}")
    if ask(place, StopRun(str(head.run))) is None:
        raise _nobody(place)
    closed = _closed(place, head.run, time.monotonic() + timeout)
    if closed is None:
        raise PeerError(
            f"the run {head.run} is not closed yet; it is asked to be",
            fix="see what it waits for: peer status",
            code=ExitCode.UNFINISHED,
        )
    put_result({"run": str(head.run), "head": str(closed)}, json, f"the run {head.run} is closed: head {closed}")
    return ExitCode.DONE


def _closed(home: Home, run: CID, until: float) -> CID | None:
    """The last record of the run, once it is closed; None if it is not ``until`` then."""
    while True:
        with Journal(home.journal) as journal:
            head = journal.head_of(run)
        if head is not None and head.closed:
            return head.head
        if time.monotonic() >= until:
            return None
        time.sleep(LOOK)


def _nobody(home: Home) -> PeerError:
    return PeerError(
        f"no peer runs with the home {home.path}, and the peer that leads a run closes it",
        fix="start it (peer serve), then peer stop again",
        code=ExitCode.UNFINISHED,
    )
