"""Threads of one app that wait for the same replies: each reply is given to one of them, and none ends the run."""

from __future__ import annotations

from attacked import leading

from protocol.app.calls import Replies, Wait
from protocol.roles.effects import Hand
from protocol.roles.events import AppCalled
from protocol.roles.leader.leader import Leader


def test_a_thread_that_waits_for_what_another_was_given_is_given_nothing() -> None:
    leader = leading()
    assert isinstance(leader.machine, Leader)
    messages = tuple(leader.machine.chain.open)
    for call in (2, 3):
        leader.feed(AppCalled(Wait(call, messages, None)))
    leader.wait(700.0)  # past the client time-out
    handed = [hand.value for hand in leader.all(Hand) if isinstance(hand.value, Replies)]
    assert [(replies.call, len(replies.replies)) for replies in handed] == [(2, 2), (3, 0)]
