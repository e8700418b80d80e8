"""An admin wants another server to lead: voters vote for it though they hear the leader, and for nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attacked import Attacked, following, position
from chains import (
    ADMIN,
    ALICE,
    BOB,
    CAROL,
    CONTENT,
    DAVE,
    MEMBERS,
    SECOND,
    SERVER,
    STRANGER,
    TIME,
    Scribe,
    begun,
    id_of,
    member,
)
from test_leadership import AWAY, are_here, at, leader, pushes
from test_leadership import said as bodies
from test_standing_servers import Candidate
from test_votes_of_followers import ask, canvass, vote_asked

from crypto.keys import SigningKey
from protocol.blocks.cid import Block
from protocol.chain.takeover_warrant import LONGEST_WARRANT
from protocol.federation.unsigned_versions import next_version
from protocol.records.bodies import Role, TakeoverCause
from protocol.roles.effects import What
from protocol.roles.electing.handing_over import HANDOVER_LASTS
from protocol.roles.events import ManifestChanged
from protocol.wire.announcements import Canvass, HandsOver, Head, Refusal, VoteAsked, VoteReady, WarrantReady

__all__ = ["leader"]  # a fixture


def shows(peer: Attacked, warrant: Block, by: SigningKey = CAROL) -> None:
    """A member shows a warrant."""
    peer.say(by, WarrantReady(peer.scribe.chain.run, warrant.cid), blocks=[warrant])


def warrant(scribe: Scribe, signer: SigningKey = ADMIN, **changes: Any) -> Block:
    return scribe.sign(scribe.warrant(**changes), signer)


@pytest.fixture
def client() -> Attacked:
    """Alice's, which hears the leader of a run."""
    return following()


def test_a_voter_votes_for_whom_an_admin_wants_though_it_hears_the_leader(client: Attacked) -> None:
    shows(client, warrant(client.scribe))
    (answer,) = ask(client, canvass(client.scribe))
    assert answer.refusal is None
    assert [type(each) for each in ask(client, vote_asked(client.scribe))] == [VoteReady]


def test_it_votes_for_no_other_server_by_that() -> None:
    scribe = begun(members={**MEMBERS, "dave": member(DAVE, Role.SERVER)})
    client = following(scribe)
    shows(client, warrant(scribe))
    (answer,) = ask(client, canvass(scribe), by=DAVE)
    assert answer.refusal is Refusal.LEADER_HEARD
    (answer,) = ask(client, canvass(scribe))
    assert answer.refusal is None


BAD: dict[str, Callable[[Scribe], Block]] = {
    "signed by no admin": lambda s: warrant(s, STRANGER, by=id_of(STRANGER)),
    "signed by the candidate in an admin's name": lambda s: warrant(s, SECOND),
    "for another run": lambda s: warrant(s, run=CONTENT),
    "to end a term that is over, or not begun": lambda s: warrant(s, term=2),
    "for another server": lambda s: warrant(s, candidate=id_of(SERVER)),
    "for a member that is no server": lambda s: warrant(s, candidate=id_of(BOB)),
    "expired": lambda s: warrant(s, time=TIME - 60.0, expires=TIME),
    "good for ever": lambda s: warrant(s, expires=TIME + 10 * LONGEST_WARRANT),
    "of another day": lambda s: warrant(s, time=TIME + 86_400.0, expires=TIME + 86_400.0 + LONGEST_WARRANT),
    "no warrant": lambda s: s.sign(s.vote(ALICE), ALICE),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_warrant_that_does_not_count_does_nothing(client: Attacked, bad: str) -> None:
    shows(client, BAD[bad](client.scribe))
    (answer,) = ask(client, canvass(client.scribe))
    assert answer.refusal is Refusal.LEADER_HEARD


def test_it_does_nothing_any_more_once_it_has_expired(client: Attacked) -> None:
    shows(client, warrant(client.scribe, expires=TIME + 1.0))
    (answer,) = ask(client, canvass(client.scribe))
    assert answer.refusal is Refusal.LEADER_HEARD


def test_a_warrant_is_spent_with_the_next_takeover(client: Attacked) -> None:
    scribe = client.scribe
    word = warrant(scribe)
    shows(client, word)
    scribe.lead()
    scribe.lead(leader=SERVER, voters=(SERVER, ALICE, BOB))
    client.say(SERVER, Head(position(scribe, term=3)))
    client.give_all()
    shows(client, word)
    (answer,) = ask(client, canvass(scribe, 4))
    assert answer.refusal is Refusal.LEADER_HEARD


def test_the_word_of_somebody_who_is_no_admin_any_more_does_nothing(client: Attacked) -> None:
    word = warrant(client.scribe)
    unsigned = next_version(client.scribe.manifest, by=id_of(CAROL), time=TIME, admins=(id_of(CAROL),))
    newest = client.scribe.next_manifest(unsigned, ADMIN, CAROL)
    client.feed(ManifestChanged(newest.cid, client.scribe.source))
    shows(client, word)
    (answer,) = ask(client, canvass(client.scribe))
    assert answer.refusal is Refusal.LEADER_HEARD


def test_all_else_is_refused_as_ever(client: Attacked) -> None:
    scribe = client.scribe
    shows(client, warrant(scribe))
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    behind = canvass(scribe)
    client.say(SERVER, Head(position(scribe)))
    client.give_all()
    scribe.add(scribe.dispatch())
    client.say(SERVER, Head(position(scribe)))
    client.give_all()
    (answer,) = ask(client, behind)
    assert answer.refusal is Refusal.BEHIND


# -- the candidate -------------------------------------------------------------------------------------------------


@pytest.fixture
def standby() -> Candidate:
    return Candidate(begun())


def test_a_standby_that_an_admin_wants_stands_at_once_and_shows_the_warrant(standby: Candidate) -> None:
    word = warrant(standby.scribe)
    standby.leader_beats(2)
    shows(standby, word)
    standby.leader_beats(1)
    assert bodies(standby, Canvass)
    assert bodies(standby, WarrantReady) == [WarrantReady(standby.scribe.chain.run, word.cid)] * 2
    standby.answers(ALICE, BOB)
    standby.leader_beats(1)
    assert bodies(standby, VoteAsked)
    standby.votes(ALICE)
    standby.votes(BOB)
    won = standby.machine.won
    assert (won.cause, won.warrant) == (TakeoverCause.HANDOVER, word)
    standby.scribe.source.add(*won.votes)
    standby.scribe.lead(*won.votes, cause=won.cause, warrant=word.cid)  # by every rule of the chain


def test_it_stands_no_more_once_the_warrant_has_expired(standby: Candidate) -> None:
    shows(standby, warrant(standby.scribe, time=standby.now, expires=standby.now + 5.0))
    standby.leader_beats(8)
    asked = len(bodies(standby, Canvass))
    assert asked
    standby.leader_beats(20)
    later = len(bodies(standby, Canvass))
    standby.leader_beats(20)
    assert len(bodies(standby, Canvass)) == later


def test_a_takeover_names_no_warrant_that_has_expired_meanwhile(standby: Candidate) -> None:
    shows(standby, warrant(standby.scribe, time=standby.now, expires=standby.now + 2.0))
    standby.answers(ALICE, BOB)
    standby.votes(ALICE)
    standby.votes(BOB)
    won = standby.machine.won
    assert won.at(standby.now).warrant is not None
    assert won.at(standby.now + 2.0).warrant is None


# -- the leader ----------------------------------------------------------------------------------------------------


def for_second(leader: Attacked) -> Block:
    """A warrant for the second server to lead this leader's run."""
    leader.scribe.chain = leader.machine.chain
    return warrant(leader.scribe, time=leader.now, expires=leader.now + 60.0)


def test_a_leader_hands_its_run_over_to_whom_an_admin_wants(leader: Attacked) -> None:
    head, height = at(leader), leader.machine.chain.height
    shows(leader, for_second(leader))
    assert bodies(leader, HandsOver) == [HandsOver(head, id_of(SECOND))]
    assert pushes(leader) == height
    assert [told["name"] for told in leader.reported(What.TO_HAND_OVER)]


def test_it_does_so_once_for_each_warrant(leader: Attacked) -> None:
    height, word = leader.machine.chain.height, for_second(leader)
    shows(leader, word)
    pushes(leader)
    for _ in range(4):
        leader.wait(HANDOVER_LASTS / 4)
        are_here(leader, SECOND, ALICE, BOB)
        shows(leader, word)
    assert leader.machine.chain.height == height + 1
    assert HANDOVER_LASTS < AWAY
