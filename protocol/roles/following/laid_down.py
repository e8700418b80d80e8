"""What a member lays down of the run that it follows, because most servers contradict one dispatch together.

It goes back to the record before, as across a fork, and follows no chain that has the dispatch. Then one of those
servers may lead on from there, by the votes of a majority, which name the dispatch (`protocol.chain.takeover_dispute`).
After a restart the run is verified again, and laid down again: the words are on disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from crypto.dsse import BadSignature
from protocol.blocks.cid import CID, Block
from protocol.records.bodies import Chained, RecomputedAck
from protocol.records.signed_records import Record
from protocol.roles.catch_up import CatchUp
from protocol.roles.effects import FetchRecord
from protocol.roles.following.followed_run import FollowedRun
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.following.heard_witnesses import HeardWitnesses
from protocol.roles.machine import Machine
from protocol.witnesses.agreement import Agreement, agreement
from protocol.witnesses.vouching import Contradiction


class LaidDown:
    """Of the run that is followed."""

    def __init__(self, followed: FollowedRun, witnesses: HeardWitnesses, machine: Machine[FollowerState]) -> None:
        self._followed = followed
        self._witnesses = witnesses
        self._newest, self._outbox = machine.newest, machine.outbox
        self._of: CatchUp | None = None
        self._agreed: dict[CID, Agreement] = {}
        """What was laid down of that run, by dispatch."""
        self._fetching: CID | None = None
        self._looked_at: tuple[CID, frozenset[CID]] | None = None
        """The newest manifest, and the words that were too few with it."""
        self.since = 0.0
        """When something was laid down last."""
        self.seen = 0
        """The highest term that we have verified of the run, though it be laid down."""
        witnesses.is_of_laid_down = self._takes

    def agreed(self) -> Agreement | None:
        """What keeps the run from going on now: a dispatch that followed the newest record."""
        run = self._followed.run
        if run is None or run is not self._of:
            return None
        return next((each for each in self._agreed.values() if each.before == run.chain.head), None)

    def note(self) -> str:
        """What we wait for, for people; empty if nothing is laid down."""
        if (agreed := self.agreed()) is None:
            return ""
        name, height = self._newest.manifest.called(agreed.dispatch.by), agreed.dispatch.height
        return f"most servers contradict what {name} recorded at height {height}: one of them is to lead on from before"

    def go_on(self, run: CatchUp, now: float) -> None:
        """See whether enough servers agree, or too few that still count."""
        if run is not self._of:
            self._of, self._agreed, self._fetching, self._looked_at, self.seen = run, {}, None, None, 0
        for against, agreed in list(self._agreed.items()):
            if self._why_not(agreed):
                del self._agreed[against]
                run.take_up_again(against)
        words = self._witnesses.most_against_one()
        if len(words) < 2 or self._fetching is not None or run.chain.closed or self._looked_at == self._looks_at(words):
            return
        against = words[0].record
        done, failed = partial(self._here, run, against), partial(self._not_here, against)
        self._fetching = against
        self._outbox.ask(FetchRecord, done, failed, against, Chained)

    def _looks_at(self, words: tuple[Contradiction, ...]) -> tuple[CID, frozenset[CID]]:
        return self._newest.manifest.cid, frozenset(each.ack.cid for each in words)

    def _why_not(self, agreed: Agreement) -> str:
        return agreed.why_not(self._witnesses.in_force_at(agreed.dispatch.height), self._newest.manifest)

    def _not_here(self, against: CID, why: str, now: float) -> None:
        """It is on our disk: with the next event it is asked for again."""
        if self._fetching == against:
            self._fetching = None

    def _here(self, run: CatchUp, against: CID, blocks: Mapping[CID, bytes], now: float) -> None:
        """The record that servers contradict is here: lay it down, if they are enough."""
        if self._fetching != against or run is not self._followed.run:
            return
        self._fetching = None
        against_one = self._witnesses.most_against_one()
        self._looked_at = self._looks_at(against_one)
        words = [each.ack for each in against_one if each.record == against]
        agreed = agreement(Block(against, blocks[against]), words)
        if agreed is None or run.chain.closed or agreed.dispatch.by == self._newest.author.member:
            return
        if not self._why_not(agreed):
            self._agreed[against], self.since = agreed, now
            self.seen = max(self.seen, self._followed.lay_down(run, agreed, now))

    def _takes(self, record: Record, ack: RecomputedAck, block: Block) -> bool:
        """A word about a dispatch that is laid down: its author may lead on, too."""
        agreed = self._agreed.get(ack.head)
        if agreed is None or ack.height != agreed.dispatch.height:
            return False
        more = agreement(agreed.against, (*agreed.words, block))
        if ack.by not in agreed.by and more is not None and not self._why_not(more):
            try:
                record.check_signatures()
            except BadSignature:
                return True
            self._agreed[ack.head] = more
            self._witnesses.keep(ack.run, block)
        return True
