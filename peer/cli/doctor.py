"""``peer doctor``: check everything that a peer needs."""

from __future__ import annotations

from typing import Annotated

import typer

from peer.base.errors import ExitCode
from peer.base.terminal import put
from peer.cli.options import (
    DEFAULT_HOME,
    EngineOption,
    FederationOption,
    HomeOption,
    JsonOption,
    ReachOptions,
    grouped,
    new_app,
)
from peer.cli.output import bad, doubtful, good, here, put_json
from peer.doctor.checks import Check, State, all_checks
from peer.engine.chosen_engine import MANAGED, is_running, refuse_other_reach, started_node
from peer.engine.kubo.reach import AskedReach
from peer.home.federations import FederationStore
from peer.home.home import Home

app = new_app()


@app.command("doctor")
@grouped
def doctor(
    start_daemon: Annotated[
        bool, typer.Option("--start-daemon", help="First start this home's Kubo node, and leave it running.")
    ] = False,
    ipfs: EngineOption = None,
    federation: FederationOption = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    reach: ReachOptions,
    json: JsonOption = False,
) -> ExitCode:
    """Check everything that a peer needs, and say how to fix what is wrong."""
    place = Home(home)
    started = _start(place, federation, reach.asked()) if start_daemon else None
    checks = list(all_checks(place, MANAGED if start_daemon else ipfs))
    failed = any(check.state is State.FAIL for check in checks)
    if json:
        put_json({"ok": not failed, "checks": [_value(check) for check in checks], "daemon": started})
    else:
        for check in checks:
            _put(check)
        if started is not None:
            put(f"the Kubo node runs as process {started}; to stop it: kill {started}")
    return ExitCode.UNFINISHED if failed else ExitCode.DONE


def _start(home: Home, federation: str | None, asked: AskedReach) -> int | None:
    """Start the node in the home and leave it running. Returns its process id, or None if it ran already."""
    stored = FederationStore(home).current(federation)
    if is_running(home, stored):
        refuse_other_reach(home, asked, stored)
        return None
    with home.lock(), started_node(home, stored, asked) as node:
        return node.leave_running()


_COLOURS = {State.OK: good, State.WARN: doubtful, State.FAIL: bad}


def _put(check: Check) -> None:
    put(_COLOURS[check.state](check.state.value.ljust(4)), f"  {check.name}: {check.what}")
    if check.fix:
        put(f"      fix: {here(check.fix)}")


def _value(check: Check) -> dict[str, str]:
    return {"name": check.name, "state": check.state.value, "what": check.what, "fix": check.fix}
