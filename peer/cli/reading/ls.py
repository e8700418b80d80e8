"""``peer ls``: the runs of this home."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from peer.cli.options import DEFAULT_HOME, HomeOption, JsonOption, new_app
from peer.cli.output import Table, moment, put_json, put_list
from peer.history.listed_runs import ListedJob, ListedRun, RunState, listed_jobs, listed_runs
from peer.history.named_runs import NONE_YET
from peer.home.home import Home
from protocol.records.bodies import Role
from protocol.run_names import SHOWN

app = new_app()

FullOption = Annotated[bool, typer.Option("--full", help="Show whole CIDs, and the newest records.")]


@app.command("ls")
def ls(full: FullOption = False, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """List the runs of this home, the one that changed last first.

    Other commands take a run's name, the first characters of its CID, or `latest`.
    """
    put_runs(Home(home), json, full=full)


def put_runs(home: Home, json: bool, *, full: bool) -> None:
    """Print the runs of a home."""
    runs = listed_runs(home)
    jobs = [job for job in listed_jobs(home) if job.run is None]
    header = ["name", "run", "app", "role", "federation", "state", "round", "began", *(["head"] if full else [])]
    table = Table("runs", header, [*map(_job_row, jobs), *(_row(run, full=full) for run in runs)])
    none = f"no run here yet; {NONE_YET}"
    if json:
        waiting, given_up = (
            [_job_value(job) for job in jobs if job.state is state] for state in (RunState.WAITING, RunState.GIVEN_UP)
        )
        put_json({"runs": [_value(run) for run in runs], "waiting": waiting, "given_up": given_up})
    else:
        put_list([], False, table, none)


def _job_row(job: ListedJob) -> list[str]:
    kept = job.job
    return [kept.name, "", kept.app_name, Role.SERVER.value, job.federation, job.state, "", moment(kept.asked)]


def _job_value(job: ListedJob) -> dict[str, Any]:
    kept = job.job
    federation = {"id": str(kept.federation), "name": job.federation}
    return {
        "number": kept.number,
        "name": kept.name,
        "app": kept.app_name,
        "state": job.state.value,
        "federation": federation,
        "asked": kept.asked,
        "why": kept.why,
    }


def _row(run: ListedRun, *, full: bool) -> list[str]:
    cid = str(run.head.run)
    return [
        run.name,
        cid if full else cid[:SHOWN],
        run.app,
        run.role,
        run.federation,
        run.state,
        "" if run.round is None else str(run.round),
        moment(run.began),
        *([str(run.head.head)] if full else []),
    ]


def _value(run: ListedRun) -> dict[str, Any]:
    head = run.head
    return {
        "run": str(head.run),
        "name": run.name,
        "app": run.app,
        "head": str(head.head),
        "height": head.height,
        "term": head.term,
        "closed": head.closed,
        "state": run.state.value,
        "outcome": run.outcome,
        "round": run.round,
        "role": run.role,
        "federation": {"id": str(head.federation), "name": run.federation},
        "engine": run.engine,
        "began": run.began,
        "updated": head.updated,
    }
