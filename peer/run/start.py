"""Prepares either role: from the owner's choices to a machine that is ready to run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Final

from crypto.symmetric import SymmetricKey
from peer.apps.app_folder import unusable_app
from peer.apps.app_python import machine_of
from peer.apps.unpacked_apps import UnpackedApps
from peer.base.errors import ExitCode, PeerError
from peer.engine.contents import EngineBlocks, EngineContents
from peer.engine.interface import Engine, EngineError
from peer.engine.own_blocks import FIRST_LOOK, OwnBlocks
from peer.engine.sound_blocks import SoundBlocks
from peer.history.run_to_resume import RunToResume, not_the_same, run_to_resume
from peer.home.home import Home
from peer.home.home_location import location_of
from peer.home.journal import Journal, RunHead
from peer.home.reader_choice import reader_of
from peer.run.peer import Prepared
from peer.run.runner import Ending
from peer.run.session import Computing, Session
from protocol.blocks.bundle import NamedBundle, difference_from, read_bundle, write_bundle
from protocol.blocks.cid import CID, Block, BlockError, MemoryBlocks
from protocol.blocks.content import ContentForm, ContentKey
from protocol.federation.manifest import why_unreadable
from protocol.federation.run_keys import read_private
from protocol.records.bodies import Ack, Close, Outcome, ReasonPrivate, Role, RunConfig
from protocol.records.environment import Numerics
from protocol.records.equivocation import Equivocation, read_proof
from protocol.records.signed_records import parse_record
from protocol.roles.client.client import Client
from protocol.roles.client.client_plan import ClientPlan
from protocol.roles.client.followed_run import Verified
from protocol.roles.client.kept_run import KeptRun
from protocol.roles.effects import Report, StopCause, What
from protocol.roles.leader.leader import Leader
from protocol.roles.leader.run_plan import LeaderSettings, ResumedRun, RunPlan, first_content_key
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.wire.announcements import Position, topic_all, topic_leader
from strategy.apps.bundling import AppFolder, check_self_contained, read_folder
from strategy.apps.config import AppConfig, AppError, read_app
from strategy.models.initial_model import InitialModel
from strategy.replay.format import REPLAY_FORMAT, child_environment, server_environment

SHOWN_FILES: Final = 8
"""How many names of files a line shows."""

REPAIRED_REPLIES: Final = 64
"""How many of a run's newest replies a starting client checks. The open ones are among them."""

REMEMBERED_RUNS: Final = 64
"""For how many runs a client remembers how far it has verified them."""


@dataclass(frozen=True, slots=True)
class App:
    """A Flower app that the owner allows here."""

    id: CID
    folder: Path
    """Where the owner has it."""
    config: AppConfig
    bundled: AppFolder = field(repr=False)
    """The files that go along with a run."""


@dataclass(frozen=True, slots=True)
class ClosedRun:
    """How a run that this peer led has ended."""

    run: CID
    head: CID
    outcome: Outcome
    model: CID | None
    key: ContentKey | None
    """The key of the model's content."""
    reason: str
    """Why the app raised; empty if it returned."""


def take_app(home: Home, folder: Path) -> App:
    """Bundle the app in ``folder``, and unpack it in the home.

    Raises:
        PeerError: if it is not a Flower app, or cannot be bundled.
    """
    apps = UnpackedApps(home)
    try:
        bundled = read_folder(folder)
        app = apps.take(bundled.files)
        return App(app, folder, read_app(apps.folder(app)), bundled)
    except (AppError, BlockError, OSError) as error:
        raise unusable_app(error) from error


def tell_what_goes_along(app: App, role: Role, on_report: Callable[[Report], None]) -> None:
    """Report which files of the owner's folder go along, and which stay here, although the app may need them."""
    files, missed = app.bundled.files, app.bundled.missed
    size = sum(len(data) for _, data in files)
    no_code = [path for path, _ in files if not path.endswith(".py") and path != "pyproject.toml"]
    others = f", {_some(no_code)} among them" if no_code else ""
    name = app.config.name
    whose = "all members of a run get them" if role is Role.SERVER else "it takes part if a server's are the same"
    counts = {"files": len(files), "bytes": size}
    on_report(Report(What.APP_BUNDLED, {"name": name, **counts, "others": others, "whose": whose}))
    if missed:
        on_report(Report(What.APP_FILES_STAY, {"count": len(missed), "some": _some(missed)}))


def _some(paths: Sequence[str]) -> str:
    return ", ".join(paths[:SHOWN_FILES]) + (", ..." if len(paths) > SHOWN_FILES else "")


def _store_app(engine: Engine, app: App, key: ContentKey | None) -> NamedBundle:
    """Put the bundle of ``app`` into the engine, encrypted with ``key``. It is durable at return."""
    content, blocks = write_bundle(app.bundled.files, ContentForm(key))
    engine.put_content(content, blocks)
    return NamedBundle(app.id, content, key)


@dataclass(frozen=True, slots=True)
class Leading:
    """A run that this peer leads."""

    prepared: Prepared
    leader: Leader

    def closed(self) -> ClosedRun | None:
        """How the run has ended; None if it is open. Call it after it was run."""
        return _closed(self.prepared.session, self.leader)


def leading(
    session: Session,
    app: App,
    run_config: RunConfig,
    node_config: RunConfig,
    settings: LeaderSettings,
    *,
    seed: bytes | None,
    initial: InitialModel | None,
    new_run: bool,
    wait_for_members: bool | None,
    job: int | None = None,
) -> Leading:
    """A run of ``app``, ready to be led to its end.

    If a run was left open, it goes on, unless ``new_run`` is set. ``seed`` (32 bytes) is the owner's; None takes the
    system's randomness. A new run begins with the model ``initial``. With ``wait_for_members``, the server signs
    nothing in an open run until all its clients have said what they have of it. None means: only if the home was moved.
    ``job`` is the number of the job whose run it is.

    Raises:
        PeerError: if a run was left open, but with another app or other settings.
    """
    left = None if new_run else _left_open(session, app, run_config, seed)
    if left is not None:
        return _going_on(session, left, app, node_config, settings, job, wait_for_members)
    session.journal.keep_place(location_of(session.home.path))
    plan = _new_plan(session, app, run_config, node_config, seed or os.urandom(32), initial)
    return _leading(session, plan, settings, None, session.computing, job)


def resuming(session: Session, run: CID, settings: LeaderSettings, *, job: int) -> Leading | None:
    """A run that this peer led and left open, ready to go on as it began. None if nothing is left to do for it.

    Raises:
        PeerError: if it cannot be verified, or this home no longer has its app.
    """
    left = run_to_resume(session.journal, session.stored.id, reader_of(session.identity), session.engine, run)
    if left is None:
        return None
    folder = UnpackedApps(session.home).folder(left.bundle.app)
    app = kept_app(session.home, left.bundle.app) if folder.is_dir() else None
    if app is None:
        raise PeerError(
            f"this home no longer has the app of the run {run}, in {folder}",
            fix="go on with it by the command that began it: peer start --role server --app DIR",
            code=ExitCode.UNFINISHED,
        )
    return _going_on(session, left, app, (), settings, job, None)


def kept_app(home: Home, app: CID) -> App:
    """An app that was taken before, from where it is unpacked in the home.

    Raises:
        PeerError: if it is not there, or its files are not those any more.
    """
    found = take_app(home, UnpackedApps(home).folder(app))
    if found.id != app:
        why = f"the files in {found.folder} are not those of the app {app} any more"
        raise PeerError(why, fix=f"rm -r {found.folder}, and give the job again")
    return found


def taken_files(home: Home, files: Sequence[tuple[str, bytes]]) -> App:
    """An app whose files somebody else sent, unpacked in the home. Nothing of it is run.

    Raises:
        PeerError: if it is no app, or not as Flower bundles one.
        BlockError: if it runs code that is not in it, or its paths lead out of its folder.
        OSError: if a file cannot be written.
    """
    app, blocks = write_bundle(files)
    source = MemoryBlocks({block.cid: block.data for block in blocks})
    check_self_contained(read_bundle(app, source), source)
    UnpackedApps(home).take(files)
    return kept_app(home, app)


def _going_on(
    session: Session,
    left: RunToResume,
    app: App,
    node_config: RunConfig,
    settings: LeaderSettings,
    job: int | None,
    wait_for_members: bool | None,
) -> Leading:
    """A run that was left open, ready to go on."""
    plan = left.plan(node_config)
    _store_app(session.engine, app, plan.bundle.key)  # the engine may have lost it
    if _waits_for_members(session, wait_for_members):
        settings = replace(settings, waits_for_members=True)
    as_begun = replace(session.computing, threads=left.environment.threads, numerics=left.environment.numerics)
    return _leading(session, plan, settings, left.resumed, as_begun, job)


def _leading(
    session: Session,
    plan: RunPlan,
    settings: LeaderSettings,
    resumed: ResumedRun | None,
    computing: Computing,
    job: int | None,
) -> Leading:
    settings = replace(settings, known_runs=frozenset(head.run for head in session.journal.heads()))
    leader = Leader(_author(session), _trusted(session), plan, settings, resumed)
    topics = [topic_all(session.stored.id), topic_leader(session.stored.id)]
    scratch = session.home.path / "scratch"
    environment = server_environment(plan.seed, computing.threads, computing.numerics, machine_of(computing.python))
    prepared = Prepared(session, leader.machine, Role.SERVER, topics, environment, scratch, job)
    return Leading(prepared, leader)


def _waits_for_members(session: Session, asked: bool | None) -> bool:
    """Whether to wait for all clients before going on with a run, because this home may have forgotten records."""
    has_moved = session.journal.place() not in (None, location_of(session.home.path))
    waits = has_moved if asked is None else asked
    if has_moved:
        session.on_report(Report(What.HOME_MOVED, {"waits": int(waits)}))
    return waits


def _left_open(session: Session, app: App, run_config: RunConfig, seed: bytes | None) -> RunToResume | None:
    """The run to go on with. A closed run is left alone if the owner asks for something else now."""
    left = run_to_resume(session.journal, session.stored.id, reader_of(session.identity), session.engine)
    if left is None or not (why := left.difference(app.id, run_config, REPLAY_FORMAT, seed)):
        return left
    if left.is_closed:
        return None
    if app.id != left.bundle.app:
        with suppress(BlockError, EngineError):
            found = difference_from(left.bundle, EngineBlocks(SoundBlocks(session.engine)), app.bundled.files)
            why += f" ({found.in_words()})"
    raise not_the_same(why)


def _new_plan(
    session: Session,
    app: App,
    run_config: RunConfig,
    node_config: RunConfig,
    seed: bytes,
    initial: InitialModel | None,
) -> RunPlan:
    """The plan of a new run. Stores its app and initial model, encrypted with the model key of the first epoch."""
    model_key = SymmetricKey.generate() if session.stored.manifest.encrypted else None
    key = None if model_key is None else first_content_key(model_key, session.stored.id, session.identity.id)
    return RunPlan(
        bundle=_store_app(session.engine, app, key),
        seed=seed,
        name=app.config.name,
        version=app.config.version,
        config=run_config,
        replay_format=REPLAY_FORMAT,
        node_config=node_config,
        initial_model=initial.store(EngineContents(session.engine), key) if initial else None,
        model_key=model_key,
    )


def _closed(session: Session, leader: Leader) -> ClosedRun | None:
    chain = leader.chain
    if chain.head is None or not chain.closed:
        return None
    body = parse_record(Block(chain.head, session.engine.get(chain.head))).body
    assert isinstance(body, Close)
    private = read_private(body, ReasonPrivate, chain.keys)
    return ClosedRun(
        chain.run,
        chain.head,
        body.outcome,
        body.model,
        chain.keys.content(body.epoch),
        private.reason if private else "",
    )


@dataclass(frozen=True, slots=True)
class Training:
    """A client that trains in one run after the other."""

    prepared: Prepared
    client: Client

    def ended(self, ending: Ending) -> Ending:
        """Note that nothing is left to do for the runs that are closed. Returns the ending, with what the app failed
        at. Call it after it was run."""
        session = self.prepared.session
        for head in _trained_in(session):
            if head.closed:
                session.journal.finish(head.run)
        failure = self.client.failure
        return ending if ending.why or not failure else replace(ending, why=failure, cause=StopCause.APP)


def training(
    session: Session,
    app: App,
    node_config: RunConfig,
    *,
    works_in: Path,
    once: bool,
    approvable: bool = False,
    unfit: str = "",
    unfit_for: Callable[[RunConfig], str] = lambda _: "",
) -> Training | None:
    """A client, ready to train in runs until it is stopped; with ``once``, until the first run closes. None if that run
    closed as we were killed, so that nothing is left to do.

    These are runs of ``app`` and, if ``approvable``, runs of apps that the owner approves. Apps work in the folder
    ``works_in``. ``unfit`` says why ``app`` cannot run with this ``node_config``, and ``unfit_for`` why it cannot run
    with a run's settings; both are empty if it can.
    """
    if once and _closed_as_we_were_killed(session):
        return None
    _tell_of_the_last_run(session)
    first_key = session.identity.signing_keys[-1]  # the same after each rotation, so that the app's replies are too
    secret = hashlib.sha256(first_key.sign(b"pollen client secret 1")).digest()

    def declined(asked: CID, run_config: RunConfig) -> str:
        if asked != app.id:
            return ""
        return f"it is of the built-in app, and {unfit}" if unfit else unfit_for(run_config)

    plan = ClientPlan(
        app=None if unfit else app.id,
        secret=secret,
        node_config=node_config,
        once=once,
        approved=session.journal.approved_apps() if approvable else None,
        unfit=declined,
        files=() if approvable else app.bundled.files,
    )
    if unfit:
        session.on_report(Report(What.BUILT_IN_APP_UNFIT, {"why": unfit}))
    client = Client(_author(session), _trusted(session), plan, _kept_runs(session), _verified(session))
    environment = child_environment(secret, session.computing.threads, Numerics.NATIVE)
    _repair_replies(session)
    topics = [topic_all(session.stored.id)]
    return Training(Prepared(session, client.machine, Role.CLIENT, topics, environment, works_in), client)


def _repair_replies(session: Session) -> None:
    """Put the newest replies in open runs into the engine again, if it has lost them. A leader may still need them."""
    own = OwnBlocks(session.engine, session.journal)
    for head in _trained_in(session):
        for kept in session.journal.replies(head.run)[-REPAIRED_REPLIES:] if not head.closed else ():
            with suppress(BlockError, EngineError):  # if only other members have it, there is nothing to repair
                own.get(kept.reply, timeout=FIRST_LOOK)


def _tell_of_the_last_run(session: Session) -> None:
    """Report if the newest run has ended with an error, because its server may be gone and tell nothing more."""
    newest = next(_trained_in(session), None)
    if newest is None or not newest.closed or not session.engine.has(newest.head):
        return
    body = parse_record(Block(newest.head, session.engine.get(newest.head))).body
    if isinstance(body, Close) and body.outcome is Outcome.RAISED:
        about = {"run": str(newest.run), "head": str(newest.head), "outcome": body.outcome.value}
        session.on_report(Report(What.RUN_CLOSED, about))


def _trained_in(session: Session) -> Iterator[RunHead]:
    """The runs of the federation that this peer has followed, the last changed first."""
    heads = session.journal.heads()
    return (head for head in heads if head.role is Role.CLIENT and head.federation == session.stored.id)


def _closed_as_we_were_killed(session: Session) -> bool:
    """Whether the newest run is over, but the peer that answered in it was killed before it could finish."""
    journal, newest = session.journal, next(_trained_in(session), None)
    if newest is None or not newest.closed or journal.is_finished(newest.run) or not journal.replies(newest.run):
        return False
    session.on_report(Report(What.RUN_CLOSED, {"run": str(newest.run), "head": str(newest.head)}))
    journal.finish(newest.run)
    return True


def _author(session: Session) -> Author:
    identity, ours = session.keys.identity, session.acting
    reader = reader_of(identity)
    return Author(identity.id, identity.signing_keys, ours.first_counter, reader, ours.session, ours.acting)


def _trusted(session: Session) -> TrustedManifest:
    """The manifest to start with.

    Raises:
        PeerError: if this identity cannot open it. Nobody could then hear this peer, nor it the others.
    """
    manifest = session.stored.manifest
    if manifest.misled:
        raise PeerError(
            f"{session.identity.name} cannot take part: {why_unreadable(manifest)}",
            fix="after that admin has made any change and exported it (peer federation export FILE): "
            "peer federation join FILE",
            code=ExitCode.VERIFICATION_FAILED,
        )
    if not manifest.readable:
        raise PeerError(
            f"{session.identity.name} cannot open the encrypted manifest of the federation {session.stored.id}",
            fix="restore its newest keys (peer keys restore FILE), or take in what an admin exports now: "
            "peer federation join FILE",
        )
    return TrustedManifest(session.stored.manifest, session.stored.blocks, tuple(_proofs(session.journal)))


def _proofs(journal: Journal) -> Iterator[Equivocation]:
    """The proofs against members that this peer no longer follows."""
    for proof, *records in journal.proofs():
        yield read_proof(proof, MemoryBlocks({block.cid: block.data for block in records}))


def _kept_runs(session: Session) -> dict[CID, KeptRun]:
    """This peer's replies and acks in the runs that may still be open."""
    open_runs = [head.run for head in session.journal.heads() if not head.closed]
    return {run: _kept_run(session, run) for run in open_runs}


def _verified(session: Session) -> Verified:
    """How far this peer has verified the runs that it followed."""
    newest = islice(_trained_in(session), REMEMBERED_RUNS)
    heads = {head.run: Position(head.run, head.head, head.height, head.term) for head in newest}
    return Verified(heads, session.journal.well_signed)


def _kept_run(session: Session, run: CID) -> KeptRun:
    journal = session.journal
    kept = KeptRun({kept.message: kept.reply for kept in journal.replies(run)}, journal.state_of(run))
    for block in journal.beside(run):
        body = parse_record(block).body
        if isinstance(body, Ack) and body.by == session.identity.id:
            kept.keep_ack(body)
    return kept


def seed_of(chosen: int) -> bytes:
    """The 32 bytes of a seed from the owner's number."""
    return hashlib.sha256(f"pollen seed {chosen}".encode()).digest()
