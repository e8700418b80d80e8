"""What a standby may have signed in a run, and forgotten: its home may be an older copy of itself.

It asks the run's leader before it signs anything there. If the run is closed, or its leader is contradicted, that may
be gone: then it goes by whether its home is where it always was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from protocol.blocks.cid import CID, Block
from protocol.pacing.backoff import Backoff
from protocol.records.bodies import Ack
from protocol.roles.catch_up import CatchUp
from protocol.roles.effects import KeepAcks, What
from protocol.roles.following.followed_run import FollowedRun
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.following.members_here import MembersHere
from protocol.roles.machine import Machine
from protocol.roles.standby.standby_plan import SignedAcks
from protocol.wire.announcements import Announcement, Recall, Recalled


class ForgottenAcks:
    """Of the run that is followed. A process without a session has forgotten nothing, and asks nobody."""

    def __init__(
        self,
        kept: Mapping[CID, SignedAcks],
        remembers: Callable[[CID], bool],
        servers: MembersHere,
        followed: FollowedRun,
        machine: Machine[FollowerState],
    ) -> None:
        self._kept = kept
        self._remembers = remembers
        self._servers = servers
        self._followed = followed
        self._newest, self._announcer, self._outbox = machine.newest, machine.announcer, machine.outbox
        self.is_contradicted: Callable[[CatchUp], bool] = lambda _run: False
        """Whether another server contradicts a run, or our own app does and its leader is away: an honest leader stops
        as it hears so, and one that cheats may never come back. The standby sets it."""
        self.begin()

    def begin(self) -> None:
        """Another run is followed, or another server leads it."""
        self._has_answered = not self._newest.author.session
        self._retry = Backoff(0.0)

    def are_known(self, run: CatchUp) -> bool:
        """Whether it is known what we have signed in the run."""
        if self._has_answered:
            return True
        return (run.chain.closed or self.is_contradicted(run)) and self._remembers(run.run)

    def ask(self, now: float) -> None:
        """Ask the leader, if it is time."""
        if (run := self._asked()) is not None and now >= self._retry.at:
            self._retry.back_off(now)
            self._announcer.announce(Recall(self._newest.author.session, run.run, ()), topic=self._announcer.topic)

    def ask_soon(self, by: bytes, now: float) -> None:
        """A member speaks: if it is the leader, it hears us again."""
        if self._followed.run is not None and by == self._followed.run.leader:
            self._retry.soon(now)

    def _asked(self) -> CatchUp | None:
        """The run whose leader is to tell us what it has of ours."""
        run = self._followed.run
        return run if run is not None and not self._has_answered and run.leader in self._servers.here else None

    def moments(self) -> Iterator[float]:
        """When the leader is to be asked."""
        if self._asked() is not None:
            yield self._retry.at

    def heard(self, said: Announcement, told: Recalled) -> None:
        """The leader says what it has of ours: take that up. It can only keep us from signing in its own run."""
        run, position, author = self._followed.run, told.position, self._newest.author
        asked = told.to == author.member and told.session == author.session
        if not asked or run is None or said.by != run.leader or position is None or position.run != run.run:
            return
        run.hear(position, ())
        block = next((block for block in said.blocks if block.cid == told.ack), None)
        if block is not None:
            self._take_up(run, block)
        self._has_answered = True

    def _take_up(self, run: CatchUp, block: Block) -> None:
        """Note an ack that we had forgotten: no other may be at its place, nor any before it."""
        ack, kept = self._newest.author.own_body(block), self._kept[run.run]
        if not isinstance(ack, Ack) or ack.run != run.run or (ack.term, ack.height) <= kept.acked:
            return
        kept.keep(ack, block)
        self._outbox.report(What.RECALLED, ack=str(block.cid), height=ack.height)
        self._outbox.must(KeepAcks, lambda _: None, run.run, (block,))
