"""Acks: a member signs what it has verified, so that nobody can show another history later.

Not for every record: an ack covers all records up to its head. A client acks when it has answered a message, at each
index record, and at the close, and once at most at one height of a term.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from protocol.blocks.cid import CID
from protocol.blocks.listing import pack
from protocol.records.bodies import Ack
from protocol.roles.catch_up import CatchUp
from protocol.roles.client.forgotten_replies import ForgottenReplies
from protocol.roles.client.kept_run import KeptRun
from protocol.roles.following.followed_run import FollowedRun
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.following.told_acks import ToldAcks
from protocol.roles.machine import Machine


class OwnAcks:
    """Signs, keeps and announces our acks."""

    def __init__(
        self,
        kept: Mapping[CID, KeptRun],
        remembers: Callable[[CID], bool],
        forgotten: ForgottenReplies,
        told: ToldAcks,
        followed: FollowedRun,
        machine: Machine[FollowerState],
    ) -> None:
        """``remembers(run)`` is whether this home has forgotten nothing that it signed in a run."""
        self._kept = kept
        self._remembers = remembers
        self._forgotten = forgotten
        self._told = told
        self._followed = followed
        self._copies, self._newest = machine.copies, machine.newest

    def ack(self, run: CatchUp, now: float, then: Callable[[float], None] = lambda _: None) -> None:
        """Ack the run's head, once; ``then(now)`` runs when that is on disk and announced, or was not to be done.

        It is not done while we know a newer manifest than the run does: an ack shows an auditor that the run was there
        before the newer one, which may revoke the leader's key.
        """
        chain, kept = run.chain, self._kept[run.run]
        are_known = self._forgotten.are_known or (chain.closed and self._remembers(run.run))
        may_sign = self._copies.may_sign and are_known  # or another of ours may be at this height
        may_sign = may_sign and self._followed.may_confirm()
        if chain.head is None or not may_sign or run.is_behind or (chain.term, chain.height) <= kept.acked:
            then(now)
            return
        replies, _ = pack(kept.unlisted())
        body = Ack(
            by=self._newest.author.member,
            time=now,
            run=chain.run,
            term=chain.term,
            height=chain.height,
            head=chain.head,
            replies=replies,
        )
        kept.keep_ack(body)
        self._told.sign(body, chain.manifest, then)
