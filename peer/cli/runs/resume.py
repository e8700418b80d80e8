"""``peer resume``: goes on with a run that was left open."""

from __future__ import annotations

from peer.base.errors import ExitCode, PeerError
from peer.cli.options import DEFAULT_HOME, FullOption, HomeOption, JsonOption, OneRunArgument, new_app
from peer.cli.output import here, put_result
from peer.control.asking import ask
from peer.control.requests import JobDone, ResumeRun, TakeUpJob
from peer.history.named_runs import job_without_run, run_here, shown
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from peer.home.kept_jobs import KeptJob
from peer.home.keystore import KeyStore
from peer.jobs.settings import adopted
from protocol.blocks.json_values import json_value
from protocol.records.bodies import Role

app = new_app()


@app.command("resume")
def resume(
    run: OneRunArgument,
    full: FullOption = False,  # noqa: ARG001  # its callback does what it says
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> ExitCode:
    """Have the standing server of this home go on with a run that was left open, as it began.

    It asks the peer that runs with this home. If none does, the run goes on once one stands: `peer serve`, which goes
    on with its jobs by itself. This is for a job that was given up, or a run that `peer start` had begun.
    """
    place = Home(home)
    if (job := job_without_run(place, run)) is not None:
        if job.ended is None:
            raise PeerError(f"{run} waits in the queue already", fix="see how it stands: peer ls")
        done = ask(place, TakeUpJob(job.number))
        if done is None:
            _put_queued(place, _queued(place, job), json)
        else:
            put_result(json_value(done), json, here(f"{run} waits in the queue again; peer ls shows how"))
        return ExitCode.DONE
    head = run_here(place, run)
    if head.closed:
        raise PeerError(f"the run {shown(head.run)} is closed", fix=f"see it: peer history {shown(head.run)}")
    with Journal(place.journal) as journal:
        has_led = journal.has_led(head)
    if not has_led:
        raise PeerError(f"this home has not led the run {shown(head.run)}", fix="only its server goes on with a run")
    done = ask(place, ResumeRun(str(head.run)))
    if done is None:
        _put_queued(place, _queued_run(place, head), json)
    else:
        put_result(json_value(done), json, here(f"the run {shown(head.run)} goes on; peer status shows how"))
    return ExitCode.DONE


def _queued(home: Home, job: KeptJob) -> KeptJob:
    """Put a job back into the queue, while no peer runs."""
    with home.lock(), Journal(home.journal) as journal:
        journal.jobs.take_up(job.number)
    return job


def _queued_run(home: Home, head: RunHead) -> KeptJob:
    """Have a run wait in the queue, as its job or as a new one, while no peer runs.

    Raises:
        PeerError: if no member of this home can lead it.
    """
    stored, keys = FederationStore(home).get(head.federation), KeyStore(home.path)
    members = {} if stored is None else stored.manifest.members
    ids = [keys.public(name).public.id for name in keys.names()]
    owner = next((id for id in ids if id in members and Role.SERVER in members[id].roles), None)
    if owner is None:
        raise PeerError(
            f"no identity of this home is a server in the federation of the run {shown(head.run)} now",
            fix="peer federation show lists the members",
        )
    with home.lock(), Journal(home.journal) as journal:
        job = next((each for each in journal.jobs.all() if each.run == head.run), None)
        job = job or adopted(journal, head, owner)
        journal.jobs.take_up(job.number)
        return job


def _put_queued(home: Home, job: KeptJob, json: bool) -> None:
    options = "" if home.path == DEFAULT_HOME.expanduser() else f" --home {home.path}"
    put_result(
        json_value(JobDone(job.number, job.name, job.app, job.run)),
        json,
        f"{job.name} waits in the queue; no peer runs with this home",
        f"next, with the options that the server had before: peer serve{options}",
    )
