"""The run of which a role may have to vote who leads it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from protocol.blocks.cid import CID
from protocol.chain.chain import Chain
from protocol.federation.manifest import Manifest
from protocol.federation.voters import voters_of
from protocol.records.bodies import Role
from protocol.votes.electorate import Electorate
from protocol.wire.announcements import Position
from protocol.witnesses.agreement import Agreement


@dataclass(frozen=True, slots=True)
class VotedRun:
    """It, as far as this role has verified it."""

    position: Position
    manifest: Manifest
    """The one in force after that head."""
    leader: bytes
    """The member that leads it, by its newest record."""
    is_closed: bool
    voters_before: frozenset[bytes] = frozenset()
    """As `protocol.chain.chain.Chain.voters_before`."""
    manifest_since: int = 0
    """The height of the record that brought the manifest into force."""
    disputed: Agreement | None = None
    """The dispatch after the head that we have laid down, because most servers contradict it."""
    seen: int = 0
    """The highest term of the records that we have laid down."""
    is_whole: bool = True
    """Whether we have verified it as far as we ever had: as long as we have not, we vote for nothing that is older."""
    _decides: list[tuple[Manifest, Electorate]] = field(default_factory=list, init=False, repr=False, compare=False)
    """Who decides, by the manifest for which that was asked last."""

    @classmethod
    def of(cls, chain: Chain, position: Position) -> VotedRun:
        """The run of ``chain``, whose head is at ``position``."""
        return cls(position, chain.manifest, chain.by, chain.closed, chain.voters_before, chain.manifest_since)

    @property
    def against(self) -> CID | None:
        """The disputed dispatch."""
        return None if self.disputed is None else self.disputed.against.cid

    def electorate(self, newest: Manifest) -> Electorate:
        """Who decides. A server that the ``newest`` manifest known here does not list as one is no candidate, though
        that is not in force yet."""
        if not self._decides or self._decides[0][0] is not newest:
            candidates = self.manifest.ids_of(Role.SERVER) & newest.ids_of(Role.SERVER)
            if self.disputed is not None:  # who leads on has to have computed what the leader before should have sent
                candidates &= self.disputed.by
            voters = voters_of(self.manifest, self.position.run)
            before = frozenset([self.voters_before] if self.voters_before else [])
            self._decides[:] = [(newest, Electorate(self.manifest.cid, voters, candidates, before))]
        return self._decides[0][1]


class NewestVotedRun:
    """What there is to vote on of a chain, built once for each head: it is looked at many times an event."""

    def __init__(self) -> None:
        self._known: tuple[Chain, CID, VotedRun] | None = None

    def of(
        self,
        chain: Chain,
        durable: Position | None = None,
        disputed: Agreement | None = None,
        seen: int = 0,
        *,
        is_whole: bool = True,
    ) -> VotedRun | None:
        """The run of ``chain``, up to ``durable``, or up to its head; None if it has no record yet. ``disputed``,
        ``seen`` and ``is_whole`` as `VotedRun` has them."""
        head = chain.head
        if head is None:
            return None
        if self._known is not None:
            of, at, run = self._known
            is_known = of is chain and at is head and run.disputed is disputed and run.seen == seen
            if is_known and run.is_whole is is_whole and (durable is None or run.position is durable):
                return run
        position = durable or Position(chain.run, head, chain.height, chain.term)
        run = replace(VotedRun.of(chain, position), disputed=disputed, seen=seen, is_whole=is_whole)
        self._known = chain, head, run
        return run
