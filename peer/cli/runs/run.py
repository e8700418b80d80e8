"""``peer run``: hands a run to a server that stands."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from peer.apps.app_choice import clients_to_begin_with
from peer.apps.app_log import FollowedLog
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import put_foreign_line, say
from peer.cli.options import (
    DEFAULT_HOME,
    EngineOption,
    FullOption,
    HomeOption,
    IdentityOption,
    JsonOption,
    MemberOptions,
    PassphraseFileOption,
    Whole,
    bytes_of,
    grouped,
    new_app,
)
from peer.cli.output import here, put_json, put_result
from peer.cli.runs.run_options import ClosingOptions, KeepingOptions
from peer.cli.seeing.live_status import live_home
from peer.control.asking import ask
from peer.control.requests import RunJob
from peer.engine.chosen_engine import borrowed
from peer.history.listed_runs import RunState, listed_jobs
from peer.home.home import Home
from peer.home.journal import Journal
from peer.home.kept_jobs import KeptJob
from protocol.blocks.cid import CID, BlockError
from protocol.blocks.json_values import json_value
from protocol.jobs.answer import JobAnswer
from protocol.jobs.request import KEY_SIZE, MAX_REQUEST, JobRequest, sign_request, with_choices
from protocol.records.bodies import MAX_WITNESSES, Role
from protocol.visible import named, quoted

if TYPE_CHECKING:
    from peer.jobs.other_server import OtherServer

app = new_app()

LOOK: Final = 0.25
"""Seconds between looks how a job stands."""

LOOK_THERE: Final = 1.0
"""The same, if another machine has to be asked."""

VALID: Final = 86400
"""Seconds for which a request to another machine counts. Whoever keeps it gains nothing by sending it later."""


@app.command("run")
@grouped
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
        str | None,
        typer.Option("--federation", metavar="NAME", help="The federation; needed if the peer serves several."),
    ] = None,
    min_clients: Annotated[
        int | None,
        typer.Option(
            "--min-clients",
            min=1,
            help="Begin once this many clients are here.",
            show_default="the app's setting min-clients, or 2",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="The seed of the ServerApp's random numbers.", show_default="random"),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            metavar="SIZE",
            help="What it may need of the server's --run-memory, such as 8G.",
            show_default="nothing",
        ),
    ] = None,
    witnesses: Annotated[
        int | None,
        typer.Option(
            "--witnesses",
            metavar="N",
            min=1,
            max=MAX_WITNESSES,
            help="Clients train only on models that N servers besides the one that leads have recomputed. Recorded in "
            "the run.",
            show_default="as the server's owner has said, or the federation",
        ),
    ] = None,
    gpus: Annotated[int, typer.Option("--gpus", min=0, help="What it needs of the server's --run-gpus.")] = 0,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="NAME",
            help="Ask this server, on another machine. It takes jobs of those whom its owner accepts.",
            show_default="the peer that runs with this home",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            metavar="HEX",
            help="32 hexadecimal digits: asked for twice with one key, it is one job.",
            show_default="random",
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0, help="With --on: how long to ask.")
    ] = 60.0,
    ipfs: EngineOption = None,
    identity: IdentityOption = None,
    passphrase_file: PassphraseFileOption = None,
    *,
    keeping: KeepingOptions,
    closing: ClosingOptions,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the run has ended.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Wait, and show what the app prints. Ctrl-C leaves the run alone.")
    ] = False,
    full: FullOption = False,  # noqa: ARG001  # its callback does what it says
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> ExitCode:
    """Hand a run to a server that stands (`peer serve`): that of this home, or with --on another.

    When this returns, the job is on that server's disk, with its app: no crash loses it.
    """
    place = Home(home)
    if not app_dir.is_dir():
        raise PeerError(f"there is no folder {app_dir}", fix="name a Flower app's folder, with a pyproject.toml in it")
    begins_with = clients_to_begin_with(min_clients, app_dir, run_config or [])
    kept = str(keeping.plan() or ""), str(keeping.best_by() or ""), str(closing.rule() or ""), witnesses or 0
    job_key = secrets.token_hex(KEY_SIZE) if key is None else _checked(key)
    if on is not None:
        if node_config:
            raise PeerError("--node-config is for the peer of this home", fix="leave it out: its owner sets it there")
        member = MemberOptions(ipfs, identity, passphrase_file, federation, home)
        needed = bytes_of(memory, "--memory") or 0
        elsewhere = OtherJob(app_dir, run_config or [], name, begins_with, seed, needed, gpus, *kept)
        with elsewhere.asking(member, on) as server:
            told = elsewhere.ask(server, job_key, timeout)
            if not (wait or follow):
                about = {"number": told.number, "name": told.name, "server": on, "key": job_key}
                put_result(about, json, f"{named(on)} has accepted it: it is called {named(told.name)} there")
                return ExitCode.DONE
            say(f"{named(on)} has accepted it as {named(told.name)}; Ctrl-C leaves it alone")
            return _put_other_ending(_ended_there(server, bytes.fromhex(job_key), follow=follow and not json), json)
    request = RunJob(
        key=job_key,
        folder=str(app_dir.expanduser().absolute()),
        run_config=run_config or [],
        node_config=node_config or [],
        name=name,
        federation=federation,
        min_clients=begins_with,
        seed=seed,
        memory=bytes_of(memory, "--memory") or 0,
        gpus=gpus,
        keep=kept[0],
        best=kept[1],
        closing=kept[2],
        witnesses=kept[3],
    )
    accepted = ask(place, request)
    if accepted is None:
        raise PeerError(
            f"no peer runs with the home {place.path}",
            fix=f"start one that stands: peer serve; or lead this one run: peer start --role server --app {app_dir}",
            code=ExitCode.UNFINISHED,
        )
    called = accepted.name
    if not (wait or follow):
        next_words = here(f"peer ls shows how it stands, peer log {called} what it prints")
        put_result(json_value(accepted), json, f"{called} is accepted; {next_words}")
        return ExitCode.DONE
    say(f"{called} is accepted; Ctrl-C leaves it alone")
    job = _ended(place, accepted.number, follow=follow and not json)
    return _put_ending(place, job, json)


def _checked(key: str) -> str:
    try:
        size = len(bytes.fromhex(key))
    except ValueError:
        size = 0
    if size != KEY_SIZE:
        raise PeerError(
            "--key takes 32 hexadecimal digits", fix="take those that the first try has named, or leave it out"
        )
    return key


@dataclass(frozen=True, slots=True)
class OtherJob:
    """A job for a server on another machine."""

    folder: Path
    run_config: list[str]
    name: str
    min_clients: int
    seed: int | None
    memory: int
    gpus: int
    keep: str
    best: str
    closing: str
    witnesses: int

    @contextlib.contextmanager
    def asking(self, member: MemberOptions, server: str) -> Iterator[OtherServer]:
        """The server of this name, to be asked by the member.

        Raises:
            PeerError: if there is none.
        """
        from peer.jobs.other_server import OtherServer

        person, stored = member.unlocked()
        names = stored.manifest.names
        to = next((id for id, known in names.items() if known == server), None)
        if to is None or Role.SERVER not in stored.manifest.members[to].roles:
            fix = "peer federation show lists the members"
            raise PeerError(f"{stored.manifest.title} has no server {named(server)}", fix=fix)
        with borrowed(Home(member.home), member.ipfs, stored) as engine:
            yield OtherServer(engine, stored, to, person)

    def ask(self, server: OtherServer, key: str, seconds: float) -> JobAnswer:
        """Sign it, and ask.

        Raises:
            PeerError: if it cannot be asked for, or is not accepted.
        """
        from strategy.apps.bundling import read_folder
        from strategy.apps.config import AppError, fuse_run_config, read_app

        try:
            app, files = read_app(self.folder), read_folder(self.folder).files
            fused = dict(fuse_run_config(app, *self.run_config))
        except (AppError, BlockError, OSError) as error:
            raise PeerError(f"the app cannot be used: {error}", fix=f"peer app cid {self.folder}") from error
        changed = tuple((name, value) for name, value in fused.items() if value != dict(app.run_config).get(name))
        fields = (
            bytes(server.stored.id),
            server.server,
            server.person.id,
            bytes.fromhex(key),
            int(time.time()) + VALID,
            self.name,
            tuple(files),
            changed,
            self.min_clients,
            self.seed,
            self.memory,
            self.gpus,
        )
        request = with_choices(JobRequest(*fields), self.keep, self.best, self.closing, self.witnesses)
        size = len(sign_request(request, server.person.signing_keys[0]))
        if size > MAX_REQUEST:
            raise PeerError(
                f"the app and its settings are {size} bytes, and a request has at most {MAX_REQUEST}",
                fix="hand it over on the server's machine: peer run DIR",
            )
        told = server.ask_for(request, seconds)
        if told.number is None:
            called = server.stored.manifest.called(server.server)
            raise PeerError(
                f"{called} does not accept it: {quoted(told.why)}",
                fix="there, peer serve --accept-runs-of NAME says whose jobs it takes, and peer ls shows its queue",
                code=ExitCode.UNFINISHED,
            )
        return told


def _ended_there(server: OtherServer, key: bytes, *, follow: bool) -> JobAnswer:
    """How the job stands at another machine's server, once it has ended; what its app prints is shown meanwhile."""
    at, rest, is_heard = 0, b"", True
    while True:
        said = server.ask_about(key, at if follow else None)
        if said is None and is_heard:
            say(f"{server.stored.manifest.called(server.server)} does not answer now; it is asked again")
        is_heard = said is not None
        if said is not None:
            *lines, rest = (rest + said.log).split(b"\n")
            for line in lines:
                put_foreign_line(line.decode(errors="replace"))
            at = said.log_next if follow else 0
            if said.number is None:
                raise PeerError(f"the server has lost it: {quoted(said.why)}", code=ExitCode.UNFINISHED)
            if said.ended and not said.log:
                return said
            if said.log:
                continue
        time.sleep(LOOK_THERE)


def _put_other_ending(said: JobAnswer, json: bool) -> ExitCode:
    state = next((each for each in RunState if each.value == said.state), RunState.GIVEN_UP)
    run = None if said.run is None else CID(said.run)
    if json:
        put_json({"name": said.name, "run": run and str(run), "state": state.value, "why": said.why})
    elif state is RunState.CLOSED:
        shown = "" if run is None else f"; its run: {run}"
        say(f"{named(said.name)} is done{shown}")
    else:
        say(f"{named(said.name)} has ended there: {state}{f': {quoted(said.why)}' if said.why else ''}")
    return _code_of(state)


def _job(home: Home, number: int) -> KeptJob:
    with Journal(home.journal) as journal:
        return next(job for job in journal.jobs.all() if job.number == number)


def _ended(home: Home, number: int, *, follow: bool) -> KeptJob:
    """The job, once it has ended."""
    with live_home(home, wanted=follow) as look:
        return _watched(home, number, look, follow=follow)


def _watched(home: Home, number: int, look: Callable[[], None], *, follow: bool) -> KeptJob:
    followed: FollowedLog | None = None
    while True:
        look()
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
        say(here(f"{job.name} is done; next: peer audit {job.name}, or its model: peer pull {job.name}"))
    else:
        say(f"{job.name} has ended: {state}{f': {job.why}' if job.why else ''}")
        say(f"  fix: see what its app printed: peer log {job.name}")
    return _code_of(state)


def _code_of(state: RunState) -> ExitCode:
    match state:
        case RunState.CLOSED:
            return ExitCode.DONE
        case RunState.FAILED:
            return ExitCode.APP_FAILED
        case _:
            return ExitCode.UNFINISHED
