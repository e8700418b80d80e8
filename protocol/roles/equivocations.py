"""Proofs of equivocation: found, kept, announced and heard of, by peers of both roles.

A peer that sees two records of one signer at one place has the proof. It keeps it, announces it, and follows that
signer no more; others check the two signatures and do the same. A key is distrusted, not a member: if the admins give
the member another one (`peer keys rotate`), it may begin anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from protocol.blocks.cid import CID, Block, BlockError
from protocol.federation.manifest import Manifest, node_id
from protocol.pacing.backoff import Backoff
from protocol.records.bodies import Member
from protocol.records.equivocation import Equivocation, equivocation, place_of
from protocol.records.signed_records import parse_record
from protocol.roles.announcer import Announcer
from protocol.roles.effects import FetchRecord, KeepProof, What
from protocol.roles.newest_manifest import DEEPEST_DOUBT, NewestManifest
from protocol.roles.outbox import Outbox
from protocol.roles.unchecked_claims import UncheckedClaims
from protocol.wire.announcements import PROOF_BUDGET, Proof

TIMES: Final = 6
"""How often the peer that found a proof announces it; afterwards once for each hello."""

REMEMBERED: Final = 256
"""Pairs of records that were compared, and need not be again."""


class Distrust:
    """The keys that signed two records at one place, and the proofs: whom a peer does not follow any more."""

    def __init__(self, proofs: Iterable[Equivocation] = ()) -> None:
        self._equivocations: dict[tuple[bytes, bytes], CID] = {}
        """By the member that is named and the key that signed: only together do they say anything of anybody."""
        for found in proofs:
            self.learn(found)

    def learn(self, found: Equivocation) -> None:
        """Distrust the member that both name, as long as the key that signed both is its own."""
        self._equivocations.setdefault((found.by, found.key), found.blocks()[0].cid)

    def proof_against(self, member: Member | None) -> CID | None:
        """The proof against the key that a manifest gives to ``member``."""
        return None if member is None else self._equivocations.get((member.id, member.signing))

    def nodes(self, manifest: Manifest) -> frozenset[int]:
        """The nodes of the members that are distrusted."""
        if not self._equivocations:
            return frozenset()
        return frozenset(node_id(member.id) for member in manifest.members.values() if self.proof_against(member))


def why_distrusted(name: str, proof: CID) -> str:
    """In words, for notes and for the reasons that a collect records."""
    return f"{name} has signed two different records at one place: peer audit {proof}"


@dataclass(slots=True)
class _Telling:
    """A proof that others may not have."""

    found: Equivocation
    retry: Backoff
    left: int
    """How often it is still to be announced."""


class Equivocations:
    """Compares what is heard with what is known, and keeps and tells the proofs that come of it."""

    distrusts: Callable[[Member, CID, float], None]
    """Called when a member is not to be followed from now on, with the proof. The role sets it."""

    def __init__(
        self, known: Iterable[Equivocation], newest: NewestManifest, announcer: Announcer, outbox: Outbox
    ) -> None:
        """``known`` are the proofs that earlier processes of this peer have kept."""
        self._newest = newest
        self._announcer = announcer
        self._outbox = outbox
        self.distrust = Distrust(known)
        self._tellings = [_Telling(found, Backoff(0.0), 0) for found in known if _can_be_announced(found)]
        self._comparing = UncheckedClaims(1, DEEPEST_DOUBT)
        self._compared: deque[tuple[CID, CID]] = deque(maxlen=REMEMBERED)
        """In pairs: one that proves nothing with one record may prove something with another."""
        self._proving = UncheckedClaims(1, DEEPEST_DOUBT)
        self._heard_of: deque[tuple[CID, CID]] = deque(maxlen=REMEMBERED)
        """Proofs that were looked at."""

    # -- finding ----------------------------------------------------------------------------------------------------

    def compare(self, ours: CID, theirs: CID, inline: Iterable[Block], now: float) -> None:
        """Get two records that may be at one place, and see whether they prove anything. One pair at a time for each
        member that speaks: what cannot be had, or comes meanwhile, is compared when it is heard of again."""
        claimant = self._outbox.speaker
        if not self._comparing.may_open(claimant, now) or (ours, theirs) in self._compared:
            return
        self._comparing.open(claimant)
        here = {block.cid: block for block in inline if block.cid in (ours, theirs)}
        self._gather(claimant, (ours, theirs), here, now)

    def _gather(self, claimant: bytes, wanted: tuple[CID, CID], here: Mapping[CID, Block], now: float) -> None:
        """Fetch what of ``wanted`` is not here; compare if both are."""
        lacking = next((cid for cid in wanted if cid not in here), None)
        if lacking is not None:
            done = partial(self._gathered, claimant, wanted, here, lacking)
            failed = partial(self._not_gathered, claimant)
            self._outbox.ask(FetchRecord, done, failed, lacking, None)
            return
        self._compared.append(wanted)
        if self._look_at(here[wanted[0]], here[wanted[1]], TIMES, now):
            self._comparing.held(claimant)
        else:
            self._comparing.failed(claimant, now)

    def _gathered(
        self,
        claimant: bytes,
        wanted: tuple[CID, CID],
        here: Mapping[CID, Block],
        cid: CID,
        blocks: Mapping[CID, bytes],
        now: float,
    ) -> None:
        self._gather(claimant, wanted, {**here, cid: Block(cid, blocks[cid])}, now)

    def _not_gathered(self, claimant: bytes, why: str, now: float) -> None:
        self._comparing.failed(claimant, now)
        self._outbox.report(What.FETCH_FAILED, why=why)

    def heard(self, proof: Proof, inline: Iterable[Block], now: float) -> None:
        """Somebody announces a proof. The two signatures that it needs are verified last; a member whose proofs come to
        nothing has to wait, and keeps nobody else's from being looked at."""
        speaker, here = self._outbox.speaker, {block.cid: block for block in inline}
        pair = (proof.first, proof.second)
        if not self._proving.may_open(speaker, now) or pair in self._heard_of or not here.keys() >= {*pair}:
            return
        self._heard_of.append(pair)
        self._proving.open(speaker)
        if self._look_at(here[proof.first], here[proof.second], 0, now):
            self._proving.held(speaker)
        else:
            self._proving.failed(speaker, now)

    def _look_at(self, a: Block, b: Block, times: int, now: float) -> bool:
        """Convict whoever signed both at one place; whether that is news, which little is needed to see."""
        try:
            first = parse_record(a)
            if self._is_known(first.body.by, first.signers) or place_of(first) is None:
                return False
            found = equivocation(first, parse_record(b))
        except BlockError:
            return False
        return found is not None and self.convict(found, times, now)

    def _is_known(self, by: bytes, signers: Iterable[bytes]) -> bool:
        """Whether a record tells us nothing of a member: ``by`` has another key, so that anybody may have signed it in
        its name; or there is a proof against that key, and one is enough."""
        member = self._newest.manifest.members.get(by)
        return member is None or member.signing not in signers or self.distrust.proof_against(member) is not None

    def convict(self, found: Equivocation, times: int, now: float) -> bool:
        """Keep a proof against a member's present key, announce it ``times`` times, and follow that member no more.
        Whether it is one: those against other keys say nothing of who is a member."""
        if self._is_known(found.by, [found.key]):
            return False
        member = self._newest.manifest.members[found.by]
        self.distrust.learn(found)
        proof, *_ = found.blocks()
        self._outbox.report(What.EQUIVOCATION, name=self._newest.manifest.name_of(member.id), proof=str(proof.cid))
        self._outbox.must(KeepProof, partial(self._proof_kept, found, times), found)
        self.distrusts(member, proof.cid, now)
        return True

    # -- telling ----------------------------------------------------------------------------------------------------

    def _proof_kept(self, found: Equivocation, times: int, now: float) -> None:
        if _can_be_announced(found):
            self._tellings.append(_Telling(found, Backoff(now), times))
        self.tell(now)

    def tell(self, now: float) -> None:
        """Announce the proofs that are due."""
        for telling in self._tellings:
            if telling.left and now >= telling.retry.at:
                telling.left -= 1
                telling.retry.back_off(now)
                _, first, second = telling.found.blocks()
                self._announcer.announce(Proof(first.cid, second.cid), (first, second))

    def tell_newcomer(self, now: float) -> None:
        """Somebody said hello, and may not know the proofs: announce each once more, but not for each hello."""
        for telling in self._tellings:
            if not telling.left and self._is_of_a_member(telling.found):
                telling.left = 1
                telling.retry.at = max(now, telling.retry.at)
        self.tell(now)

    def _is_of_a_member(self, found: Equivocation) -> bool:
        member = self._newest.manifest.members.get(found.by)
        return member is not None and member.signing == found.key

    def moments(self) -> Iterator[float]:
        """When a proof is to be announced."""
        yield from (telling.retry.at for telling in self._tellings if telling.left)


def _can_be_announced(found: Equivocation) -> bool:
    """Whether both records fit into an announcement: it is worth nothing with one."""
    _, first, second = found.blocks()
    return len(first.data) + len(second.data) <= PROOF_BUDGET
