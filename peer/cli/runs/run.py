"""``peer run``: hands a run to the standing server of this home."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from peer.apps.app_log import FollowedLog
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import put_foreign_line, say
from peer.cli.options import DEFAULT_HOME, HomeOption, JsonOption, Whole, bytes_of, new_app
from peer.cli.output import put_json, put_result
from peer.control.asking import ask
from peer.control.requests import RunJob
from peer.history.listed_runs import RunState, listed_jobs
from peer.home.home import Home
from peer.home.journal import Journal, KeptJob

app = new_app()

LOOK: Final = 0.25
"""Seconds between looks how a job stands."""


@app.command("run")
def run(
    app_dir: Annotated[Path, typer.Argument(metavar="DIR", help="A Flower app's folder.")],
    run_config: Annotated[
        list[str] | None,
        typer.Option(
            "--run-config",
            metavar='"K=V ..."',
            click_type=Whole(),
            help="Change the app's settings. Pairs, or one TOML file. May be repeated with pairs.",
        ),
    ] = None,
    node_config: Annotated[
        list[str] | None,
        typer.Option(
            "--node-config", metavar='"K=V ..."', click_type=Whole(), help="The ServerApp's settings for this machine."
        ),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="How to call the run here.", show_default="after its app")
    ] = "",
    federation: Annotated[
        str | None, typer.Option("--federation", metavar="NAME", help="Needed if the peer serves several.")
    ] = None,
    min_clients: Annotated[
        int, typer.Option("--min-clients", min=1, help="Begin once this many clients are here.")
    ] = 2,
    seed: Annotated[int | None, typer.Option("--seed", help="The seed of the ServerApp's random numbers.")] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="SIZE", help="What it may need of the server's --run-memory.")
    ] = None,
    gpus: Annotated[int, typer.Option("--gpus", min=0, help="What it needs of the server's --run-gpus.")] = 0,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the run has ended.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait, and show what the app prints. Ctrl-C leaves the run alone.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> ExitCode:
    """Hand a run to the standing server of this home (`peer serve`). When this returns, the job is on its disk."""
    place = Home(home)
    if not app_dir.is_dir():
        raise PeerError(f"there is no folder {app_dir}", fix="name a Flower app's folder, with a pyproject.toml in it")
    request = RunJob(
        key=secrets.token_hex(16),
        folder=str(app_dir.expanduser().absolute()),
        run_config=run_config or [],
        node_config=node_config or [],
        name=name,
        federation=federation,
        min_clients=min_clients,
        seed=seed,
        memory=bytes_of(memory, "--memory") or 0,
        gpus=gpus,
    )
    accepted = ask(place, request)
    if accepted is None:
        raise PeerError(
            f"no peer runs with the home {place.path}",
            fix=f"start one that stands: peer serve; or lead this one run: peer start --role server --app {app_dir}",
            code=ExitCode.UNFINISHED,
        )
    called = accepted["name"]
    if not (wait or follow):
        next_words = f"peer ls shows how it stands, peer log {called} what it prints"
        put_result(accepted, json, f"{called} is accepted; {next_words}")
        return ExitCode.DONE
    say(f"{called} is accepted; Ctrl-C leaves it alone")
    job = _ended(place, int(accepted["number"]), follow=follow and not json)
    return _put_ending(place, job, json)


def _job(home: Home, number: int) -> KeptJob:
    with Journal(home.journal) as journal:
        return next(job for job in journal.jobs() if job.number == number)


def _ended(home: Home, number: int, *, follow: bool) -> KeptJob:
    """The job, once it has ended."""
    followed: FollowedLog | None = None
    while True:
        job = _job(home, number)  # first: what it printed before it ended counts
        if follow and followed is None and job.run is not None:
            followed = FollowedLog(home.run_log(job.run))
        if followed is not None:
            for line in followed.lines():
                put_foreign_line(line)
        if job.ended is not None:
            return job
        time.sleep(LOOK)


def _put_ending(home: Home, job: KeptJob, json: bool) -> ExitCode:
    (listed,) = (each for each in listed_jobs(home) if each.job.number == job.number)
    state = listed.state
    if json:
        put_json({"name": job.name, "run": job.run and str(job.run), "state": state.value, "why": job.why})
    elif state is RunState.CLOSED:
        say(f"{job.name} is done; next: peer audit {job.name}, or its model: peer pull {job.name}")
    else:
        say(f"{job.name} has ended: {state}{f': {job.why}' if job.why else ''}")
        say(f"  fix: see what its app printed: peer log {job.name}")
    match state:
        case RunState.CLOSED:
            return ExitCode.DONE
        case RunState.FAILED:
            return ExitCode.APP_FAILED
        case _:
            return ExitCode.UNFINISHED
