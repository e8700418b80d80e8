"""Prepares the lead of a run: from the owner's choices to a leader that is ready to run, and what its end left."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from crypto.symmetric import SymmetricKey
from peer.apps.app_python import machine_of
from peer.apps.taken_apps import App, kept_app, store_app
from peer.apps.unpacked_apps import UnpackedApps
from peer.base.errors import ExitCode, PeerError
from peer.engine.contents import EngineBlocks, EngineContents
from peer.engine.interface import EngineError
from peer.engine.sound_blocks import SoundBlocks
from peer.history.run_to_resume import RunToResume, not_the_same, run_to_resume
from peer.home.home_location import location_of
from peer.run.peer import AppPlace, Prepared
from peer.run.session import Computing, Session
from protocol.blocks.bundle import difference_from
from protocol.blocks.cid import CID, Block, BlockError
from protocol.blocks.content import ContentKey
from protocol.federation.manifest import Manifest
from protocol.federation.run_keys import read_private
from protocol.keeping.plan import KEEP_EVERYTHING
from protocol.records.bodies import Close, Outcome, ReasonPrivate, Role, RunConfig
from protocol.records.signed_records import parse_record
from protocol.roles.effects import Report, What
from protocol.roles.leader.leader import Leader
from protocol.roles.leader.run_plan import LeaderSettings, ResumedRun, RunPlan, first_content_key
from protocol.roles.newest_manifest import TrustedManifest
from protocol.wire.announcements import topic_all, topic_leader
from protocol.witnesses.needed import possible_witnesses, witnesses_needed
from strategy.models.initial_model import InitialModel
from strategy.replay.format import REPLAY_FORMAT, server_environment

CLOSING_TIMEOUT: Final = 60.0
"""Seconds; a run that is only closed sends its clients nothing."""


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
    trusted = session.trusted(Role.SERVER)
    left = None if new_run else _left_open(session, app, run_config, seed, settings)
    if left is not None:
        return _going_on(session, trusted, left, app, node_config, settings, job, wait_for_members)
    session.journal.keep_place(location_of(session.home.path))
    model_key = SymmetricKey.generate() if trusted.manifest.encrypted else None
    plan = _new_plan(session, app, run_config, node_config, seed or os.urandom(32), initial, model_key)
    plan = replace(
        plan,
        keep=settings.keep or KEEP_EVERYTHING,
        best_by=settings.best_by,
        witnesses=settings.witnesses or 0,
    )
    _require_witnesses(session, plan.witnesses, trusted.manifest)
    return _leading(session, trusted, plan, settings, None, session.computing, job)


def resuming(session: Session, run: CID, settings: LeaderSettings, *, job: int) -> Leading | None:
    """A run that this peer led and left open, ready to go on as it began. None if nothing is left to do for it.

    Raises:
        PeerError: if it cannot be verified, or this home no longer has its app.
    """
    trusted = session.trusted(Role.SERVER)
    left = run_to_resume(session.journal, session.federation, session.reader(), session.engine, run)
    if left is None:
        return None
    folder = UnpackedApps(session.home).folder(left.bundle.app)
    app = kept_app(session.home, left.bundle.app) if folder.is_dir() else None
    if app is None:
        raise PeerError(
            f"this home no longer has the app of the run {run.label}, in {folder}",
            fix="go on with it by the command that began it: peer start --role server --app DIR",
            code=ExitCode.UNFINISHED,
        )
    return _going_on(session, trusted, left, app, (), settings, job, None)


def closing(session: Session, run: CID, why: str) -> Leading | None:
    """A run that this peer led and left open, ready to be closed on its owner's word. Neither its app nor its updates
    are needed. None if nothing is left to do for it.

    Raises:
        PeerError: if it cannot be verified.
    """
    trusted = session.trusted(Role.SERVER)
    left = run_to_resume(session.journal, session.federation, session.reader(), session.engine, run)
    if left is None:
        return None
    settings = LeaderSettings(
        min_clients=1,
        client_timeout=CLOSING_TIMEOUT,
        waits_for_members=_waits_for_members(session, run, None),
        closes=why,
    )
    return _leading(session, trusted, left.plan(()), settings, left.resumed, session.computing, None)


def _going_on(
    session: Session,
    trusted: TrustedManifest,
    left: RunToResume,
    app: App,
    node_config: RunConfig,
    settings: LeaderSettings,
    job: int | None,
    wait_for_members: bool | None,
) -> Leading:
    """A run that was left open, ready to go on."""
    left.require_updates(session.engine)
    if not left.is_closed:
        _require_witnesses(session, left.begun.witnesses, trusted.manifest)
    plan = left.plan(node_config)
    store_app(session.engine, app, plan.bundle.key)  # the engine may have lost it
    if _waits_for_members(session, left.resumed.chain.run, wait_for_members):
        settings = replace(settings, waits_for_members=True)
    as_begun = replace(session.computing, threads=left.environment.threads, numerics=left.environment.numerics)
    return _leading(session, trusted, plan, settings, left.resumed, as_begun, job)


def _leading(
    session: Session,
    trusted: TrustedManifest,
    plan: RunPlan,
    settings: LeaderSettings,
    resumed: ResumedRun | None,
    computing: Computing,
    job: int | None,
) -> Leading:
    settings = replace(settings, known_runs=frozenset(head.run for head in session.journal.heads()))
    leader = Leader(session.author(), trusted, plan, settings, resumed)
    topics = [topic_all(session.federation), topic_leader(session.federation)]
    scratch = session.home.path / "scratch"
    environment = server_environment(plan.seed, computing.threads, computing.numerics, machine_of(computing.python))
    prepared = Prepared(session, leader.machine, Role.SERVER, topics, AppPlace(environment, scratch), job=job)
    return Leading(prepared, leader)


def _require_witnesses(session: Session, asked: int, manifest: Manifest) -> None:
    """Raise `PeerError` if the run cannot have as many witnesses as it needs, or asks for fewer than its federation."""
    needed, least = witnesses_needed(asked, manifest), manifest.settings.witnesses
    if 0 < asked < least:
        raise PeerError(
            f"a run of {manifest.title} needs {least} witnesses at least, and --witnesses asks for {asked}",
            fix="leave out --witnesses; an admin changes it for all runs: peer federation set witnesses N",
        )
    others = len(possible_witnesses(manifest, session.identity.id))
    if others < needed:
        raise PeerError(
            f"clients are to train only on what {needed} servers besides this one have recomputed, and "
            f"{manifest.title} has {others} other servers",
            fix="add one (peer federation invite --name NAME --role server), which then stands by: peer start --role "
            "server --standby; or ask for fewer: --witnesses, peer federation set witnesses N",
        )


def _waits_for_members(session: Session, run: CID, asked: bool | None) -> bool:
    """Whether to wait for all clients before going on with a run, because this home may have forgotten records."""
    may_lack = session.journal.may_have_forgotten(run, location_of(session.home.path))
    waits = may_lack if asked is None else asked
    if may_lack:
        session.on_report(Report(What.HOME_MOVED, {"waits": int(waits)}))
    return waits


def _left_open(
    session: Session, app: App, run_config: RunConfig, seed: bytes | None, settings: LeaderSettings
) -> RunToResume | None:
    """The run to go on with. A closed run is left alone if the owner asks for something else now."""
    left = run_to_resume(session.journal, session.federation, session.reader(), session.engine)
    if left is None:
        return None
    why = left.difference(app.id, run_config, REPLAY_FORMAT, seed) or left.other_options(
        settings.keep, settings.best_by, settings.witnesses
    )
    if not why:
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
    model_key: SymmetricKey | None,
) -> RunPlan:
    """The plan of a new run. Stores its app and initial model, encrypted with the model key of the first epoch; in a
    federation that does not encrypt there is none."""
    key = None if model_key is None else first_content_key(model_key, session.federation, session.identity.id)
    return RunPlan(
        bundle=store_app(session.engine, app, key),
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


def seed_of(chosen: int) -> bytes:
    """The 32 bytes of a seed from the owner's number."""
    return hashlib.sha256(f"pollen seed {chosen}".encode()).digest()
