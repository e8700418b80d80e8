"""Whether anything shows that a revoked key signed before its revocation.

A run is judged by the manifest that its own chain names. So whoever has a server's key after its revocation can still
write a run under the manifest before. An auditor that knows the newer manifest sees that the key is revoked. But only
another member that still counts can show that the run was there before: a member answers and confirms nothing of a run
once it knows a newer manifest than the run has.

These vouch for the records up to some height:

- an ack;
- a reply, for the dispatch that it answers and all before;
- a roster that brings the newer manifest, by a leader that still is a member: for what it took from a client that is
  revoked there, and for its own records if it lost only its role.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from peer.history.verdict import REVOKED, Finding
from protocol.chain.chain import Chain, Step
from protocol.federation.manifest import Manifest
from protocol.records.bodies import Chained, Close, Collect, Dispatch, Member, Role, Run
from protocol.records.signed_records import Record


@dataclass(slots=True)
class _Doubted:
    """A key that the newest manifest does not let sign what it signed in the run."""

    member: Member
    """As the run's manifest lists it."""
    why: str
    leads: bool
    last: Record
    height: int
    """Where the chain has the last record or reply that the key signed."""


class Revocations:
    """What the newest known manifest says of those that signed a run. Memory grows with members and open messages."""

    def __init__(self, newest: Manifest) -> None:
        self._newest = newest
        self._in_force: Manifest | None = None
        """After the record that was taken last."""
        self._doubted: dict[bytes, _Doubted] = {}
        """By signing key."""
        self._vouched: dict[bytes, int] = {}
        """How high each member that still counts has vouched for the chain, by id."""
        self._sent_at: dict[bytes, int] = {}
        """The heights at which the open messages were sent."""

    def take(self, step: Step, chain: Chain, confirmed: Mapping[bytes, int]) -> None:
        """Note who signed the record that was appended to ``chain`` last.

        ``confirmed`` are the heights that acks confirm, by member.
        """
        signed_under = self._in_force or chain.manifest
        self._in_force = chain.manifest
        body = step.record.body
        if isinstance(body, Run | Dispatch | Collect | Close):
            self._signed(signed_under.members[body.by], step.record, chain.height)
        for message in step.opened:
            self._sent_at[message.id] = chain.height
        for answered in step.answered:
            sent_at = self._sent_at.pop(answered.message.id)
            if answered.reply is not None:
                author = signed_under.members[answered.reply.body.by]
                self._signed(author, answered.reply, chain.height)
                self._vouch(author, sent_at)
        for id, height in confirmed.items():
            if height == chain.height:
                self._vouch(chain.manifest.members[id], height)

    def findings(self, chain: Chain) -> Iterator[Finding]:
        """What nothing shows to be older than the revocation. ``chain`` is the whole run."""
        for key, doubted in self._doubted.items():
            if self._rostered(key, doubted, chain):
                continue
            others = (height for id, height in self._vouched.items() if id != doubted.member.id)
            vouched = max(others, default=-1)
            if doubted.height > vouched:
                yield Finding(doubted.height, doubted.last.cid, REVOKED, self._what(doubted, vouched, chain))

    def _rostered(self, key: bytes, doubted: _Doubted, chain: Chain) -> bool:
        """Whether a leader that still counts wrote a roster after what is doubted."""
        if doubted.leads:
            return chain.manifest.version >= self._newest.version and self._counts(doubted.member)
        return key in chain.manifest.revoked and chain.by in self._newest.members

    def _signed(self, member: Member, record: Record, height: int) -> None:
        leads = isinstance(record.body, Chained)
        if (why := self._why_doubted(member, leads=leads)) is not None:
            self._doubted[member.signing] = _Doubted(member, why, leads, record, height)

    def _why_doubted(self, member: Member, *, leads: bool) -> str | None:
        """A client that only left stands by what it gave. A leader that left leads nothing."""
        now = self._newest.members.get(member.id)
        if not {member.id, member.signing}.isdisjoint(self._newest.revoked):
            return "revokes the key"
        if not leads:
            return None
        if now is None:
            return "no longer lists its owner"
        return None if Role.SERVER in now.roles else "no longer lists its owner as a server"

    def _vouch(self, member: Member, height: int) -> None:
        if self._counts(member):
            self._vouched[member.id] = max(height, self._vouched.get(member.id, -1))

    def _counts(self, member: Member) -> bool:
        return member.id in self._newest.members and member.signing not in self._newest.revoked

    def _what(self, doubted: _Doubted, vouched: int, chain: Chain) -> str:
        name = chain.manifest.called(doubted.member.id)
        signed = "the run's records" if doubted.leads else "a reply in this record"
        extent = f" above height {vouched}" if vouched >= 0 else ""
        return (
            f"{name} signed {signed}. Manifest version {self._newest.version}, which this run does not know, "
            f"{doubted.why}. Nothing{extent} shows that it signed before that: no ack or reply of another member that "
            "still counts"
        )
