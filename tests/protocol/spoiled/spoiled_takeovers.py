"""Takeovers that break one rule: those of their place, and rules 44 to 47 of `protocol.chain.rules`, of the votes."""

from __future__ import annotations

from dataclasses import replace

from chains import (
    ALICE,
    BOB,
    CAROL,
    CONTENT,
    DAVE,
    KEEPER,
    MEMBERS,
    SECOND,
    SERVER,
    STRANGER,
    VOTERS,
    WITH_KEEPER,
    Scribe,
    begun,
    id_of,
    member,
    signature_of,
)
from rostered import Start, change, changed, naming, rekeyed, without
from spoiled_places import filled_until
from spoiling import Spoiled, breaks

from crypto.keys import SigningKey
from protocol.blocks.cid import Block
from protocol.chain import rules
from protocol.records.bodies import Member, Role, Takeover, Voting
from protocol.records.signed_records import assemble, body_value


def taken_over() -> Scribe:
    """The second server leads in term 2."""
    scribe = begun()
    scribe.lead()
    return scribe


def _spoiled(s: Scribe, bad: Takeover | Block, leader: SigningKey = SECOND) -> Spoiled:
    """A bad takeover, signed by its leader, beside an honest one."""
    block = bad if isinstance(bad, Block) else s.sign(bad, leader)
    good = s.takeover()
    s.leader = SECOND
    return Spoiled(block, good)


def _voted(s: Scribe, *, beside: int = 0, **changes: object) -> Spoiled:
    """A takeover whose votes are honest, but for one with ``changes``."""
    voters = sorted(VOTERS, key=id_of)
    votes = [s.sign(s.vote(each, **(changes if at == beside else {})), each) for at, each in enumerate(voters)]
    return _spoiled(s, s.takeover(*votes))


# -- its place -----------------------------------------------------------------------------------------------------


@breaks(rules.Term)
def a_takeover_in_the_same_term(s: Scribe) -> Spoiled:
    votes = [s.sign(s.vote(each, term=2), each) for each in sorted(VOTERS, key=id_of)]
    return _spoiled(s, s.takeover(*votes, term=1))


@breaks(rules.Term, taken_over)
def a_takeover_in_an_earlier_term(s: Scribe) -> Spoiled:
    return _spoiled(s, s.takeover(term=1))


@breaks(rules.Term, taken_over)
def a_record_in_the_term_before(s: Scribe) -> Spoiled:
    good = s.close()
    return Spoiled(s.sign(replace(good, term=1)), good)


@breaks(rules.OneLeader, taken_over)
def a_record_by_the_leader_before(s: Scribe) -> Spoiled:
    good = s.close()
    return Spoiled(s.sign(replace(good, by=id_of(SERVER)), SERVER), good)


@breaks(rules.LeaderRole)
def a_takeover_by_a_client(s: Scribe) -> Spoiled:
    return _spoiled(s, s.takeover(leader=ALICE), ALICE)


@breaks(rules.LeaderKey)
def a_takeover_that_another_signed(s: Scribe) -> Spoiled:
    return _spoiled(s, s.takeover(), SERVER)


@breaks(rules.PrivatePart)
def a_takeover_with_a_private_part(s: Scribe) -> Spoiled:
    return _spoiled(s, s.takeover(private=b"\xa0"))


def _closed() -> Scribe:
    scribe = begun()
    scribe.add(scribe.close())
    return scribe


@breaks(rules.AfterClose, _closed)
def a_takeover_after_the_close(s: Scribe) -> Spoiled:
    return Spoiled(s.sign(s.takeover(), SECOND), None)


def _taken_over_at_an_index() -> Scribe:
    scribe = filled_until(255)()
    scribe.lead()
    return scribe


@breaks(rules.IndexPlace, _taken_over_at_an_index)
def no_index_after_a_takeover_where_one_is_due(s: Scribe) -> Spoiled:
    return Spoiled(s.sign(s.dispatch()), s.index())


def _indexed_after_a_takeover() -> Scribe:
    scribe = _taken_over_at_an_index()
    scribe.add(scribe.index())
    return scribe


@breaks(rules.IndexPlace, _indexed_after_a_takeover)
def a_second_index_after_a_takeover(s: Scribe) -> Spoiled:
    return Spoiled(s.sign(s.index()), s.dispatch())


# -- its votes -----------------------------------------------------------------------------------------------------


@breaks(rules.TakeoverVotes)
def a_vote_that_is_none(s: Scribe) -> Spoiled:
    return _spoiled(s, s.takeover(Block(s.chain.run, s.source[s.chain.run])))


@breaks(rules.TakeoverVotes)
def a_vote_in_another_run(s: Scribe) -> Spoiled:
    return _voted(s, run=CONTENT)


@breaks(rules.TakeoverVotes)
def a_vote_in_another_term(s: Scribe) -> Spoiled:
    return _voted(s, term=3)


@breaks(rules.TakeoverVotes)
def a_vote_for_another_server(s: Scribe) -> Spoiled:
    return _voted(s, candidate=id_of(SERVER))


@breaks(rules.TakeoverVotes)
def a_vote_for_another_head(s: Scribe) -> Spoiled:
    return _voted(s, head=s.chain.run)


@breaks(rules.TakeoverVotes)
def a_vote_that_is_wrong_about_the_height(s: Scribe) -> Spoiled:
    return _voted(s, height=s.chain.height + 1)


@breaks(rules.TakeoverVotes, changed)
def a_vote_under_the_manifest_before(s: Scribe) -> Spoiled:
    return _voted(s, manifest=s.manifest.cid)


@breaks(rules.PrivatePart)
def a_vote_with_a_private_part(s: Scribe) -> Spoiled:
    return _voted(s, private=b"\xa0")


@breaks(rules.VoteAuthor)
def a_vote_twice(s: Scribe) -> Spoiled:
    one, two = (s.sign(s.vote(each), each) for each in sorted((SECOND, ALICE), key=id_of))
    return _spoiled(s, s.takeover(one, one, two))


@breaks(rules.VoteAuthor)
def votes_out_of_order(s: Scribe) -> Spoiled:
    votes = [s.sign(s.vote(each), each) for each in sorted(VOTERS, key=id_of, reverse=True)]
    return _spoiled(s, s.takeover(*votes))


@breaks(rules.VoteAuthor)
def a_strangers_vote(s: Scribe) -> Spoiled:
    return _spoiled(s, s.takeover(voters=(*VOTERS, STRANGER)))


def _with_others(members: dict[str, Member], **changes: object) -> Start:
    """A federation with other members, or other voters."""

    def start() -> Scribe:
        scribe = Scribe(members, **changes)
        scribe.add(scribe.run())
        return scribe

    return start


@breaks(rules.VoteAuthor, _with_others(WITH_KEEPER))
def a_keepers_vote(s: Scribe) -> Spoiled:
    return _spoiled(s, s.takeover(voters=(*VOTERS, KEEPER)))


@breaks(rules.VoteAuthor, _with_others({**MEMBERS, "dave": member(DAVE, Role.AUDITOR)}))
def an_auditors_vote(s: Scribe) -> Spoiled:
    return _spoiled(s, s.takeover(voters=(*VOTERS, DAVE)))


SERVERS_ALONE = _with_others(MEMBERS, voting=Voting.SERVERS)
"""A run in a federation in which the two servers vote."""


@breaks(rules.VoteAuthor, SERVERS_ALONE)
def a_clients_vote_where_servers_vote(s: Scribe) -> Spoiled:
    bad = s.takeover(voters=(SERVER, SECOND, ALICE))
    return Spoiled(s.sign(bad, SECOND), _led(s, s.takeover(voters=(SERVER, SECOND))))


def _led(s: Scribe, good: Takeover, leader: SigningKey = SECOND) -> Takeover:
    """An honest takeover, which its leader will sign."""
    s.leader = leader
    return good


def _naming_before(*voters: SigningKey) -> Start:
    """A run whose voters are named, and whose newest roster changes nobody."""
    return lambda: change(naming(*voters)())


@breaks(rules.VoteAuthor, _naming_before(SERVER, SECOND, ALICE))
def a_vote_by_one_who_is_not_named(s: Scribe) -> Spoiled:
    bad = s.takeover(voters=(SECOND, ALICE, BOB))
    return Spoiled(s.sign(bad, SECOND), _led(s, s.takeover(voters=(SECOND, ALICE))))


@breaks(rules.VoteAuthor, without(BOB))
def a_vote_by_a_member_who_has_left(s: Scribe) -> Spoiled:
    bad = s.takeover(voters=(SECOND, ALICE, BOB))
    return Spoiled(s.sign(bad, SECOND), _led(s, s.takeover(voters=(SECOND, ALICE, CAROL))))


@breaks(rules.VoteKey)
def a_vote_that_another_signed(s: Scribe) -> Spoiled:
    votes = [s.sign(s.vote(each), SERVER) for each in sorted(VOTERS, key=id_of)]
    return _spoiled(s, s.takeover(*votes))


@breaks(rules.VoteKey, rekeyed("alice", ALICE, DAVE))
def a_vote_with_the_key_before(s: Scribe) -> Spoiled:
    signers = {id_of(ALICE): DAVE}
    voters = sorted(VOTERS, key=id_of)
    votes = [s.sign(s.vote(each), signers.get(id_of(each), each)) for each in voters]
    return Spoiled(s.sign(s.takeover(), SECOND), _led(s, s.takeover(*votes)))


@breaks(rules.SignatureValid)
def a_vote_with_a_wrong_signature(s: Scribe) -> Spoiled:
    voters = sorted(VOTERS, key=id_of)
    votes = [s.sign(s.vote(each), each) for each in voters]
    other = s.vote(voters[0], height=9)
    wrong = assemble(s.vote(voters[0]), {id_of(voters[0]): signature_of(body_value(other), voters[0])})
    s.source.add(wrong)
    return _spoiled(s, s.takeover(wrong, *votes[1:]))


@breaks(rules.TakeoverMajority)
def two_votes_of_five(s: Scribe) -> Spoiled:
    return _spoiled(s, s.takeover(voters=(SECOND, ALICE)))


@breaks(rules.TakeoverMajority)
def a_takeover_without_a_vote(s: Scribe) -> Spoiled:
    return _spoiled(s, s.takeover(voters=(), votes=s.pack(())))


@breaks(rules.TakeoverMajority, SERVERS_ALONE)
def half_of_the_votes(s: Scribe) -> Spoiled:
    return Spoiled(s.sign(s.takeover(voters=(SECOND,)), SECOND), _led(s, s.takeover(voters=(SERVER, SECOND))))


@breaks(rules.TakeoverMajority)
def a_leader_who_has_not_voted_for_itself(s: Scribe) -> Spoiled:
    return _spoiled(s, s.takeover(voters=(ALICE, BOB, CAROL)))


@breaks(rules.TakeoverMajority, naming(SERVER, SECOND, ALICE))
def too_few_votes_of_those_before_the_roster(s: Scribe) -> Spoiled:
    bad = s.takeover(voters=(SECOND, ALICE))
    return Spoiled(s.sign(bad, SECOND), _led(s, s.takeover(voters=(SECOND, ALICE, BOB))))


@breaks(rules.TakeoverMajority, naming(SERVER, SECOND, ALICE))
def too_few_votes_of_those_after_the_roster(s: Scribe) -> Spoiled:
    bad = s.takeover(voters=(SECOND, BOB, CAROL))
    return Spoiled(s.sign(bad, SECOND), _led(s, s.takeover(voters=(SECOND, ALICE, CAROL))))


@breaks(rules.TakeoverMajority, naming(DAVE))
def a_takeover_where_no_voter_is_left(s: Scribe) -> Spoiled:
    return Spoiled(s.sign(s.takeover(voters=(), votes=s.pack(())), SECOND), None)
