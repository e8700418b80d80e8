"""``peer serve``: a peer that stands, with whatever roles its member has."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from peer.apps.app_python import command_of_python
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import say
from peer.cli.options import (
    DEFAULT_HOME,
    AppPythonOption,
    ConfineOptions,
    EngineOption,
    FullOption,
    HomeOption,
    IdentityOption,
    JsonOption,
    PassphraseFileOption,
    ReachOptions,
    grouped,
    new_app,
)
from peer.cli.output import here, put_error
from peer.cli.runs.app_folders import data_folder, working_folder
from peer.cli.runs.endings import leave
from peer.cli.runs.opened_session import opened_session
from peer.cli.runs.run_options import BudgetOption, ClosingOptions, DataOptions, KeepingOptions, LeadOptions
from peer.cli.runs.standing_options import QueueOptions, TrainingOptions
from peer.cli.runs.standing_parts import StandingPart, parts_now, parts_to_stand, what_waits
from peer.cli.seeing.live_status import live_status
from peer.engine import without_credentials
from peer.engine.chosen_engine import MANAGED, opened
from peer.engine.interface import Engine
from peer.engine.kubo.reach import AskedReach
from peer.home.federations import StoredFederation
from peer.home.home import Home
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.keeping.chosen import parsed_budget
from peer.run.narrator import Narrator
from protocol.blocks.cid import CID
from protocol.jobs.queue import may_ask
from protocol.records.bodies import Role
from protocol.roles.leader.run_plan import LeaderSettings
from strategy.apps.builtin_app import model_class

if TYPE_CHECKING:  # they import flwr
    from peer.apps.app_choice import AppChoice
    from peer.jobs.job_server import JobServer
    from peer.roles.serving import Serving
    from peer.roles.training import Training
    from peer.run.peer import Peer, Prepared
    from peer.run.runner import Ending
    from peer.run.session import Session

app = new_app()

LOOK: Final = 5.0
"""Seconds between looks at what waits for an admin."""


@app.command()
@grouped
def serve(
    confining: ConfineOptions,
    reach: ReachOptions,
    leads: LeadOptions,
    keeping: KeepingOptions,
    closing: ClosingOptions,
    queue: QueueOptions,
    data: DataOptions,
    training: TrainingOptions,
    role: Annotated[
        list[Role] | None,
        typer.Option("--role", metavar="ROLE", help="Only this role; may be repeated.", show_default="all"),
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
    full: FullOption = False,
    home: HomeOption = DEFAULT_HOME,
    budget: BudgetOption = None,
    json: JsonOption = False,
) -> None:
    """Run a peer that stands until Ctrl-C, in all its federations, with all roles of its member.

    As a server it leads the runs that `peer run` hands to it. As a client it trains in one run after another. As a
    keeper it stores and serves the runs of all. An admin's peer answers newcomers with tickets. Runs that are open when
    it stops go on when it starts again.
    """
    place, passphrases, room = Home(home), Passphrases.of_process(passphrase_file), parsed_budget(budget)
    asked, limits, settings = reach.asked(), queue.limits(), leads.settings(1, keeping, closing)
    person = KeyStore(place.path).load(identity, passphrases)
    roles = role or [Role.SERVER, Role.CLIENT, Role.KEEPER]
    served = parts_to_stand(place, person, federation, roles)
    accepted = {each.stored.id: _accepted(each.stored, queue.accept_runs_of or []) for each in served}
    trains = queue.trains(role for each in served for role in each.roles)
    data_dir = data_folder(data.data_dir, training.app_dir, confined=confining.confine and trains)
    choice = training.choice(data, data_dir)
    works_in = working_folder(data.work_dir, place if confining.confine else None)
    confiner = confining.confiner(place, read=(), write=(), model=None)
    client_confiner = confining.confiner(  # a job's app may be another member's: the data is not for it
        place,
        read=() if data_dir is None else (data_dir,),
        write=() if data.work_dir is None else (works_in,),
        model=model_class({"model": training.model}),
    )

    def starts(engine: str) -> None:
        _check_reach(engine, asked, [each.stored for each in served])
        for each in served if not json else ():
            over = f"{each.stored.manifest.title} over {without_credentials(engine)}"
            say(f"{person.name} stands as {each.title} of {over}; Ctrl-C stops it")

    with (
        opened_session(
            place,
            person,
            served[0].stored,
            passphrases=passphrases,
            ipfs=ipfs,
            reach=asked,
            threads=threads,
            python=command_of_python(app_python),
            numerics=leads.numerics,
            confiner=confiner,
            on_report=Narrator(None if json else say).tell,
            starts=starts,
            budget=room,
        ) as base,
        contextlib.ExitStack() as nodes,
    ):
        from peer.jobs.job_server import JobServer
        from peer.roles.keeping import keeping as prepared_keeper
        from peer.roles.training import training as prepared_training
        from peer.run.peer import Peer
        from peer.run.session import ActingAuthor

        engines = _nodes(nodes, place, base, served)
        trained = partial(prepared_training, choice=choice, works_in=works_in, once=False)
        sessions = {
            each.stored.id: base
            if each.stored.id == base.federation
            else replace(
                base,
                federation=each.stored.id,
                engine=engines[each.stored.id],
                acting=ActingAuthor.of(base.journal),
            )
            for each in served
        }

        def session(each: StandingPart, role: Role) -> Session:
            narrator = Narrator(None if json else say, place.app_log(role.value), whole_ids=full)
            confined_by = client_confiner if role is Role.CLIENT else confiner
            return replace(sessions[each.stored.id], on_report=narrator.tell, confiner=confined_by)

        async def stand() -> list[Ending]:
            peer = Peer(place, base.interrupts)
            led = {each.stored.id: session(each, Role.SERVER) for each in served if Role.SERVER in each.roles}
            tell = (lambda _: None) if json else say
            jobs = JobServer(peer, place, base.journal, led, limits, settings, tell, accepted)
            peer.jobs = jobs if led else None
            async with contextlib.AsyncExitStack() as desks:
                show = desks.enter_context(live_status(wanted=not json, full=full))
                async with peer.standing(show):
                    for each in sessions.values():
                        await desks.enter_async_context(peer.desk(each))
                    waits = partial(what_waits, place, base.keys, partial(parts_now, place, federation, roles), served)
                    desks.callback(asyncio.create_task(_tell_what_waits(peer, waits, tell)).cancel)
                    for each in led.values():
                        take, tell_of = partial(jobs.taken, each.federation), partial(jobs.told, each.federation)
                        desks.enter_context(peer.taking_jobs(each, take, tell_of))
                    clients = [
                        await asyncio.to_thread(trained, session(each, Role.CLIENT))
                        for each in served
                        if Role.CLIENT in each.roles
                        for _ in range(training.train_runs)
                    ]
                    kept = [
                        await asyncio.to_thread(prepared_keeper, session(each, Role.KEEPER))
                        for each in served
                        if Role.KEEPER in each.roles
                    ]
                    return await _until_stopped(
                        peer,
                        jobs if led else None,
                        [
                            *clients,
                            *await _standbys(
                                led.values() if queue.standby else (),
                                training.to_replay(data_dir),
                                settings,
                                queue.takeover_after,
                            ),
                        ],
                        kept,
                    )

        endings = asyncio.run(stand())
        for ending in endings:
            if json:
                put_error(ending.why, ending.fix, ExitCode.UNFINISHED)
        say("stopped; runs that are open go on when it starts again")
    leave(ExitCode.UNFINISHED if endings else ExitCode.DONE)


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


def _check_reach(engine: str, asked: AskedReach, served: Sequence[StoredFederation]) -> None:
    """Raise `PeerError` if several nodes of the home would have to be reached in one place."""
    if engine == MANAGED and asked != AskedReach() and len({each.swarm_key for each in served}) > 1:
        titles = ", ".join(each.manifest.title for each in served)
        raise PeerError(
            f"this home is in several federations ({titles}), and has a node for each: they cannot listen in one place",
            fix="say it once for each, and the home remembers it: peer doctor --start-daemon --federation NAME "
            "--listen IP:PORT",
        )


def _nodes(stack: contextlib.ExitStack, home: Home, base: Session, served: Sequence[StandingPart]) -> dict[CID, Engine]:
    """The engine for each federation. Of this home's own nodes there is one for each private network; the first runs
    already."""
    engines, by_network = dict[CID, Engine](), dict[bytes, Engine]()
    for each in served:
        if each.stored.id == base.federation or base.engine_name != MANAGED:
            engine = base.engine
        elif each.stored.swarm_key in by_network:
            engine = by_network[each.stored.swarm_key]
        else:
            engine = stack.enter_context(opened(home, MANAGED, each.stored, collect=True))
        engines[each.stored.id] = by_network[each.stored.swarm_key] = engine
    return engines


async def _tell_what_waits(peer: Peer, waits: Callable[[], list[str]], tell: Callable[[str], None]) -> None:
    """Tell the owner what waits for it, once each, as long as this runs."""
    told: set[str] = set()
    while True:
        lines = await asyncio.to_thread(waits)
        peer.waits = tuple(lines)
        for line in lines:
            if line not in told:
                tell(line)
        told = set(lines)
        await asyncio.sleep(LOOK)


async def _standbys(
    sessions: Iterable[Session], choice: AppChoice, settings: LeaderSettings, takeover_after: float
) -> list[Serving]:
    """What replays the runs that other servers lead, one for each federation."""
    from peer.roles.standing_by import standing_by

    stands = partial(standing_by, once=False, run=None, takeover_after=takeover_after)
    return [await asyncio.to_thread(stands, each, choice, settings) for each in sessions]


async def _until_stopped(
    peer: Peer, jobs: JobServer | None, held: Sequence[Training | Serving | None], kept: Sequence[Prepared]
) -> list[Ending]:
    """Run everything until the peer is stopped, or nothing is left that runs. Returns what could not go on, which is
    also told at once."""

    async def runs(each: Training | Serving) -> Ending:
        return told(each.ended(await peer.hold(each.prepared)))

    async def keeps(keeper: Prepared) -> Ending:
        return told(await peer.hold(keeper))

    def told(ending: Ending) -> Ending:
        if ending.why:
            say(f"error: {ending.why}")
            if ending.fix:
                say(f"  fix: {here(ending.fix)}")
        return ending

    parts = [asyncio.create_task(runs(each)) for each in held if each is not None]
    parts += [asyncio.create_task(keeps(keeper)) for keeper in kept]
    queue = [] if jobs is None else [asyncio.create_task(jobs.keep_going())]
    if not parts and not queue:  # an admin's desk
        await peer.stopped.wait()
    await asyncio.gather(*queue)
    endings = await asyncio.gather(*parts)
    return [ending for ending in endings if ending.why]
