"""Who led a run, in which term, from where to where, and why that changed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from crypto.keys import VerifyKey
from protocol.chain.chain import Chain, Step
from protocol.federation.voters import voters_of
from protocol.records.bodies import Chained, Takeover, TakeoverCause
from protocol.visible import named

MAX_REIGNS: Final = 1_000
"""Reigns that are told one by one, the first."""

MAX_NAMED: Final = 50
"""Voters of a takeover that are named."""


@dataclass(frozen=True, slots=True)
class Reign:
    """The time of one leader in one term. Names are as the manifest in force at its beginning has them."""

    term: int
    leader: str
    member: str
    """The leader's member id as a did:key."""
    before: str
    """Who led in the term before; empty in the first."""
    since: int
    """The height of its first record."""
    until: int
    """The height of its newest record."""
    began: float
    ended: float
    """The times of these two, in seconds since 1970, by the leader's clock."""
    cause: TakeoverCause | None = None
    """Why it began; None of the first."""
    warrant: str = ""
    """The admin that wanted it by warrant; empty if none did."""
    votes: int = 0
    voters: int = 0
    """How many may vote; 0 of the first, which takes no votes."""
    voted: tuple[str, ...] = ()
    """Who voted for it, at most `MAX_NAMED`."""
    acked: int = 0
    """How many members have confirmed one of its records with an ack."""
    settled: int | None = None
    """The height up to which its own records are settled; None if none of them is."""
    lost: int | None = None
    """The greatest height of this term that a member has confirmed above ``until``, in a tail that the next takeover
    left out; None if nobody is known to have."""
    contradicted: int | None = None
    """The height of its dispatch that the next takeover is against: it was left out with all after it, settled or not.
    None if that takeover is against none."""

    def in_words(self, *, with_term: bool = True) -> str:
        """How it began, in a sentence. What others chose is quoted. ``with_term``: it says in which term."""
        leader, before = named(self.leader), named(self.before)
        term = f", in term {self.term}" if with_term else ""
        if self.cause is None:
            return f"{leader} led from the start{term}"
        votes, comma = f"({self.votes} of {self.voters} votes)", "," if with_term else ""
        where = f"at height {self.since}{term}{comma}"
        if self.leader == self.before:
            return f"{leader} was elected again {where} {_why_again(self.cause)} {votes}"
        why = _why(self.cause, before, named(self.warrant) if self.warrant else "")
        return f"{leader} took over from {before} {where} {why} {votes}"

    def lost_in_words(self) -> str:
        """What of its records was lost, in a sentence; empty if nothing is known to be."""
        if self.contradicted is not None:
            return (
                f"what {named(self.leader)} sent at height {self.contradicted} in term {self.term}, and all after it, "
                "is left behind, even if it was settled: more than half of the servers came to one other content"
            )
        if self.lost is None:
            return ""
        return (
            f"what {named(self.leader)} wrote above height {self.until} in term {self.term}, up to {self.lost} at "
            "least, is lost: the next leader went on without it"
        )


def _why(cause: TakeoverCause, before: str, admin: str) -> str:
    match cause:
        case TakeoverCause.HANDOVER if admin:
            return f"as {admin}, an admin, wanted by warrant"
        case TakeoverCause.SILENCE:
            return f"as nothing was heard of {before}"
        case TakeoverCause.HANDOVER:
            return f"as {before} handed the run over"
        case TakeoverCause.DISPUTE:
            return f"as most servers had computed something else than {before}"


def _why_again(cause: TakeoverCause) -> str:
    match cause:
        case TakeoverCause.SILENCE:
            return "after the voters had lost sight of it"
        case TakeoverCause.HANDOVER:
            return "on purpose"
        case TakeoverCause.DISPUTE:
            return "after a dispute"


@dataclass(slots=True)
class Reigns:
    """Takes in the reigns of a chain, record by record."""

    told: list[Reign] = field(default_factory=list)
    """The first `MAX_REIGNS`."""
    _count: int = 0
    _leaders: dict[int, bytes] = field(default_factory=dict)
    """The leader's id, by term, of those that are told."""

    @property
    def changed(self) -> bool:
        """Whether there was a takeover."""
        return self._count > 1

    def leader_of(self, term: int) -> bytes | None:
        """The member id of the leader of a term; None if that is not in the chain."""
        return self._leaders.get(term)

    def at(self, height: int) -> Reign | None:
        """Who led when the record at ``height`` was written; None if that is not told."""
        at = bisect_right(self.told, height, key=lambda reign: reign.since) - 1
        return self.told[at] if at >= 0 and height <= self.told[at].until else None

    def finished(
        self, acked: Mapping[int, int], settled: Mapping[int, int], lost: Mapping[int, int]
    ) -> tuple[tuple[Reign, ...], int]:
        """The reigns with what was found besides the chain, by term, and how many are left out."""
        told = (
            replace(
                each,
                acked=acked.get(each.term, 0),
                settled=settled.get(each.term),
                lost=max(filter(None, (lost.get(each.term), each.contradicted)), default=None),
            )
            for each in self.told
        )
        return tuple(told), self._count - len(self.told)

    def take(self, step: Step, chain: Chain) -> None:
        """``step`` has been appended to ``chain``."""
        body = step.record.body
        assert isinstance(body, Chained)
        if self._count == 0 or step.took_over:
            self._begin(body, step, chain)
        elif self._count <= MAX_REIGNS:
            self.told[-1] = replace(self.told[-1], until=body.height, ended=body.time)

    def _begin(self, body: Chained, step: Step, chain: Chain) -> None:
        self._count += 1
        if self._count > MAX_REIGNS:
            return
        if isinstance(body, Takeover) and body.against is not None:
            self.told[-1] = replace(self.told[-1], contradicted=body.height)
        before = self.told[-1].leader if self.told else ""
        reign = Reign(
            term=body.term,
            leader=chain.manifest.name_of(body.by),
            member=VerifyKey(body.by).did,
            before=before,
            since=body.height,
            until=body.height,
            began=body.time,
            ended=body.time,
        )
        if isinstance(body, Takeover):
            reign = replace(
                reign,
                cause=body.cause,
                warrant=next((chain.manifest.name_of_key(each.body.by) for each in step.warrant), ""),
                votes=len(step.votes),
                voters=len(voters_of(chain.manifest, chain.run) | chain.voters_before),
                voted=tuple(chain.manifest.name_of(vote.body.by) for vote in step.votes[:MAX_NAMED]),
            )
        self.told.append(reign)
        self._leaders[body.term] = body.by


def reign_value(reign: Reign) -> dict[str, Any]:
    """A reign as ``--json`` shows it."""
    return {
        "term": reign.term,
        "leader": reign.leader,
        "member": reign.member,
        "since": reign.since,
        "until": reign.until,
        "began": reign.began,
        "ended": reign.ended,
        "cause": None if reign.cause is None else reign.cause.value,
        "warrant": reign.warrant or None,
        "votes": reign.votes,
        "voters": reign.voters,
        "voted": list(reign.voted),
        "acked": reign.acked,
        "settled": reign.settled,
        "lost": reign.lost,
    }
