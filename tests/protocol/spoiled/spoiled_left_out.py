"""Records that break a rule of `protocol.chain.left_out`: who is left out, and which late replies are told of."""

from __future__ import annotations

from chains import ALICE, BOB, CAROL, Scribe
from hurried import bob_left_out, hurried, late_reply, leaving_out, telling
from spoiling import Spoiled, breaks, signed

from protocol.chain import rules


@breaks(rules.LeftOut)
def a_message_left_out_of_a_run_that_waits_for_all(s: Scribe) -> Spoiled:
    return signed(s, leaving_out(s, BOB), s.collect(s.taken(ALICE), s.error(BOB)))


@breaks(rules.LeftOut, hurried)
def a_message_left_out_beside_too_few_replies(s: Scribe) -> Spoiled:
    ids = [s.message(each).id for each in (ALICE, BOB)]
    bad = s.collect(s.error(ALICE), s.error(BOB), messages_left_out=s.pack(ids))
    return signed(s, bad, leaving_out(s, BOB))


@breaks(rules.LeftOut, hurried)
def a_message_left_out_beside_a_reply_that_is_an_error(s: Scribe) -> Spoiled:
    failed = s.taken(ALICE, content=None, code=1)
    bad = s.collect(failed, s.error(BOB), messages_left_out=s.pack([s.message(BOB).id]))
    return signed(s, bad, leaving_out(s, BOB))


@breaks(rules.LeftOut, hurried)
def a_message_left_out_whose_reply_is_refused(s: Scribe) -> Spoiled:
    refused = s.error(BOB, refused=s.taken(BOB).reply)
    bad = s.collect(s.taken(ALICE), refused, messages_left_out=s.pack([s.message(BOB).id]))
    return signed(s, bad, leaving_out(s, BOB))


@breaks(rules.LeftOut, hurried)
def a_message_left_out_twice(s: Scribe) -> Spoiled:
    return signed(s, leaving_out(s, BOB, messages_left_out=s.pack([s.message(BOB).id] * 2)), leaving_out(s, BOB))


@breaks(rules.LeftOut, bob_left_out)
def a_message_left_out_that_stays_open(s: Scribe) -> Spoiled:
    bob = s.message(BOB).id
    bad = s.collect(s.taken(ALICE), unanswered=[bob], messages_left_out=s.pack([bob]))
    return signed(s, bad, s.collect(s.taken(ALICE), unanswered=[bob]))


@breaks(rules.LateReplies, bob_left_out)
def a_late_reply_to_an_open_message(s: Scribe) -> Spoiled:
    message = s.message(BOB)
    return signed(s, telling(s, late_reply(s, message=message.id)), telling(s, late_reply(s)))


@breaks(rules.LateReplies, bob_left_out)
def a_late_reply_told_of_twice(s: Scribe) -> Spoiled:
    late = late_reply(s)
    return signed(s, telling(s, late, late), telling(s, late))


def bob_left_out_three_times() -> Scribe:
    """He may still be told of with the newest two."""
    scribe = bob_left_out()
    for _ in range(2):
        scribe.first_late = late_reply(scribe)  # type: ignore[attr-defined]  # of the message that is forgotten
        scribe.add(leaving_out(scribe, BOB))
        scribe.add(scribe.dispatch())
    return scribe


@breaks(rules.LateReplies, bob_left_out_three_times)
def a_late_reply_to_a_message_before_the_newest_two(s: Scribe) -> Spoiled:
    return signed(s, telling(s, s.first_late), telling(s, late_reply(s)))  # type: ignore[attr-defined]


@breaks(rules.ReplyKey, bob_left_out)
def a_late_reply_that_the_leader_made_up(s: Scribe) -> Spoiled:
    return signed(s, telling(s, late_reply(s, BOB, CAROL)), telling(s, late_reply(s)))


@breaks(rules.ReplyType, bob_left_out)
def a_late_reply_that_is_a_dispatch(s: Scribe) -> Spoiled:
    assert s.chain.head is not None
    return signed(s, telling(s, s.source[s.chain.head]), telling(s, late_reply(s)))
