"""Takeovers against a leader's record that break one rule: 48 of `protocol.chain.rules`, or 44 of their votes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chains import (
    ALICE,
    BOB,
    CAROL,
    CONTENT,
    DAVE,
    SECOND,
    SERVER,
    STRANGER,
    TIME,
    Scribe,
    id_of,
    signature_of,
)
from disputed_runs import ELSE, WITNESSES, against, said, three_servers, word
from spoiling import Spoiled, breaks

from crypto.keys import SigningKey
from protocol.blocks.cid import Block
from protocol.blocks.listing import EMPTY
from protocol.chain import rules
from protocol.records.bodies import Ack, Comparison, Takeover, TakeoverCause
from protocol.records.signed_records import assemble, body_value


def _spoiled(s: Scribe, bad: Takeover, leader: SigningKey = SECOND) -> Spoiled:
    """A bad takeover beside an honest one."""
    good = against(s)
    s.leader = SECOND
    return Spoiled(s.sign(bad, leader), good)


# -- what it is against --------------------------------------------------------------------------------------------


@breaks(rules.TakeoverDispute, three_servers)
def a_dispute_about_nothing(s: Scribe) -> Spoiled:
    return _spoiled(s, s.takeover(voters=(SECOND, DAVE, ALICE, BOB), cause=TakeoverCause.DISPUTE))


@breaks(rules.TakeoverDispute, three_servers)
def words_about_nothing(s: Scribe) -> Spoiled:
    words = s.pack(word(s, each).cid for each in WITNESSES)
    return _spoiled(s, s.takeover(voters=(SECOND, DAVE, ALICE, BOB), words=words))


@breaks(rules.TakeoverDispute, three_servers)
def silence_that_leaves_a_record_out(s: Scribe) -> Spoiled:
    return _spoiled(s, against(s, cause=TakeoverCause.SILENCE))


@breaks(rules.TakeoverDispute, three_servers)
def a_disputed_close(s: Scribe) -> Spoiled:
    close = s.sign(s.close(), SERVER).cid
    return _spoiled(s, against(s, *(word(s, each, head=close) for each in WITNESSES), record=close))


def _exchanged() -> Scribe:
    scribe = three_servers()
    scribe.add(scribe.dispatch())
    scribe.add(scribe.collect(scribe.taken(ALICE), scribe.error(BOB)))
    return scribe


@breaks(rules.TakeoverDispute, _exchanged)
def a_disputed_record_that_stands_before(s: Scribe) -> Spoiled:
    first = s.chain.recent[1]
    words = (word(s, each, head=first, height=1) for each in WITNESSES)
    return _spoiled(s, against(s, *words, record=first))


@breaks(rules.TakeoverDispute, three_servers)
def a_disputed_record_by_another_server(s: Scribe) -> Spoiled:
    record = s.sign(replace(s.dispatch(), by=id_of(DAVE)), DAVE).cid
    return _spoiled(s, against(s, *(word(s, each, head=record) for each in WITNESSES), record=record))


@breaks(rules.TakeoverDispute, three_servers)
def a_disputed_record_that_another_signed(s: Scribe) -> Spoiled:
    record = s.sign(s.dispatch(), SECOND).cid
    return _spoiled(s, against(s, *(word(s, each, head=record) for each in WITNESSES), record=record))


def _wrongly_signed(s: Scribe, body: Any, other: Any, signer: SigningKey) -> Block:
    """``body`` with the signature of ``other``."""
    wrong = assemble(body, {signer.verify_key.raw: signature_of(body_value(other), signer)})
    s.source.add(wrong)
    return wrong


@breaks(rules.SignatureValid, three_servers)
def a_disputed_record_with_a_wrong_signature(s: Scribe) -> Spoiled:
    record = _wrongly_signed(s, s.dispatch(), s.close(), SERVER).cid
    return _spoiled(s, against(s, *(word(s, each, head=record) for each in WITNESSES), record=record))


# -- the words -----------------------------------------------------------------------------------------------------


def _with_word(s: Scribe, bad: Block) -> Spoiled:
    """``bad`` in place of Dave's word."""
    return _spoiled(s, against(s, *(bad if each is DAVE else word(s, each) for each in WITNESSES)))


@breaks(rules.TakeoverDispute, three_servers)
def one_word_of_three_servers(s: Scribe) -> Spoiled:
    return _spoiled(s, against(s, word(s, SECOND)))


@breaks(rules.TakeoverDispute, three_servers)
def a_leader_that_has_not_contradicted(s: Scribe) -> Spoiled:
    return _spoiled(s, against(s, leader=SERVER, voters=(SERVER, DAVE, ALICE, BOB)), SERVER)


@breaks(rules.TakeoverDispute, three_servers)
def a_word_twice(s: Scribe) -> Spoiled:
    return _spoiled(s, against(s, *[word(s, SECOND)] * 2))


@breaks(rules.TakeoverDispute, three_servers)
def words_out_of_order(s: Scribe) -> Spoiled:
    return _spoiled(s, against(s, *(word(s, each) for each in reversed(WITNESSES))))


@breaks(rules.TakeoverDispute, three_servers)
def a_word_of_the_leader_before(s: Scribe) -> Spoiled:
    return _spoiled(s, against(s, *(word(s, each) for each in sorted((SECOND, SERVER), key=id_of))))


@breaks(rules.TakeoverDispute, three_servers)
def a_clients_word(s: Scribe) -> Spoiled:
    return _spoiled(s, against(s, *(word(s, each) for each in sorted((SECOND, CAROL), key=id_of))))


@breaks(rules.TakeoverDispute, three_servers)
def a_strangers_word(s: Scribe) -> Spoiled:
    return _spoiled(s, against(s, *(word(s, each) for each in sorted((SECOND, STRANGER), key=id_of))))


@breaks(rules.TakeoverDispute, three_servers)
def a_word_that_another_signed(s: Scribe) -> Spoiled:
    return _with_word(s, word(s, DAVE, signer=SECOND))


@breaks(rules.SignatureValid, three_servers)
def a_word_with_a_wrong_signature(s: Scribe) -> Spoiled:
    return _with_word(s, _wrongly_signed(s, said(s, DAVE), said(s, DAVE, time=TIME + 1), DAVE))


@breaks(rules.PrivatePart, three_servers)
def a_word_with_a_private_part(s: Scribe) -> Spoiled:
    return _with_word(s, word(s, DAVE, private=b"\xa0"))


@breaks(rules.TakeoverDispute, three_servers)
def a_word_that_is_a_plain_ack(s: Scribe) -> Spoiled:
    spoken = said(s, DAVE)
    place = {"run": spoken.run, "term": spoken.term, "height": spoken.height, "head": spoken.head, "replies": EMPTY}
    return _with_word(s, s.sign(Ack(by=spoken.by, time=TIME, **place), DAVE))


@breaks(rules.TakeoverDispute, three_servers)
def a_word_about_another_record(s: Scribe) -> Spoiled:
    return _with_word(s, word(s, DAVE, head=CONTENT))


@breaks(rules.TakeoverDispute, three_servers)
def a_word_in_another_term(s: Scribe) -> Spoiled:
    return _with_word(s, word(s, DAVE, term=2))


@breaks(rules.TakeoverDispute, three_servers)
def a_word_for_the_record(s: Scribe) -> Spoiled:
    return _with_word(s, word(s, DAVE, replace(ELSE, comparison=Comparison.EQUAL, message=None, content=None)))


@breaks(rules.TakeoverDispute, three_servers)
def words_that_name_nothing_else(s: Scribe) -> Spoiled:
    nothing = replace(ELSE, message=None, content=None)
    return _spoiled(s, against(s, *(word(s, each, nothing) for each in WITNESSES)))


@breaks(rules.TakeoverDispute, three_servers)
def words_that_name_two_contents(s: Scribe) -> Spoiled:
    return _with_word(s, word(s, DAVE, replace(ELSE, content=CONTENT)))


# -- the votes -----------------------------------------------------------------------------------------------------


@breaks(rules.TakeoverVotes, three_servers)
def votes_in_another_dispute(s: Scribe) -> Spoiled:
    return _spoiled(s, against(s, voted=CONTENT))


@breaks(rules.TakeoverVotes, three_servers)
def votes_in_no_dispute(s: Scribe) -> Spoiled:
    votes = [s.sign(s.vote(each), each) for each in sorted((SECOND, DAVE, ALICE, BOB), key=id_of)]
    honest = against(s)
    return _spoiled(s, replace(honest, votes=s.pack(each.cid for each in votes)))


@breaks(rules.TakeoverVotes, three_servers)
def votes_in_a_dispute_for_a_takeover_on_silence(s: Scribe) -> Spoiled:
    disputing = against(s)
    return _spoiled(s, s.takeover(voters=(SECOND, DAVE, ALICE, BOB), votes=disputing.votes))
