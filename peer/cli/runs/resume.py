"""``peer resume``: goes on with a run that was left open."""

from __future__ import annotations

from peer.base.errors import ExitCode, PeerError
from peer.cli.options import DEFAULT_HOME, HomeOption, JsonOption, OneRunArgument, new_app
from peer.cli.output import put_result
from peer.control.asking import ask
from peer.control.requests import ResumeRun
from peer.history.named_runs import run_here
from peer.home.home import Home
from protocol.records.bodies import Role

app = new_app()


@app.command("resume")
def resume(run: OneRunArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> ExitCode:
    """Have the standing server of this home go on with a run that was left open, as it began.

    A server that starts again goes on with the runs of its jobs by itself. This is for one that was given up, or that
    `peer start` had begun.
    """
    place = Home(home)
    head = run_here(place, run)
    if head.closed:
        raise PeerError(f"the run {head.run} is closed", fix=f"see it: peer history {head.run}")
    if head.role is not Role.SERVER:
        raise PeerError(f"this home has not led the run {head.run}", fix="only its server goes on with a run")
    done = ask(place, ResumeRun(str(head.run)))
    if done is None:
        raise PeerError(
            f"no peer runs with the home {place.path}",
            fix="start one that stands: peer serve; then peer resume again",
            code=ExitCode.UNFINISHED,
        )
    put_result(done, json, f"the run {head.run} goes on; peer status shows how")
    return ExitCode.DONE
