"""A leader in a run in which a standby was heard: it beats often, goes on with a majority alone, and stands again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from attacked import Attacked, ack, leading, position
from chains import ADMIN, ALICE, APP, BOB, CAROL, CONTENT, ENVIRONMENT, SECOND, SERVER, Scribe, begun, id_of
from disputed_runs import said as contradicts
from rostered import change

from crypto.keys import SigningKey
from protocol.app.calls import AppReady, Finished, Outgoing, Push, Wait
from protocol.blocks.bundle import NamedBundle
from protocol.blocks.cid import Block
from protocol.federation.unsigned_versions import next_version
from protocol.federation.voters import Voting
from protocol.records.bodies import Close, Takeover, TakeoverCause, Vote
from protocol.records.signed_records import parse_record, sign_record
from protocol.roles.effects import KeepVote, KeepWatched, Publish, Stop, Store, What
from protocol.roles.electing import handing_over
from protocol.roles.electing.takeover_chance import LACK_LASTS, TakeoverChance
from protocol.roles.electing.voted_run import VotedRun
from protocol.roles.events import AppCalled, EngineAnswered, ManifestChanged, ToHandOver
from protocol.roles.leader.leader import Leader
from protocol.roles.leader.leader_states import LeaderState
from protocol.roles.leader.run_plan import LeaderSettings, ResumedRun, RunPlan, WonTerm
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.outbox import Outbox, Post
from protocol.status.takeover_status import TakeoverLack, TakeoverStatus
from protocol.votes.candidacy import LIFE
from protocol.votes.silence import LEADER_BEAT
from protocol.wire.announcements import (
    AckReady,
    Beat,
    Bye,
    Canvass,
    Canvassed,
    HandsOver,
    Head,
    Hello,
    PeerState,
    Position,
    Refusal,
    Said,
    VoteAsked,
    VoteReady,
    parse_announcement,
)

AWAY = 20.0


def said(peer: Attacked, kind: type[Said]) -> list[Said]:
    """What a peer has announced, of a kind."""
    bodies = [parse_announcement(effect.data).announcement.body for effect in peer.all(Publish)]
    return [body for body in bodies if isinstance(body, kind)]


def at(leader: Attacked) -> Position:
    chain = leader.machine.chain
    return Position(chain.run, chain.head, chain.height, chain.term)


def are_here(leader: Attacked, *members: SigningKey) -> None:
    """They say that they have verified all of the run."""
    for each in members:
        leader.say(each, Beat(leader.manifest, PeerState.WORKING, at(leader)))


@pytest.fixture
def leader() -> Attacked:
    """It has sent two messages; a standby and all clients follow it."""
    made = leading()
    are_here(made, SECOND, ALICE, BOB, CAROL)
    return made


def pushes(leader: Attacked) -> int:
    """The height after its app has asked to send another message."""
    message = Outgoing(CONTENT, "train", "1", 3600.0, next(iter(leader.machine.chain.open.values())).node)
    leader.feed(AppCalled(Push(2, (message,), None)))
    return leader.machine.chain.height


def test_it_beats_every_half_second_once_a_standby_is_heard() -> None:
    leader = leading()
    for _ in range(8):
        leader.wait(0.5)
    slow = len(said(leader, Beat))
    are_here(leader, SECOND)
    for _ in range(8):
        leader.wait(0.5)
    assert len(said(leader, Beat)) - slow == 8 > slow
    assert LEADER_BEAT == 0.5


def test_without_a_majority_of_voters_it_appends_nothing_and_says_so(leader: Attacked) -> None:
    height = leader.machine.chain.height
    leader.wait(AWAY)
    are_here(leader, SECOND)
    assert pushes(leader) == height
    assert leader.reported(What.VOTERS_LACKING) == [{"here": 1, "voters": 5, "needed": 3}]
    assert not leader.reported(What.VOTERS_BACK)
    are_here(leader, ALICE)
    assert leader.machine.chain.height == height + 1
    assert leader.reported(What.VOTERS_BACK)


def test_it_is_not_woken_without_end_by_a_deadline_that_passes_while_too_few_voters_are_here(leader: Attacked) -> None:
    leader.feed(AppCalled(Wait(2, tuple(leader.machine.chain.open), 1.0)))
    height = leader.machine.chain.height
    leader.wait(AWAY)
    assert min(leader.machine.machine.moments()) > leader.now
    assert leader.machine.chain.height == height
    are_here(leader, SECOND, ALICE)
    assert leader.machine.chain.height == height + 1


def test_it_is_not_woken_without_end_by_voters_that_fall_silent_while_it_hands_over(leader: Attacked) -> None:
    leadership = leader.machine._leadership
    (silent_at,) = leadership.voters.moments()
    leader.wait(silent_at - leader.now - 1.0)
    leader.feed(ToHandOver(id_of(SECOND)))
    leader.wait(2.0)
    assert leadership.handing_over.is_under_way
    assert min(leader.machine.machine.moments()) > leader.now


def learns(leader: Attacked, **changes: Any) -> int:
    """It hears of a version with these changes; the version of the manifest in force in its run then."""
    newest = leader.machine.machine.newest.manifest
    unsigned = next_version(newest, by=id_of(ADMIN), time=leader.now, **changes)
    leader.feed(ManifestChanged(leader.scribe.next_manifest(unsigned).cid, leader.scribe.source))
    return leader.machine.chain.manifest.version


def test_a_roster_waits_until_the_one_before_is_settled_if_that_changed_who_votes(leader: Attacked) -> None:
    assert learns(leader, voting=Voting.SERVERS) == 2
    assert learns(leader, voting=Voting.ALL) == 2
    height = leader.machine.chain.height
    assert pushes(leader) == height, "nothing is sent to members that the next version may remove"
    are_here(leader, SECOND)
    assert leader.machine.chain.manifest.version == 2, "the servers are a majority of now, and not of before"
    are_here(leader, ALICE)
    assert leader.machine.chain.manifest.version == 3
    assert leader.machine.chain.height == height + 2


def test_once_a_roster_is_settled_another_says_that_those_before_it_are_asked_no_more(leader: Attacked) -> None:
    learns(leader, voting=Voting.SERVERS)
    height, told = leader.machine.chain.height, leader.reported(What.MANIFEST_IN_FORCE)
    are_here(leader, SECOND)
    assert leader.machine.chain.voters_before
    are_here(leader, ALICE)
    assert (leader.machine.chain.height, leader.machine.chain.manifest.version) == (height + 1, 2)
    assert not leader.machine.chain.voters_before
    assert leader.reported(What.MANIFEST_IN_FORCE) == told
    leader.wait(AWAY)
    are_here(leader, SECOND)
    assert pushes(leader) == height + 2


def test_who_leads_on_with_an_older_manifest_than_is_in_force_writes_no_roster_by_that() -> None:
    scribe = change(begun(), voting=Voting.SERVERS)
    scribe.lead(leader=SERVER, voters=(SERVER, SECOND, ALICE))
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3)
    run = ResumedRun(scribe.chain, scribe.chain.recent, watched=True)
    author, trusted = Author(id_of(SERVER), (SERVER,), 1 << 32), TrustedManifest(scribe.first, scribe.source)
    leader = Attacked(Leader(author, trusted, plan, LeaderSettings(2, 600.0), run), scribe)
    leader.feed(AppReady(ENVIRONMENT))
    height = leader.machine.chain.height
    are_here(leader, SECOND, ALICE, BOB)
    leader.wait(120.0)
    are_here(leader, SECOND, ALICE, BOB)
    assert (leader.machine.chain.height, leader.machine.chain.manifest.version) == (height, 2)
    assert leader.machine.chain.voters_before


def test_before_a_roster_is_settled_those_that_voted_before_it_are_needed(leader: Attacked) -> None:
    learns(leader, voting=Voting.SERVERS)
    leader.wait(AWAY)
    are_here(leader, SECOND)
    height = leader.machine.chain.height
    assert pushes(leader) == height
    are_here(leader, ALICE)
    assert leader.machine.chain.height > height


def test_without_a_standby_no_roster_waits() -> None:
    leader = leading()
    height = leader.machine.chain.height
    learns(leader, voting=Voting.SERVERS)
    assert leader.machine.chain.height == height + 1
    assert learns(leader, voting=Voting.ALL) == 3


def test_in_a_run_without_a_standby_it_goes_on_alone() -> None:
    leader = leading()
    leader.wait(AWAY)
    assert pushes(leader) == 2
    assert not leader.reported(What.VOTERS_LACKING)


def test_its_offline_time_counts_against_no_voter(leader: Attacked) -> None:
    leader.feed(EngineAnswered())
    leader.wait(AWAY)
    leader.feed(EngineAnswered())
    assert pushes(leader) == 2


def test_it_votes_for_nobody_while_it_leads(leader: Attacked) -> None:
    leader.say(SECOND, Canvass(at(leader), leader.machine.chain.manifest.cid, 2))
    (told,) = said(leader, Canvassed)
    assert (told.to, told.refusal) == (id_of(SECOND), Refusal.LEADER_HEARD)


def outvoted(leader: Attacked, by: SigningKey = ALICE, term: int = 4) -> None:
    """A voter has promised a term above the leader's."""
    leader.now += 1.0
    leader.say(by, Canvassed(id_of(SERVER), leader.machine.chain.run, 1, term, Refusal.OLD_TERM, None))


def willing(leader: Attacked, *voters: SigningKey) -> None:
    question = said(leader, Canvass)[-1]
    for voter in voters:
        leader.say(voter, Canvassed(id_of(SERVER), question.position.run, question.term, 1, None, question.position))


def votes(leader: Attacked, *voters: SigningKey) -> None:
    question = said(leader, VoteAsked)[-1]
    where = question.position
    for voter in voters:
        vote = Vote(
            by=id_of(voter),
            time=leader.now,
            run=where.run,
            term=question.term,
            candidate=id_of(SERVER),
            head=where.head,
            height=where.height,
            manifest=question.manifest,
        )
        block = sign_record(vote, [voter])
        leader.say(voter, VoteReady(where.run, id_of(SERVER), question.term, block.cid), blocks=[block])


def test_a_leader_that_a_voter_has_left_behind_stands_again_in_a_higher_term(leader: Attacked) -> None:
    outvoted(leader)
    assert said(leader, Canvass)[-1].term == 2  # it asks; who has promised more says so
    height = leader.machine.chain.height
    assert pushes(leader) == height  # the votes name its newest record
    leader.say(ALICE, Canvassed(id_of(SERVER), at(leader).run, 2, 4, Refusal.OLD_TERM, None))
    assert said(leader, Canvass)[-1].term == 5
    willing(leader, BOB, CAROL, SECOND)
    votes(leader, BOB, CAROL)
    written = [parse_record(store.blocks[0]).body for store in leader.all(Store) if store.own]
    (takeover,) = [body for body in written if isinstance(body, Takeover)]
    assert (takeover.term, takeover.by, takeover.height) == (5, id_of(SERVER), height + 1)
    assert said(leader, Head)[-1].position.term == 5
    assert leader.machine.chain.height == height + 2  # and the app's push comes after it


def test_after_a_vote_of_its_own_it_appends_nothing_in_its_old_term(leader: Attacked) -> None:
    outvoted(leader)
    willing(leader, BOB, CAROL, SECOND)
    assert leader.all(KeepVote)
    standing = leader.machine._leadership._standing
    standing._candidacy, standing._not_before = None, leader.now + AWAY  # it waits, until it tries again
    are_here(leader, SECOND, ALICE, BOB, CAROL)
    assert pushes(leader) == 1


def test_a_restored_leader_takes_up_the_term_that_it_has_won_and_forgotten() -> None:
    scribe = begun()
    forgotten = ResumedRun(scribe.chain.copy(), list(scribe.chain.recent))
    voters = sorted((SERVER, BOB, CAROL), key=id_of)
    votes = [scribe.sign(scribe.vote(each, SERVER), each) for each in voters]
    scribe.source.add(*votes)
    scribe.lead(*votes, leader=SERVER)
    author, trusted = Author(id_of(SERVER), (SERVER,), 1 << 32), TrustedManifest(scribe.first, scribe.source)
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3)
    leader = Attacked(Leader(author, trusted, plan, LeaderSettings(1, 60.0), forgotten), scribe)
    leader.feed(AppReady(ENVIRONMENT))
    leader.say(ALICE, Beat(leader.manifest, PeerState.WORKING, position(scribe)))
    leader.give_all()
    assert leader.machine.chain.term == 2
    confirmed = ack(leader, term=2)
    leader.say(ALICE, AckReady(scribe.chain.run, confirmed.cid), blocks=[confirmed])
    assert not leader.reported(What.ACK_REFUSED)


def resumed(scribe: Scribe, *acks: Block, watched: bool = False) -> Attacked:
    """The leader of a scribe's run, in a new process that hears nobody; ``acks`` are what its home has, and
    ``watched`` whether it has kept that a standby was heard."""
    run = ResumedRun(scribe.chain, list(scribe.chain.recent), acks, watched=watched)
    author, trusted = Author(id_of(SERVER), (SERVER,), 1 << 32), TrustedManifest(scribe.first, scribe.source)
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3)
    leader = Attacked(Leader(author, trusted, plan, LeaderSettings(1, 60.0), run), scribe)
    leader.wait(AWAY)
    return leader


def test_a_leader_that_starts_again_knows_that_a_standby_may_lead_by_now() -> None:
    scribe = begun()
    of_standby = scribe.sign(contradicts(scribe, SECOND), SECOND)
    assert resumed(scribe, of_standby).reported(What.VOTERS_LACKING)


def test_that_a_standby_was_heard_is_kept_though_it_never_said_what_it_made_of_the_run(leader: Attacked) -> None:
    are_here(leader, SECOND)
    assert [kept.run for kept in leader.all(KeepWatched)] == [leader.machine.chain.run]
    assert resumed(begun(), watched=True).reported(What.VOTERS_LACKING)


def test_one_that_starts_again_and_never_had_a_standby_goes_on_alone() -> None:
    scribe = begun()
    of_client = ack(leading(), ALICE, run=scribe.chain.run, head=scribe.chain.head)
    assert not resumed(scribe, of_client).reported(What.VOTERS_LACKING)


def test_one_voter_that_says_so_again_and_again_makes_it_stand_once_a_minute(leader: Attacked) -> None:
    for number in range(20):
        outvoted(leader, term=4 + number)
        if said(leader, Canvass):
            willing(leader, BOB, CAROL, SECOND)
            votes(leader, BOB, CAROL)
    assert leader.machine.chain.term == 2  # by its first word; the canvass is where it says how high it is


def test_it_stands_at_once_above_the_term_to_which_a_voter_was_led(leader: Attacked) -> None:
    outvoted(leader, term=10**9)
    assert [each.term for each in said(leader, Canvass)] == [10**9 + 1]


def test_one_word_of_a_term_that_nobody_comes_to_makes_it_stand_once(leader: Attacked) -> None:
    outvoted(leader, term=1 << 62)
    for _ in range(20):
        leader.wait(1.0)
        are_here(leader, SECOND, ALICE, BOB, CAROL)
        willing(leader, BOB, CAROL, SECOND)
        if said(leader, VoteAsked):
            votes(leader, BOB, CAROL)
    assert leader.machine.chain.term == 2


def test_a_closed_run_is_not_left_before_a_majority_has_confirmed_the_close(leader: Attacked) -> None:
    leader.feed(AppCalled(Finished(9, None, "it raised")))
    assert leader.machine.machine.state is LeaderState.ENDING
    for each in (ALICE, BOB, CAROL):
        leader.say(each, Bye())
    leader.wait(1.0)
    assert not leader.all(Stop)
    leader.wait(30.0)
    assert leader.all(Stop)
    assert leader.reported(What.CLOSE_UNSETTLED)


def test_a_close_that_a_majority_has_confirmed_is_settled(leader: Attacked) -> None:
    leader.feed(AppCalled(Finished(9, None, "it raised")))
    are_here(leader, ALICE, BOB, CAROL)
    leader.wait(30.0)
    assert leader.all(Stop)
    assert not leader.reported(What.CLOSE_UNSETTLED)
    assert isinstance(parse_record([each for each in leader.all(Store) if each.own][-1].blocks[0]).body, Close)


@pytest.mark.parametrize(("apart", "settled"), [(LIFE - 0.1, True), (LIFE, False)])
def test_what_a_voter_confirmed_long_before_the_others_counts_no_more(leader, apart: float, settled: bool) -> None:
    leader.feed(AppCalled(Finished(9, None, "it raised")))
    are_here(leader, ALICE)
    leader.now += apart
    are_here(leader, BOB)
    if not leader.all(Stop):
        leader.wait(60.0)
    assert (not leader.reported(What.CLOSE_UNSETTLED)) is settled


def test_a_voter_that_may_have_forgotten_confirms_nothing_any_more(leader: Attacked) -> None:
    leader.feed(AppCalled(Finished(9, None, "it raised")))
    are_here(leader, ALICE)
    leader.say(ALICE, Beat(leader.manifest, PeerState.IDLE, None))
    are_here(leader, BOB)
    leader.wait(60.0)
    assert leader.reported(What.CLOSE_UNSETTLED)


def test_what_is_settled_stays_so_though_its_voters_are_gone(leader: Attacked) -> None:
    leader.feed(AppCalled(Finished(9, None, "it raised")))
    are_here(leader, ALICE, BOB)
    for each in (ALICE, BOB):
        leader.say(each, Beat(leader.manifest, PeerState.IDLE, None))
    leader.wait(60.0)
    assert not leader.reported(What.CLOSE_UNSETTLED)


def test_people_are_told_if_nobody_could_take_the_run_over(leader: Attacked) -> None:
    def lack() -> tuple[object, int]:
        status = leader.machine.machine.status(leader.now).takeover
        return status.lack, status.here

    assert lack() == (None, 4)
    leader.wait(AWAY)
    are_here(leader, SECOND)
    assert lack() == (TakeoverLack.VOTERS, 1)
    leader.wait(LACK_LASTS)
    (told,) = leader.reported(What.NO_TAKEOVER)
    assert "0 of 5 voters are here, and 3 are needed" in told["why"]
    are_here(leader, SECOND, ALICE, BOB)
    assert lack() == (None, 3)
    assert leader.reported(What.TAKEOVER_POSSIBLE)


def test_of_a_closed_run_nobody_is_told_that_it_can_be_taken_over() -> None:
    outbox, status = Outbox(Post()), [TakeoverStatus(TakeoverLack.STANDBY, 0, 5, 3), None]
    chance = TakeoverChance(lambda _now: status[0], outbox)
    chance.tell(0.0)
    chance.tell(LACK_LASTS)
    assert [effect.what for effect in outbox.take(LACK_LASTS)] == [What.NO_TAKEOVER]
    status.pop(0)
    chance.tell(2 * LACK_LASTS)
    assert not outbox.take(2 * LACK_LASTS)


def test_without_a_standby_that_is_what_lacks() -> None:
    leader = leading()
    assert leader.machine.machine.status(leader.now).takeover.lack is TakeoverLack.STANDBY
    leader.wait(LACK_LASTS)
    leader.wait(LACK_LASTS)
    (told,) = leader.reported(What.NO_TAKEOVER)
    assert "peer start --role server --standby" in told["why"]


def test_its_best_successor_is_a_server_that_stands_by_and_has_not_contradicted_it() -> None:
    leader = resumed(begun())
    are_here(leader, ALICE, BOB)
    assert leader.machine.best_standby() is None
    are_here(leader, SECOND)
    assert leader.machine.best_standby() == id_of(SECOND)
    scribe = begun()
    word = contradicts(scribe, SECOND, height=scribe.chain.height, head=scribe.chain.head)
    contradicted = resumed(scribe, scribe.sign(word, SECOND))
    are_here(contradicted, SECOND)
    assert contradicted.machine.best_standby() is None


def test_a_server_that_has_confirmed_the_run_stands_by_though_it_has_not_beaten_since() -> None:
    leader = resumed(begun())
    leader.say(SECOND, Hello(leader.manifest, PeerState.IDLE))
    assert leader.machine.best_standby() is None
    confirmed = ack(leader, SECOND, by=id_of(SECOND))
    leader.say(SECOND, AckReady(leader.machine.chain.run, confirmed.cid), blocks=[confirmed])
    assert leader.machine.best_standby() == id_of(SECOND)


def test_one_that_hands_over_appends_nothing_more_and_votes_for_another(leader: Attacked) -> None:
    head, height = at(leader), leader.machine.chain.height
    leader.feed(ToHandOver(id_of(SECOND)))
    assert said(leader, HandsOver) == [HandsOver(head, id_of(SECOND))]
    assert pushes(leader) == height
    leader.say(SECOND, VoteAsked(head, leader.machine.chain.manifest.cid, 2))
    assert [vote.term for vote in said(leader, VoteReady)] == [2]


def test_one_that_hands_over_does_not_miss_the_voters_that_follow_it_no_more(leader: Attacked) -> None:
    leader.feed(ToHandOver(id_of(SECOND)))
    head = at(leader)
    for voter in (SECOND, ALICE, BOB, CAROL):
        leader.say(voter, Canvassed(id_of(SERVER), head.run, head.term, head.term + 1, Refusal.OLD_TERM, None))
    assert not leader.reported(What.VOTERS_LACKING)
    leader.wait(handing_over.HANDOVER_LASTS)
    assert leader.reported(What.VOTERS_LACKING)


def test_one_that_has_handed_over_in_vain_goes_on_and_says_so(leader: Attacked) -> None:
    height = leader.machine.chain.height
    leader.feed(ToHandOver(id_of(SECOND)))
    pushes(leader)
    leader.wait(handing_over.HANDOVER_LASTS)
    assert leader.machine.chain.height == height + 1
    assert [told["name"] for told in leader.reported(What.NOT_HANDED_OVER)]


def test_it_says_that_it_hands_over_once_its_newest_record_is_on_disk(leader: Attacked) -> None:
    leader.disk_works = False
    pushes(leader)
    leader.feed(ToHandOver(id_of(SECOND)))
    assert not said(leader, HandsOver)


def test_while_a_record_is_on_its_way_to_disk_one_that_hands_over_votes_for_nobody(leader: Attacked) -> None:
    """The vote would name the record before, and promise that it signed none after that."""
    head = at(leader)
    leader.disk_works = False
    pushes(leader)
    leader.feed(ToHandOver(id_of(SECOND)))
    leader.say(SECOND, VoteAsked(head, leader.machine.chain.manifest.cid, 2))
    assert not leader.all(KeepVote)


def test_a_term_that_it_won_is_not_begun_after_a_vote_for_another_in_a_higher_one(leader: Attacked) -> None:
    head = at(leader)
    leader.feed(ToHandOver(id_of(SECOND)))
    leader.say(SECOND, VoteAsked(head, leader.machine.chain.manifest.cid, 3))
    leader.machine._requests.won(WonTerm(2, TakeoverCause.SILENCE, head.head, ()), lambda _now: None)
    leader.wait(0.0)
    assert leader.machine.chain.term == 1


def test_nothing_is_due_of_handing_a_run_over_that_is_closed(leader: Attacked) -> None:
    run = VotedRun.of(leader.machine.chain, at(leader))
    now = [run]
    handing = handing_over.HandingOver(lambda: now[-1], lambda: True, leader.machine.machine)
    handing.begin(id_of(SECOND), leader.now)
    assert list(handing.moments())
    now.append(replace(run, is_closed=True))
    handing.due(leader.now + AWAY)
    assert not list(handing.moments())  # else it would be woken without end
