"""``peer serve``: a peer that stands, with whatever roles its member has."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from peer.apps.app_choice import AppChoice, given
from peer.apps.app_python import command_of_python
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import say
from peer.cli.options import (
    DEFAULT_HOME,
    AppPythonOption,
    ConfineOptions,
    EngineOption,
    HomeOption,
    IdentityOption,
    JsonOption,
    PassphraseFileOption,
    ReachOptions,
    Whole,
    bytes_of,
    grouped,
    new_app,
)
from peer.cli.output import put_error
from peer.cli.runs.opened_session import opened_session
from peer.cli.runs.start import admission_of, leave, working_folder
from peer.cli.seeing.live_status import live_status
from peer.engine import without_credentials
from peer.engine.chosen_engine import MANAGED
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import reader_of
from peer.membership.changes import is_admin
from peer.membership.waiting_changes import waiting_changes
from peer.run.narrator import Narrator
from protocol.jobs.queue import Limits, may_ask
from protocol.records.bodies import Role
from protocol.records.environment import Numerics
from protocol.roles.leader.run_plan import LEAVE_TIMEOUT
from strategy.apps.builtin_app import model_class

if TYPE_CHECKING:  # they import flwr
    from crypto.identity import Identity
    from peer.jobs.job_server import JobServer
    from peer.run.peer import Peer
    from peer.run.runner import Ending
    from peer.run.session import Session
    from peer.run.training import Training

app = new_app()

LOOK: Final = 5.0
"""Seconds between looks at what waits for an admin."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What holds for each run that this peer leads."""

    max_runs: Annotated[
        int, typer.Option("--max-runs", min=1, help="Server: how many runs it leads side by side; others wait.")
    ] = 1
    run_memory: Annotated[
        str | None,
        typer.Option(
            "--run-memory",
            metavar="SIZE",
            help="Server: the memory for all runs, such as 64G, as far as jobs say what they need.",
            show_default="not counted",
        ),
    ] = None
    run_gpus: Annotated[
        int | None, typer.Option("--run-gpus", min=0, help="Server: the GPUs for all runs.", show_default="not counted")
    ] = None
    client_timeout: Annotated[
        float, typer.Option("--client-timeout", min=0.1, help="Server: seconds a client has for one message.")
    ] = 3600.0
    leave_timeout: Annotated[
        float,
        typer.Option("--leave-timeout", min=0.0, help="Server: seconds a client that said goodbye has to come back."),
    ] = LEAVE_TIMEOUT
    admission: Annotated[str, typer.Option("--admission", metavar="CHECKS", help="Server: as for `peer start`.")] = (
        "all"
    )
    max_update_norm: Annotated[
        str | None,
        typer.Option(
            "--max-update-norm", metavar="NORM|Nx", help="Server: as for `peer start`.", show_default="no bound"
        ),
    ] = None
    accept_runs_of: Annotated[
        list[str] | None,
        typer.Option(
            "--accept-runs-of",
            metavar="NAME",
            help="Server: take runs that this admin or server asks for from another machine, whose app then runs here; "
            "may be repeated.",
            show_default="nobody's",
        ),
    ] = None
    numerics: Annotated[
        Numerics, typer.Option("--numerics", help="Server: portable or native, as for `peer start`.")
    ] = Numerics.PORTABLE

    def limits(self) -> Limits:
        """What runs side by side."""
        return Limits(self.max_runs, bytes_of(self.run_memory, "--run-memory"), self.run_gpus)


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """With which app and data this peer trains."""

    app_dir: Annotated[
        Path | None,
        typer.Option("--app", metavar="DIR", help="Client: the one app to allow.", show_default="what you approve"),
    ] = None
    node_config: Annotated[
        list[str] | None,
        typer.Option(
            "--node-config",
            metavar='"K=V ..."',
            click_type=Whole(),
            help="Client: the app's settings for this node. Pairs, or one TOML file. May be repeated with pairs.",
        ),
    ] = None
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", help="Client, built-in app: as for `peer start`.", show_default="the run's"),
    ] = None
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir",
            metavar="DIR",
            help="Client, built-in app: where the dataset is.",
            show_default="~/.cache/pollen/datasets",
        ),
    ] = None
    model: Annotated[
        str | None,
        typer.Option("--model", help="Client, built-in app: the class to allow here.", show_default="no class"),
    ] = None
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", min=1, help="Client, built-in app: examples per training step.", show_default="16"
        ),
    ] = None
    work_dir: Annotated[
        Path | None,
        typer.Option(
            "--work-dir",
            metavar="DIR",
            help="Client: the app's working folder. A confined app has one in the home.",
            show_default="the current folder",
        ),
    ] = None
    train_runs: Annotated[
        int, typer.Option("--train-runs", min=1, help="Client: in how many runs it trains side by side.")
    ] = 1

    def choice(self) -> AppChoice:
        """The app and its settings."""
        data = None if self.data_dir is None else str(self.data_dir.expanduser().absolute())
        settings = {"data-dir": data, "batch-size": self.batch_size, "dataset": self.dataset, "model": self.model}
        choice = AppChoice(
            folder=self.app_dir, shared={}, local=given(settings), run_config=[], node_config=self.node_config or []
        )
        choice.check()
        return choice


@app.command()
@grouped
def serve(
    confining: ConfineOptions,
    reach: ReachOptions,
    server: ServerOptions,
    training: TrainingOptions,
    role: Annotated[
        list[Role] | None,
        typer.Option("--role", metavar="server|client", help="Only this role; may be repeated.", show_default="all"),
    ] = None,
    federation: Annotated[
        list[str] | None,
        typer.Option("--federation", metavar="NAME", help="Only this one; may be repeated.", show_default="all"),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads for each numerical library of an app.")] = 1,
    app_python: AppPythonOption = None,
    ipfs: EngineOption = None,
    identity: IdentityOption = None,
    passphrase_file: PassphraseFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Run a peer that stands until Ctrl-C, in all its federations, with all roles of its member.

    As a server it leads the runs that `peer run` hands to it. As a client it trains in one run after another. An
    admin's peer answers newcomers with tickets. Runs that are open when it stops go on when it starts again.
    """
    place, passphrases = Home(home), Passphrases.of_process(passphrase_file)
    asked, limits, choice = reach.asked(), server.limits(), training.choice()
    admitted = admission_of(server.admission, server.max_update_norm)
    works_in = working_folder(training.work_dir, place if confining.confine else None)
    confiner = confining.confiner(
        place,
        read=() if training.data_dir is None else (training.data_dir,),
        write=() if training.work_dir is None else (works_in,),
        model=model_class({"model": training.model}),
    )
    person = KeyStore(place.path).load(identity, passphrases)
    served = _served(place, person, federation, role or [Role.SERVER, Role.CLIENT])
    accepted = {each.stored.id: _accepted(each.stored, server.accept_runs_of or []) for each in served}

    def starts(engine: str) -> None:
        _check_one_network(engine, [each.stored for each in served])
        for each in served if not json else ():
            over = f"{each.stored.manifest.title} over {without_credentials(engine)}"
            say(f"{person.name} stands as {each.title} of {over}; Ctrl-C stops it")

    with opened_session(
        place,
        person,
        served[0].stored,
        passphrases=passphrases,
        ipfs=ipfs,
        reach=asked,
        threads=threads,
        python=command_of_python(app_python),
        numerics=server.numerics,
        confiner=confiner,
        on_report=Narrator(None if json else say).tell,
        starts=starts,
    ) as base:
        from peer.jobs.job_server import JobServer, ServerDefaults
        from peer.run.letting_in import letting_in
        from peer.run.peer import Peer
        from peer.run.session import ActingAuthor
        from peer.run.training import training as prepared_training

        trained = partial(prepared_training, choice=choice, works_in=works_in, once=False)
        sessions = {
            each.stored.id: base
            if each.stored.id == base.federation
            else replace(base, federation=each.stored.id, acting=ActingAuthor.of(base.journal))
            for each in served
        }

        def session(each: _Served, role: Role) -> Session:
            narrator = Narrator(None if json else say, place.app_log(role.value))
            return replace(sessions[each.stored.id], on_report=narrator.tell)

        async def stand() -> list[Ending]:
            peer = Peer(place, base.interrupts)
            leads = {each.stored.id: session(each, Role.SERVER) for each in served if Role.SERVER in each.roles}
            tell = (lambda _: None) if json else say
            defaults = ServerDefaults(server.client_timeout, server.leave_timeout, admitted)
            jobs = JobServer(peer, place, base.journal, leads, limits, defaults, tell, accepted)
            peer.jobs = jobs if leads else None
            async with contextlib.AsyncExitStack() as desks:
                show = desks.enter_context(live_status(wanted=not json))
                async with peer.standing(show):
                    for each in sessions.values():
                        await desks.enter_async_context(letting_in(each))
                    desks.callback(asyncio.create_task(_tell_what_waits(place, served, tell)).cancel)
                    for each in leads.values():
                        desks.enter_context(peer.taking_jobs(each, partial(jobs.taken, each.federation)))
                    clients = [
                        await asyncio.to_thread(trained, session(each, Role.CLIENT))
                        for each in served
                        if Role.CLIENT in each.roles
                        for _ in range(training.train_runs)
                    ]
                    return await _until_stopped(peer, jobs if leads else None, clients)

        endings = asyncio.run(stand())
        for ending in endings:
            say(f"error: {ending.why}")
            if ending.fix:
                say(f"  fix: {ending.fix}")
            if json:
                put_error(ending.why, ending.fix, ExitCode.UNFINISHED)
        say("stopped; runs that are open go on when it starts again")
    leave(ExitCode.UNFINISHED if endings else ExitCode.DONE)


@dataclass(frozen=True, slots=True)
class _Served:
    stored: StoredFederation
    roles: Sequence[Role]
    is_admin: bool

    @property
    def title(self) -> str:
        parts = [role.value for role in self.roles] + (["admin"] if self.is_admin else [])
        return " and ".join(f"a {part}" if part != "admin" else "an admin" for part in parts)


def _served(home: Home, person: Identity, named: list[str] | None, wanted: Sequence[Role]) -> list[_Served]:
    """The federations in which the member has a part here.

    Raises:
        PeerError: if there is none.
    """
    store = FederationStore(home)
    known = [store.current(name) for name in named] if named else store.all() or [store.current()]
    found: list[_Served] = []
    for each in known:
        stored = store.opened(each, reader_of(person))
        member = stored.manifest.members.get(person.id)
        roles = [role for role in wanted if member is not None and role in member.roles]
        admin = member is not None and is_admin(stored.manifest, person.public)
        if roles or admin:
            found.append(_Served(stored, roles, admin))
    if not found:
        raise PeerError(
            f"{person.name} is neither a server nor a client nor an admin in a federation of this home",
            fix="peer federation show; join one with a ticket: peer join",
        )
    return found


def _accepted(stored: StoredFederation, names: Sequence[str]) -> frozenset[bytes]:
    """The members of which jobs are taken.

    Raises:
        PeerError: if a name is no member's, or of one that may not ask.
    """
    manifest, found = stored.manifest, set[bytes]()
    for name in names:
        member = next((id for id, known in manifest.names.items() if known == name), None)
        if member is None or not may_ask(manifest, member):
            raise PeerError(
                f"--accept-runs-of {name}: {manifest.title} has no admin and no server of that name",
                fix="peer federation show lists the members",
            )
        found.add(member)
    return frozenset(found)


def _check_one_network(engine: str, served: Sequence[StoredFederation]) -> None:
    """Raise `PeerError` if the home's own node would have to be in two private networks."""
    if engine == MANAGED and len({each.swarm_key for each in served}) > 1:
        titles = ", ".join(each.manifest.title for each in served)
        raise PeerError(
            f"this home is in several federations ({titles}), and its own node can be in the network of one alone",
            fix="name one with --federation NAME, and give the others homes of their own; or name a node of yours that "
            "all their members reach: --ipfs http://HOST:PORT",
        )


async def _tell_what_waits(home: Home, served: Sequence[_Served], tell: Callable[[str], None]) -> None:
    """Tell an admin what waits for it, once each, as long as this runs."""
    told: set[str] = set()
    while True:
        lines = await asyncio.to_thread(_what_waits, home, served)
        for line in lines:
            if line not in told:
                tell(line)
        told = set(lines)
        await asyncio.sleep(LOOK)


def _what_waits(home: Home, served: Sequence[_Served]) -> list[str]:
    try:
        known = [FederationStore(home).get(each.stored.id) for each in served if each.is_admin]
        return [line for stored in known if stored for line in waiting_changes(home, stored, time.time())]
    except (PeerError, OSError) as error:
        return [str(error)]


async def _until_stopped(peer: Peer, jobs: JobServer | None, clients: Sequence[Training | None]) -> list[Ending]:
    """Run everything until the peer is stopped, or nothing is left that runs. Returns what could not go on."""

    async def trains(client: Training) -> Ending:
        return client.ended(await peer.hold(client.prepared))

    parts = [asyncio.create_task(trains(client)) for client in clients if client is not None]
    queue = [] if jobs is None else [asyncio.create_task(jobs.keep_going())]
    if not parts and not queue:  # an admin's desk
        await peer.stopped.wait()
    await asyncio.gather(*queue)
    endings = await asyncio.gather(*parts)
    return [ending for ending in endings if ending.why]
