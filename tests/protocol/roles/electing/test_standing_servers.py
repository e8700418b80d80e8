"""A standby that hears its leader no more: it canvasses, asks for votes, and has won or waits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from attacked import Attacked, position, standing_by
from chains import ALICE, BOB, CAROL, SECOND, SERVER, Scribe, begun, id_of
from rostered import change, naming

from crypto.keys import SigningKey
from protocol.blocks.cid import cbor_block
from protocol.records.bodies import TakeoverCause
from protocol.records.signed_records import parse_record, read_record
from protocol.roles.acting import Acting
from protocol.roles.effects import FetchRecord, KeepVote, Publish, What
from protocol.roles.electing.leader_silence import COMING
from protocol.roles.electing.standing import GIVES_WAY, LEAP_LASTS
from protocol.roles.events import Done, EngineAnswered
from protocol.roles.following.voting import STUCK
from protocol.votes.candidacy import LIFE
from protocol.votes.promise import KeptVote
from protocol.votes.voter import LEAP
from protocol.wire.announcements import (
    Beat,
    Canvass,
    Canvassed,
    HandsOver,
    Head,
    PeerState,
    Refusal,
    Said,
    VoteAsked,
    VoteReady,
    parse_announcement,
)


def said(peer: Attacked, kind: type[Said]) -> list[Said]:
    """What a peer has announced, of a kind."""
    bodies = [parse_announcement(effect.data).announcement.body for effect in peer.all(Publish)]
    return [body for body in bodies if isinstance(body, kind)]


class Candidate(Attacked):
    """The second server, which could lead the run whose head it has; its leader beats evenly, until it is silent."""

    def __init__(self, scribe: Scribe, acting: Acting | None = None, *, beats: int = 6) -> None:
        made = standing_by(scribe, acting=acting)
        self.__dict__ = made.__dict__
        self.machine.why_not_lead = lambda: ""
        self.machine.is_up = lambda: True
        self.say(SERVER, Head(position(scribe)))
        self.give_all()
        self.leader_beats(beats)

    @property
    def wanted(self) -> list[FetchRecord]:
        """The records of the chain that it fetches."""
        return [each for each in self.fetching.values() if isinstance(each, FetchRecord) and each.kind is not None]

    def give_all(self) -> None:
        while self.wanted:
            self.give(self.wanted[0])

    def leader_beats(self, times: int) -> None:
        for _ in range(times):
            self.pass_time(0.5)
            self.say(SERVER, Beat(self.manifest, PeerState.LEADING, position(self.scribe)))

    def pass_time(self, seconds: float) -> None:
        """With an engine that answers."""
        for _ in range(round(seconds / 0.25)):
            self.wait(0.25)
            self.feed(EngineAnswered())

    def answers(self, *voters: SigningKey, refusal: Refusal | None = None, highest: int = 1, term: int = 2) -> None:
        for voter in voters:
            told = Canvassed(id_of(SECOND), self.scribe.chain.run, term, highest, refusal, position(self.scribe))
            self.say(voter, told)

    def votes(self, voter: SigningKey, signer: SigningKey | None = None, **changes: object) -> None:
        block = self.scribe.sign(self.scribe.vote(voter, **changes), signer or voter)
        self.say(voter, VoteReady(self.scribe.chain.run, id_of(SECOND), 2, block.cid), blocks=[block])


@pytest.fixture
def standby() -> Candidate:
    return Candidate(begun())


def asking(standby: Candidate) -> Candidate:
    """Once a majority is willing."""
    standby.pass_time(3.0)
    standby.answers(ALICE, BOB)
    return standby


def test_it_stands_once_the_leader_is_silent_for_three_beats(standby: Candidate) -> None:
    standby.leader_beats(20)
    standby.pass_time(1.0)
    assert not said(standby, Canvass)
    standby.pass_time(2.0)
    assert said(standby, Canvass)[0] == Canvass(position(standby.scribe), standby.scribe.chain.manifest.cid, 2)
    assert not standby.all(KeepVote)


def test_one_whose_app_is_not_up_stands_later_so_that_another_can_go_first(standby: Candidate) -> None:
    standby.machine.is_up = lambda: False
    standby.leader_beats(20)
    standby.pass_time(2.5)
    assert not said(standby, Canvass)
    standby.pass_time(GIVES_WAY)
    assert said(standby, Canvass)


def test_without_a_majority_that_is_willing_no_term_is_used_up(standby: Candidate) -> None:
    standby.pass_time(3.0)
    standby.answers(ALICE)
    standby.answers(BOB, CAROL, refusal=Refusal.LEADER_HEARD)
    standby.pass_time(3 * LIFE)
    assert {each.term for each in said(standby, Canvass)} == {2}
    assert not standby.all(KeepVote)
    assert not said(standby, VoteAsked)


def test_it_votes_for_itself_on_disk_before_it_asks_for_votes(standby: Candidate) -> None:
    standby.disk_works = False
    asking(standby)
    (keep,) = standby.all(KeepVote)
    assert not said(standby, VoteAsked)
    standby.feed(Done(keep.id))
    assert said(standby, VoteAsked) == [VoteAsked(position(standby.scribe), standby.scribe.chain.manifest.cid, 2)]


def test_one_that_votes_for_another_while_it_canvasses_does_not_vote_for_itself(standby: Candidate) -> None:
    standby.pass_time(3.0)
    standby.answers(ALICE)
    standby.say(SERVER, VoteAsked(position(standby.scribe), standby.scribe.chain.manifest.cid, 2))
    standby.answers(BOB)
    (kept,) = standby.all(KeepVote)
    assert parse_record(kept.vote).body.candidate == id_of(SERVER)
    assert not said(standby, VoteAsked)


def test_it_has_won_with_a_majority_of_votes_in_rising_order_of_voter(standby: Candidate) -> None:
    asking(standby).votes(BOB)
    assert standby.machine.won is None
    standby.votes(BOB)
    assert standby.machine.won is None
    standby.votes(ALICE)
    won = standby.machine.won
    assert (won.term, won.cause, won.head) == (2, TakeoverCause.SILENCE, standby.scribe.chain.head)
    standby.scribe.source.add(*won.votes)
    standby.scribe.lead(*won.votes)  # by every rule of the chain


@pytest.mark.parametrize(
    "changes",
    [
        {"term": 3},
        {"candidate": id_of(SERVER)},
        {"height": 0},
        {"by": id_of(CAROL)},
        {"signer": BOB},
        {"against": cbor_block("a record").cid},  # the takeover would break a rule of the chain
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_vote_for_something_else_or_of_somebody_else_does_not_count(standby: Candidate, changes) -> None:
    asking(standby).votes(BOB)
    standby.votes(ALICE, **changes)
    assert standby.machine.won is None


def test_a_vote_that_comes_after_its_time_does_not_count(standby: Candidate) -> None:
    asking(standby).votes(BOB)
    standby.now += LIFE
    standby.votes(ALICE)
    assert standby.machine.won is None


def test_one_that_votes_for_another_in_a_higher_term_wins_its_own_no_more(standby: Candidate) -> None:
    """With a takeover in the lower term it would break its promise, and lead beside whom it has voted for."""
    asking(standby).votes(BOB)
    asked = len(said(standby, VoteAsked))
    standby.say(SERVER, VoteAsked(position(standby.scribe), standby.scribe.chain.manifest.cid, 3))
    assert parse_record(standby.all(KeepVote)[-1].vote).body.candidate == id_of(SERVER)
    standby.votes(ALICE)
    assert standby.machine.won is None
    standby.pass_time(1.0)
    assert len(said(standby, VoteAsked)) == asked


def test_one_that_votes_for_another_before_its_own_vote_is_on_disk_asks_for_no_votes(standby: Candidate) -> None:
    standby.disk_works = False
    asking(standby)
    (own,) = standby.all(KeepVote)
    standby.say(SERVER, VoteAsked(position(standby.scribe), standby.scribe.chain.manifest.cid, 3))
    standby.feed(Done(own.id))
    assert not said(standby, VoteAsked)


def test_one_voter_that_claims_higher_terms_does_not_keep_it_from_the_lead(standby: Candidate) -> None:
    asking(standby).answers(CAROL, refusal=Refusal.OLD_TERM, highest=100)
    standby.votes(BOB)
    standby.votes(ALICE)
    assert standby.machine.won is not None


def test_a_head_that_nobody_has_does_not_keep_it_from_what_it_has_won(standby: Candidate) -> None:
    standby.pass_time(3.0)
    ahead = position(standby.scribe, head=cbor_block("nobody has it").cid, height=standby.scribe.chain.height + 1)
    standby.say(CAROL, Canvassed(id_of(SECOND), standby.scribe.chain.run, 2, 1, Refusal.BEHIND, ahead))
    assert not standby.machine.run.caught_up
    standby.answers(ALICE, BOB)
    standby.votes(ALICE)
    standby.votes(BOB)
    assert standby.machine.won is not None
    assert standby.machine.run.caught_up


def test_after_a_term_without_a_majority_it_tries_a_higher_one(standby: Candidate) -> None:
    asking(standby)
    standby.pass_time(2 * LIFE)
    assert said(standby, Canvass)[-1].term == 3
    assert standby.reported(What.STANDS_NO_MORE)


def test_it_stands_at_once_above_the_term_to_which_one_voter_was_led(standby: Candidate) -> None:
    standby.pass_time(3.0)
    standby.answers(ALICE, refusal=Refusal.OLD_TERM, highest=10**9)
    assert said(standby, Canvass)[-1].term == 10**9 + 1


def test_if_no_majority_comes_along_it_soon_stands_below(standby: Candidate) -> None:
    standby.pass_time(3.0)
    standby.answers(ALICE, refusal=Refusal.OLD_TERM, highest=10**9)
    standby.answers(BOB, CAROL, refusal=Refusal.LEAP, term=10**9 + 1)
    standby.pass_time(LEAP_LASTS + 1.5)
    assert said(standby, Canvass)[-1].term < LEAP


def test_one_that_names_higher_and_higher_terms_holds_it_up_no_longer(standby: Candidate) -> None:
    standby.pass_time(3.0)
    for highest in range(10**9, 10**9 + 1000, 2):
        standby.answers(CAROL, refusal=Refusal.OLD_TERM, highest=highest)
    asked = said(standby, Canvass)[-1]
    assert asked.term < 10**9 + 200
    standby.answers(ALICE, BOB, term=asked.term)
    assert [each.term for each in said(standby, VoteAsked)] == [asked.term]


def test_if_one_voter_says_so_after_a_majority_was_willing_the_next_attempt_is_above(standby: Candidate) -> None:
    asking(standby)
    standby.answers(CAROL, refusal=Refusal.OLD_TERM, highest=10**9)
    assert said(standby, VoteAsked)
    standby.pass_time(LIFE + 1.5)
    assert 10**9 + 1 in {each.term for each in said(standby, Canvass)}


def test_one_that_crashed_before_its_takeover_was_kept_stands_in_a_higher_term() -> None:
    scribe = begun()
    vote = KeptVote.of(scribe.sign(scribe.vote(SECOND), SECOND))
    standby = Candidate(scribe, Acting(1, {scribe.chain.run: vote}))
    standby.pass_time(COMING)
    assert [each.term for each in said(standby, Canvass)][:1] == [3]
    standby.answers(ALICE, BOB, term=3)
    for voter in (ALICE, BOB, CAROL):  # those of the term before come yet
        standby.votes(voter)
    assert standby.machine.won is None


def test_a_leader_that_is_heard_again_ends_it(standby: Candidate) -> None:
    standby.pass_time(3.0)
    standby.leader_beats(1)
    asked = len(said(standby, Canvass))
    standby.answers(ALICE, BOB)
    standby.leader_beats(4)
    assert len(said(standby, Canvass)) == asked
    assert not standby.all(KeepVote)


def test_it_fetches_what_a_voter_has_and_it_lacks(standby: Candidate) -> None:
    scribe = standby.scribe
    standby.pass_time(3.0)
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    standby.answers(ALICE, refusal=Refusal.BEHIND)
    assert [fetch.cid for fetch in standby.wanted] == [scribe.chain.head]
    standby.give_all()
    standby.pass_time(1.0)
    assert said(standby, Canvass)[-1].position == position(scribe)


def test_what_a_voter_has_is_waited_for_however_long_ago_the_newest_record_came(standby: Candidate) -> None:
    scribe = standby.scribe
    standby.pass_time(STUCK + 3.0)
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    standby.answers(ALICE, refusal=Refusal.BEHIND)
    standby.pass_time(STUCK - 0.5)
    standby.give_all()
    assert standby.machine.chain.head == scribe.chain.head


def test_one_that_invents_heads_does_not_keep_it_from_what_another_has(standby: Candidate) -> None:
    scribe = standby.scribe
    standby.pass_time(3.0)
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    told = Canvassed(id_of(SECOND), scribe.chain.run, 2, 1, Refusal.BEHIND, position(scribe, height=99))
    for number in range(20):
        invented = replace(told, position=replace(told.position, head=cbor_block(f"nobody has {number}").cid))
        standby.say(CAROL, invented)
        standby.answers(ALICE, refusal=Refusal.BEHIND)
        for fetch in standby.wanted:
            standby.give(fetch) if fetch.cid == scribe.chain.head else standby.fail(fetch)
        standby.pass_time(1.0)
    assert standby.machine.chain.head == scribe.chain.head


def test_a_standby_that_could_hear_nobody_does_not_stand_at_once(standby: Candidate) -> None:
    for _ in range(40):  # its engine does not answer
        standby.wait(1.0)
    standby.feed(EngineAnswered())
    standby.pass_time(0.5)
    assert not said(standby, Canvass)
    standby.leader_beats(4)
    assert not standby.all(KeepVote)


def test_it_waits_for_whom_it_has_voted_for_no_longer_than_for_a_leader_that_was_heard() -> None:
    standby = Candidate(begun(), beats=0)
    standby.pass_time(3.0)
    standby.say(SERVER, VoteAsked(position(standby.scribe), standby.scribe.chain.manifest.cid, 2))
    assert standby.all(KeepVote)
    assert not said(standby, Canvass)
    standby.pass_time(3.0)
    assert said(standby, Canvass)


def test_one_that_could_not_lead_does_not_stand(standby: Candidate) -> None:
    standby.machine.why_not_lead = lambda: "its app is not here"
    standby.pass_time(10.0)
    assert not said(standby, Canvass)


def test_it_stands_at_once_if_the_leader_hands_its_run_over_to_it_and_says_why(standby: Candidate) -> None:
    standby.say(SERVER, HandsOver(position(standby.scribe), id_of(SECOND)))
    standby.answers(ALICE, BOB)
    standby.votes(ALICE)
    standby.votes(BOB)
    assert standby.machine.won.cause is TakeoverCause.HANDOVER
    assert not standby.reported(What.STANDS)


def test_it_leaves_the_lead_to_whom_the_leader_names(standby: Candidate) -> None:
    standby.say(SERVER, HandsOver(position(standby.scribe), id_of(CAROL)))
    standby.pass_time(1.0)
    assert not said(standby, Canvass)
    standby.pass_time(2.0)
    assert said(standby, Canvass)


def test_a_server_without_a_vote_takes_over_once_in_a_term_though_it_crashes_in_between() -> None:
    scribe = change(naming(SERVER, ALICE, BOB)())
    standby = asking(Candidate(scribe))
    (kept,) = standby.all(KeepVote)
    assert said(standby, VoteAsked)
    standby.votes(ALICE)
    standby.votes(BOB)
    assert [parse_record(vote).body.by for vote in standby.machine.won.votes] == sorted([id_of(ALICE), id_of(BOB)])
    again = Candidate(scribe, Acting(1 << 40, {scribe.chain.run: KeptVote.of(kept.vote)}))
    again.pass_time(3.0)
    assert {each.term for each in said(again, Canvass)} == {3}


def test_one_without_a_vote_that_was_not_elected_follows_the_leader_as_before() -> None:
    scribe = change(naming(SERVER, ALICE, BOB)())
    standby = asking(Candidate(scribe))
    standby.pass_time(2 * LIFE)
    scribe.add(scribe.collect(scribe.taken(ALICE), scribe.taken(BOB)))
    standby.say(SERVER, Head(position(scribe)))
    standby.give_all()
    standby.leader_beats(6)
    assert said(standby, Beat)[-1].position == position(scribe)


def test_nothing_is_due_of_a_run_that_was_left() -> None:
    standby = Candidate(begun())
    head = read_record(standby.scribe.chain.head, standby.scribe.source).body
    other = standby.scribe.sign(replace(head, time=head.time + 1.0), SERVER)
    standby.say(SERVER, Head(position(standby.scribe, head=other.cid)), blocks=[other])
    standby.scribe.source.add(other)
    for fetch in [each for each in standby.fetching.values() if each.cid in (other.cid, standby.scribe.chain.head)]:
        standby.give(fetch)
    assert standby.machine.chain is None  # its leader has signed two records at one place
    standby.wait(60.0)
    standby.wait(0.0)
    assert min(standby.machine.machine.moments()) > standby.now  # else it would be woken without end
    assert not standby.reported(What.TAKEOVER_POSSIBLE)
