"""``peer start``: lead a run, or train in one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peer.apps.app_choice import AppChoice, Setting, clients_to_begin_with, given
from peer.apps.app_python import OUR_PYTHON, command_of_python
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import say
from peer.cli.options import (
    AppPythonOption,
    ConfineOptions,
    FullOption,
    JsonOption,
    MemberOptions,
    ReachOptions,
    Whole,
    grouped,
    new_app,
)
from peer.cli.reading.model_file import model_file
from peer.cli.runs.app_folders import data_folder, working_folder
from peer.cli.runs.endings import leave, unfinished
from peer.cli.runs.led_run import lead
from peer.cli.runs.opened_session import opened_session
from peer.cli.runs.run_options import (
    BudgetOption,
    ClosingOptions,
    DataOptions,
    KeepingOptions,
    LeadOptions,
    StandbyOptions,
)
from peer.cli.seeing.live_status import Live, live_status
from peer.engine import without_credentials
from peer.history.named_runs import app_cid
from peer.home.home import Home
from peer.home.passphrase import Passphrases
from peer.keeping.chosen import parsed_budget
from peer.membership.changes import require_role
from peer.run.narrator import Narrator
from protocol.blocks.cid import CID
from protocol.keeping.budget import Budget
from protocol.records.bodies import Role
from protocol.records.environment import Numerics
from protocol.roles.leader.run_plan import KEEPERS_MAY_TAKE, LeaderSettings
from strategy.apps.builtin_app import model_class

if TYPE_CHECKING:  # the last two import flwr, so they come after the checks of key and federation
    from crypto.identity import Identity
    from peer.home.federations import StoredFederation
    from peer.run.runner import Ending
    from peer.run.session import Session

app = new_app()


@app.command()
@grouped
def start(
    options: MemberOptions,
    reach: ReachOptions,
    confining: ConfineOptions,
    leading: LeadOptions,
    keeping: KeepingOptions,
    closing: ClosingOptions,
    data: DataOptions,
    standing_by: StandbyOptions,
    role: Annotated[
        Role,
        typer.Option(
            "--role",
            metavar="server|client|keeper",
            help="server: lead a run. client: train in one. keeper: store and serve runs that it cannot read.",
        ),
    ],
    app_dir: Annotated[
        Path | None,
        typer.Option("--app", metavar="DIR", help="A Flower app's folder.", show_default="the built-in app"),
    ] = None,
    approve_app: Annotated[
        list[str],
        typer.Option(
            "--approve-app",
            metavar="CID",
            help="Client, standby: approve this app, as `peer app approve CID` does.",
        ),
    ] = [],  # noqa: B006  # typer copies it
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="Built-in app: digits, mnist, fashion-mnist or cifar10.", show_default="digits"),
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
    rounds: Annotated[
        int | None,
        typer.Option("--rounds", min=1, help="Built-in app, server: how many rounds.", show_default="5"),
    ] = None,
    min_clients: Annotated[
        int | None,
        typer.Option(
            "--min-clients",
            min=1,
            help="Server: begin once this many clients are here.",
            show_default="the app's setting min-clients, or 2",
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
    once: Annotated[bool, typer.Option("--once", help="Client, standby: stop when the run has closed.")] = False,
    budget: BudgetOption = None,
    full: FullOption = False,
    json: JsonOption = False,
) -> None:
    """Run a peer: a server until its run is closed, a client, a standby or a keeper until Ctrl-C.

    If it has to wait, it says what for. If it cannot go on, it ends with exit code 3.
    """
    _refuse_unfit(role, app_dir, initial_model)
    room = parsed_budget(budget)
    if role is Role.KEEPER:
        leave(_keep(options, reach, room, full=full, json=json))
        return
    of_a_leader = (leading.witnesses, seed, save_path, initial_model, strategy, rounds, wait_for_members, *run_config)
    stands_by = standing_by.asked(role, leads=new_run or any(each is not None for each in of_a_leader))
    follows = role is Role.CLIENT or stands_by
    data_dir = data_folder(data.data_dir, app_dir, confined=confining.confine)
    local = data.settings(data_dir) | _local(role, dataset, model, stands_by=stands_by)
    choice = AppChoice(
        folder=app_dir,
        shared=given(
            {
                "dataset": dataset,
                "model": model,
                "strategy": strategy,
                "num-server-rounds": rounds,
                "min-clients": min_clients,
            }
        ),
        local=local,
        run_config=run_config,
        node_config=data.node_config or [],
        initial_model=initial_model,
    )
    choice.check()
    asked = reach.asked()
    destination = model_file("--save-path", save_path) if save_path is not None and role is Role.SERVER else None
    needed = clients_to_begin_with(min_clients, choice.app_folder, run_config) if role is Role.SERVER else 1
    settings = replace(leading.settings(needed, keeping, closing), linger_for_keepers=KEEPERS_MAY_TAKE)
    approved = _approved(approve_app, app_dir, follows=follows)
    home, passphrases = Home(options.home), Passphrases.of_process(options.passphrase_file)
    works_in = working_folder(data.work_dir, home if confining.confine else None)
    confiner = confining.confiner(
        home,
        read=() if data_dir is None else (data_dir,),
        write=(works_in,) if data.work_dir is not None and role is Role.CLIENT else (),
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
            _say_start(person, "standby" if stands_by else role, stored, engine)
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
        numerics=leading.numerics,
        confiner=confiner,
        on_report=narrator.tell,
        starts=starts,
        budget=room,
    ) as session:
        for allowed in approved:
            session.journal.approve_app(allowed)
        if stands_by:
            named, after = standing_by.named(home), standing_by.takeover_after
            code = _stand_by(session, choice, settings, live, once=once, run=named, takeover_after=after)
        elif role is Role.SERVER:
            code = lead(
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


def _say_start(person: Identity, role: str, stored: StoredFederation, engine: str) -> None:
    over = f"{stored.manifest.title} over {without_credentials(engine)}"
    say(f"{person.name} starts as a {role} of {over}; Ctrl-C stops it")


def _refuse_unfit(role: Role, app_dir: Path | None, initial_model: str | None) -> None:
    """Raise `PeerError` if the role does not go with what else is asked."""
    if role is Role.AUDITOR:
        raise PeerError("an auditor does not run a peer", fix="peer audit HEAD")
    if role is Role.KEEPER and app_dir is not None:
        raise PeerError("a keeper runs no app, and reads none", fix="leave out --app")
    if role is Role.CLIENT and initial_model is not None:
        fix = "give --initial-model to the server"
        raise PeerError("a client begins with the model that the server sends", fix=fix)


def _local(role: Role, dataset: str | None, model: str | None, *, stands_by: bool) -> dict[str, Setting]:
    """The built-in app's settings for this machine: of a peer that does not lead, the model class that may run here."""
    if role is Role.CLIENT:
        return given({"dataset": dataset, "model": model})
    return given({"model": model}) if stands_by else {}


def _approved(texts: list[str], app_dir: Path | None, *, follows: bool) -> list[CID]:
    if texts and (not follows or app_dir is not None):
        raise PeerError("--approve-app is for a client or a standby without --app", fix="leave out one of the two")
    return [app_cid(text) for text in texts]


def _told(session: Session, ending: Ending, kept: str) -> ExitCode:
    """Say how a peer ended that follows runs, and what stays."""
    if ending.why:
        return unfinished(session, ending, kept)
    if ending.interrupted:
        say("stopped")
    return ExitCode.DONE


def _stand_by(
    session: Session,
    choice: AppChoice,
    settings: LeaderSettings,
    live: Live,
    *,
    once: bool,
    run: CID | None,
    takeover_after: float,
) -> ExitCode:
    from peer.roles.standing_by import standing_by
    from peer.run.peer import run_alone

    stands = standing_by(session, choice, settings, once=once, run=run, takeover_after=takeover_after)
    with live() as show:
        ending = stands.ended(run_alone(stands.prepared, show))
    return _told(session, ending, "what it signed is kept")


def _train(session: Session, choice: AppChoice, works_in: Path, live: Live, *, once: bool) -> ExitCode:
    from peer.roles.training import training
    from peer.run.peer import run_alone

    trained = training(session, choice, works_in=works_in, once=once)
    if trained is None:
        return ExitCode.DONE
    with live() as show:
        ending = trained.ended(run_alone(trained.prepared, show))
    return _told(session, ending, "all replies are kept: start again to go on")


def _keep(options: MemberOptions, reach: ReachOptions, budget: Budget | None, *, full: bool, json: bool) -> ExitCode:
    """Keep runs until the owner stops it.

    Raises:
        PeerError: if the home's member is no keeper, or its engine cannot be used.
    """
    asked = reach.asked()
    home, passphrases = Home(options.home), Passphrases.of_process(options.passphrase_file)
    person, stored = options.unlocked(passphrases)
    role = Role.KEEPER
    require_role(stored.manifest, person.public, role)
    narrator = Narrator(None if json else say, whole_ids=full)

    def starts(engine: str) -> None:
        if not json:
            _say_start(person, role, stored, engine)

    with opened_session(
        home,
        person,
        stored,
        passphrases=passphrases,
        ipfs=options.ipfs,
        reach=asked,
        threads=1,
        python=OUR_PYTHON,
        numerics=Numerics.PORTABLE,
        confiner=None,
        on_report=narrator.tell,
        starts=starts,
        budget=budget,
    ) as session:
        from peer.roles.keeping import keeping
        from peer.run.peer import run_alone

        with live_status(wanted=not json, full=full) as show:
            ending = run_alone(keeping(session), show)
        if ending.why:
            return unfinished(session, ending, "what is kept stays kept: start again to go on")
    say("stopped")
    return ExitCode.DONE
