"""``peer du``: what this home takes on the disk."""

from __future__ import annotations

from typing import Any

from peer.base.terminal import put, put_table, say
from peer.cli.keeping.opened_dropping import opened_dropping
from peer.cli.options import DEFAULT_HOME, EngineOption, FullOption, HomeOption, JsonOption, new_app
from peer.cli.output import put_fields, put_json, size
from peer.history.listed_runs import listed_runs
from peer.home.home import Home
from peer.keeping.disk_use import DiskUse, RunUse, disk_use
from protocol.run_names import SHOWN

app = new_app()


@app.command("du")
def du(
    ipfs: EngineOption = None,
    full: FullOption = False,  # noqa: ARG001  # its callback does what it says
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show what this home takes on the disk, by run and kind, and what may go by its plan.

    Contents that several runs or rounds share are counted once. `peer keep` says what stays.
    """
    place = Home(home)
    with opened_dropping(place, ipfs) as dropping:
        use = disk_use(place, listed_runs(place), dropping.journal, dropping)
    for why in use.unknown:
        say(f"not counted: {why}")
    if json:
        put_json(_value(use))
        return
    header = ["name", "run", "role", "state", "records", "app", "models", "updates", "total", "may go"]
    if use.runs:
        put_table("runs", header, [_row(run) for run in use.runs])
    put_fields(
        [
            ("runs", size(use.of_runs)),
            ("journal", size(use.journal)),
            ("logs", size(use.logs)),
            ("apps", size(use.apps)),
            ("engine, besides", size(use.others)),
            ("in all", size(use.total)),
            ("free on the disk", size(use.free)),
        ]
    )
    plan = "default" if use.keeping.plan is None else use.keeping.plan
    put(f"plan {plan}, budget {use.keeping.budget}; to see or change them: peer keep")


def _row(run: RunUse) -> list[str]:
    sizes = map(size, (run.records, run.app, run.models, run.updates, run.total, run.can_go))
    return [run.name, str(run.run)[:SHOWN], run.role, run.state, *sizes]


def _value(use: DiskUse) -> dict[str, Any]:
    return {
        "home": use.home,
        "engine": use.engine,
        "runs": [
            {
                "run": str(run.run),
                "name": run.name,
                "role": run.role,
                "state": run.state.value,
                "records": run.records,
                "app": run.app,
                "models": run.models,
                "updates": run.updates,
                "total": run.total,
                "can_go": run.can_go,
                "dropped": run.dropped,
            }
            for run in use.runs
        ],
        "of_runs": use.of_runs,
        "journal": use.journal,
        "logs": use.logs,
        "apps": use.apps,
        "others": use.others,
        "total": use.total,
        "free": use.free,
        "plan": None if use.keeping.plan is None else str(use.keeping.plan),
        "budget": str(use.keeping.budget),
        "unknown": list(use.unknown),
    }
