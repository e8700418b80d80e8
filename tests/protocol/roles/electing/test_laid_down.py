"""A member lays a dispatch down that most servers contradict together, and helps nobody to go on with it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from attacked import Attacked, following, position
from chains import ALICE, BOB, DAVE, MEMBERS, SECOND, SERVER, STRANGER, Scribe, id_of, member
from disputed_runs import (
    ELSE,
    FIVE_SERVERS,
    MOST,
    NOTHING,
    OTHERWISE,
    THREE_SERVERS,
    WITNESSES,
    against,
    word,
)
from rostered import change
from test_votes_of_followers import ask

from crypto.keys import SigningKey
from protocol.blocks.cid import CID
from protocol.records.bodies import INDEX_EVERY, Chained, Comparison, Member, Recomputed, RecomputedAck, Role, Vote
from protocol.records.signed_records import parse_record, sign_record
from protocol.roles.catch_up import REMEMBERED
from protocol.roles.effects import FetchRecord, KeepAcks, KeepVote, What, WriteHead
from protocol.roles.events import ManifestChanged
from protocol.wire.announcements import AckReady, Canvass, Canvassed, Head, Refusal, VoteAsked

EQUAL = Recomputed(since=1, comparison=Comparison.EQUAL, message=None, content=None)
Members = Mapping[str, Member]
OF_THREE: Mapping[SigningKey, Recomputed] = dict.fromkeys(WITNESSES, ELSE)
OF_FIVE: Mapping[SigningKey, Recomputed] = dict.fromkeys(MOST, ELSE)


def branch(scribe: Scribe) -> Scribe:
    """One that goes on from the same head, with the same blocks."""
    other = copy.copy(scribe)
    other.chain = scribe.chain.copy()
    return other


def witnessed(members: Members) -> Scribe:
    """A run that needs a witness."""
    scribe = Scribe(members)
    scribe.add(scribe.run(witnesses=1))
    return scribe


class Disputed:
    """A client at a run whose newest dispatch two of three servers contradict, or three of five."""

    def __init__(
        self,
        words: Mapping[SigningKey, Recomputed] = OF_THREE,
        members: Members = THREE_SERVERS,
        before: Scribe | None = None,
    ) -> None:
        self.before = before or witnessed(members)
        self.scribe = branch(self.before)
        self.words = {by: word(self.before, by, told) for by, told in words.items()}
        self.scribe.add(self.scribe.dispatch())
        assert self.scribe.chain.head is not None
        self.against: CID = self.scribe.chain.head
        self.client = following(self.scribe)

    def tell(self, *by: SigningKey) -> None:
        for each in by or self.words:
            ack = self.words[each]
            self.client.say(each, AckReady(self.scribe.chain.run, ack.cid), blocks=[ack])
        self.give_records()

    def give_records(self) -> None:
        client = self.client
        while wanted := [
            fetch for fetch in client.fetching.values() if isinstance(fetch, FetchRecord) and fetch.kind is Chained
        ]:
            client.give(wanted[0])

    def hears(self, scribe: Scribe) -> None:
        self.client.say(scribe.leader, Head(position(scribe)))
        self.give_records()

    def asked(self, kind: type[Canvass | VoteAsked], by: SigningKey = SECOND, record: CID | None = None) -> object:
        question = kind(position(self.before), self.before.chain.manifest.cid, 2, record)
        (answer,) = ask(self.client, question, by)
        return answer

    def refusal(self, by: SigningKey = SECOND, record: CID | None = None) -> Refusal | None:
        answer = self.asked(Canvass, by, record)
        assert isinstance(answer, Canvassed)
        return answer.refusal


def laid_down(client: Attacked) -> list[object]:
    return [report["height"] for report in client.reported(What.LAID_DOWN)]


def test_one_word_lays_nothing_down_and_with_the_second_the_dispatch_is_left_behind() -> None:
    disputed = Disputed()
    disputed.tell(WITNESSES[0])
    assert (laid_down(disputed.client), disputed.refusal(record=disputed.against)) == ([], Refusal.LEADER_HEARD)
    disputed.tell(WITNESSES[1])
    assert laid_down(disputed.client) == [0]
    kept = {block.cid for effect in disputed.client.all(KeepAcks) for block in effect.blocks}
    assert {each.cid for each in disputed.words.values()} <= kept


def test_one_server_may_bring_the_word_of_another_that_is_gone() -> None:
    disputed = Disputed()
    first, second = (disputed.words[each] for each in WITNESSES)
    disputed.client.say(WITNESSES[0], AckReady(disputed.scribe.chain.run, first.cid), blocks=[first, second])
    disputed.give_records()
    assert laid_down(disputed.client) == [0]


def test_it_votes_against_that_dispatch_for_a_server_that_contradicts_it_though_the_leader_is_heard() -> None:
    disputed = Disputed()
    disputed.tell()
    assert disputed.refusal() is Refusal.DISPUTED
    assert disputed.refusal(SERVER, disputed.against) is Refusal.NO_CANDIDATE
    disputed.asked(VoteAsked, record=disputed.against)
    vote = parse_record(disputed.client.all(KeepVote)[-1].vote).body
    assert isinstance(vote, Vote)
    assert (vote.against, vote.head, vote.candidate) == (disputed.against, disputed.before.chain.head, id_of(SECOND))


@pytest.mark.parametrize("leader", [SERVER, DAVE], ids=["its own leader", "one that went on from it"])
def test_it_takes_that_dispatch_from_nobody_any_more(leader: SigningKey) -> None:
    disputed = Disputed()
    disputed.tell()
    later = disputed.scribe
    if leader is not SERVER:
        later.lead(leader=leader, voters=(DAVE, SERVER, ALICE, BOB))
    later.add(later.collect(later.taken(ALICE)))
    disputed.hears(later)
    assert disputed.client.all(WriteHead)[-1].head == disputed.against
    assert disputed.refusal(record=disputed.against) is None


def test_it_follows_the_server_that_leads_on_from_before() -> None:
    disputed = Disputed()
    disputed.tell()
    elected = branch(disputed.before)
    takeover = against(elected)
    elected.leader = SECOND
    elected.add(takeover)
    elected.add(elected.dispatch())
    disputed.hears(elected)
    assert disputed.client.all(WriteHead)[-1].head == elected.chain.head


def test_the_word_of_a_server_that_vouched_for_the_dispatch_does_not_count() -> None:
    disputed = Disputed()
    chain, by = disputed.scribe.chain, WITNESSES[0]
    said = parse_record(word(disputed.before, by, EQUAL)).body
    assert isinstance(said, RecomputedAck)
    equal = sign_record(said, [by])
    disputed.client.say(by, AckReady(chain.run, equal.cid), blocks=[equal])
    disputed.tell()
    assert laid_down(disputed.client) == []


def test_a_voter_that_lacks_the_dispatch_fetches_it_and_lays_it_down() -> None:
    disputed = Disputed()
    disputed.client = following(disputed.before)
    disputed.tell()
    disputed.client.wait(30.0)
    assert disputed.refusal(record=disputed.against) is Refusal.DISPUTED
    disputed.give_records()
    assert laid_down(disputed.client) == [0]
    assert disputed.refusal(record=disputed.against) is None


@pytest.mark.parametrize("told", [OTHERWISE, NOTHING], ids=["another content", "nothing"])
@pytest.mark.parametrize("comes_first", [True, False])
def test_a_word_to_something_else_does_not_keep_it_from_what_most_servers_agree_on(
    told: Recomputed, *, comes_first: bool
) -> None:
    alone = {STRANGER: told}
    disputed = Disputed({**alone, **OF_FIVE} if comes_first else {**OF_FIVE, **alone}, FIVE_SERVERS)
    disputed.tell()
    assert laid_down(disputed.client) == [0]
    assert disputed.refusal(STRANGER, disputed.against) is Refusal.NO_CANDIDATE
    assert disputed.refusal(SECOND, disputed.against) is None


@pytest.mark.parametrize(
    "changes", [{}, {"term": 9}, {"signer": ALICE}], ids=["of that dispatch", "of another term", "forged"]
)
def test_who_says_the_same_later_may_lead_too(changes: dict[str, Any]) -> None:
    disputed = Disputed(OF_FIVE, FIVE_SERVERS)
    disputed.tell()
    disputed.words[STRANGER] = word(disputed.before, STRANGER, **changes)
    disputed.tell(STRANGER)
    assert disputed.refusal(STRANGER, disputed.against) is (Refusal.NO_CANDIDATE if changes else None)


def test_what_lies_so_far_back_that_the_run_is_verified_anew_stays_laid_down() -> None:
    before = witnessed(MEMBERS)
    third = member(DAVE, Role.SERVER, place=before.first.cid)  # which was none when the run began
    change(before, members={**MEMBERS, "third server": third}.values())
    before.fill_until(INDEX_EVERY + 2)  # so that it is not verified at once
    disputed = Disputed(before=before)
    later = disputed.scribe
    later.add(later.collect(later.taken(ALICE), later.taken(BOB)))
    later.fill_until(later.chain.height + 2 * REMEMBERED)
    disputed.client.feed(ManifestChanged(before.chain.manifest.cid, before.source))
    disputed.hears(disputed.scribe)
    disputed.tell()
    assert laid_down(disputed.client) == [-1]
    assert disputed.refusal(record=disputed.against) is None
