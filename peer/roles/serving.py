"""A server that is ready to run, whichever of its two roles it begins in, and what its end left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from peer.home.home_location import location_of
from peer.home.journal import Journal, RunHead
from peer.run.peer import AppPlace, Prepared
from peer.run.runner import Ending
from peer.run.session import Session
from protocol.blocks.cid import CID, Block
from protocol.blocks.content import ContentKey
from protocol.federation.run_keys import read_private
from protocol.records.bodies import Ack, Close, Comparison, Outcome, ReasonPrivate, RecomputedAck, Role, RunConfig
from protocol.records.signed_records import parse_record
from protocol.replies.checks_and_limits import Check
from protocol.roles.effects import StopCause
from protocol.roles.following.followed_run import Verified
from protocol.roles.leader.run_plan import LeaderSettings
from protocol.roles.newest_manifest import TrustedManifest
from protocol.roles.server.server import LeadPlan, Server, ServerPlan
from protocol.roles.standby.standby_plan import SignedAcks, StandbyPlan
from protocol.wire.announcements import Position, topic_all, topic_leader
from strategy.replay.format import REPLAY_FORMAT

REMEMBERED_RUNS: Final = 64
"""For how many runs a server remembers how far it has verified them as a standby."""


@dataclass(frozen=True, slots=True)
class ClosedRun:
    """How a run that this peer led, or stood by in, has ended."""

    run: CID
    head: CID
    outcome: Outcome
    model: CID | None
    key: ContentKey | None
    """The key of the model's content."""
    reason: str
    """Why the app raised; empty if it returned."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A server, and its parts in this process."""

    prepared: Prepared
    server: Server

    def closed(self) -> ClosedRun | None:
        """How the run has ended; None if it is open. Call it after it was run."""
        chain, engine = self.server.chain, self.prepared.session.engine
        if chain is None or chain.head is None or not chain.closed:
            return None
        body = parse_record(Block(chain.head, engine.get(chain.head))).body
        assert isinstance(body, Close)
        private = read_private(body, ReasonPrivate, chain.keys)
        key, reason = chain.keys.content(body.epoch), private.reason if private else ""
        return ClosedRun(chain.run, chain.head, body.outcome, body.model, key, reason)

    def ended(self, ending: Ending) -> Ending:
        """The ending, with what the server has signed against a leader; nothing is left to do for the runs of others
        that it took over and closed. Call it after it was run."""
        session = self.prepared.session
        for head in session.journal.heads():
            if head.closed and session.journal.leads(head) and session.journal.own(head.run) is None:
                session.journal.finish(head.run)
        if ending.why or not self.server.contradicted:
            return ending
        why = "this server computed something else than what the run records, and has signed that"
        run = "" if self.server.chain is None else f"{self.server.chain.run.label} "
        fix = f"peer audit {run}--replay says what differs, with both words"
        return replace(ending, why=why, cause=StopCause.REPLAY, fix=fix)


def serving(
    session: Session,
    trusted: TrustedManifest,
    settings: LeaderSettings,
    standby: StandbyPlan,
    kept: Mapping[CID, SignedAcks],
    *,
    lead: LeadPlan | None = None,
    environment: Mapping[str, str] | None = None,
    job: int | None = None,
) -> Serving:
    """A server, ready to run: it begins with ``lead``, or as a standby if that is None. ``environment`` is that of the
    app process of a run that it begins itself; of others, their records say how they compute."""
    known_runs = frozenset(head.run for head in session.journal.heads())
    settings = replace(settings, known_runs=known_runs, remembers=standby.remembers)
    standby = replace(standby, any_model=not settings.admission.makes(Check.MODEL))
    server = Server(session.author(), trusted, ServerPlan(settings, standby, lead), kept, verified(session))
    topics = [topic_all(session.federation), topic_leader(session.federation)]
    place = AppPlace(environment or {}, session.home.path / "scratch")
    return Serving(Prepared(session, server, Role.SERVER, topics, place, job=job), server)


def standby_plan(session: Session, app: CID | None, node_config: RunConfig, *, once: bool) -> StandbyPlan:
    """For runs of ``app``, whose files are here."""
    place = location_of(session.home.path)
    return StandbyPlan(
        app=app,
        replay_format=REPLAY_FORMAT,
        node_config=node_config,
        once=once,
        remembers=lambda run: not session.journal.may_have_forgotten(run, place),
    )


def has_other_servers(session: Session, trusted: TrustedManifest) -> bool:
    """Whether another member of the federation may lead its runs."""
    members = trusted.manifest.members.values()
    return any(Role.SERVER in member.roles and member.id != session.identity.id for member in members)


# -- what the home remembers ---------------------------------------------------------------------------------------


def followed(session: Session) -> Iterator[RunHead]:
    """The runs of the federation that this peer stands by in, the last changed first."""
    journal = session.journal
    heads = (head for head in journal.heads() if (head.role, head.federation) == (Role.SERVER, session.federation))
    return (head for head in heads if not journal.leads(head))


def verified(session: Session) -> Verified:
    """How far this peer has verified the runs that it followed."""
    newest = islice(followed(session), REMEMBERED_RUNS)
    return Verified({head.run: position_of(head) for head in newest}, session.journal.well_signed)


def position_of(head: RunHead) -> Position:
    """How far a run is known here."""
    return Position(head.run, head.head, head.height, head.term)


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
        if isinstance(body, RecomputedAck) and body.recomputed.comparison is Comparison.DIVERGED:
            kept.disputes.append(block)
    return kept
