"""What a member lays down of the run that it follows, because most servers contradict one dispatch together.

It goes back to the record before, as across a fork, and follows no chain that has the dispatch. Then one of those
servers may lead on from there, by the votes of a majority, which name the dispatch (`protocol.chain.takeover_dispute`).
After a restart the run is verified again, and laid down again: the words are on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from protocol.blocks.cid import CID, Block
from protocol.federation.manifest import Manifest
from protocol.records.bodies import Chained, RecomputedAck
from protocol.roles.catch_up import CatchUp
from protocol.roles.effects import FetchRecord
from protocol.roles.following.followed_run import FollowedRun
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.following.heard_witnesses import HeardWitnesses
from protocol.roles.machine import Machine
from protocol.witnesses.agreement import Agreement, agreement, is_about
from protocol.witnesses.vouching import Contradiction


class LaidDown:
    """Of the run that is followed."""

    def __init__(self, followed: FollowedRun, witnesses: HeardWitnesses, machine: Machine[FollowerState]) -> None:
        self._followed = followed
        self._witnesses = witnesses
        self._newest, self._outbox = machine.newest, machine.outbox
        self._begin(None)
        witnesses.is_of_laid_down, witnesses.adds = self._is_of_laid_down, self._add

    def _begin(self, run: CatchUp | None) -> None:
        """Another run is followed."""
        self._of = run
        self._agreed: dict[CID, Agreement] = {}
        """What was laid down of it, by dispatch."""
        self._judged_by: Manifest | None = None
        """The newest manifest by which that was judged last."""
        self._fetching: CID | None = None
        self._looked_at: dict[CID, object] = {}
        """By record, the words and the newest manifest with which they were too few."""
        self.since = 0.0
        """When something was laid down last."""
        self.seen = 0
        """The highest term that we have verified of the run, though it be laid down."""

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
            self._begin(run)
        if self._judged_by is not self._newest.manifest:
            self._judge_again(run)
        if self._fetching is not None or run.chain.closed:
            return
        for against, words in self._witnesses.contradicted().items():
            if len(words) > 1 and self._looked_at.get(against) != self._looks_at(words):
                done, failed = partial(self._here, run, against), partial(self._not_here, against)
                self._fetching = against
                self._outbox.ask(FetchRecord, done, failed, against, Chained)
                return

    def _judge_again(self, run: CatchUp) -> None:
        """The admins may have taken servers out whose words do not count any more."""
        if any(run.chain.height < each.dispatch.height - 1 for each in self._agreed.values()):
            return  # it is verified anew, and which manifest is in force there is not known yet
        self._judged_by = self._newest.manifest
        for against, agreed in list(self._agreed.items()):
            left = self._agreement(agreed.against, agreed.dispatch.height, agreed.words)
            if left is None:
                del self._agreed[against]
                run.take_up_again(against)
            else:
                self._agreed[against] = left

    def _agreement(self, against: Block, height: int, words: Iterable[Block]) -> Agreement | None:
        return agreement(against, words, self._witnesses.in_force_at(height - 1), self._newest.manifest)

    def _looks_at(self, words: Sequence[Contradiction]) -> object:
        return self._newest.manifest.cid, frozenset(each.ack.cid for each in words)

    def _not_here(self, against: CID, why: str, now: float) -> None:
        """It is on our disk: with the next event it is asked for again."""
        if self._fetching == against:
            self._fetching = None

    def _here(self, run: CatchUp, against: CID, blocks: Mapping[CID, bytes], now: float) -> None:
        """The record that servers contradict is here: lay it down, if they are enough."""
        if self._fetching != against or run is not self._followed.run:
            return
        self._fetching = None
        contradicted = self._witnesses.contradicted()
        words = contradicted.get(against, ())
        self._looked_at = {each: at for each, at in self._looked_at.items() if each in contradicted}
        self._looked_at[against] = self._looks_at(words)
        if not words or run.chain.closed:
            return
        agreed = self._agreement(Block(against, blocks[against]), words[0].height, (each.ack for each in words))
        if agreed is not None and agreed.dispatch.by != self._newest.author.member:
            self._agreed[against], self.since = agreed, now
            self.seen = max(self.seen, self._followed.lay_down(run, agreed, now))

    def _is_of_laid_down(self, ack: RecomputedAck) -> bool:
        agreed = self._agreed.get(ack.head)
        return agreed is not None and is_about(ack, agreed.dispatch, ack.head)

    def _add(self, ack: RecomputedAck, block: Block) -> None:
        """A word about a dispatch that is laid down: if it says the same, its author may lead on, too."""
        agreed = self._agreed[ack.head]
        more = self._agreement(agreed.against, ack.height, (*agreed.words, block))
        if ack.by not in agreed.by and more is not None and ack.by in more.by:
            self._agreed[ack.head] = more
            self._witnesses.keep(ack.run, block)
