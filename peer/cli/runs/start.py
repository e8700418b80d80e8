"""``peer start``: lead a run, or train in one."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peer.apps.app_choice import AppChoice, given
from peer.apps.app_python import command_of_python
from peer.base.errors import ExitCode, PeerError
from peer.base.logs import writes_json
from peer.base.terminal import flush, say
from peer.cli.options import (
    DEFAULT_HOME,
    AppPythonOption,
    ConfineOptions,
    JsonOption,
    MemberOptions,
    ReachOptions,
    Whole,
    grouped,
    new_app,
)
from peer.cli.output import put_error, put_json
from peer.cli.reading.model_file import model_file
from peer.cli.runs.opened_session import opened_session
from peer.cli.seeing.live_status import Live, live_status
from peer.engine import without_credentials
from peer.history.named_runs import app_cid
from peer.home.home import Home
from peer.home.passphrase import Passphrases
from peer.membership.changes import require_role
from peer.run.narrator import AUDITED_HERE_ONLY, Narrator, cause_in_words
from protocol.blocks.cid import CID
from protocol.records.bodies import Outcome, Role
from protocol.records.environment import Numerics
from protocol.replies.checks_and_limits import Admission
from protocol.roles.effects import StopCause
from protocol.roles.leader.run_plan import LEAVE_TIMEOUT, LeaderSettings
from protocol.visible import quoted
from strategy.apps.builtin_app import default_data_folder, model_class

if TYPE_CHECKING:  # they import flwr, so they come after the checks of key and federation
    from peer.run.leading import ClosedRun
    from peer.run.runner import Ending
    from peer.run.session import Session

app = new_app()


@app.command()
@grouped
def start(
    options: MemberOptions,
    reach: ReachOptions,
    confining: ConfineOptions,
    role: Annotated[
        Role, typer.Option("--role", metavar="server|client", help="server: lead a run. client: train in one.")
    ],
    app_dir: Annotated[
        Path | None,
        typer.Option("--app", metavar="DIR", help="A Flower app's folder.", show_default="the built-in app"),
    ] = None,
    approve_app: Annotated[
        list[str],
        typer.Option("--approve-app", metavar="CID", help="Client: approve this app, as `peer app approve CID` does."),
    ] = [],  # noqa: B006  # typer copies it
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="Built-in app: digits, mnist, fashion-mnist or cifar10.", show_default="digits"),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            help="Built-in app: where the dataset is.",
            show_default="~/.cache/pollen/datasets",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Built-in app, server: cnn, mlp, custom_cnn, or module:Class. Client: the class to allow here.",
            show_default="cnn; a client allows no class",
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy", help="Built-in app, server: fedavg, fedprox, fedadam, krum, ...", show_default="fedavg"
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", min=1, help="Built-in app, client: examples per training step.", show_default="16"
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option("--rounds", min=1, help="Built-in app, server: how many rounds.", show_default="5"),
    ] = None,
    min_clients: Annotated[
        int, typer.Option("--min-clients", min=1, help="Server: begin once this many clients are here.")
    ] = 2,
    client_timeout: Annotated[
        float, typer.Option("--client-timeout", min=0.1, help="Server: seconds a client has for one message.")
    ] = 3600.0,
    leave_timeout: Annotated[
        float,
        typer.Option("--leave-timeout", min=0.0, help="Server: seconds a client that said goodbye has to come back."),
    ] = LEAVE_TIMEOUT,
    admission: Annotated[
        str,
        typer.Option(
            "--admission",
            metavar="CHECKS",
            help="Server: the checks for each reply, before the app sees it, and for each model, before it is sent: "
            "all, off, or some of size,structure,weight,finite,model.",
        ),
    ] = "all",
    max_update_norm: Annotated[
        str | None,
        typer.Option(
            "--max-update-norm",
            metavar="NORM|Nx",
            help="Server: refuse updates that change the model by a larger L2 norm. Nx: by N times the median norm, or "
            "with N times the median weight.",
            show_default="no bound",
        ),
    ] = None,
    run_config: Annotated[
        list[str],
        typer.Option(
            "--run-config",
            metavar='"K=V ..."',
            click_type=Whole(),
            help="Server: change the app's settings. Pairs, or one TOML file. May be repeated with pairs.",
        ),
    ] = [],  # noqa: B006  # typer copies it
    node_config: Annotated[
        list[str],
        typer.Option(
            "--node-config",
            metavar='"K=V ..."',
            click_type=Whole(),
            help="Client: the app's settings for this node. Pairs, or one TOML file. May be repeated with pairs.",
        ),
    ] = [],  # noqa: B006  # typer copies it
    work_dir: Annotated[
        Path | None,
        typer.Option(
            "--work-dir",
            metavar="DIR",
            help="Client: the app's working folder. A confined app has one in the home.",
            show_default="the current folder",
        ),
    ] = None,
    save_path: Annotated[
        Path | None,
        typer.Option(
            "--save-path",
            metavar="FILE",
            help="Server: write the final model here.",
            show_default="nowhere; peer model and peer pull write it later",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Server: the seed of the ServerApp's random numbers.", show_default="random"),
    ] = None,
    threads: Annotated[
        int, typer.Option("--threads", min=1, help="Threads for each numerical library of the app.")
    ] = 1,
    numerics: Annotated[
        Numerics,
        typer.Option(
            "--numerics",
            help="Server: the kernels of the ServerApp's libraries. portable: those that every processor of its kind "
            "has, so that any auditor's machine computes the same bits. native: the fastest here, and GPUs; "
            f"{AUDITED_HERE_ONLY}.",
        ),
    ] = Numerics.PORTABLE,
    app_python: AppPythonOption = None,
    new_run: Annotated[
        bool, typer.Option("--new-run", help="Server: begin a new run, even if one was left open.")
    ] = False,
    wait_for_members: Annotated[
        bool | None,
        typer.Option(
            "--wait-for-members/--no-wait-for-members",
            help="Server, if a run was left open: sign nothing until all its clients have said what they have of it; "
            "or wait at most 10 s.",
            show_default="wait if this home was copied, or restored from a backup",
        ),
    ] = None,
    initial_model: Annotated[
        str | None,
        typer.Option(
            "--initial-model",
            metavar="HEAD|FILE",
            help="Built-in app, server: begin a new run with the newest model of a run, or with a file's.",
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Client: stop when the run has closed.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Show whole ids in place of their first characters.")] = False,
    json: JsonOption = False,
) -> None:
    """Run a peer: a server until its run is closed, a client until Ctrl-C.

    If it has to wait, it says what for. If it cannot go on, it ends with exit code 3.
    """
    if role is Role.AUDITOR:
        raise PeerError("an auditor does not run a peer", fix="peer audit HEAD")
    if role is Role.CLIENT and initial_model is not None:
        fix = "give --initial-model to the server"
        raise PeerError("a client begins with the model that the server sends", fix=fix)
    if data_dir is None and app_dir is None and confining.confine:  # in its own home the app would look in vain
        data_dir = default_data_folder()
        data_dir.mkdir(parents=True, exist_ok=True)
    data = None if data_dir is None else str(data_dir.expanduser().absolute())
    choice = AppChoice(
        folder=app_dir,
        shared=given({"dataset": dataset, "model": model, "strategy": strategy, "num-server-rounds": rounds})
        | {"min-clients": min_clients},
        local=given({"data-dir": data, "batch-size": batch_size})
        | (given({"dataset": dataset, "model": model}) if role is Role.CLIENT else {}),
        run_config=run_config,
        node_config=node_config,
        initial_model=initial_model,
    )
    choice.check()
    asked = reach.asked()
    destination = model_file("--save-path", save_path) if save_path is not None and role is Role.SERVER else None
    admitted = admission_of(admission, max_update_norm)
    approved = _approved(approve_app, role, app_dir)
    home, passphrases = Home(options.home), Passphrases.of_process(options.passphrase_file)
    works_in = working_folder(work_dir, home if confining.confine else None)
    confiner = confining.confiner(
        home,
        read=() if data_dir is None else (data_dir,),
        write=(works_in,) if work_dir is not None and role is Role.CLIENT else (),
        model=model_class({"model": model}),
    )
    person, stored = options.unlocked(passphrases)
    require_role(stored.manifest, person.public, role)
    python = command_of_python(app_python)
    if role is Role.SERVER:
        choice.check_installed(python)
    narrator = Narrator(None if json else say, home.app_log(role.value), whole_ids=full)
    live = partial(live_status, wanted=not json, full=full)

    def starts(engine: str) -> None:
        if not json:
            over = f"{stored.manifest.title} over {without_credentials(engine)}"
            say(f"{person.name} starts as a {role} of {over}; Ctrl-C stops it")
            if role is Role.CLIENT:
                say(f"its app works in {works_in}, with the packages of {' '.join(python)}")

    with opened_session(
        home,
        person,
        stored,
        passphrases=passphrases,
        ipfs=options.ipfs,
        reach=asked,
        threads=threads,
        python=python,
        numerics=numerics,
        confiner=confiner,
        on_report=narrator.tell,
        starts=starts,
    ) as session:
        for allowed in approved:
            session.journal.approve_app(allowed)
        if role is Role.SERVER:
            settings = LeaderSettings(
                min_clients=min_clients,
                client_timeout=client_timeout,
                leave_timeout=leave_timeout,
                admission=admitted,
            )
            code = _lead(
                session,
                choice,
                settings,
                seed,
                destination,
                live,
                new_run=new_run,
                wait_for_members=wait_for_members,
                as_json=json,
            )
        else:
            code = _train(session, choice, works_in, live, once=once)
    leave(code)


def admission_of(checks: str, max_update_norm: str | None) -> Admission:
    try:
        return Admission.parse(checks, max_update_norm)
    except ValueError as error:
        raise PeerError(
            str(error),
            fix="--admission all, off, or structure,weight; --max-update-norm 10, or 3x for three times the median",
        ) from error


def _approved(texts: list[str], role: Role, app_dir: Path | None) -> list[CID]:
    if texts and (role is Role.SERVER or app_dir is not None):
        raise PeerError("--approve-app is for a client without --app", fix="leave out one of the two")
    return [app_cid(text) for text in texts]


def working_folder(given: Path | None, confined_in: Home | None) -> Path:
    """Where a ClientApp works: the folder that we were started in, unless it is confined in a home."""
    if given is None and confined_in is not None:
        return confined_in.path / "work"
    folder = Path.cwd() if given is None else given.expanduser().absolute()
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
        raise PeerError(
            f"the app cannot work in {folder}: it is not a folder that can be read",
            fix=f"mkdir -p {folder}, or name another with --work-dir DIR",
        )
    return folder


def _lead(
    session: Session,
    choice: AppChoice,
    settings: LeaderSettings,
    seed: int | None,
    save_path: Path | None,
    live: Live,
    *,
    new_run: bool,
    wait_for_members: bool | None,
    as_json: bool,
) -> ExitCode:
    from peer.apps.taken_apps import take_app, tell_what_goes_along
    from peer.run.initial_model import initial_model
    from peer.run.leading import leading, seed_of
    from peer.run.peer import run_alone

    app = take_app(session.home, choice.app_folder)
    if choice.folder is not None:
        tell_what_goes_along(app, Role.SERVER, session.on_report)
    config = choice.server_config(app.config)
    named = choice.initial_model
    led = leading(
        session,
        app,
        config,
        choice.local_config(config),
        settings,
        seed=None if seed is None else seed_of(seed),
        initial=None if named is None else initial_model(session, named, dict(config)),
        new_run=new_run or named is not None,
        wait_for_members=wait_for_members,
    )
    with live() as show:
        ending = run_alone(led.prepared, show)
    closed = led.closed()
    if closed is None:
        return _unfinished(session, ending, _stays_open(named, new_run=new_run))
    if closed.outcome is Outcome.STOPPED and not as_json:
        say(f"the run was stopped: {quoted(closed.reason)}")
    if closed.outcome is Outcome.RAISED and not as_json:  # first, because writing the model may fail
        say(f"error: {cause_in_words(closed.reason)}")
        say(f"  fix: see its log {session.home.app_log('server')}")
    saved = _save(session, closed, save_path)
    facts = {
        "run": str(closed.run),
        "head": str(closed.head),
        "outcome": closed.outcome.value,
        "model": str(closed.model) if closed.model else None,
        "saved": str(saved) if saved else None,
        "reason": closed.reason,
    }
    if as_json:
        put_json(facts)
    elif closed.outcome is Outcome.RAISED:
        if saved:
            say(f"the newest model of the run is in {saved}")
    else:
        say(f"the final model is in {saved}" if saved else "the run is done")
        options = _audit_options(session.home, choice.folder, None if choice.folder else model_class(dict(config)))
        say(f"next: peer audit {closed.head} --replay{options}")
    return ExitCode.APP_FAILED if closed.outcome is Outcome.RAISED else ExitCode.DONE


def _audit_options(home: Home, app: Path | None, model: str | None) -> str:
    options = "" if app is None else f" --app {app}"
    options += "" if model is None else f" --model {model}"
    return options if home.path == DEFAULT_HOME.expanduser() else f"{options} --home {home.path}"


def _stays_open(initial_model: str | None, *, new_run: bool) -> str:
    given = "--initial-model" if initial_model is not None else "--new-run" if new_run else ""
    without = f" without {given}" if given else ""
    return f"the run stays open: start again{without} to go on with it"


def _save(session: Session, closed: ClosedRun, path: Path | None) -> Path | None:
    """Write the final model to the owner's file, and mark the run as finished.

    Raises:
        PeerError: if the app returned without a model, or with one that the file format cannot hold. Also if the disk
            fails; then the run is not finished, and the same command tries again.
    """
    from peer.engine.contents import EngineBlocks
    from peer.engine.sound_blocks import SoundBlocks
    from strategy.models.model_files import NoModel, save_model

    saved, why = None, ""
    if path is not None and closed.model is not None:
        try:
            metadata = {"run": str(closed.run)}
            save_model(closed.model, EngineBlocks(SoundBlocks(session.engine)), closed.key, path, metadata)
            saved = path
        except NoModel as error:
            why = f"no model file was written: {error}"
        except OSError as error:
            raise PeerError(
                f"the final model cannot be written to {path}: {error.strerror}",
                fix=f"fix that and start again, or peer model {closed.head} -o FILE",
                code=ExitCode.UNFINISHED,
            ) from error
    elif path is not None:
        why = "the app has no final model to write"
    session.journal.finish(closed.run)
    if why and closed.outcome is Outcome.RETURNED:  # a raised error was told before, and explains more
        raise PeerError(why, fix=f"the run is done: peer history {closed.head}", code=ExitCode.APP_FAILED)
    return saved


def _train(session: Session, choice: AppChoice, works_in: Path, live: Live, *, once: bool) -> ExitCode:
    from peer.run.peer import run_alone
    from peer.run.training import training

    trained = training(session, choice, works_in=works_in, once=once)
    if trained is None:
        return ExitCode.DONE
    with live() as show:
        ending = trained.ended(run_alone(trained.prepared, show))
    if ending.why:
        return _unfinished(session, ending, "all replies are kept: start again to go on")
    if ending.interrupted:
        say("stopped")
    return ExitCode.DONE


def _unfinished(session: Session, ending: Ending, stays: str) -> ExitCode:
    if ending.interrupted:
        say(f"stopped; {stays}")
    if ending.why:
        say(f"error: {ending.why}")
        say(f"  fix: {_fix(ending, session, stays)}")
    code = {StopCause.APP: ExitCode.APP_FAILED, StopCause.REPLAY: ExitCode.VERIFICATION_FAILED}.get(
        ending.cause, ExitCode.UNFINISHED
    )
    if writes_json():
        why, fix = (ending.why, _fix(ending, session, stays)) if ending.why else ("stopped", stays)
        put_error(why, fix, code)
    return code


def _fix(ending: Ending, session: Session, stays: str) -> str:
    if ending.fix:
        return f"{ending.fix}; {stays}"
    match ending.cause:
        case StopCause.MEANS | StopCause.OWNER:
            return f"remove the cause; {stays}"
        case StopCause.APP:
            return f"see its log in {session.home.path / 'logs'}; {stays}"
        case StopCause.COPY:
            return "run only one home of this identity, and delete the other: two homes sign what contradicts"
        case StopCause.REMOVED:
            return (
                "ask an admin whether that was meant; to come back, use a new ticket (`peer join`), or "
                f"`peer federation add` there and `peer federation join FILE` here; {stays}"
            )
        case StopCause.REPLAY:
            return (
                "an app that reads a clock, or draws random numbers without the run's seed, cannot be resumed; begin a "
                "new run with --new-run, or with the last model, if the app is built in: "
                f"--initial-model {session.journal.heads()[0].head}"
            )


def leave(code: ExitCode) -> None:
    """End at once: all is kept and closed, but a thread may still wait for a block that nobody has."""
    flush()
    os._exit(code)
