"""The chain rules of a takeover's votes (`protocol.chain.rules` 44 to 47): they are for its author, and enough."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from protocol.blocks.cid import CID, BlockSource
from protocol.chain import rules
from protocol.chain.exchange import InForce
from protocol.federation.manifest import Manifest
from protocol.federation.voters import still_listed, voters_of
from protocol.records.bodies import Takeover, Vote
from protocol.records.signed_records import Record, WellSigned, checked_record, typed_items
from protocol.votes.electorate import Electorate


@dataclass(frozen=True, slots=True)
class VoteFor:
    """What a vote has to be for, to count."""

    run: CID
    term: int
    candidate: bytes
    head: CID
    """The record after which the term is to begin."""
    height: int
    against: CID | None
    """The disputed dispatch, if the election is for a dispute."""
    manifest: Manifest
    """In force after that record."""


def votes_of(body: Takeover, in_force: InForce, source: BlockSource) -> tuple[Record, ...]:
    """The votes for ``body``, in order. No more of them are read than there are voters.

    Raises:
        protocol.chain.rules.BrokenRule: if one does not count, or they are too few.
    """
    manifest, before = in_force.manifest, in_force.voters_before
    voters = voters_of(manifest, in_force.run)
    assert body.prev is not None  # a takeover follows a run record
    cast = VoteFor(in_force.run, body.term, body.by, body.prev, body.height - 1, body.against, manifest)
    votes: list[Record] = []
    last = b""
    for link in typed_items(body.votes, CID, source):
        vote = checked_record(link, source)
        check_vote(vote, cast, voters | before, in_force.well_signed)
        if vote.body.by <= last:
            raise rules.VoteAuthor("the votes are not in rising order of member, each once")
        votes.append(vote)
        last = vote.body.by
    voted = frozenset(vote.body.by for vote in votes)
    _check_majority(voted, Electorate(manifest.cid, voters, frozenset(), frozenset([before] if before else [])))
    if body.by in voters | before and body.by not in voted:
        raise rules.TakeoverMajority(f"{manifest.called(body.by)} has not voted for itself")
    return tuple(votes)


def _check_majority(voted: frozenset[bytes], electorate: Electorate) -> None:
    if electorate.is_majority(voted):
        return
    votes, voters, needed = electorate.count(voted)
    of_now = replace(electorate, before=frozenset())
    whose = "voters before the newest roster" if of_now.is_majority(voted) else "voters"
    raise rules.TakeoverMajority(f"{votes} votes of {voters} {whose}, and it takes {needed}")


def check_vote(vote: Record, cast: VoteFor, voters: frozenset[bytes], well_signed: WellSigned = frozenset()) -> None:
    """Check one vote for ``cast``, by one of the ``voters``. The cheap checks come first.

    Raises:
        protocol.chain.rules.BrokenRule: if it does not count.
    """
    manifest, said = cast.manifest, vote.body
    if not isinstance(said, Vote):
        raise rules.TakeoverVotes(f"{vote.cid} is a {said.TYPE}")
    if said.epoch is not None or said.private:
        raise rules.PrivatePart("a vote has nothing private")
    if (said.run, said.term, said.candidate) != (cast.run, cast.term, cast.candidate):
        raise rules.TakeoverVotes(f"{vote.cid} is a vote for another leader, term or run")
    if said.against != cast.against:
        raise rules.TakeoverVotes(f"{vote.cid} is a vote in another dispute, or in none")
    if (said.head, said.height) != (cast.head, cast.height):
        raise rules.TakeoverVotes(f"{vote.cid} is a vote to go on after another record")
    if said.manifest != manifest.cid:
        raise rules.TakeoverVotes(f"{vote.cid} names manifest {said.manifest}, and {manifest.cid} is in force")
    if said.by not in voters:
        raise rules.VoteAuthor(f"{manifest.called(said.by)} has no vote in manifest {manifest.cid}")
    if vote.signers != (manifest.members[said.by].signing,):
        raise rules.VoteKey(f"{vote.cid} is not signed with {manifest.called(said.by)}'s key")
    rules.check_signed(vote, well_signed)


def holds_without_removed(votes: Iterable[Record], run: CID, before: Manifest, after: Manifest) -> bool:
    """Whether a takeover, by ``before``, has the votes of half at least of those voters that ``after`` still lists.

    This is no rule of the chain, but one for whoever has verified a roster with ``after`` in the run, and is shown a
    takeover that leaves the roster out. By position the votes of members that it removes, and of keys that it revokes,
    are good. If they counted for that reader too, members that were removed for being hostile would come back: they
    would take the run over from before the roster.

    Half is enough: to settle a record it takes more than half, so one of those who voted would have confirmed it. If it
    took more than half here too, one removed voter could leave whoever has verified the roster behind for good.
    """
    left = still_listed(voters_of(before, run), before, after)
    voted = left.intersection(vote.body.by for vote in votes)
    return bool(voted) and 2 * len(voted) >= len(left)
