"""A client in an election: it votes once it hears the leader no more, and keeps what it has promised."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attacked import Attacked, following, listening, position
from chains import ALICE, APP, BOB, CAROL, ENVIRONMENT, SECOND, SERVER, TIME, Scribe, begun, id_of

from protocol.app.calls import AppReady
from protocol.blocks.cid import CID
from protocol.records.bodies import INDEX_EVERY, Vote
from protocol.records.signed_records import parse_record
from protocol.roles.acting import Acting
from protocol.roles.client.client import Client
from protocol.roles.client.client_plan import ClientPlan
from protocol.roles.effects import FetchContent, FetchRecord, KeepVote, Publish, Stop, What
from protocol.roles.electing.handing_over import HANDOVER_LASTS
from protocol.roles.events import Done
from protocol.roles.following.followed_run import Verified
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.votes.candidacy import LIFE
from protocol.votes.promise import KeptVote
from protocol.votes.reports import ASK_AFTER
from protocol.wire.announcements import (
    Announcement,
    Beat,
    Canvass,
    Canvassed,
    HandsOver,
    Head,
    Hello,
    PeerState,
    Refusal,
    Said,
    VoteAsked,
    VoteReady,
    parse_announcement,
    topic_all,
    topic_leader,
)

SILENT = 3.0
"""Seconds after which no leader is waited for."""


def said(peer: Attacked, *kinds: type[Said]) -> list[Announcement]:
    """What a peer has announced, of these kinds."""
    announced = (parse_announcement(effect.data).announcement for effect in peer.all(Publish))
    return [each for each in announced if isinstance(each.body, kinds)]


def canvass(scribe: Scribe, term: int = 2, **changes: object) -> Canvass:
    return Canvass(position(scribe, **changes), scribe.chain.manifest.cid, term)


def vote_asked(scribe: Scribe, term: int = 2, **changes: object) -> VoteAsked:
    return VoteAsked(position(scribe, **changes), scribe.chain.manifest.cid, term)


def orphaned() -> Attacked:
    """Alice's client at the head of a run whose leader is silent."""
    client = following()
    client.wait(SILENT)
    return client


def ask(client: Attacked, body: Said, by=SECOND) -> list[Said]:
    """What it says when it is asked."""
    before = len(said(client, Canvassed, VoteReady))
    client.now += 1.0
    client.say(by, body)
    return [each.body for each in said(client, Canvassed, VoteReady)[before:]]


def test_it_would_vote_for_a_server_once_it_hears_the_leader_no_more() -> None:
    client = following()
    (answer,) = ask(client, canvass(client.scribe))
    assert answer.refusal is Refusal.LEADER_HEARD
    client.wait(SILENT)
    assert ask(client, canvass(client.scribe)) == [
        Canvassed(id_of(SECOND), client.scribe.chain.run, 2, 1, None, position(client.scribe))
    ]
    assert not client.all(KeepVote)


def test_its_vote_is_on_disk_before_it_is_announced() -> None:
    client = orphaned()
    client.disk_works = False
    assert ask(client, vote_asked(client.scribe)) == []
    assert ask(client, vote_asked(client.scribe)) == []  # nor if it is asked again meanwhile
    (keep,) = client.all(KeepVote)
    client.feed(Done(keep.id))
    (ready,) = said(client, VoteReady)
    record = parse_record(keep.vote)
    record.check_signatures()
    assert ready.blocks == (keep.vote,)
    chain = client.scribe.chain
    vote = record.body
    assert isinstance(vote, Vote)
    assert (vote.run, vote.term, vote.candidate) == (chain.run, 2, id_of(SECOND))
    assert (vote.head, vote.height, vote.manifest) == (chain.head, chain.height, chain.manifest.cid)


def test_a_vote_is_not_announced_because_the_one_before_it_is_on_disk() -> None:
    client = orphaned()
    client.disk_works = False
    ask(client, vote_asked(client.scribe))
    client.wait(SILENT)
    ask(client, vote_asked(client.scribe, 3), by=SERVER)
    first, second = client.all(KeepVote)
    client.feed(Done(first.id))
    (ready,) = said(client, VoteReady)
    assert ready.blocks == (first.vote,)
    assert ask(client, vote_asked(client.scribe, 3), by=SERVER) == []
    client.feed(Done(second.id))
    assert said(client, VoteReady)[-1].blocks == (second.vote,)


def test_it_votes_once_a_term_and_gives_the_same_vote_again() -> None:
    client = orphaned()
    assert [type(each) for each in ask(client, vote_asked(client.scribe))] == [VoteReady]
    assert [type(each) for each in ask(client, vote_asked(client.scribe))] == [VoteReady]
    (_,) = client.all(KeepVote)
    client.wait(SILENT)
    (answer,) = ask(client, vote_asked(client.scribe), by=SERVER)
    assert (answer.refusal, answer.highest) == (Refusal.OLD_TERM, 2)


def test_whom_it_has_voted_for_has_time_to_lead() -> None:
    client = orphaned()
    ask(client, vote_asked(client.scribe))
    (answer,) = ask(client, canvass(client.scribe, 3), by=SECOND)
    assert answer.refusal is Refusal.LEADER_HEARD


def test_one_that_has_its_vote_and_leads_nothing_leaves_others_a_chance() -> None:
    client = orphaned()
    ask(client, vote_asked(client.scribe))
    client.wait(SILENT)
    (answer,) = ask(client, vote_asked(client.scribe, 3))
    assert answer.refusal is Refusal.LEADER_HEARD
    (answer,) = ask(client, canvass(client.scribe, 3), by=SERVER)
    assert answer.refusal is None
    client.wait(LIFE)
    assert [type(each) for each in ask(client, vote_asked(client.scribe, 3))] == [VoteReady]


def test_one_that_takes_it_further_and_further_and_leads_nothing_waits_twice_as_long_each_time() -> None:
    client = orphaned()
    for number, waits in enumerate((LIFE, 2 * LIFE, 4 * LIFE), 1):
        assert [type(each) for each in ask(client, vote_asked(client.scribe, number * 10**6))] == [VoteReady]
        client.wait(waits - 2.0)
        (answer,) = ask(client, vote_asked(client.scribe, number * 10**6 + 1))
        assert answer.refusal is Refusal.LEADER_HEARD
        (answer,) = ask(client, canvass(client.scribe, number * 10**6 + 1), by=SERVER)
        assert answer.refusal is None
        client.wait(1.0)


def test_a_leader_that_asks_for_votes_and_leads_nothing_by_them_leaves_others_a_chance() -> None:
    client = following()
    assert [type(each) for each in ask(client, vote_asked(client.scribe), by=SERVER)] == [VoteReady]
    client.wait(SILENT)
    (answer,) = ask(client, vote_asked(client.scribe, 3), by=SERVER)
    assert answer.refusal is Refusal.LEADER_HEARD
    (answer,) = ask(client, canvass(client.scribe, 3))
    assert answer.refusal is None
    client.wait(LIFE)
    assert [type(each) for each in ask(client, vote_asked(client.scribe, 3), by=SERVER)] == [VoteReady]


def test_it_waits_for_whom_it_has_voted_for_half_the_life_of_a_candidacy_though_the_leader_was_heard_unevenly() -> None:
    client = following()
    for _ in range(6):
        client.wait(8.0)
        leader_beats(client)
    assert [type(each) for each in ask(client, vote_asked(client.scribe), by=SERVER)] == [VoteReady]
    (answer,) = ask(client, canvass(client.scribe, 3))
    assert answer.refusal is Refusal.LEADER_HEARD
    client.wait(LIFE / 2)
    (answer,) = ask(client, canvass(client.scribe, 3))
    assert answer.refusal is None


def test_two_that_ask_for_votes_in_turn_leave_a_third_a_chance() -> None:
    client = orphaned()
    for term, by in ((2, SECOND), (3, SERVER)):
        assert [type(each) for each in ask(client, vote_asked(client.scribe, term), by=by)] == [VoteReady]
        client.wait(SILENT)
    (answer,) = ask(client, vote_asked(client.scribe, 4))
    assert answer.refusal is Refusal.LEADER_HEARD


def test_after_its_vote_the_leader_of_a_lower_term_is_not_followed_and_is_told_so() -> None:
    client = orphaned()
    scribe = client.scribe
    ask(client, vote_asked(scribe))
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    fetched = len(client.fetching)
    (told,) = ask(client, Head(position(scribe)), by=SERVER)
    assert (told.to, told.term, told.highest, told.refusal) == (id_of(SERVER), 1, 2, Refusal.OLD_TERM)
    assert len(client.fetching) == fetched
    client.wait(20.0)
    assert said(client, Hello, Beat)[-1].body.position is None  # it confirms nothing that a takeover may lose


def test_it_goes_on_with_whom_it_has_voted_for() -> None:
    client = orphaned()
    ask(client, vote_asked(client.scribe))
    client.scribe.lead()
    client.say(SECOND, Head(position(client.scribe, term=2)))
    client.give_all()
    client.wait(20.0)
    assert said(client, Hello, Beat)[-1].body.position == position(client.scribe, term=2)


def test_without_the_candidates_head_it_does_not_vote_but_fetches_it() -> None:
    client = orphaned()
    scribe = client.scribe
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    (answer,) = ask(client, vote_asked(scribe))
    assert answer.refusal is Refusal.AHEAD
    client.give_all()
    assert [type(each) for each in ask(client, vote_asked(scribe))] == [VoteReady]


@pytest.mark.parametrize("by", [BOB, CAROL])
def test_a_member_that_is_no_server_gets_no_vote(by) -> None:
    client = orphaned()
    for question in (canvass, vote_asked):
        (answer,) = ask(client, question(client.scribe), by=by)
        assert answer.refusal is Refusal.NO_CANDIDATE


def test_a_question_about_another_run_is_not_answered() -> None:
    client = orphaned()
    other = begun(time=TIME + 1)
    assert ask(client, canvass(other)) == []


def test_a_flood_of_questions_has_few_answers() -> None:
    client = orphaned()
    for term in range(2, 102):
        client.say(SECOND, canvass(client.scribe, term))
    assert len(said(client, Canvassed)) == 1


def with_votes(vote: KeptVote | None = None, remembers: Callable[[CID], bool] = lambda _run: True) -> Attacked:
    """Alice's client in a new process, at the head of a run whose leader is silent."""
    scribe = begun()
    acting = Acting(1, dict.fromkeys([scribe.chain.run] if vote else [], vote))
    author = Author(id_of(ALICE), (ALICE,), 1, acting=acting)
    plan = ClientPlan(APP, bytes(32), remembers=remembers)
    client = Attacked(Client(author, TrustedManifest(scribe.first, scribe.source), plan, {}), scribe)
    client.feed(AppReady(ENVIRONMENT))
    client.say(SERVER, Head(position(scribe)))
    client.give_all()
    client.wait(SILENT)
    return client


def test_while_it_verifies_again_what_it_had_verified_it_votes_for_nothing_older() -> None:
    scribe = Scribe()
    scribe.add(scribe.run())
    scribe.fill_until(9)
    older = canvass(scribe)
    scribe.fill_until(INDEX_EVERY)
    verified = Verified({scribe.chain.run: position(scribe)}, frozenset())
    plan, trusted = ClientPlan(APP, bytes(32)), TrustedManifest(scribe.first, scribe.source)
    client = Attacked(Client(Author(id_of(ALICE), (ALICE,), 1), trusted, plan, {}, verified), scribe)
    while not (answers := ask(client, older)) or answers[0].position != older.position:
        client.give(next(each for each in client.fetching.values() if isinstance(each, FetchRecord)))
    assert answers[0].refusal is Refusal.FORGOTTEN
    client.give_all()
    (answer,) = ask(client, older)
    assert answer.refusal is Refusal.BEHIND
    assert [type(each) for each in ask(client, vote_asked(scribe))] == [VoteReady]


def test_a_promise_outlives_the_process() -> None:
    scribe = begun()
    vote = KeptVote.of(scribe.sign(scribe.vote(ALICE, SERVER, term=4), ALICE))
    client = with_votes(vote)
    (answer,) = ask(client, vote_asked(client.scribe, 4))
    assert (answer.refusal, answer.highest) == (Refusal.OLD_TERM, 4)
    assert said(client, Hello, Beat)[-1].body.position is None
    assert not client.all(FetchContent)  # for the message that is open in term 1


def test_a_head_of_a_lower_term_is_not_said_while_the_takeover_is_on_its_way_to_disk() -> None:
    client = orphaned()
    ask(client, vote_asked(client.scribe))
    client.scribe.lead()
    client.disk_works = False
    client.say(SECOND, Head(position(client.scribe, term=2)))
    client.give_all()
    client.wait(20.0)
    assert said(client, Hello, Beat)[-1].body.position is None


def started_again(scribe: Scribe, *, once: bool = False) -> Attacked:
    """Alice's client in a new process, whose leader is gone: it follows no run, and knows that of a scribe."""
    verified = Verified({scribe.chain.run: position(scribe)}, frozenset())
    plan, trusted = ClientPlan(APP, bytes(32), once=once), TrustedManifest(scribe.first, scribe.source)
    client = Attacked(Client(Author(id_of(ALICE), (ALICE,), 1), trusted, plan, {}, verified), scribe)
    client.feed(AppReady(ENVIRONMENT))
    return client


def test_a_client_that_starts_after_its_leader_is_gone_has_a_vote() -> None:
    client = started_again(begun())
    assert ask(client, canvass(client.scribe)) == []
    client.give_all()
    client.wait(SILENT)
    (answer,) = ask(client, canvass(client.scribe))
    assert answer.refusal is None


def test_a_client_that_had_only_heard_of_the_run_of_a_leader_that_is_gone_has_a_vote() -> None:
    client = listening(begun())
    client.say(SERVER, Head(position(client.scribe)))
    client.fail()
    ask(client, canvass(client.scribe))
    assert not client.fetching  # the leader may speak yet
    client.wait(60.0)
    assert ask(client, canvass(client.scribe)) == []
    client.give_all()
    client.wait(SILENT)
    (answer,) = ask(client, canvass(client.scribe))
    assert answer.refusal is None


def test_a_member_that_could_not_lead_has_no_client_turn_to_a_run_of_long_ago() -> None:
    client = started_again(begun())
    ask(client, canvass(client.scribe), by=BOB)
    assert not client.fetching


def test_a_client_for_one_run_does_not_stop_because_one_was_closed_long_ago() -> None:
    scribe = begun()
    lacking = canvass(scribe)
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    scribe.add(scribe.close())
    client = started_again(scribe, once=True)
    ask(client, lacking)
    client.give_all()
    assert client.reported(What.RUN_CLOSED)
    assert not client.all(Stop)
    (answer,) = ask(client, lacking)
    assert answer.refusal is Refusal.CLOSED


def test_a_restored_home_votes_above_what_a_majority_of_others_reports() -> None:
    client = with_votes(remembers=lambda _run: False)
    (answer,) = ask(client, vote_asked(client.scribe))
    assert answer.refusal is Refusal.FORGOTTEN
    assert not said(client, Canvass)
    client.wait(ASK_AFTER)
    question = said(client, Canvass)[-1].body
    assert client.all(Publish)[-1].topic == topic_all(client.scribe.first.cid)
    run = client.scribe.chain.run
    for other, highest in ((SECOND, 3), (BOB, 1), (SERVER, 1)):
        client.say(other, Canvassed(id_of(ALICE), run, 2, highest, Refusal.OLD_TERM, None))  # not what was asked
    (answer,) = ask(client, vote_asked(client.scribe, 4))
    assert answer.refusal is Refusal.FORGOTTEN
    for other, highest in ((SECOND, 3), (BOB, 1), (SERVER, 1)):
        client.say(other, Canvassed(id_of(ALICE), run, question.term, highest, Refusal.OLD_TERM, None))
    (answer,) = ask(client, vote_asked(client.scribe, 3))
    assert answer.refusal is Refusal.FORGOTTEN
    assert [type(each) for each in ask(client, vote_asked(client.scribe, 4))] == [VoteReady]


FORGOTTEN = 1 << 61
"""A term about which a home asks that has forgotten its votes."""


def test_a_restored_home_hears_of_terms_in_which_others_would_have_voted_and_no_candidate_does() -> None:
    client = orphaned()
    assert ask(client, canvass(client.scribe, 7))[0].refusal is None
    (answer,) = ask(client, canvass(client.scribe, FORGOTTEN), by=BOB)
    assert answer.highest == 7
    (answer,) = ask(client, canvass(client.scribe, 7))
    assert (answer.refusal, answer.highest) == (None, 1), "or no candidate would ever ask for votes"


def test_it_hears_of_them_however_high_they_are() -> None:
    client = orphaned()
    assert ask(client, canvass(client.scribe, 10**9))[0].refusal is None
    (answer,) = ask(client, canvass(client.scribe, FORGOTTEN), by=BOB)
    assert answer.highest == 10**9


def test_a_restored_home_tells_a_leader_that_it_confirms_nothing_below_such_a_term() -> None:
    client = with_votes(remembers=lambda _run: False)
    scribe = client.scribe
    client.wait(ASK_AFTER)
    term = said(client, Canvass)[-1].body.term
    for other in (SECOND, BOB, CAROL):
        client.say(other, Canvassed(id_of(ALICE), scribe.chain.run, term, 7, Refusal.LEAP, None))
    client.say(SERVER, Beat(client.manifest, PeerState.LEADING, position(scribe)))
    assert [each.body.highest for each in said(client, Canvassed)] == [7]


def test_a_restored_home_tells_candidates_above_which_term_it_votes() -> None:
    client = with_votes(remembers=lambda _run: False)
    client.wait(ASK_AFTER)
    term = said(client, Canvass)[-1].body.term
    for other in (SECOND, BOB, SERVER):
        client.say(other, Canvassed(id_of(ALICE), client.scribe.chain.run, term, 5, Refusal.LEAP, None))
    (answer,) = ask(client, canvass(client.scribe, 5))
    assert (answer.refusal, answer.highest) == (Refusal.FORGOTTEN, 5)


def test_a_restored_home_catches_up_with_what_others_report_before_it_votes() -> None:
    client = with_votes(remembers=lambda _run: False)
    scribe = client.scribe
    asked = vote_asked(scribe, 2)
    client.wait(ASK_AFTER)
    term = said(client, Canvass)[-1].body.term
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    for other in (SECOND, BOB, CAROL):
        client.say(other, Canvassed(id_of(ALICE), scribe.chain.run, term, 1, Refusal.OLD_TERM, position(scribe)))
    (answer,) = ask(client, asked)
    assert answer.refusal is Refusal.FORGOTTEN
    client.give_all()
    assert [type(each) for each in ask(client, vote_asked(scribe, 2))] == [VoteReady]


def test_a_client_that_asks_is_answered_where_it_listens() -> None:
    client = orphaned()
    for by, topic in ((BOB, topic_all), (SECOND, topic_leader)):
        ask(client, canvass(client.scribe), by=by)
        assert client.all(Publish)[-1].topic == topic(client.scribe.first.cid)


def leader_beats(client: Attacked) -> None:
    client.say(SERVER, Beat(client.manifest, PeerState.LEADING, position(client.scribe)))


def test_it_votes_at_once_if_the_leader_hands_its_run_over_though_that_still_speaks() -> None:
    client = following()
    client.say(SERVER, HandsOver(position(client.scribe), id_of(SECOND)))
    leader_beats(client)
    (vote,) = ask(client, vote_asked(client.scribe))
    assert isinstance(vote, VoteReady)


def test_a_leader_that_has_handed_over_in_vain_is_heard_again() -> None:
    client = following()
    client.say(SERVER, HandsOver(position(client.scribe), id_of(SECOND)))
    client.wait(HANDOVER_LASTS)
    leader_beats(client)
    (answer,) = ask(client, canvass(client.scribe))
    assert answer.refusal is Refusal.LEADER_HEARD


@pytest.mark.parametrize("lie", ["another", "term", "run"])
def test_only_the_leader_hands_over_and_only_its_own_run_and_term(lie: str) -> None:
    client = following()
    changes = {"term": {"term": 2}, "run": {"run": APP}}.get(lie, {})
    client.say(SECOND if lie == "another" else SERVER, HandsOver(position(client.scribe, **changes), id_of(SECOND)))
    leader_beats(client)
    (answer,) = ask(client, canvass(client.scribe))
    assert answer.refusal is Refusal.LEADER_HEARD
