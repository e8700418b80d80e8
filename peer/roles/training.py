"""Prepares a client: from the owner's choices, and what the home remembers, to one that is ready to train."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

from peer.apps.app_choice import AppChoice
from peer.apps.taken_apps import take_app, tell_what_goes_along
from peer.engine.interface import EngineError
from peer.engine.own_blocks import FIRST_LOOK, OwnBlocks
from peer.home.home_location import location_of
from peer.home.journal import Journal, RunHead
from peer.run.peer import AppPlace, Prepared
from peer.run.runner import Ending
from peer.run.session import Session
from protocol.blocks.cid import CID, Block, BlockError
from protocol.records.bodies import Ack, Close, Comparison, Outcome, RecomputedAck, Role, RunConfig
from protocol.records.environment import Numerics
from protocol.records.signed_records import parse_record
from protocol.roles.client.client import Client
from protocol.roles.client.client_plan import ClientPlan
from protocol.roles.client.kept_run import KeptRun
from protocol.roles.effects import Report, StopCause, What
from protocol.roles.following.followed_run import Verified
from protocol.wire.announcements import Position, topic_all
from strategy.replay.format import child_environment

REPAIRED_REPLIES: Final = 64
"""How many of a run's newest replies a starting client checks. The open ones are among them."""

TOLD_AGAIN: Final = 8
"""Closed runs that a leader may still tell of: it goes on with that for a while, and leads few side by side."""

REMEMBERED_RUNS: Final = 64
"""For how many runs a client remembers how far it has verified them."""


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


def training(session: Session, choice: AppChoice, *, works_in: Path, once: bool) -> Training | None:
    """A client, ready to train in runs until it is stopped; with ``once``, until the first run closes. None if that run
    closed as we were killed, so that nothing is left to do.

    These are runs of the chosen app and, if that is the built-in one, runs of apps that the owner approves. Apps work
    in the folder ``works_in``.

    Raises:
        PeerError: if the choice cannot be used, or the federation not be read, or it gives this member no such role.
    """
    trusted = session.trusted(Role.CLIENT)
    node_config = choice.client_config(session.computing.python)
    app = take_app(session.home, choice.app_folder)
    if choice.folder is not None:
        tell_what_goes_along(app, Role.CLIENT, session.on_report)
    if once and _closed_as_we_were_killed(session):
        return None
    _tell_of_the_last_run(session)
    first_key = session.identity.signing_keys[-1]  # the same after each rotation, so that the app's replies are too
    secret = hashlib.sha256(first_key.sign(b"pollen client secret 1")).digest()
    unfit = choice.unfit(node_config, session.computing.python)

    def declined(asked: CID, run_config: RunConfig) -> str:
        if asked != app.id:
            return ""
        return f"it is of the built-in app, and {unfit}" if unfit else choice.unfit_for(run_config, node_config)

    place = location_of(session.home.path)
    session.journal.begin_at(place)
    plan = ClientPlan(
        app=None if unfit else app.id,
        secret=secret,
        node_config=node_config,
        once=once,
        approved=session.journal.approved_apps() if choice.folder is None else None,
        unfit=declined,
        files=() if choice.folder is None else app.bundled.files,
        remembers=lambda run: not session.journal.may_have_forgotten(run, place),
    )
    if unfit:
        session.on_report(Report(What.BUILT_IN_APP_UNFIT, {"why": unfit}))
    kept = kept_runs(session.journal, session.federation, session.identity.id)
    client = Client(session.author(), trusted, plan, kept, _verified(session))
    environment = child_environment(secret, session.computing.threads, Numerics.NATIVE)
    _repair_replies(session)
    topics = [topic_all(session.federation)]
    return Training(Prepared(session, client.machine, Role.CLIENT, topics, AppPlace(environment, works_in)), client)


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
    return (head for head in heads if head.role is Role.CLIENT and head.federation == session.federation)


def _closed_as_we_were_killed(session: Session) -> bool:
    """Whether the newest run is over, but the peer that answered in it was killed before it could finish."""
    journal, newest = session.journal, next(_trained_in(session), None)
    if newest is None or not newest.closed or journal.is_finished(newest.run) or not journal.replies(newest.run):
        return False
    session.on_report(Report(What.RUN_CLOSED, {"run": str(newest.run), "head": str(newest.head)}))
    journal.finish(newest.run)
    return True


def kept_runs(journal: Journal, federation: CID, member: bytes) -> dict[CID, KeptRun]:
    """What ``member`` replied and confirmed in the runs that may still be open, and in those that closed last. What a
    leader tells of these again would otherwise look forgotten, as in a home that was restored from a copy."""
    heads = journal.heads()
    open_runs = [head.run for head in heads if not head.closed]
    closed = (head.run for head in heads if head.closed and head.federation == federation)  # as a standby, too
    return {run: _kept_run(journal, run, member) for run in (*open_runs, *islice(closed, TOLD_AGAIN))}


def _verified(session: Session) -> Verified:
    """How far this peer has verified the runs that it followed."""
    newest = islice(_trained_in(session), REMEMBERED_RUNS)
    heads = {head.run: Position(head.run, head.head, head.height, head.term) for head in newest}
    return Verified(heads, session.journal.well_signed)


def _kept_run(journal: Journal, run: CID, member: bytes) -> KeptRun:
    replies = journal.replies(run)
    states = {reply.message: reply.state for reply in replies if reply.state is not None}
    kept = KeptRun({reply.message: reply.reply for reply in replies}, states)
    for block in journal.beside(run):
        body = parse_record(block).body
        if isinstance(body, Ack) and body.by == member:
            kept.keep_ack(body)
        elif isinstance(body, RecomputedAck) and body.recomputed.comparison is Comparison.DIVERGED:
            kept.disputes.append(block)
    return kept
