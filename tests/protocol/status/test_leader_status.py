"""What a server's owner sees, case by case: who is here, who owes an answer, what is waited for, and until when."""

from __future__ import annotations

from typing import Any

import pytest
from attacked import Attacked, leading
from chains import ALICE, APP, BOB, CONTENT, ENVIRONMENT, SERVER, TIME, Scribe, id_of, node_of

from protocol.app.calls import AppReady, Finished, GetNodes, Outgoing, Push
from protocol.blocks.bundle import NamedBundle
from protocol.records.bodies import RunConfig
from protocol.roles.events import AppCalled
from protocol.roles.leader.leader import Leader
from protocol.roles.leader.run_plan import LeaderSettings, RunPlan
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.status.role_status import Doing, Lack, MemberStatus, RoleStatus, Wait, rounds_of
from protocol.wire.announcements import Beat, Bye, PeerState


def status(peer: Attacked) -> RoleStatus:
    return peer.machine.machine.status(peer.now)


def member(peer: Attacked, name: str) -> MemberStatus:
    return next(each for each in status(peer).members if each.name == name)


def beat(peer: Attacked, who: Any, state: PeerState = PeerState.IDLE, note: str = "") -> None:
    peer.say(who, Beat(peer.manifest, state, None, note))


def new_leader(config: RunConfig = ()) -> Attacked:
    scribe = Scribe()
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", config, 3)
    author, trusted = Author(id_of(SERVER), (SERVER,), 1), TrustedManifest(scribe.first, scribe.source)
    return Attacked(Leader(author, trusted, plan, LeaderSettings(min_clients=2, client_timeout=600.0)), scribe)


def test_before_its_app_is_ready_a_server_waits_for_it() -> None:
    leader = new_leader()
    assert (status(leader).state, status(leader).run) == ("preparing", None)
    assert status(leader).waits == (Wait(Lack.APP),)


def test_a_look_that_is_held_waits_for_clients() -> None:
    leader = new_leader()
    leader.feed(AppReady(ENVIRONMENT))
    beat(leader, ALICE)
    leader.feed(AppCalled(GetNodes(1)))
    assert status(leader).waits == (Wait(Lack.CLIENTS, here=1, needed=2),)
    beat(leader, BOB)
    assert status(leader).waits == ()


def test_clients_that_owe_an_answer_work_until_it_is_given_up() -> None:
    leader = leading()
    beat(leader, ALICE)
    alice = member(leader, "alice")
    assert (alice.doing, alice.heard, alice.answer_by) == (Doing.WORKING, TIME, TIME + 600.0)
    assert status(leader).waits == (Wait(Lack.REPLIES, ("alice", "bob"), TIME + 600.0),)


def test_a_client_that_was_never_heard_is_not_away() -> None:
    leader = leading()
    assert member(leader, "bob").doing is Doing.UNHEARD


def test_a_client_that_fell_silent_is_away_and_one_that_said_goodbye_has_left() -> None:
    leader = leading()
    beat(leader, ALICE)
    beat(leader, BOB)
    leader.say(BOB, Bye())
    leader.wait(20.0)
    assert (member(leader, "alice").doing, member(leader, "alice").heard) == (Doing.AWAY, TIME)
    assert member(leader, "bob").doing is Doing.LEFT


def test_a_client_that_takes_no_part_says_why() -> None:
    leader = leading()
    beat(leader, ALICE, PeerState.REFUSED, "its owner has not approved the run's app yet")
    alice = member(leader, "alice")
    assert (alice.doing, alice.why) == (Doing.REFUSING, "its owner has not approved the run's app yet")


def test_the_round_is_the_newest_that_the_app_named() -> None:
    leader = new_leader((("num-server-rounds", 5),))
    leader.feed(AppReady(ENVIRONMENT))
    sent = Outgoing(CONTENT, "train", "1", 3600.0, node_of(ALICE), 3)
    leader.feed(AppCalled(Push(1, (sent,), None)))
    run = status(leader).run
    assert run is not None
    assert (run.app, run.round, run.rounds, run.height) == ("trial", 3, 5, 1)


def test_a_closed_run_waits_for_those_that_have_not_verified_its_close() -> None:
    leader = new_leader()
    leader.feed(AppReady(ENVIRONMENT))
    beat(leader, ALICE)
    leader.feed(AppCalled(Finished(1, None)))
    assert status(leader).state == "ending"
    assert status(leader).waits == (Wait(Lack.CLOSE_HEARD, ("alice",)),)


def test_reading_the_status_changes_nothing() -> None:
    one, other = leading(), leading()
    for _ in range(3):
        status(one)
    for leader in (one, other):
        leader.wait(30.0)
    assert [type(effect) for effect in one.effects] == [type(effect) for effect in other.effects]


@pytest.mark.parametrize("asked", [True, 0, -1, "5", 5.0, 1 << 60])
def test_what_is_no_number_of_rounds_is_none(asked: Any) -> None:
    assert rounds_of((("num-server-rounds", asked),)) is None
