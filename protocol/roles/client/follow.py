"""Following runs: hearing of heads, catching up, and saying how far we are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from typing import Final

from protocol.blocks.cid import CID, checked_block
from protocol.chain.chain import Chain, Step
from protocol.pacing.retry import FIRST_RETRY, Retry
from protocol.records.bodies import Chained, Close, Member, Role
from protocol.records.signed import WellSigned
from protocol.roles.catch_up import CatchUp, Forked, Lost
from protocol.roles.effects import FetchRecord, Store, What, WriteHead
from protocol.roles.events import Stopping
from protocol.roles.inherited import Inherited
from protocol.roles.leader.presence import AWAY_AFTER
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.proofs import why_distrusted
from protocol.wire.announcements import (
    Announcement,
    Beat,
    Bye,
    Head,
    Hello,
    ManifestRef,
    PeerState,
    Position,
    Proof,
    Recall,
    Recalled,
    Said,
    topic_leader,
)


@dataclass(frozen=True, slots=True)
class Verified:
    """What earlier processes of this peer have verified."""

    heads: Mapping[CID, Position] = field(default_factory=dict)
    """How far they came in the runs that they followed, the newest first."""
    well_signed: WellSigned = frozenset()


NOTHING: Final = Verified()


class ClientState(Enum):
    """Where a client is."""

    NEW = auto()
    LISTENING = auto()
    """No run to follow, or none that it takes part in."""
    FOLLOWING = auto()
    STOPPED = auto()


class Following(Inherited):
    """A machine that follows one run at a time, the newest of its leader's."""

    def __init__(self, author: Author, trusted: TrustedManifest, verified: Verified) -> None:
        super().__init__(author, trusted, topic_leader(trusted.manifest.federation))
        self._verified = verified
        self._before = next(iter(verified.heads.values()), None)
        self._recalled: dict[bytes, float] = {}
        """When each server was last told what we know of its run."""
        self._run: CatchUp | None = None
        self._fetching: set[CID] = set()
        self._servers: dict[bytes, float] = {}
        """When each server last said that it leads a run."""
        self._lost: Counter[bytes] = Counter()
        """How often in a row nothing came of what a server said."""
        self._note = ""
        """Why we take no part in the run, empty where we do."""
        self._heard_leader = False
        self._heard: dict[bytes, float] = {}
        """When each server that is here was heard last."""
        self._hello = Retry(0.0)

    # -- for the role to fill ---------------------------------------------------------------------------------------

    def _begun(self) -> None:
        """Another run is followed from now on."""
        raise NotImplementedError

    def _left(self) -> None:
        """The run is not followed any more."""
        raise NotImplementedError

    def _stepped(self, step: Step, now: float) -> None:
        """One more record of the run is verified."""
        raise NotImplementedError

    def _leader_is_back(self, now: float) -> None:
        """A leader said hello: it may have missed what we announced."""
        raise NotImplementedError

    @property
    def _peer_state(self) -> PeerState:
        """What our beats say of us."""
        raise NotImplementedError

    # -- saying -----------------------------------------------------------------------------------------------------

    def _present(self, kind: type[Hello] | type[Beat]) -> Hello | Beat:
        manifest = ManifestRef(self.manifest.cid, self.manifest.version)
        return kind(manifest, self._peer_state, self._position, self._note)

    @property
    def _position(self) -> Position | None:
        """What this client has verified: its acknowledgement. A process that has caught up with nothing yet says how
        far the one before it was: a leader may have forgotten (`protocol.roles.leader.forgotten_records`)."""
        run, before = self._run, self._before
        if run is None:
            return before
        chain, head = run.chain, run.chain.head
        if head is None or (before is not None and before.run == run.run and before.height > chain.height):
            return before
        return Position(chain.run, head, chain.height, chain.term)

    def _newest_of(self, run: CID) -> Position | None:
        """The newest head of a run that we have verified, or heard of."""
        heard = self._run.newest if self._run is not None and self._run.run == run else None
        told = [heard, self._verified.heads.get(run)]
        return max((position for position in told if position), key=lambda position: position.height, default=None)

    def _tell_what_is_known(self, server: bytes, asked: Recall, now: float) -> None:
        """Say to a server that has started how far we know its run, so that it forgets none of it."""
        if asked.run is None or now < self._recalled.get(server, -FIRST_RETRY) + FIRST_RETRY:
            return
        self._recalled[server] = now
        told = Recalled(server, asked.session, self._newest_of(asked.run))
        self._voice.announce(told, topic=self._voice.topic)

    def _keep_saying(self, now: float) -> None:
        """Say hello until a leader is heard, and beat."""
        if not self._heard_leader and now >= self._hello.at:
            self._hello.back_off(now)
            self._voice.say(Hello, now)
        if now >= self._voice.next_beat:
            self._voice.say(Beat, now)
        for server in [server for server, at in self._heard.items() if now >= self._deafness.ends(at, AWAY_AFTER)]:
            self._is_away(server)
        self._voice.ask_for_copies(now)
        self._proofs.tell(now)

    def _is_away(self, server: bytes) -> None:
        if self._heard.pop(server, None) is not None:
            self._outbox.report(What.PEER_AWAY, name=self.manifest.name_of(server), answer_within=None)

    def _moments(self) -> Iterable[float]:
        if self.state in (ClientState.NEW, ClientState.STOPPED):
            return
        yield self._voice.next_beat
        if not self._heard_leader:
            yield self._hello.at
        if self._heard:
            yield self._deafness.ends(min(self._heard.values()), AWAY_AFTER)
        yield from self._outbox.moments()
        yield from self._proofs.moments()
        yield from self._copies.moments()

    def _stopping(self, event: Stopping, now: float) -> None:
        self._voice.announce(Bye(), topic=self._voice.topic)
        self.state = ClientState.STOPPED

    # -- hearing ----------------------------------------------------------------------------------------------------

    def _said(self, announcement: Announcement, now: float) -> None:
        if isinstance(announcement.body, Proof):
            self._proofs.heard(announcement.body, announcement.blocks, now)
            return
        author = self.manifest.members.get(announcement.by)
        if author is None or Role.SERVER not in author.roles:
            return
        self._hears(author, announcement.body, now)
        match announcement.body:
            case Hello() | Beat() as body:
                self._heard_server(announcement, body.position, now)
                if isinstance(body, Hello) or not self._heard_leader:
                    self._heard_leader = True
                    self._voice.beat_soon(now)
                    self._leader_is_back(now)
                    self._proofs.tell_newcomer(now)
            case Head(position):
                self._heard_server(announcement, position, now)
            case Recall() as asked:
                self._tell_what_is_known(announcement.by, asked, now)
            case _:
                pass

    def _hears(self, server: Member, said: Said, now: float) -> None:
        """Note that a server is here, or that it says goodbye."""
        if isinstance(said, Bye):
            self._is_away(server.id)
            return
        self._copies.met(now)
        if server.id not in self._heard:
            self._outbox.report(What.PEER_HERE, name=self.manifest.name_of(server.id))
        self._heard[server.id] = now

    def _heard_server(self, announcement: Announcement, position: Position | None, now: float) -> None:
        """Go on by what a server says of the run that it leads; what it says of another's counts for nothing."""
        if position is None:
            return
        server = announcement.by
        member = self.manifest.members[server]
        if (proof := self._proofs.distrust.proof_against(member)) is not None:
            self._distrusts(member, proof, now)
            return
        self._servers[server] = now
        if self._run is None or self._may_leave(self._run, position.run, server):
            if self._another_is_better(server, now):
                return
            self._begin(position.run, server)
        run = self._run
        if run is None or run.run != position.run:
            return
        if (ours := run.rival(position)) is not None:
            self._proofs.compare(ours, position.head, announcement.blocks, now)
        if run.leader == server:
            run.hear(position, announcement.blocks)

    def _begin(self, run: CID, server: bytes) -> None:
        if self._run is not None and self._run.run == run:
            self._run.server = server
            return
        chain = Chain(self.manifest.federation, self.author.reader, self._verified.well_signed)
        self._run = CatchUp(run, server, self.manifest, self._newest.blocks, chain)
        self._note = ""
        self.state = ClientState.LISTENING
        self._begun()

    def _may_leave(self, run: CatchUp, other: CID, server: bytes) -> bool:
        """Whether the run followed is over, or its leader has turned to another or is not followed any more, or nothing
        of it could be had yet."""
        if run.chain.head is None:
            return run.leader == server or run.is_idle
        if run.run == other:
            return False
        distrusted = self._proofs.distrust.proof_against(self.manifest.members.get(run.leader)) is not None
        return run.chain.closed or run.leader == server or distrusted

    def _another_is_better(self, server: bytes, now: float) -> bool:
        """Whether a server speaks whose runs could be had more often: one that says what is not so would have us wait
        for each of its inventions else."""
        return any(
            self._lost[other] < self._lost[server] and now < self._deafness.ends(heard, AWAY_AFTER)
            for other, heard in self._servers.items()
        )

    def _distrusts(self, member: Member, proof: CID, now: float) -> None:
        """Take no part any more in a run of a server that equivocated, nor in one that it begins."""
        run = self._run
        why = why_distrusted(self.manifest.called(member.id), proof)
        ours = run is None or run.leader == member.id
        if Role.SERVER not in member.roles or not ours or self._note == why:
            return
        self.state, self._run = ClientState.LISTENING, None
        self._left()
        self._decline(None if run is None else run.run, why, now)

    # -- following --------------------------------------------------------------------------------------------------

    def _follow(self, run: CatchUp, now: float) -> None:
        """Verify and take what is here, and fetch what is not."""
        run.manifest = self.manifest
        try:
            for step, blocks in run.steps():
                del self._lost[run.leader]
                self._keep(run, step, blocks)
                self._stepped(step, now)
        except Lost as error:
            if isinstance(error, Forked):
                self._proofs.compare(error.ours, error.theirs, (), now)
            self._give_up(run)
            self._outbox.report(What.RUN_LOST, run=str(run.run), why=str(error))
        for cid in run.wanted():
            if cid not in self._fetching:
                self._fetching.add(cid)
                done, failed = partial(self._fetched, cid), partial(self._unfetched, cid)
                self._outbox.ask(FetchRecord, done, failed, cid, Chained)

    def _give_up(self, run: CatchUp) -> None:
        self._lost[run.leader] += 1
        run.give_up()

    def _fetched(self, cid: CID, blocks: Mapping[CID, bytes], now: float) -> None:
        self._fetching.discard(cid)
        if self._run is not None and cid in self._run.wanted():
            self._run.fetched(cid, blocks)

    def _unfetched(self, cid: CID, why: str, now: float) -> None:
        self._fetching.discard(cid)
        self._outbox.report(What.FETCH_FAILED, cid=str(cid), why=why)
        if self._run is not None and cid in self._run.wanted():
            self._give_up(self._run)

    def _keep(self, run: CatchUp, step: Step, blocks: Mapping[CID, bytes]) -> None:
        """Have a verified record on disk, and the run's head after it. Nothing of ours waits for that."""
        body = step.record.body
        assert isinstance(body, Chained)
        parts = tuple(checked_block(cid, data) for cid, data in blocks.items())
        self._outbox.must(Store, lambda _: None, parts, own=False)
        head, closes = step.record.cid, isinstance(body, Close)
        self._outbox.must(WriteHead, lambda _: None, run.run, head, body.height, body.term, closes, step.well_signed)

    def _decline(self, run: CID | None, why: str, now: float) -> None:
        """Take no part in the run, and say so."""
        self._note = why
        self._outbox.report(What.RUN_REFUSED, run=None if run is None else str(run), why=why)
        self._voice.say(Beat, now)
