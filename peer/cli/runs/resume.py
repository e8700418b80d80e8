"""``peer resume``: goes on with a run that was left open."""

from __future__ import annotations

from peer.base.errors import ExitCode, PeerError
from peer.cli.options import DEFAULT_HOME, HomeOption, JsonOption, OneRunArgument, new_app
from peer.cli.output import put_result
from peer.control.asking import ask
from peer.control.requests import JobDone, ResumeRun, TakeUpJob
from peer.history.named_runs import job_without_run, run_here
from peer.home.home import Home
from protocol.blocks.json_values import json_value
from protocol.records.bodies import Role

app = new_app()


@app.command("resume")
def resume(run: OneRunArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> ExitCode:
    """Have the standing server of this home go on with a run that was left open, as it began.

    It asks the peer that runs with this home, so start that first: `peer serve`. A server that starts again goes on
    with its jobs by itself. This is for a job that was given up, or a run that `peer start` had begun.
    """
    place = Home(home)
    if (job := job_without_run(place, run)) is not None:
        if job.ended is None:
            raise PeerError(f"{run} waits in the queue already", fix="see how it stands: peer ls")
        put_result(
            json_value(_asked(place, TakeUpJob(job.number))), json, f"{run} waits in the queue again; peer ls shows how"
        )
        return ExitCode.DONE
    head = run_here(place, run)
    if head.closed:
        raise PeerError(f"the run {head.run} is closed", fix=f"see it: peer history {head.run}")
    if head.role is not Role.SERVER:
        raise PeerError(f"this home has not led the run {head.run}", fix="only its server goes on with a run")
    done = _asked(place, ResumeRun(str(head.run)))
    put_result(json_value(done), json, f"the run {head.run} goes on; peer status shows how")
    return ExitCode.DONE


def _asked(home: Home, request: TakeUpJob | ResumeRun) -> JobDone:
    done = ask(home, request)
    if done is None:
        raise PeerError(
            f"no peer runs with the home {home.path}, and a standing one is to go on with it",
            fix="start it (peer serve), then peer resume again",
            code=ExitCode.UNFINISHED,
        )
    return done
