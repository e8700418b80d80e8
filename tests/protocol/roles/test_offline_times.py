"""What a machine could not hear is nobody's silence: its engine was away, or its process stood still."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attacked import Attacked, following, leading, message_to, position
from chains import ALICE, BOB, SERVER

from protocol.app.calls import GetNodes, Handed, Nodes, Replies, Wait
from protocol.roles.effects import Hand, What
from protocol.roles.events import AppCalled, EngineAnswered
from protocol.roles.leader.enough_clients import EnoughClients
from protocol.roles.leader.presence import AWAY_AFTER
from protocol.roles.leader.run_plan import LEAVE_TIMEOUT
from protocol.roles.offline_times import OFFLINE_AFTER, OfflineTimes
from protocol.wire.announcements import Beat, Bye, PeerState

CLIENT_TIMEOUT = 600.0
"""The client time-out of `leading`."""
LONG = 3600.0


def hearing(peer: Attacked) -> Attacked:
    peer.feed(EngineAnswered())
    return peer


def goes_by(peer: Attacked, seconds: float) -> None:
    """Time in which the engine answers each second."""
    for _ in range(int(seconds)):
        peer.wait(1.0)
        peer.feed(EngineAnswered())


def is_offline(peer: Attacked, seconds: float) -> None:
    """Time in which the engine is away."""
    for _ in range(4):
        peer.wait(seconds / 4)


def stands_still(peer: Attacked, seconds: float) -> None:
    """Time of which the process knows only afterwards."""
    peer.wait(seconds)


OFFLINE = pytest.mark.parametrize("offline", [is_offline, stands_still])
Time = Callable[[Attacked, float], None]


def beats(peer: Attacked, *clients) -> None:
    for client in clients:
        peer.say(client, Beat(peer.manifest, PeerState.IDLE))


def listed(leader: Attacked) -> int:
    leader.feed(AppCalled(GetNodes(len(leader.effects))))
    answers = [hand.value for hand in leader.all(Hand) if isinstance(hand.value, Nodes)]
    return len(answers[-1].nodes)


def replies(leader: Attacked) -> list[Handed]:
    return [reply for hand in leader.all(Hand) if isinstance(hand.value, Replies) for reply in hand.value.replies]


@OFFLINE
def test_a_client_is_no_longer_here_after_15_seconds_in_which_it_could_be_heard(offline: Time) -> None:
    leader = hearing(leading())
    beats(leader, ALICE, BOB)
    offline(leader, LONG)
    assert listed(leader) == 2
    leader.feed(EngineAnswered())
    goes_by(leader, AWAY_AFTER - OFFLINE_AFTER)
    assert listed(leader) == 2
    goes_by(leader, OFFLINE_AFTER)
    assert listed(leader) == 0


def test_a_client_that_is_silent_beside_others_is_away_though_the_leader_was_offline_before() -> None:
    leader = hearing(leading())
    beats(leader, ALICE, BOB)
    assert listed(leader) == 2
    is_offline(leader, LONG)
    leader.feed(EngineAnswered())
    for _ in range(int(AWAY_AFTER) + 1):
        beats(leader, ALICE)
        goes_by(leader, 1)
    assert listed(leader) == 1


@OFFLINE
def test_a_message_is_given_up_after_the_client_timeout_less_what_was_offline_of_it(offline: Time) -> None:
    leader = hearing(leading())
    message = message_to(leader, ALICE)
    leader.feed(AppCalled(Wait(2, (message.id,), None)))
    goes_by(leader, 100)
    offline(leader, 1000.0)
    leader.feed(EngineAnswered())
    goes_by(leader, CLIENT_TIMEOUT - 101)
    assert replies(leader) == []
    goes_by(leader, 2)
    assert [reply.reason for reply in replies(leader)] == [
        f"no reply within the client time-out of {CLIENT_TIMEOUT:g} s"
    ]


def test_a_message_lives_as_long_as_its_app_says_be_the_leader_offline_or_not() -> None:
    leader = hearing(leading())
    message = message_to(leader, ALICE)
    leader.feed(AppCalled(Wait(2, (message.id,), None)))
    is_offline(leader, message.ttl + 1)
    (reply,) = replies(leader)
    assert "time to live" in reply.reason


@OFFLINE
def test_a_client_that_said_goodbye_may_come_back_while_the_leader_is_offline(offline: Time) -> None:
    leader = hearing(leading())
    beats(leader, ALICE)
    leader.say(ALICE, Bye())
    leader.feed(AppCalled(Wait(2, (message_to(leader, ALICE).id,), None)))
    offline(leader, 2 * LEAVE_TIMEOUT)
    leader.feed(EngineAnswered())
    beats(leader, ALICE)
    goes_by(leader, LEAVE_TIMEOUT + 1)
    assert replies(leader) == []


@OFFLINE
def test_a_client_does_not_take_its_server_to_be_away_for_what_it_could_not_hear(offline: Time) -> None:
    client = hearing(following())
    offline(client, LONG)
    client.feed(EngineAnswered())
    client.say(SERVER, Beat(client.manifest, PeerState.LEADING, position(client.scribe)))
    assert client.reported(What.PEER_AWAY) == []


def test_the_first_look_of_a_resumed_run_waits_its_time_without_what_was_offline() -> None:
    offline = OfflineTimes()
    looks = EnoughClients(1, offline)
    looks.expect((1, 2), 0.0, 10.0)
    offline.answered(EngineAnswered(), 0.0)
    offline.comes_to(60.0)
    assert not looks.may_answer((1,), 60.0)
    for now in range(60, 71):
        offline.answered(EngineAnswered(), now)
    assert looks.may_answer((1,), 70.0)


def test_a_pause_that_is_short_is_not_offline() -> None:
    offline = OfflineTimes()
    for now in range(0, 100, int(OFFLINE_AFTER)):
        offline.answered(EngineAnswered(), now)
    assert offline.within(0.0) == 0.0


def test_only_what_was_offline_since_counts() -> None:
    offline = OfflineTimes()
    for now in (0.0, 10.0, 11.0, 31.0):  # offline until 10, and from 11 to 31
        offline.answered(EngineAnswered(), now)
    assert [offline.within(since) for since in (0.0, 4.0, 10.5, 21.0, 31.0)] == [30.0, 26.0, 20.0, 10.0, 0.0]


def test_a_machine_that_is_offline_is_not_woken_without_end() -> None:
    leader = hearing(leading())
    beats(leader, ALICE, BOB)
    goes_by(leader, AWAY_AFTER - 1.001)
    is_offline(leader, 40.0)
    assert leader.machine.machine.offline.ends(leader.now - 1000.0, 10.0) < leader.now  # what was over stays so
    assert min(leader.machine.machine.moments()) > leader.now


def test_what_has_a_moment_left_is_looked_at_once_a_second_while_offline() -> None:
    offline = OfflineTimes()
    offline.answered(EngineAnswered(), 100.0)
    offline.comes_to(110.0)
    assert offline.ends(90.0, 10.1) == 111.0
