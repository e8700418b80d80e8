"""Which servers a peer asks, and when; and what that shows about pubsub."""

from __future__ import annotations

from itertools import pairwise

from protocol.pacing.backoff import FIRST_RETRY, SLOWEST_RETRY
from protocol.wire.asking import Place
from protocol.wire.asking_schedule import AT_ONCE, FAILED_FIRST, FAILED_LONGEST, AskingSchedule, Target
from protocol.wire.unheard_nodes import FIX_AGAIN, HEARD_LATELY, UNHEARD_AFTER, UnheardNodes

SERVER = Target("node", b"server")
NOWHERE = Place()


def intervals(rounds: AskingSchedule, *, news: bool | None, count: int) -> list[float]:
    """Seconds between questions to a server that always has news, never, or (None) does not answer."""
    now, asked = 0.0, []
    while len(asked) <= count:
        if rounds.due([SERVER], now):
            asked.append(now)
            if news is None:
                rounds.did_not_answer(SERVER, now)
            else:
                rounds.answered(SERVER, NOWHERE, NOWHERE, news=news, now=now)
        now += FIRST_RETRY
    return [after - before for before, after in pairwise(asked)]


def test_whoever_has_news_is_asked_again_soon_and_all_the_time() -> None:
    assert set(intervals(AskingSchedule(), news=True, count=5)) == {FIRST_RETRY}


def test_whoever_has_none_is_asked_at_a_low_rate() -> None:
    found = intervals(AskingSchedule(), news=False, count=9)
    assert found == sorted(found)
    assert found[-1] == SLOWEST_RETRY


def test_whoever_does_not_answer_is_asked_more_and_more_seldom() -> None:
    found = intervals(AskingSchedule(), news=None, count=9)
    assert (found[0], found[-1]) == (FAILED_FIRST, FAILED_LONGEST)


def test_that_our_own_engine_could_not_ask_is_not_held_against_anybody() -> None:
    rounds, now, asked = AskingSchedule(), 0.0, []
    for _ in range(4):
        while not rounds.due([SERVER], now):
            now += FIRST_RETRY
        asked.append(now)
        rounds.could_not_ask(SERVER, now)
    assert {after - before for before, after in pairwise(asked)} == {FAILED_FIRST}


def test_nobody_is_asked_twice_at_once_and_no_more_than_so_many() -> None:
    rounds, targets = AskingSchedule(), [Target(f"node {n}", b"server") for n in range(20)]
    first = rounds.due(targets, 0.0)
    assert len(first) == AT_ONCE
    assert rounds.due(targets, 100.0) == []
    rounds.did_not_answer(first[0], 0.0)
    (after,) = rounds.due(targets, 0.0)
    assert after not in first


def test_a_node_that_always_has_news_keeps_no_other_from_being_asked() -> None:
    """A hostile one may say that it is any member, and make up news."""
    rounds, talkers = AskingSchedule(), [Target(f"hostile {n}", b"server") for n in range(50)]
    asked, now = set[Target](), 0.0
    while SERVER not in asked:
        assert now < 60
        for target in rounds.due([*talkers, SERVER], now):
            asked.add(target)
            rounds.answered(target, NOWHERE, NOWHERE, news=True, now=now)
        now += FIRST_RETRY


def test_what_is_known_of_nodes_that_are_gone_is_forgotten() -> None:
    rounds = AskingSchedule()
    for number in range(5000):
        for target in rounds.due([Target(f"node {number}", b"server")], float(number)):
            rounds.did_not_answer(target, float(number))
    assert len(rounds._asked) <= 1100


def test_a_node_that_only_asking_brings_is_to_be_heard_again_after_some_talks_and_not_all_the_time() -> None:
    unheard = UnheardNodes()
    found = [
        unheard.talked("node", news=True, heard_ago=None, now=float(n)) for n in range(int(FIX_AGAIN) + UNHEARD_AFTER)
    ]
    assert found.index(True) == UNHEARD_AFTER - 1
    assert sum(found) == 2


def test_a_node_that_pubsub_brings_is_heard_whatever_asking_brings_first() -> None:
    unheard = UnheardNodes()
    assert not any(
        unheard.talked("node", news=True, heard_ago=HEARD_LATELY / 2, now=float(n)) for n in range(UNHEARD_AFTER * 3)
    )


def test_talks_are_counted_anew_once_pubsub_brings_the_node() -> None:
    unheard = UnheardNodes()
    for ago in (*[None] * (UNHEARD_AFTER - 1), 1.0, *[None] * (UNHEARD_AFTER - 1)):
        assert not unheard.talked("node", news=True, heard_ago=ago, now=1.0)


def test_a_node_that_has_nothing_to_say_is_not_taken_for_one_that_is_not_heard() -> None:
    unheard = UnheardNodes()
    assert not any(unheard.talked("node", news=False, heard_ago=None, now=float(n)) for n in range(UNHEARD_AFTER * 3))


def test_that_somebody_does_not_hear_us_is_told_once_until_it_does() -> None:
    unheard = UnheardNodes()
    assert sum(unheard.told("node", hears=False) for _ in range(100)) == 1
    unheard.told("node", hears=True)
    assert sum(unheard.told("node", hears=False) for _ in range(100)) == 1
