"""Records that break one rule of `protocol.chain.rules` 21 to 35: dispatches, collects and the replies in them."""

from __future__ import annotations

from dataclasses import replace

from chains import ALICE, ANSWER, BOB, CAROL, CONTENT, SERVER, STRANGER, Scribe, begun, id_of, node_of
from rostered import without
from spoiling import Spoiled, breaks, signed

from protocol.blocks.cid import Block
from protocol.chain import rules
from protocol.records.bodies import TakenReply
from protocol.records.message_ids import message_id
from protocol.records.signed_records import parse_record

# -- dispatch ------------------------------------------------------------------------------------------------------


@breaks(rules.DispatchEmpty)
def a_dispatch_of_no_group(s: Scribe) -> Spoiled:
    return signed(s, s.dispatch(groups=s.pack([])), s.dispatch())


@breaks(rules.DispatchEmpty)
def a_group_to_nobody(s: Scribe) -> Spoiled:
    return signed(s, s.dispatch(s.group(ALICE), s.group()), s.dispatch())


@breaks(rules.GroupKind)
def a_kind_that_is_not_listed(s: Scribe) -> Spoiled:
    return signed(s, s.dispatch(s.group(ALICE, kind=1)), s.dispatch(s.group(ALICE)))


@breaks(rules.GroupKind)
def a_kind_listed_twice(s: Scribe) -> Spoiled:
    return signed(s, s.dispatch(kinds=[("train", "1")] * 2), s.dispatch())


@breaks(rules.Addressee)
def a_message_to_the_server(s: Scribe) -> Spoiled:
    return signed(s, s.dispatch(s.group(SERVER)), s.dispatch())


@breaks(rules.Addressee)
def a_message_to_a_stranger(s: Scribe) -> Spoiled:
    return signed(s, s.dispatch(s.group(ALICE, STRANGER)), s.dispatch())


def _sealed() -> Scribe:
    """For a reader without keys: it cannot tell true message ids."""
    return begun(encrypted=True)


@breaks(rules.MessageUnique, _sealed)
def the_id_of_an_open_message_again(s: Scribe) -> Spoiled:
    group = replace(s.group(ALICE), to=((s.message(ALICE).id, node_of(ALICE)),))
    return signed(s, s.dispatch(group), s.dispatch())


@breaks(rules.MessageUnique, _sealed)
def one_id_twice_in_a_dispatch(s: Scribe) -> Spoiled:
    to = s.group(CAROL).to[0]
    return signed(s, s.dispatch(replace(s.group(CAROL), to=(to, to))), s.dispatch())


@breaks(rules.MessageIdTrue)
def a_message_id_of_another_content(s: Scribe) -> Spoiled:
    return signed(s, s.dispatch(replace(s.group(CAROL, content=ANSWER), content=CONTENT)), s.dispatch())


@breaks(rules.MessageIdTrue)
def a_message_id_that_skips_an_ordinal(s: Scribe) -> Spoiled:
    later = message_id(s.chain.run, node_of(CAROL), 1, CONTENT, "train")
    return signed(s, s.dispatch(replace(s.group(CAROL), to=((later, node_of(CAROL)),))), s.dispatch())


@breaks(rules.MessageIdTrue)
def a_message_id_of_another_type(s: Scribe) -> Spoiled:
    return signed(s, s.dispatch(s.group(CAROL, type="query")), s.dispatch())


# -- collect -------------------------------------------------------------------------------------------------------


@breaks(rules.CollectEmpty)
def a_collect_of_nothing(s: Scribe) -> Spoiled:
    return signed(s, s.collect(), s.collect(s.taken(ALICE)))


@breaks(rules.AnswersOpen)
def one_reply_twice(s: Scribe) -> Spoiled:
    reply = s.taken(ALICE)
    return signed(s, s.collect(reply, reply), s.collect(reply))


@breaks(rules.AnswersOpen)
def a_reply_and_an_error_for_one_message(s: Scribe) -> Spoiled:
    return signed(s, s.collect(s.taken(ALICE), s.error(ALICE)), s.collect(s.taken(ALICE)))


@breaks(rules.AnswersOpen)
def an_error_for_a_message_that_was_never_sent(s: Scribe) -> Spoiled:
    return signed(s, s.collect(s.error(ALICE, message=bytes(32))), s.collect(s.error(ALICE)))


def _alice_answered() -> Scribe:
    scribe = begun()
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    return scribe


@breaks(rules.AnswersOpen, _alice_answered)
def a_reply_that_an_earlier_collect_took(s: Scribe) -> Spoiled:
    before = parse_record(Block(s.chain.head, s.source[s.chain.head])).body
    taken = TakenReply(reply=before.answers.value[0]["reply"])
    return signed(s, s.collect(taken), s.collect(s.taken(BOB)))


@breaks(rules.UnansweredOpen)
def a_message_both_answered_and_unanswered(s: Scribe) -> Spoiled:
    alice, bob = s.message(ALICE).id, s.message(BOB).id
    return signed(s, s.collect(s.taken(ALICE), unanswered=[alice]), s.collect(s.taken(ALICE), unanswered=[bob]))


@breaks(rules.UnansweredOpen)
def an_unanswered_message_named_twice(s: Scribe) -> Spoiled:
    bob = s.message(BOB).id
    return signed(s, s.collect(unanswered=[bob, bob]), s.collect(unanswered=[bob]))


@breaks(rules.UnansweredOpen)
def an_unanswered_message_that_was_never_sent(s: Scribe) -> Spoiled:
    return signed(s, s.collect(unanswered=[bytes(32)]), s.collect(unanswered=[s.message(BOB).id]))


@breaks(rules.ErrorReason)
def a_reason_that_is_not_listed(s: Scribe) -> Spoiled:
    return signed(s, s.collect(s.error(ALICE, why=1)), s.collect(s.error(ALICE)))


@breaks(rules.ErrorReason)
def a_reason_listed_twice(s: Scribe) -> Spoiled:
    return signed(s, s.collect(s.error(ALICE), reasons=["late", "late"]), s.collect(s.error(ALICE)))


# -- reply ---------------------------------------------------------------------------------------------------------


@breaks(rules.ReplyType)
def a_run_record_taken_as_a_reply(s: Scribe) -> Spoiled:
    return signed(s, s.collect(TakenReply(reply=s.chain.run)), s.collect(s.taken(ALICE)))


@breaks(rules.ReplyNames)
def a_reply_in_another_run(s: Scribe) -> Spoiled:
    return _reply(s, run=CONTENT)


@breaks(rules.ReplyNames)
def a_reply_to_another_dispatch(s: Scribe) -> Spoiled:
    return _reply(s, dispatch=s.chain.run)


@breaks(rules.ReplyNames)
def an_error_that_refuses_the_reply_to_another_message(s: Scribe) -> Spoiled:
    bad = s.collect(s.error(BOB, refused=s.taken(ALICE).reply))
    return signed(s, bad, s.collect(s.error(BOB, refused=s.taken(BOB).reply)))


@breaks(rules.ReplyAuthor)
def a_reply_by_another_client(s: Scribe) -> Spoiled:
    return signed(s, s.collect(s.taken(ALICE, BOB, by=id_of(BOB))), s.collect(s.taken(ALICE)))


@breaks(rules.ReplyAuthor, without(ALICE))
def a_reply_by_a_client_who_has_left(s: Scribe) -> Spoiled:
    return signed(s, s.collect(s.taken(ALICE)), s.collect(s.error(ALICE)))


@breaks(rules.ReplyKey)
def a_reply_signed_by_another_client(s: Scribe) -> Spoiled:
    return signed(s, s.collect(s.taken(ALICE, BOB)), s.collect(s.taken(ALICE)))


@breaks(rules.ReplyKey)
def a_refused_reply_that_the_leader_made_up(s: Scribe) -> Spoiled:
    made_up = s.taken(ALICE, SERVER).reply
    return signed(s, s.collect(s.error(ALICE, refused=made_up)), s.collect(s.error(ALICE)))


@breaks(rules.ReplyAnswer)
def a_reply_with_both_a_content_and_a_code(s: Scribe) -> Spoiled:
    return _reply(s, code=1)


@breaks(rules.ReplyAnswer)
def a_reply_with_neither_a_content_nor_a_code(s: Scribe) -> Spoiled:
    return _reply(s, content=None)


@breaks(rules.ReplyReason)
def a_reason_that_is_too_long(s: Scribe) -> Spoiled:
    limit = s.manifest.settings.max_reason_chars
    error = {"content": None, "code": 1}
    bad = s.collect(s.taken(ALICE, **error, reason="x" * (limit + 1)))
    return signed(s, bad, s.collect(s.taken(ALICE, **error, reason="x" * limit)))


@breaks(rules.ReplyReason)
def a_reason_though_there_is_a_content(s: Scribe) -> Spoiled:
    return _reply(s, reason="all is well")


def _reply(s: Scribe, **changes: object) -> Spoiled:
    """Alice's reply with ``changes``, beside her honest one."""
    return signed(s, s.collect(s.taken(ALICE, **changes)), s.collect(s.taken(ALICE)))
