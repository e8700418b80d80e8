"""``peer log``: what the app of a run prints."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from peer.apps.app_log import FollowedLog, before
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import put_foreign_line, say
from peer.cli.options import DEFAULT_HOME, HomeOption, JsonOption, RunArgument, new_app
from peer.cli.output import put_json_line
from peer.cli.reading.ls import put_runs
from peer.history.named_runs import is_car, job_without_run, named_cid
from peer.home.home import Home
from peer.home.journal import Journal
from protocol.blocks.cid import CID

app = new_app()

LOOK: Final = 0.25
"""Seconds between looks for more."""


@app.command("log")
def log(
    run: RunArgument = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what it prints, until the run is closed or Ctrl-C.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> ExitCode:
    """Show what the app of a run has printed here, each line with the time. A server's app and a client's print in
    their own homes.

    Without RUN it lists the runs, as `peer ls` does. For the rounds of a run: peer history.
    """
    place = Home(home)
    if not run:
        say("`peer ls` lists the runs; `peer log RUN` shows what its app prints, `peer history RUN` its rounds")
        put_runs(place, json, full=False)
        return ExitCode.DONE
    if is_car(run):
        raise PeerError(f"{run} has no output of apps", fix=f"see its rounds: peer history {run}")
    while (job := job_without_run(place, run)) is not None:
        if job.ended is not None:
            raise PeerError(
                f"{run} was given up before it began: {job.why}",
                fix=f"put it into the queue again: peer resume {run}",
                code=ExitCode.UNFINISHED,
            )
        if not follow:
            raise PeerError(
                f"{run} has not begun: it waits for its turn",
                fix=f"see how it stands: peer ls; or wait for it: peer log {run} --follow",
                code=ExitCode.UNFINISHED,
            )
        time.sleep(LOOK)
    named = _run(place, named_cid(place, run))
    file = place.run_log(named)
    if not (file.exists() or before(file).exists() or (follow and not _is_closed(place, named))):
        raise PeerError(
            f"no app of the run {named} has printed anything here",
            fix=f"see its rounds: peer history {named}",
            code=ExitCode.UNFINISHED,
        )
    followed = FollowedLog(file)
    _put(followed, json)
    while follow:
        is_closed = _is_closed(place, named)  # first: what it printed before it ended counts
        _put(followed, json)
        if is_closed:
            break
        time.sleep(LOOK)
    return ExitCode.DONE


def _put(followed: FollowedLog, json: bool) -> None:
    for line in followed.lines():
        at, _, text = line.partition(" ")
        if json:
            put_json_line({"time": at, "text": text})
        else:
            put_foreign_line(line)


def _run(home: Home, named: CID) -> CID:
    """The run with this CID, or with this head."""
    if not home.journal.exists():
        return named
    with Journal(home.journal) as journal:
        known = journal.run_of(named)
    return named if known is None else known.run


def _is_closed(home: Home, run: CID) -> bool:
    if not home.journal.exists():
        return False
    with Journal(home.journal) as journal:
        head = journal.head_of(run)
    return head is not None and head.closed
