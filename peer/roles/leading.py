"""Prepares the lead of a run: from the owner's choices to a server that is ready to lead it."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

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
from peer.roles.serving import Serving, followed, has_other_servers, serving, signed_acks, standby_plan
from peer.roles.standing_by import unfinished
from peer.run.session import Computing, Session
from protocol.blocks.bundle import difference_from
from protocol.blocks.cid import CID, BlockError
from protocol.federation.manifest import Manifest
from protocol.keeping.plan import KEEP_EVERYTHING
from protocol.records.bodies import Role, RunConfig
from protocol.replies.closing_rule import ClosingRule, Count
from protocol.roles.effects import Report, What
from protocol.roles.leader.run_plan import LeaderSettings, RunPlan, first_content_key
from protocol.roles.newest_manifest import TrustedManifest
from protocol.roles.server.server import LeadPlan
from protocol.roles.standby.standby_plan import RunToReplay, SignedAcks, StandbyPlan
from protocol.witnesses.needed import possible_witnesses, witnesses_needed
from strategy.replay.format import REPLAY_FORMAT, server_environment

if TYPE_CHECKING:
    from strategy.models.initial_model import InitialModel  # imports flwr, which is slow

CLOSING_TIMEOUT: Final = 60.0
"""Seconds; a run that is only closed sends its clients nothing."""


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
) -> Serving:
    """A run of ``app``, ready to be led to its end.

    If a run was left open, it goes on, unless ``new_run`` is set. ``seed`` (32 bytes) is the owner's; None takes the
    system's randomness. A new run begins with the model ``initial``. With ``wait_for_members``, the server signs
    nothing in an open run until all its clients have said what they have of it. None means: only if the home was moved.
    ``job`` is the number of the job whose run it is. Unless ``new_run`` is set, it listens first if there are other
    servers: if one leads a run of this app, or leads on what was left open, this server stands by to its end.

    Raises:
        PeerError: if a run was left open, but with another app or other settings.
    """
    trusted = session.trusted(Role.SERVER)
    left = None if new_run else _left_open(session, app, run_config, seed, settings)
    if left is not None:
        return _going_on(session, trusted, left, app, node_config, settings, job, wait_for_members)
    kept = signed_acks(session.journal, session.federation, session.identity.id)
    standby = _standby(session, app, node_config)
    if not new_run and (elsewhere := _led_by_another(session, kept)) is not None:
        return serving(session, trusted, settings, replace(standby, run=elsewhere), kept, job=job)
    session.journal.keep_place(location_of(session.home.path))
    model_key = SymmetricKey.generate() if trusted.manifest.encrypted else None
    plan = _new_plan(session, app, run_config, node_config, seed or os.urandom(32), initial, model_key)
    plan = replace(
        plan,
        keep=settings.keep or KEEP_EVERYTHING,
        best_by=settings.best_by,
        witnesses=settings.witnesses or 0,
        closing=settings.closing,
    )
    _require_witnesses(session, plan.witnesses, trusted.manifest)
    _look_at_closing(session, trusted, settings.closing)
    lead = LeadPlan(plan, unless_led=not new_run and has_other_servers(session, trusted))
    return _leading(session, trusted, standby, lead, settings, session.computing, job)


def resuming(session: Session, run: CID, settings: LeaderSettings, *, job: int) -> Serving | None:
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


def closing(session: Session, run: CID, why: str) -> Serving | None:
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
    standby = standby_plan(session, None, (), once=True)
    lead = LeadPlan(left.plan(()), left.resumed, has_other_servers(session, trusted))
    return _leading(session, trusted, standby, lead, settings, session.computing, None)


def _going_on(
    session: Session,
    trusted: TrustedManifest,
    left: RunToResume,
    app: App,
    node_config: RunConfig,
    settings: LeaderSettings,
    job: int | None,
    wait_for_members: bool | None,
) -> Serving:
    """A run that was left open, ready to go on."""
    left.require_updates(session.engine)
    if not left.is_closed:
        _require_witnesses(session, left.begun.witnesses, trusted.manifest)
    plan = left.plan(node_config)
    store_app(session.engine, app, plan.bundle.key)  # the engine may have lost it
    if _waits_for_members(session, left.resumed.chain.run, wait_for_members):
        settings = replace(settings, waits_for_members=True)
    as_begun = replace(session.computing, threads=left.environment.threads, numerics=left.environment.numerics)
    lead = LeadPlan(plan, left.resumed, has_other_servers(session, trusted))
    return _leading(session, trusted, _standby(session, app, node_config), lead, settings, as_begun, job)


def _leading(
    session: Session,
    trusted: TrustedManifest,
    standby: StandbyPlan,
    lead: LeadPlan,
    settings: LeaderSettings,
    computing: Computing,
    job: int | None,
) -> Serving:
    kept = signed_acks(session.journal, session.federation, session.identity.id)
    machine = machine_of(computing.python)
    environment = server_environment(lead.plan.seed, computing.threads, computing.numerics, machine)
    return serving(session, trusted, settings, standby, kept, lead=lead, environment=environment, job=job)


def _standby(session: Session, app: App, node_config: RunConfig) -> StandbyPlan:
    """For a run of ``app`` that another server leads by now: we stay to its end."""
    return replace(standby_plan(session, app.id, node_config, once=True), files=app.bundled.files)


def _led_by_another(session: Session, kept: dict[CID, SignedAcks]) -> RunToReplay | None:
    """The run that this peer led last, if another server took it over, and something is left to do for it."""
    newest = next(followed(session), None)
    if newest is None or not session.journal.has_led(newest):
        return None
    return unfinished(session, kept)


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
            f"{manifest.title} has {others} of them",
            fix="add one (peer federation invite --name NAME --role server), which then stands by: peer start --role "
            "server --standby; or ask for fewer: --witnesses, peer federation set witnesses N",
        )


def _look_at_closing(session: Session, trusted: TrustedManifest, rule: ClosingRule | None) -> None:
    """Say so if the rule asks for more replies than there can be."""
    clients = len(trusted.manifest.nodes_of(Role.CLIENT))
    if rule is not None and isinstance(rule.enough, Count) and rule.enough.replies > clients:
        told = {"needed": rule.enough.replies, "clients": clients}
        session.on_report(Report(What.CLOSING_OVER_MEMBERS, told))


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
        settings.keep, settings.best_by, settings.witnesses, settings.closing
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


def seed_of(chosen: int) -> bytes:
    """The 32 bytes of a seed from the owner's number."""
    return hashlib.sha256(f"pollen seed {chosen}".encode()).digest()
