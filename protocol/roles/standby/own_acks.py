"""What a standby signs of what it has found: acks that say how far its own app did what is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from protocol.blocks.cid import CID
from protocol.blocks.listing import pack
from protocol.federation.manifest import Manifest
from protocol.records.bodies import Ack, Comparison, Recomputed, RecomputedAck
from protocol.roles.catch_up import CatchUp
from protocol.roles.following.followed_run import FollowedRun
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.following.told_acks import ToldAcks
from protocol.roles.machine import Machine
from protocol.roles.standby.forgotten_acks import ForgottenAcks
from protocol.roles.standby.standby_plan import SignedAcks


@dataclass(frozen=True, slots=True)
class VerifiedRecord:
    """A record of the run that is followed."""

    cid: CID
    height: int
    term: int
    time: float
    """When its leader signed it, as that says."""
    manifest: Manifest
    """The one in force after it."""


@dataclass(frozen=True, slots=True)
class _Due:
    """What is to be signed once we may."""

    head: VerifiedRecord
    recomputed: Recomputed | None


class OwnAcks:
    """Signs once at most at one height of a term, and nothing else of a run that it has contradicted, as long as the
    record that it contradicted is in that."""

    def __init__(
        self,
        kept: Mapping[CID, SignedAcks],
        forgotten: ForgottenAcks,
        told: ToldAcks,
        followed: FollowedRun,
        machine: Machine[FollowerState],
    ) -> None:
        self._kept = kept
        self._forgotten = forgotten
        self._told = told
        self._followed = followed
        self._copies, self._newest = machine.copies, machine.newest
        self._due: _Due | None = None
        self._signing = 0
        self._contradicted: int | None = None
        """The height of the record from which on we have contradicted the run that is followed."""

    @property
    def are_kept(self) -> bool:
        """Whether all is on disk that was to be signed."""
        return self._due is None and not self._signing

    @property
    def contradicts(self) -> bool:
        """Whether what waits to be signed says that our app did something else."""
        recomputed = None if self._due is None else self._due.recomputed
        return recomputed is not None and recomputed.comparison is Comparison.DIVERGED

    def leave(self) -> None:
        """Another run is followed."""
        self._due = self._contradicted = None

    def stepped(self, run: CID, record: VerifiedRecord) -> None:
        """One more record of the run is verified."""
        if record.cid == self._kept[run].contradicted:
            self._contradicted = record.height

    def fork(self, height: int) -> None:
        """The records above ``height`` are lost, and so is what was to be said of them."""
        if self._due is not None and self._due.head.height > height:
            self._due = None
        if self._contradicted is not None and self._contradicted > height:
            self._contradicted = None

    def tell_again(self, run: CID, now: float) -> None:
        """Announce what an earlier process of ours has signed of the run: who waits for it may have missed it."""
        if (newest := self._kept[run].newest) is not None:
            self._told.tell(run, newest, now)

    def confirm(self, head: VerifiedRecord, recomputed: Recomputed | None) -> None:
        """Say of the run up to ``head`` what was found: None says only that we have verified it. A newer word takes the
        place of one that waits."""
        self._due = _Due(head, recomputed)

    def confirm_verified(self, head: VerifiedRecord) -> None:
        """Say at least that we have verified the run up to ``head``, if no other word waits."""
        self._due = self._due or _Due(head, None)

    def why_never(self, run: CatchUp, *, leader_is_here: bool) -> str:
        """Why nothing can ever be signed of this closed run; empty if something can, or nothing waits for that."""
        waits = self._due is not None and self._copies.may_sign and not leader_is_here
        return self.why_not(run) if self._due is not None and (run.is_behind or waits) else ""

    def why_not(self, run: CatchUp) -> str:
        """Why nothing can be signed now; empty if something can."""
        if run.is_behind:
            return "this home has a newer manifest than the run, and a signature now would look like one from before it"
        if not self._copies.may_sign:
            return "another process may have this key"
        if not self._followed.may_confirm():
            return "this server has voted for another leader, or may have and does not know of it"
        if not self._forgotten.are_known(run):
            return "this home may have forgotten what it signed, and the run's leader has not said"
        return ""

    def sign(self, run: CatchUp) -> None:
        """Sign what is due, if we may."""
        due = self._due
        if due is None or self.why_not(run):
            return
        self._due = None
        kept = self._kept[run.run]
        if (due.head.term, due.head.height) <= kept.acked or self._contradicted is not None:
            return
        ack = self._ack(run.run, due)
        kept.keep(ack)
        self.stepped(run.run, due.head)
        self._signing += 1
        self._told.sign(ack, due.head.manifest, self._signed)

    def _signed(self, now: float) -> None:
        self._signing -= 1

    def _ack(self, run: CID, due: _Due) -> Ack:
        """Its time is the head's: the same word is the same record, whenever and by whichever process it is signed."""
        head, (replies, _) = due.head, pack([])
        ack = Ack(
            by=self._newest.author.member,
            time=head.time,
            run=run,
            term=head.term,
            height=head.height,
            head=head.cid,
            replies=replies,
        )
        if due.recomputed is None:
            return ack
        return RecomputedAck(
            **{field.name: getattr(ack, field.name) for field in fields(ack)}, recomputed=due.recomputed
        )
