"""Prepares a standby: from the owner's choices, and what the home remembers, to one that is ready to replay runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from peer.apps.app_choice import AppChoice
from peer.apps.taken_apps import take_app, tell_what_goes_along
from peer.base.errors import ExitCode, PeerError
from peer.engine.interface import EngineError
from peer.engine.own_blocks import OwnBlocks
from peer.home.home_location import location_of
from peer.home.journal import Journal, RunHead
from peer.run.peer import AppPlace, Prepared
from peer.run.runner import Ending
from peer.run.session import Session
from protocol.blocks.cid import CID, BlockError
from protocol.records.bodies import Ack, Role, RunConfig
from protocol.records.signed_records import parse_record, read_chained
from protocol.roles.effects import StopCause
from protocol.roles.following.followed_run import Verified
from protocol.roles.standby.standby import Standby
from protocol.roles.standby.standby_plan import RunToReplay, SignedAcks, StandbyPlan
from protocol.wire.announcements import Position, topic_all
from strategy.replay.format import REPLAY_FORMAT

REMEMBERED_RUNS: Final = 64
"""For how many runs a standby remembers how far it has verified them."""


@dataclass(frozen=True, slots=True)
class StandingBy:
    """A standby that replays one run after the other."""

    prepared: Prepared
    standby: Standby

    def ended(self, ending: Ending) -> Ending:
        """The ending, with what the standby has signed against a leader. Call it after it was run."""
        if ending.why or not self.standby.contradicted:
            return ending
        why = "this server computed something else than what the run records, and has signed that"
        return replace(
            ending, why=why, cause=StopCause.REPLAY, fix="peer audit RUN --replay says what differs, with both words"
        )


def standing_by(session: Session, choice: AppChoice, *, once: bool, run: CID | None) -> StandingBy:
    """A standby, ready to replay the runs that others lead until it is stopped; with ``once``, until the first one is
    closed and replayed. ``run`` is a run, or its head, to begin with; None: one that it has not finished, if any.

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

    place = location_of(session.home.path)
    kept = signed_acks(session.journal, session.federation, session.identity.id)
    plan = StandbyPlan(
        app=app.id,
        replay_format=REPLAY_FORMAT,
        node_config=node_config,
        once=once,
        approved=session.journal.approved_apps() if choice.folder is None else None,
        unfit=unfit,
        files=() if choice.folder is None else app.bundled.files,
        run=_unfinished(session, kept) if run is None else _named(session, run),
        remembers=lambda run: not session.journal.may_have_forgotten(run, place),
    )
    session.journal.begin_at(place)
    standby = Standby(session.author(), trusted, plan, kept, _verified(session))
    topics = [topic_all(session.federation)]
    scratch = session.home.path / "scratch"
    place_of_app = AppPlace({}, scratch)
    prepared = Prepared(session, standby.machine, Role.SERVER, topics, place_of_app, judges_pubsub=False)
    return StandingBy(prepared, standby)


def _followed(session: Session) -> Iterator[RunHead]:
    """The runs of the federation that this peer has stood by in, the last changed first."""
    journal = session.journal
    heads = (head for head in journal.heads() if (head.role, head.federation) == (Role.SERVER, session.federation))
    return (head for head in heads if not journal.has_led(head))


def _verified(session: Session) -> Verified:
    """How far this peer has verified the runs that it followed."""
    newest = islice(_followed(session), REMEMBERED_RUNS)
    return Verified({head.run: _position(head) for head in newest}, session.journal.well_signed)


def _position(head: RunHead) -> Position:
    return Position(head.run, head.head, head.height, head.term)


def _unfinished(session: Session, kept: dict[CID, SignedAcks]) -> RunToReplay | None:
    """The newest run that this peer has followed, unless it has said of its close what it had to say."""
    newest = next(_followed(session), None)
    if newest is None or (newest.closed and (kept[newest.run].acked >= newest.height or _contradicted(kept, newest))):
        return None
    try:
        leader = read_chained(newest.head, OwnBlocks(session.engine, session.journal)).by
    except (BlockError, EngineError):  # its leader will say how far it is
        return None
    return RunToReplay(_position(newest), leader)


def _contradicted(kept: dict[CID, SignedAcks], head: RunHead) -> bool:
    return kept[head.run].has_contradicted


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


def signed_acks(journal: Journal, federation: CID, member: bytes) -> dict[CID, SignedAcks]:
    """What ``member`` has confirmed in the runs of a federation, in whatever role: two words of one key at one place
    are proof against it."""
    heads = (head for head in journal.heads() if head.federation == federation)
    return {head.run: _signed_acks_of(journal, head.run, member) for head in heads}


def _signed_acks_of(journal: Journal, run: CID, member: bytes) -> SignedAcks:
    kept = SignedAcks()
    for block in journal.beside(run):
        body = parse_record(block).body
        if isinstance(body, Ack) and body.by == member:
            kept.keep(body, block)
    return kept
