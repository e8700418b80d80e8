"""Joining with a ticket: the inviter, which answers newcomers while a peer runs, and the newcomer, which asks.

`protocol.joining.messages` decides. Here are the files, the clock and the engine.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import time
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Final

from crypto.identity import Identity, PublicIdentity
from peer.base import logs
from peer.base.errors import ExitCode, PeerError
from peer.engine.interface import Engine, EngineError
from peer.engine.record_fetcher import RecordFetcher
from peer.engine.sound_blocks import SoundBlocks
from peer.home.federations import MAX_FILE_SIZE, FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.invitations import Invitations
from peer.home.reader_choice import reader_of
from peer.membership.changes import add_member, can_change_alone
from peer.membership.proposing import ProposalStore
from protocol.blocks.cid import CID, Block, MemoryBlocks, cbor_data_block
from protocol.federation.manifest import manifest_at
from protocol.federation.past_members import listed_since
from protocol.joining.messages import (
    Answer,
    Attempt,
    Decision,
    Join,
    NotForUs,
    Pending,
    Refused,
    Welcomed,
    WhyRefused,
    decide,
    inline_blocks,
    open_join,
    parse_join_envelope,
    seal_answer,
    topic_join,
)
from protocol.joining.tickets import Invitation, InvitationState, Ticket
from protocol.records.bodies import Federation
from protocol.roles.effects import Report, What

MIN_INTERVAL: Final = 0.1
"""Seconds between two answers about one invitation at least, even if somebody repeats a join all the time."""

REST: Final = 9.0
"""An answer waits this many times the processor time that the last one about the same invitation took. So one ticket
costs an inviter a tenth of a core at most, however often its join is repeated and however many members there are."""


class Inviter:
    """Answers newcomers with a ticket of this home's, on behalf of ``identity``, which may be able to add members or
    not."""

    def __init__(
        self,
        home: Home,
        federation: CID,
        identity: Callable[[], Identity],
        engine: Engine,
        on_report: Callable[[Report], None],
    ) -> None:
        self._home = home
        self._store = FederationStore(home)
        self._invitations = Invitations(home, federation)
        self._federation = federation
        self._identity = identity
        self._engine = engine
        self._on_report = on_report
        self._rests_until: dict[bytes, float] = {}
        """When an invitation may be answered about again, by its tag."""
        self._asked_at: dict[bytes, float] = {}
        """When it was asked for last, by its tag."""

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Answer, in a thread of the engine's, until the context ends."""
        subscription = self._engine.subscribe(topic_join(self._federation), self.receive)
        try:
            yield
        finally:
            subscription.close()

    def state_of(self, invitation: Invitation) -> InvitationState:
        """The state of the invitation by now."""
        kept = self._invitations.get(invitation.keys.tag)
        return InvitationState.EXPIRED if kept is None else kept.state_at(time.time())

    def asked_ago(self, invitation: Invitation) -> float:
        """Seconds since a newcomer with that ticket asked last; infinite if none did."""
        return time.monotonic() - self._asked_at.get(invitation.keys.tag, -math.inf)

    def receive(self, data: bytes) -> None:
        """Take one message that came on the topic, and answer it if it is a newcomer's."""
        try:
            envelope = parse_join_envelope(data)
            if not envelope.is_join or time.monotonic() < self._rests_until.get(envelope.tag, 0.0):
                return
            invitation = self._invitations.get(envelope.tag)
            if invitation is None:
                return
            join = open_join(invitation.keys, envelope)
            self._asked_at[envelope.tag] = time.monotonic()
            with self._resting_after(envelope.tag):
                answer = self._answer(envelope.tag, join)
                self._engine.publish(topic_join(self._federation), seal_answer(invitation.keys, answer))
        except NotForUs as error:
            logs.event("join-dropped", logging.DEBUG, why=str(error))
        except (PeerError, EngineError, OSError) as error:  # the newcomer asks again
            logs.event("join-not-answered", logging.WARNING, why=str(error))

    @contextlib.contextmanager
    def _resting_after(self, tag: bytes) -> Iterator[None]:
        """Make the next answer about this invitation wait in proportion, however the work on this one ends."""
        began = time.thread_time()
        try:
            yield
        finally:
            took = time.thread_time() - began
            self._rests_until[tag] = time.monotonic() + max(MIN_INTERVAL, REST * took)

    def _answer(self, tag: bytes, join: Join) -> Answer:
        with self._store.changing():
            stored, invitation = self._store.get(self._federation), self._invitations.get(tag)
            if stored is None or invitation is None:
                raise PeerError("the federation, or the invitation, was removed")
            now, identity = time.time(), self._identity()
            stored = stored.read_by(reader_of(identity))
            decision = decision_on(invitation, join.public, stored, identity, now)
            match decision:
                case Refused():
                    if decision.why is WhyRefused.EXPIRED and invitation.state is not InvitationState.EXPIRED:
                        self._invitations.keep(invitation.expired(), now)
                    return self._told(invitation, decision)
                case Decision.WELCOME:
                    return self._welcome(invitation.used_by(join.public), stored, join, now)
            if invitation.newcomer is None:
                invitation = invitation.used_by(join.public)
                self._invitations.keep(invitation, now)  # at once, so that nobody else can use it whatever happens
            if decision is Decision.ASK or not self._may_add(stored, identity):
                return self._told(invitation, Pending(join.public.id))
            try:
                stored = add_member(
                    stored, identity, join.public, name=invitation.name, roles=invitation.roles, time=now
                )
            except PeerError as error:
                return self._told(invitation, Refused(join.public.id, WhyRefused.UNFIT, str(error)))
            self._store.save(stored)
            return self._welcome(invitation, stored, join, now)

    def _may_add(self, stored: StoredFederation, identity: Identity) -> bool:
        """Whether this admin can add a member alone, and no proposal with its signature waits for the same version."""
        waits = ProposalStore(self._home, stored).signed_by(identity) is not None
        return can_change_alone(stored.manifest, identity) and not waits

    def _welcome(self, invitation: Invitation, stored: StoredFederation, join: Join, now: float) -> Answer:
        if (done := invitation.done()) != self._invitations.get(invitation.keys.tag):
            self._invitations.keep(done, now)
            self._on_report(Report(What.JOINED, {"name": invitation.name, "version": stored.manifest.version}))
        blocks = inline_blocks(tuple(stored.blocks.values()))
        if not blocks:
            self._engine.put((Block(cid, data) for cid, data in stored.blocks.items()), pin=list(stored.blocks))
        addresses = (*self._engine.addresses(), *stored.reached_at)
        return Welcomed(join.public.id, stored.manifest.cid, blocks, tuple(dict.fromkeys(addresses)))

    def _told(self, invitation: Invitation, answer: Pending | Refused) -> Answer:
        match answer:
            case Pending():
                self._on_report(Report(What.JOIN_PENDING, {"name": invitation.name}))
            case Refused(why=why, note=note):
                self._on_report(Report(What.JOIN_REFUSED, {"name": invitation.name, "why": note or why.value}))
        return answer


def decision_on(
    invitation: Invitation, public: PublicIdentity, stored: StoredFederation, admin: Identity, now: float
) -> Decision | Refused:
    """What to do about a newcomer with the ticket (`protocol.joining.messages.decide`), by all that ``admin`` knows.

    Call it, and act on it, inside `peer.home.federations.FederationStore.changing`.
    """
    reader = reader_of(admin).remembering(stored.manifest_keys)
    listed = listed_since(stored.manifest, invitation.since, MemoryBlocks(stored.blocks), reader)
    return decide(invitation, public, stored.manifest, now, listed)


def ask_to_join(
    ticket: Ticket, join: Join, engine: Engine, wait: float, on_pending: Callable[[], None]
) -> Answer | None:
    """Ask with the ticket until it is answered, for ``wait`` seconds at most.

    Returns the last answer, which is a `Pending` if an admin has not approved in time; None if nobody answers.
    ``on_pending`` is called once, if an admin has to approve.
    """
    heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    start = time.monotonic()
    attempt = Attempt(ticket.keys, join, start)
    answer: Answer | None = None
    subscription = engine.subscribe(topic_join(ticket.federation), heard.put)
    try:
        while (now := time.monotonic()) < start + wait:
            if now >= attempt.at:
                engine.connect(ticket.addresses)
                engine.publish(topic_join(ticket.federation), attempt.ask(now))
            try:
                found = attempt.hear(heard.get(timeout=max(0.0, min(attempt.at, start + wait) - time.monotonic())))
            except queue.Empty:
                continue
            if isinstance(found, Pending) and answer is None:
                on_pending()
            answer = found or answer
            if isinstance(found, Welcomed | Refused):
                return found
    finally:
        subscription.close()
    return answer


def accept(ticket: Ticket, welcomed: Welcomed, identity: Identity, engine: Engine) -> StoredFederation:
    """The federation that welcomed ``identity``, verified from the version that the ticket names.

    Raises:
        protocol.blocks.cid.BlockError: if a version breaks a rule, or belongs to another federation.
        PeerError: if it does not list the newcomer, or is too large.
        EngineError: if a block does not come.
    """
    blocks = {block.cid: block.data for block in map(cbor_data_block, welcomed.blocks)}
    if not blocks:
        with contextlib.closing(RecordFetcher(SoundBlocks(engine))) as fetcher:
            blocks = fetcher.fetch(welcomed.manifest, Federation)
    if sum(map(len, blocks.values())) > MAX_FILE_SIZE:
        raise PeerError("the federation's manifest is too large", code=ExitCode.VERIFICATION_FAILED)
    reader = reader_of(identity)
    manifest = manifest_at(welcomed.manifest, ticket.federation, MemoryBlocks(blocks), reader=reader)
    if identity.id not in manifest.members:
        raise PeerError(
            "the inviter says that you are a member, but the manifest that it names does not list you",
            fix="tell the admin who made the ticket, and ask for another one",
            code=ExitCode.VERIFICATION_FAILED,
        )
    addresses = tuple(dict.fromkeys([*welcomed.addresses, *ticket.addresses]))
    return StoredFederation(manifest, MappingProxyType(blocks), ticket.swarm_key, addresses, reader.manifest_keys)
