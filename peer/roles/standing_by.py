"""Prepares a standby: from the owner's choices, and what the home remembers, to one that is ready to replay runs."""

from __future__ import annotations

from dataclasses import replace

from peer.apps.app_choice import AppChoice
from peer.apps.taken_apps import take_app, tell_what_goes_along
from peer.apps.unpacked_apps import UnpackedApps
from peer.base.errors import ExitCode, PeerError
from peer.engine.interface import EngineError
from peer.engine.own_blocks import OwnBlocks
from peer.history.run_to_resume import RunToResume, run_to_resume
from peer.home.home_location import location_of
from peer.home.journal import RunHead
from peer.roles.serving import Serving, followed, position_of, serving, signed_acks, standby_plan
from peer.run.session import Session
from protocol.blocks.cid import CID, BlockError
from protocol.records.bodies import Role, RunConfig
from protocol.records.signed_records import read_chained
from protocol.roles.leader.run_plan import LeaderSettings
from protocol.roles.server.server import LeadPlan
from protocol.roles.standby.standby_plan import RunToReplay, SignedAcks
from protocol.votes.silence import LEAST_SILENCE
from protocol.wire.announcements import Position


def standing_by(
    session: Session,
    choice: AppChoice,
    settings: LeaderSettings,
    *,
    once: bool,
    run: CID | None,
    takeover_after: float = LEAST_SILENCE,
) -> Serving:
    """A standby, ready to replay the runs that others lead until it is stopped; with ``once``, until the first one is
    closed and replayed. If it leads one of them in the end, it does so with the ``settings``; it goes on with one that
    it had taken over and left open. ``run`` is a run, or its head, to begin with; None: one that it has not finished,
    if any. It stands for a run whose leader was silent for
    ``takeover_after`` seconds, or longer.

    These are runs of the chosen app and, if that is the built-in one, runs of apps that the owner approves.

    Raises:
        PeerError: if the choice cannot be used, or the federation not be read, or it gives this member no such role;
            or there is no such ``run``, or this member leads it.
    """
    trusted = session.trusted(Role.SERVER)
    app = take_app(session.home, choice.app_folder)
    if choice.folder is not None:
        tell_what_goes_along(app, Role.CLIENT, session.on_report)
    node_config = choice.local_config(())

    def unfit(asked: CID, run_config: RunConfig) -> str:
        return choice.unnamed_here(run_config, node_config) if asked == app.id else ""

    kept = signed_acks(session.journal, session.federation, session.identity.id)
    plan = replace(
        standby_plan(session, app.id, node_config, once=once),
        approved=session.journal.approved_apps() if choice.folder is None else None,
        unfit=unfit,
        files=() if choice.folder is None else app.bundled.files,
        run=unfinished(session, kept) if run is None else _named(session, run),
        least_silence=takeover_after,
    )
    session.journal.begin_at(location_of(session.home.path))
    left = None if run is not None else _left_open(session, app.id)
    lead = None if left is None else LeadPlan(left.plan(node_config), left.resumed, unless_led=True)
    return serving(session, trusted, settings, plan, kept, lead=lead)


def _left_open(session: Session, app: CID) -> RunToResume | None:
    """The run that this peer took over and leads, if it was killed before that was closed, and its app is here: nobody
    else goes on with it, unless it is taken over once more."""
    left = run_to_resume(session.journal, session.federation, session.reader(), session.engine)
    if left is None or left.is_closed or left.begun_by == session.identity.id:
        return None
    is_here = left.bundle.app == app or UnpackedApps(session.home).folder(left.bundle.app).is_dir()
    return left if is_here else None


def unfinished(session: Session, kept: dict[CID, SignedAcks]) -> RunToReplay | None:
    """The newest run that this peer has followed, unless it has said of its close what it had to say."""
    newest = next(followed(session), None)
    if newest is None or (newest.closed and _has_said_all(kept[newest.run], newest)):
        return None
    try:
        leader = read_chained(newest.head, OwnBlocks(session.engine, session.journal)).by
    except (BlockError, EngineError):  # its leader will say how far it is
        return None
    return RunToReplay(position_of(newest), leader)


def _has_said_all(signed: SignedAcks, head: RunHead) -> bool:
    return signed.acked >= (head.term, head.height) or signed.contradicted is not None


def _named(session: Session, named: CID) -> RunToReplay:
    """The run that the owner named, by itself or by its head."""
    known = session.journal.head_of(named)
    head = named if known is None else known.head
    try:
        body = read_chained(head, OwnBlocks(session.engine, session.journal))
    except BlockError as error:
        raise PeerError(f"{named} is no run: {error}", fix="name a run of this home (peer ls), or a head") from error
    except EngineError as error:
        raise PeerError(
            f"the run {named} cannot be read: {error}",
            fix="start a peer that has it; or take it in from a file: peer import FILE.car",
            code=ExitCode.UNFINISHED,
        ) from error
    if body.by == session.identity.id:
        raise PeerError(
            f"{session.identity.name} leads the run {body.run or head} itself, and its own word says nothing of it",
            fix="another server of the federation can stand by",
        )
    return RunToReplay(Position(body.run or head, head, body.height, body.term), body.by)
