"""What a chain remembers of messages that were left out. `spoiled_left_out` breaks the rules."""

from __future__ import annotations

from chains import BOB, begun, node_of
from hurried import RULE, bob_left_out, hurried, late_reply, leaving_out, telling

from protocol.chain.left_out import REMEMBERED
from protocol.replies.closing_rule import parse_closing


def test_a_run_record_says_when_exchanges_close():
    assert hurried().chain.closing == parse_closing(RULE)
    assert begun().chain.closing is None


def test_a_step_says_who_was_left_out_and_which_reply_was_late():
    scribe = hurried()
    bob = scribe.message(BOB)
    assert scribe.add(leaving_out(scribe, BOB)).left_out == (bob,)
    assert bob.id not in scribe.chain.open
    assert dict(scribe.chain.left_out) == {bob.id: bob}
    scribe.add(scribe.dispatch())
    late = late_reply(scribe)
    step = scribe.add(telling(scribe, late))
    assert [each.message for each in step.late] == [bob]
    assert step.late[0].reply.cid in step.well_signed
    assert not scribe.chain.left_out


def test_messages_left_out_do_not_pile_up():
    scribe = bob_left_out()
    for _ in range(REMEMBERED + 3):
        scribe.add(leaving_out(scribe, BOB))
        scribe.add(scribe.dispatch())
    assert len(scribe.chain.left_out) == REMEMBERED
    assert {each.node for each in scribe.chain.left_out.values()} == {node_of(BOB)}
