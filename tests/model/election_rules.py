"""The rules that the search drives: the pure parts of `protocol.votes`, by the small numbers of the model.

`RULES` is what the product does. A mutant is `RULES` with one of them broken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from protocol.blocks.cid import CID, raw_block
from protocol.votes.candidacy import Candidacy
from protocol.votes.electorate import Electorate
from protocol.votes.promise import Promise, is_outvoted
from protocol.votes.reports import Reports
from protocol.votes.settling import settled_height
from protocol.votes.voter import Voter
from protocol.wire.announcements import Candidature, Position

Chain = tuple[int, ...]
"""The records of a run, each by its term. One leader a term appends to one chain, so two chains that say the same are
the same. A record that brings the second manifest into force is its term below zero, and so is one that names it again
and says that the first is settled."""

RUN = raw_block(b"run").cid


@cache
def member(peer: int) -> bytes:
    """The member whose number in the model is ``peer``."""
    return bytes([peer]) * 32


@cache
def position(chain: Chain) -> Position:
    """The head of ``chain``."""
    return Position(RUN, raw_block(repr(chain).encode()).cid, len(chain) - 1, term_of(chain))


def term_of(chain: Chain) -> int:
    """The term of the newest record."""
    return abs(chain[-1])


def rank(chain: Chain) -> tuple[int, int]:
    """The order of heads."""
    return abs(chain[-1]), len(chain)


@cache
def electorate(voters: frozenset[int], servers: int, before: frozenset[int] | None = None) -> Electorate:
    """``voters`` by their numbers, of which those below ``servers`` are servers, after a roster that changed who votes
    if there are voters ``before``."""
    members = frozenset(map(member, voters))
    manifest: CID = raw_block(repr(sorted(voters)).encode()).cid
    candidates = frozenset(member(each) for each in range(servers) if each in voters)
    asked_too = frozenset() if before is None else frozenset([frozenset(map(member, before))])
    return Electorate(manifest, members, candidates, asked_too)


@dataclass(frozen=True, slots=True)
class Asked:
    """One question for one vote: all that its answer may depend on."""

    voter: int
    newest: Chain
    promised: tuple[int, int]
    """Term and candidate of the newest vote; a term of 0: none."""
    floor: int | None
    candidate: int
    head: Chain
    term: int
    of_voter: Electorate
    of_head: Electorate
    seen: int = 0
    """The highest term of what the voter has laid down; 0: nothing."""
    against: tuple[bool, bool] = (False, False)
    """Whether the voter, and the question, are against the record after their heads."""


def would_vote(asked: Asked, heard: bool = False) -> bool:
    """Whether the voter votes so."""
    term, candidate = asked.promised
    promise = Promise(term, member(candidate), RUN, RUN) if term else None
    ours, theirs = (RUN if each else None for each in asked.against)
    voter = Voter(
        member(asked.voter),
        position(asked.newest),
        asked.of_voter,
        promise,
        hears_leader=heard,
        against=ours,
        seen=asked.seen,
        floor=asked.floor,
    )
    question = Candidature(position(asked.head), asked.of_head.manifest, asked.term, theirs)
    return voter.refuses(member(asked.candidate), question) is None


def has_won(candidate: int, votes: tuple[int, ...], by: Electorate) -> bool:
    """Whether a candidate that asks has won, once these votes have come: of some voters perhaps more than once."""
    candidacy = Candidacy(member(candidate), position((1,)), by, 2, 1, 2, 1, asks=True)
    for voter in votes:
        candidacy = candidacy.voted(member(voter), raw_block(member(voter)).cid)
    return candidacy.has_won


def gives_up(term: int, promised: int) -> bool:
    """Whether a candidate that has promised ``promised`` since does not want ``term`` any more."""
    return is_outvoted(term, Promise(promised, member(0), RUN, RUN))


def has_majority(voters: frozenset[int], by: Electorate) -> bool:
    """Whether ``voters`` are a majority."""
    return by.is_majority(frozenset(map(member, voters)))


def settles(confirmed: tuple[Chain | None, ...], by: Electorate, term: int) -> int | None:
    """The height that is settled in ``term``, if each peer has confirmed so much of the chain of that term."""
    said = {member(peer): position(chain) for peer, chain in enumerate(confirmed) if chain is not None}
    return settled_height(said, by, term)


def floor_of(peer: int, reported: tuple[tuple[int, int], ...], by: Electorate) -> int | None:
    """Above which term a peer that may have forgotten a vote is; None: it does not vote yet."""
    reports = Reports()
    for other, term in reported:
        reports = reports.heard(member(other), term)
    return reports.floor(member(peer), by)


def counts_for(term: int, promised: int) -> bool:
    """Whether a position in ``term`` counts for its leader, said by a member that has promised ``promised``."""
    return promised <= term


@dataclass(frozen=True)
class Rules:
    """What members do. The functions are the product's; the rest is what its shell has to see to."""

    would_vote: Callable[[Asked], bool] = would_vote
    has_won: Callable[[int, tuple[int, ...], Electorate], bool] = has_won
    gives_up: Callable[[int, int], bool] = gives_up
    has_majority: Callable[[frozenset[int], Electorate], bool] = has_majority
    settles: Callable[[tuple[Chain | None, ...], Electorate, int], int | None] = settles
    floor_of: Callable[[int, tuple[tuple[int, int], ...], Electorate], int | None] = floor_of
    counts_for: Callable[[int, int], bool] = counts_for
    keeps_promises: bool = True
    """Whether a promise survives a crash."""
    confirms_what_is_durable: bool = True
    """Whether a position is said only once it is on disk."""
    looks_again_before_it_asks: bool = True
    """Whether a candidate that has canvassed looks once more if it would vote for itself."""
    judges_by_what_is_signed: bool = True
    """Whether a leader's own record that is not on disk yet counts as its newest, if it is asked for its vote."""
    settles_own_term_only: bool = True
    """Whether what is confirmed counts only if the head is of the leader's own term."""
    asks_voters_before_too: bool = True
    """Whether after a roster it also takes a majority of those who voted before it."""
    waits_with_roster: bool = True
    """Whether a leader waits until that roster is settled before it says, by another, that they are not asked more."""
    votes_expire: bool = True
    """Whether a vote that has not won is worth nothing by the time a restored home asks what it may have promised."""
    confirmations_expire: bool = True
    """The same for what it has confirmed."""
    waits_for_reports: bool = True
    """Whether a restored home confirms nothing before it knows what it may have promised, and nothing below it."""
    catches_up_first: bool = True
    """Whether a restored home votes only once it has verified the newest record that the others report."""
    lays_down: int = 1
    """How many records of a chain that ends with a contradicted one are laid down: that one alone."""
    may_break_promises: bool = False
    """Whether a member may sign a record of an older term beyond the head that it voted for, which proves it guilty: to
    see what else comes of a rule that is broken."""
    may_lose_contradicted: bool = True
    """Whether a settled record may be lost if it is contradicted by most servers, or comes after one that is."""


RULES = Rules()
