"""A client that is left out of an exchange: what becomes of the message in hand, and of a reply that comes late."""

from __future__ import annotations

from typing import Any

import pytest
from attacked import Attacked, following, position
from chains import ALICE, ANSWER, BOB, SERVER, Scribe
from hurried import hurried

from protocol.app.calls import Answered, Task
from protocol.records.bodies import Collect
from protocol.roles.effects import FetchContent, Hand, KeepReply, Publish, Store, What
from protocol.roles.events import Done
from protocol.wire.announcements import Head, ReplyReady, parse_announcement


def left_out(s: Scribe, **changes: Any) -> Collect:
    """A collect that takes Bob's reply, and leaves Alice out."""
    given = {"messages_left_out": s.pack([s.message(ALICE).id])} | changes
    return s.collect(s.taken(BOB), s.error(ALICE), **given)


def hears(client: Attacked) -> None:
    client.say(SERVER, Head(position(client.scribe)))
    client.give_all()


def contents_come(client: Attacked) -> None:
    for fetch in [each for each in client.fetching.values() if isinstance(each, FetchContent)]:
        del client.fetching[fetch.id]
        client.feed(Done(fetch.id))


def at_work() -> Attacked:
    """Her app has a message of the first exchange."""
    client = following(hurried())
    contents_come(client)
    assert len(tasks(client)) == 1
    return client


def tasks(client: Attacked) -> list[Task]:
    return [hand.value for hand in client.all(Hand) if isinstance(hand.value, Task)]


def announced(client: Attacked) -> int:
    """How often she has announced a reply."""
    said = [parse_announcement(each.data).announcement.body for each in client.all(Publish)]
    return sum(isinstance(body, ReplyReady) for body in said)


def answer(client: Attacked) -> None:
    client.feed(Answered(tasks(client)[-1].message, client.now, content=ANSWER))


def test_a_message_that_the_app_does_not_have_yet_is_left_alone() -> None:
    client = following(hurried())
    client.scribe.add(left_out(client.scribe))
    client.scribe.add(client.scribe.dispatch())
    hears(client)
    contents_come(client)
    assert [task.message for task in tasks(client)] == [client.scribe.message(ALICE).id]


def test_a_late_reply_is_announced_until_a_collect_tells_of_it_and_the_state_after_it_stays() -> None:
    client = at_work()
    client.scribe.add(left_out(client.scribe))
    client.scribe.add(client.scribe.dispatch())
    hears(client)
    answer(client)
    assert announced(client) == 1
    assert len(client.all(KeepReply)) == 1
    client.wait(60.0)
    assert announced(client) == 2
    (late,) = [block for store in client.all(Store) if store.own for block in store.blocks]
    client.scribe.add(client.scribe.collect(client.scribe.taken(BOB), late_replies=client.scribe.pack([late.data])))
    hears(client)
    client.wait(600.0)
    assert announced(client) == 2
    assert len(client.reported(What.TASK_LATE)) == 1


def test_a_reply_and_its_place_in_the_journal_are_asked_for_at_once() -> None:
    client = at_work()
    (told,) = tasks(client)
    found = client.machine.handle(Answered(told.message, client.now, content=ANSWER), client.now)
    assert [type(effect) for effect in found if isinstance(effect, Store | KeepReply)] == [Store, KeepReply]


def test_after_a_late_reply_she_works_on_the_message_of_the_open_exchange() -> None:
    client = at_work()
    client.scribe.add(left_out(client.scribe))
    client.scribe.add(client.scribe.dispatch())
    hears(client)
    answer(client)
    contents_come(client)
    assert tasks(client)[-1].message == client.scribe.message(ALICE).id


def test_a_reply_that_was_given_and_not_heard_in_time_is_late() -> None:
    client = at_work()
    answer(client)
    assert announced(client) == 1
    client.scribe.add(left_out(client.scribe))
    hears(client)
    client.wait(60.0)
    assert announced(client) == 2


@pytest.mark.parametrize("by_the_rule", [True, False])
def test_a_reply_to_a_message_that_was_given_up_otherwise_is_not_announced(by_the_rule: bool) -> None:
    client = at_work()
    scribe = client.scribe
    scribe.add(left_out(scribe) if by_the_rule else scribe.collect(scribe.taken(BOB), scribe.error(ALICE)))
    hears(client)
    answer(client)
    assert announced(client) == int(by_the_rule)
