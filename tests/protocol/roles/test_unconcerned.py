"""For what concerns only others, a machine does not check what is due. For what concerns itself, it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from attacked import Attacked, following, leading, listening, position
from chains import ALICE, BOB, SECOND, SERVER, begun, id_of

from protocol.roles.events import Received
from protocol.wire.announcements import Beat, Head, PeerState, Recalled, parse_announcement


def looks(attacked: Attacked, act: Callable[[], None]) -> int:
    """How often the machine asks what is due, while ``act`` is done."""
    machine, count = attacked.machine.machine, 0
    moments = machine._own_moments

    def counted() -> Iterator[float]:
        nonlocal count
        count += 1
        yield from moments()

    machine._own_moments = counted
    act()
    machine._own_moments = moments
    return count


def test_a_client_does_not_look_for_what_it_cannot_read() -> None:
    client = following()
    assert looks(client, lambda: client.feed(Received(b"no announcement"))) == 0


def test_a_client_does_not_look_for_the_beat_of_another_client() -> None:
    client = following()
    beat = Beat(client.manifest, PeerState.IDLE)
    assert looks(client, lambda: client.say(BOB, beat)) == 0


def test_a_client_does_not_take_a_server_that_stands_by_for_one_that_leads() -> None:
    client = listening(begun())
    beat = Beat(client.manifest, PeerState.WORKING, position(client.scribe))
    assert looks(client, lambda: client.say(SECOND, beat)) == 0
    assert not client.fetching


@pytest.mark.parametrize(("to", "expected"), [(BOB, 0), (ALICE, 1)])
def test_a_client_looks_for_an_answer_that_is_to_it(to: object, expected: int) -> None:
    client = following()
    answer = Recalled(id_of(to), bytes(16), None)
    assert looks(client, lambda: client.say(SERVER, answer)) == expected


def test_a_client_looks_for_the_head_of_its_server() -> None:
    client = following()
    assert looks(client, lambda: client.say(SERVER, Head(position(client.scribe)))) == 1


def test_a_leader_does_not_look_for_the_head_of_another_run() -> None:
    leader = leading()
    other = position(following().scribe)
    assert looks(leader, lambda: leader.say(BOB, Head(other))) == 0


def test_a_leader_looks_for_the_beat_of_a_client() -> None:
    leader = leading()
    beat = Beat(leader.manifest, PeerState.IDLE)
    assert looks(leader, lambda: leader.say(ALICE, beat)) == 1


def test_the_same_bytes_are_parsed_once_in_a_process() -> None:
    client = following()
    data = client.said(BOB, Beat(client.manifest, PeerState.IDLE)).data
    assert parse_announcement(data).announcement is parse_announcement(data).announcement
