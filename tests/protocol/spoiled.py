"""For each chain rule, records that break it and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from chains import (
    ADMIN,
    ALICE,
    ANSWER,
    BOB,
    CAROL,
    CONTENT,
    MEMBERS,
    SECOND,
    SERVER,
    STRANGER,
    TIME,
    Scribe,
    begun,
    block_of,
    draft_federation,
    id_of,
    node_of,
    signature_of,
    signed_value,
)

from crypto.keys import SigningKey
from protocol import rules
from protocol.blocks import Block, cbor_block, encode_cbor
from protocol.manifest_drafts import next_version, without_member
from protocol.messages import message_id
from protocol.records import Body, Look, TakenReply, body_value, parse_record
from protocol.rules import BrokenRule


@dataclass(frozen=True)
class Spoiled:
    """A record that must not be appended, and the body that may be in its place (None where nothing may)."""

    bad: Block
    good: Body | None


@dataclass(frozen=True)
class Case:
    """After ``start``, ``spoil`` gives a record that breaks ``rule`` alone."""

    rule: type[BrokenRule]
    start: Callable[[], Scribe]
    spoil: Callable[[Scribe], Spoiled]

    def __str__(self) -> str:
        return f"{self.rule.name}-{self.spoil.__name__}"


CASES: list[Case] = []
Spoil = Callable[[Scribe], Spoiled]


def breaks(rule: type[BrokenRule], start: Callable[[], Scribe] = begun) -> Callable[[Spoil], Spoil]:
    """Enter a case."""

    def enter(spoil: Spoil) -> Spoil:
        CASES.append(Case(rule, start, spoil))
        return spoil

    return enter


def filled_until(height: int) -> Callable[[], Scribe]:
    """A start whose head has ``height`` and where no message is open."""

    def start() -> Scribe:
        scribe = begun()
        scribe.add(scribe.collect(scribe.error(ALICE), scribe.error(BOB)))
        scribe.fill_until(height)
        return scribe

    return start


def signed(scribe: Scribe, bad: Body, good: Body | None, *signers: SigningKey) -> Spoiled:
    """The bad body signed as the good one would be, or by ``signers``."""
    return Spoiled(scribe.sign(bad, *signers), good)


# -- the block -----------------------------------------------------------------------------------------------------


@breaks(rules.BlockHash)
def another_blocks_bytes(s: Scribe) -> Spoiled:
    good = s.dispatch()
    return Spoiled(Block(s.sign(good).cid, s.sign(s.close()).data), good)


@breaks(rules.BlockHash)
def a_reply_of_other_bytes(s: Scribe) -> Spoiled:
    taken, other = s.taken(ALICE), s.taken(ALICE, content=CONTENT)
    good = s.collect(other)
    bad = s.sign(s.collect(taken))
    s.source[taken.reply] = s.source[other.reply]
    return Spoiled(bad, good)


@breaks(rules.CanonicalEncoding)
def keys_out_of_order(s: Scribe) -> Spoiled:
    good = s.dispatch()
    data = s.sign(good).data
    sigs, body = data.index(b"dsigs"), 1  # a map of two: "body" and its value, then "sigs" and its value
    return Spoiled(block_of(data[:1] + data[sigs:] + data[body:sigs]), good)


@breaks(rules.CanonicalEncoding)
def bytes_after_the_end(s: Scribe) -> Spoiled:
    good = s.dispatch()
    return Spoiled(block_of(s.sign(good).data + b"\x00"), good)


@breaks(rules.RecordShape)
def a_field_that_is_not_known(s: Scribe) -> Spoiled:
    good = s.dispatch()
    return Spoiled(signed_value(body_value(good) | {"more": 1}), good)


@breaks(rules.RecordShape)
def a_version_that_is_not_known(s: Scribe) -> Spoiled:
    good = s.dispatch()
    return Spoiled(signed_value(body_value(good) | {"v": 2}), good)


@breaks(rules.RecordShape)
def a_type_that_is_not_known(s: Scribe) -> Spoiled:
    good = s.dispatch()
    return Spoiled(signed_value(body_value(good) | {"type": "despatch"}), good)


@breaks(rules.RecordShape)
def one_signature_twice(s: Scribe) -> Spoiled:
    good = s.dispatch()
    signature = {"by": id_of(SERVER), "sig": signature_of(body_value(good))}
    return Spoiled(cbor_block({"body": body_value(good), "sigs": [signature, signature]}), good)


@breaks(rules.RecordShape)
def no_signature(s: Scribe) -> Spoiled:
    good = s.dispatch()
    return Spoiled(cbor_block({"body": body_value(good), "sigs": []}), good)


@breaks(rules.RecordShape)
def a_listing_of_other_things(s: Scribe) -> Spoiled:
    good = s.dispatch()
    return signed(s, replace(good, groups=s.pack([s.look(ALICE)])), good)


@breaks(rules.PrivatePart)
def a_dispatch_with_no_private_part(s: Scribe) -> Spoiled:
    good = s.dispatch()
    return signed(s, replace(good, private=b""), good)


@breaks(rules.PrivatePart, Scribe)
def a_run_with_another_types_private_part(s: Scribe) -> Spoiled:
    good = s.run()
    return signed(s, replace(good, private=encode_cbor({"reason": ""})), good)


@breaks(rules.PrivatePart)
def a_close_with_no_private_part(s: Scribe) -> Spoiled:
    good = s.close()
    return signed(s, replace(good, private=b""), good)


@breaks(rules.PrivatePart)
def a_roster_with_a_private_part(s: Scribe) -> Spoiled:
    good = s.roster(s.with_dave().cid)
    return signed(s, replace(good, private=encode_cbor({})), good)


@breaks(rules.PrivatePart)
def a_reply_with_no_private_part(s: Scribe) -> Spoiled:
    return signed(s, s.collect(s.taken(ALICE, private=b"")), s.collect(s.taken(ALICE)))


@breaks(rules.SignatureValid)
def a_signature_with_a_bit_flipped(s: Scribe) -> Spoiled:
    good = s.dispatch()
    signature = bytearray(signature_of(body_value(good)))
    signature[0] ^= 1
    sigs = [{"by": id_of(SERVER), "sig": bytes(signature)}]
    return Spoiled(cbor_block({"body": body_value(good), "sigs": sigs}), good)


@breaks(rules.SignatureValid)
def a_second_signature_that_is_wrong(s: Scribe) -> Spoiled:
    good = s.dispatch()
    sigs = [{"by": id_of(key), "sig": signature_of(body_value(good))} for key in (SERVER, SECOND)]
    sigs.sort(key=lambda each: each["by"])
    return Spoiled(cbor_block({"body": body_value(good), "sigs": sigs}), good)


@breaks(rules.SignatureValid)
def a_signature_by_what_is_no_key(s: Scribe) -> Spoiled:
    good = s.dispatch()
    signature = signature_of(body_value(good))
    sigs = [{"by": bytes(32), "sig": signature}, {"by": id_of(SERVER), "sig": signature}]
    return Spoiled(cbor_block({"body": body_value(good), "sigs": sigs}), good)


# -- its place in the chain ----------------------------------------------------------------------------------------


@breaks(rules.ChainedType)
def a_reply(s: Scribe) -> Spoiled:
    return signed(s, s.reply_body(ALICE), s.dispatch(), ALICE)


@breaks(rules.ChainedType, Scribe)
def a_manifest(s: Scribe) -> Spoiled:
    return signed(s, draft_federation().body, s.run(), ADMIN)


@breaks(rules.RunFirst, Scribe)
def a_close_first(s: Scribe) -> Spoiled:
    return signed(s, s.close(), s.run())


@breaks(rules.RunFirst)
def a_second_run_record(s: Scribe) -> Spoiled:
    return signed(s, s.run(), s.dispatch())


@breaks(rules.RunFirst, Scribe)
def a_run_record_that_has_seen_an_empty_pull(s: Scribe) -> Spoiled:
    good = s.run()
    return signed(s, replace(good, empties=1), good)


@breaks(rules.RunFirst, Scribe)
def a_run_record_that_has_looked(s: Scribe) -> Spoiled:
    good = s.run()
    return signed(s, replace(good, looks=s.pack([s.look(ALICE)])), good)


@breaks(rules.RunLink)
def a_record_of_another_run(s: Scribe) -> Spoiled:
    good = s.close()
    return signed(s, replace(good, run=CONTENT), good)


@breaks(rules.RunLink)
def a_record_of_no_run(s: Scribe) -> Spoiled:
    good = s.close()
    return signed(s, replace(good, run=None), good)


@breaks(rules.PrevLink)
def a_link_to_the_record_before_the_head(s: Scribe) -> Spoiled:
    good = s.close()
    return signed(s, replace(good, prev=s.chain.run), good)


@breaks(rules.PrevLink, Scribe)
def a_run_record_with_a_record_before_it(s: Scribe) -> Spoiled:
    good = s.run()
    return signed(s, replace(good, prev=CONTENT), good)


@breaks(rules.Height)
def a_height_too_high(s: Scribe) -> Spoiled:
    good = s.close()
    return signed(s, replace(good, height=good.height + 1), good)


@breaks(rules.Height)
def a_height_again(s: Scribe) -> Spoiled:
    good = s.close()
    return signed(s, replace(good, height=good.height - 1), good)


@breaks(rules.Term)
def a_later_term(s: Scribe) -> Spoiled:
    good = s.close()
    return signed(s, replace(good, term=2), good)


@breaks(rules.Term, Scribe)
def a_run_in_a_later_term(s: Scribe) -> Spoiled:
    good = s.run()
    return signed(s, replace(good, term=2), good)


def _closed() -> Scribe:
    scribe = begun()
    scribe.add(scribe.close())
    return scribe


@breaks(rules.AfterClose, _closed)
def a_dispatch_after_the_close(s: Scribe) -> Spoiled:
    return signed(s, s.dispatch(), None)


@breaks(rules.AfterClose, _closed)
def a_second_close(s: Scribe) -> Spoiled:
    return signed(s, s.close(), None)


# -- who says so ---------------------------------------------------------------------------------------------------


@breaks(rules.ManifestFollows)
def a_roster_of_a_manifest_signed_by_a_stranger(s: Scribe) -> Spoiled:
    draft = next_version(s.manifest, by=id_of(ADMIN), time=TIME)
    bad, good = s.next_manifest(draft, STRANGER), s.next_manifest(draft)
    return signed(s, s.roster(bad.cid), s.roster(good.cid))


@breaks(rules.ManifestFollows)
def a_roster_that_names_no_manifest(s: Scribe) -> Spoiled:
    return signed(s, s.roster(s.chain.run), s.roster(s.with_dave().cid))


@breaks(rules.ManifestFollows, Scribe)
def a_run_in_another_federation(s: Scribe) -> Spoiled:
    other = s.next_manifest(draft_federation(name="another"))
    return signed(s, s.run(manifest=other.cid), s.run())


@breaks(rules.RosterNewer)
def a_roster_of_the_manifest_in_force(s: Scribe) -> Spoiled:
    return signed(s, s.roster(s.manifest.cid), s.roster(s.with_dave().cid))


def _rostered() -> Scribe:
    scribe = begun()
    scribe.add(scribe.roster(scribe.with_dave().cid))
    return scribe


@breaks(rules.RosterNewer, _rostered)
def a_roster_of_an_older_manifest(s: Scribe) -> Spoiled:
    return signed(s, s.roster(s.manifest.cid), s.dispatch())


@breaks(rules.OneLeader)
def a_record_by_another_server(s: Scribe) -> Spoiled:
    good = s.close()
    return signed(s, replace(good, by=id_of(SECOND)), good, SECOND)


@breaks(rules.LeaderRole, Scribe)
def a_run_by_a_client(s: Scribe) -> Spoiled:
    good = s.run()
    return signed(s, replace(good, by=id_of(ALICE)), good, ALICE)


@breaks(rules.LeaderRole, Scribe)
def a_run_by_a_stranger(s: Scribe) -> Spoiled:
    good = s.run()
    return signed(s, replace(good, by=id_of(STRANGER)), good, STRANGER)


def _without_the_server() -> Scribe:
    scribe = begun()
    draft = without_member(scribe.manifest, id_of(SERVER), by=id_of(ADMIN), time=TIME)
    scribe.add(scribe.roster(scribe.next_manifest(draft).cid))
    return scribe


@breaks(rules.LeaderRole, _without_the_server)
def a_record_by_a_leader_who_has_left(s: Scribe) -> Spoiled:
    return signed(s, s.close(), None)


@breaks(rules.LeaderKey)
def a_record_signed_by_another_member(s: Scribe) -> Spoiled:
    good = s.close()
    return signed(s, good, good, SECOND)


def _with_a_new_server_key() -> Scribe:
    scribe = begun()
    members = [
        replace(each, signing=id_of(STRANGER)) if each == MEMBERS["server"] else each for each in MEMBERS.values()
    ]
    draft = next_version(scribe.manifest, members=members, by=id_of(ADMIN), time=TIME)
    scribe.add(scribe.roster(scribe.next_manifest(draft).cid))
    return scribe


@breaks(rules.LeaderKey, _with_a_new_server_key)
def a_record_signed_with_the_leaders_old_key(s: Scribe) -> Spoiled:
    return signed(s, s.close(), None, SERVER)


# -- what the app saw ----------------------------------------------------------------------------------------------


@breaks(rules.LookNodes)
def a_look_out_of_order(s: Scribe) -> Spoiled:
    look = s.look(ALICE, BOB)
    return _looked(s, Look(nodes=look.nodes[::-1], count=1))


@breaks(rules.LookNodes)
def a_look_that_shows_one_node_twice(s: Scribe) -> Spoiled:
    return _looked(s, s.look(ALICE, ALICE))


@breaks(rules.LookNodes)
def a_look_that_shows_the_server(s: Scribe) -> Spoiled:
    return _looked(s, s.look(ALICE, SERVER))


@breaks(rules.LookNodes)
def a_look_that_shows_a_stranger(s: Scribe) -> Spoiled:
    return _looked(s, s.look(STRANGER))


def _looked(s: Scribe, look: Look) -> Spoiled:
    good = s.close(looks=s.pack([s.look(ALICE, BOB)]))
    return signed(s, replace(good, looks=s.pack([s.look(ALICE), look])), good)


# -- index ---------------------------------------------------------------------------------------------------------


@breaks(rules.IndexPlace)
def an_index_where_none_is_due(s: Scribe) -> Spoiled:
    return signed(s, s.index(), s.close())


@breaks(rules.IndexPlace, filled_until(255))
def no_index_where_one_is_due(s: Scribe) -> Spoiled:
    return signed(s, s.dispatch(), s.index())


@breaks(rules.IndexLinks, filled_until(255))
def an_index_newest_first(s: Scribe) -> Spoiled:
    return signed(s, s.index(records=s.chain.recent[::-1]), s.index())


@breaks(rules.IndexLinks, filled_until(255))
def an_index_with_a_link_left_out(s: Scribe) -> Spoiled:
    return signed(s, s.index(records=s.chain.recent[1:]), s.index())


@breaks(rules.IndexLinks, filled_until(255))
def an_index_with_a_wrong_link(s: Scribe) -> Spoiled:
    return signed(s, s.index(records=(CONTENT, *s.chain.recent[1:])), s.index())


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


@breaks(rules.MessageUnique)
def the_id_of_an_open_message_again(s: Scribe) -> Spoiled:
    group = replace(s.group(ALICE), to=((s.message(ALICE).id, node_of(ALICE)),))
    return signed(s, s.dispatch(group, epoch=1), s.dispatch(epoch=1))  # a reader without keys cannot tell true ids


@breaks(rules.MessageUnique)
def one_id_twice_in_a_dispatch(s: Scribe) -> Spoiled:
    to = s.group(CAROL).to[0]
    return signed(s, s.dispatch(replace(s.group(CAROL), to=(to, to)), epoch=1), s.dispatch(epoch=1))


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


def _without_alice() -> Scribe:
    scribe = begun()
    draft = without_member(scribe.manifest, id_of(ALICE), by=id_of(ADMIN), time=TIME)
    scribe.add(scribe.roster(scribe.next_manifest(draft).cid))
    return scribe


@breaks(rules.ReplyAuthor, _without_alice)
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
