"""An honest chain passes, and what it remembers is right. `test_chain_rules` breaks the rules."""

from __future__ import annotations

from collections.abc import MutableMapping, MutableSequence
from dataclasses import replace

import pytest
from chains import (
    ALICE,
    ANSWER,
    BOB,
    CAROL,
    CONTENT,
    DAVE,
    TIME,
    Scribe,
    begun,
    node_of,
    signed_value,
)
from hypothesis import given
from hypothesis import strategies as st

from protocol.blocks.cid import Block, MissingBlock, cbor_block
from protocol.chain.chain import Chain
from protocol.chain.left_out import LeftOutMessages
from protocol.chain.rules import BrokenRule
from protocol.records.bodies import TakenReply
from protocol.records.signed_records import body_value, parse_record

# -- an honest chain -----------------------------------------------------------------------------------------------


def honest_chain() -> tuple[Scribe, list[Block]]:
    """Everything that may occur, up to the close: 260 records."""
    scribe = Scribe()
    scribe.add(scribe.run())
    looks = scribe.pack([scribe.look(ALICE, BOB, CAROL, count=2), scribe.look(ALICE, BOB)])
    trains = scribe.group(ALICE, BOB)
    queries = scribe.group(CAROL, ALICE, content=ANSWER, type="query", kind=1, after=[ALICE, BOB])
    scribe.add(scribe.dispatch(trains, queries, kinds=[("train", "1"), ("query", "1")], looks=looks, empties=3))
    late = [scribe.message(client).id for client in (ALICE, CAROL)]
    refused = scribe.taken(BOB).reply
    scribe.add(scribe.collect(scribe.error(BOB, refused=refused), unanswered=late, empties=1))
    scribe.add(scribe.collect(scribe.taken(ALICE), scribe.taken(CAROL, content=None, code=1, reason="out of memory")))
    scribe.add(scribe.roster(scribe.with_dave().cid, looks=scribe.pack([scribe.look(ALICE)])))
    scribe.add(scribe.dispatch(scribe.group(DAVE)))
    scribe.add(scribe.collect(scribe.error(ALICE), scribe.taken(DAVE)))
    scribe.fill_until(258)
    scribe.add(scribe.close())
    return scribe, blocks_of(scribe)


def blocks_of(scribe: Scribe) -> list[Block]:
    """The record blocks of the scribe's chain, oldest first."""
    blocks: list[Block] = []
    link = scribe.chain.head
    while link is not None:
        blocks.append(Block(link, scribe.source.get(link)))
        link = parse_record(blocks[-1]).body.prev  # type: ignore[attr-defined]  # every one is in the chain
    return blocks[::-1]


def test_an_honest_chain_of_every_record_passes():
    scribe, blocks = honest_chain()
    again = Chain(scribe.first.cid)
    for block in blocks:
        again.append_block(block, scribe.source)
    assert (again.head, again.height, again.closed) == (blocks[-1].cid, 259, True)


def test_a_step_says_what_a_record_opened_and_answered():
    scribe = Scribe()
    assert scribe.add(scribe.run()).manifest_changed
    opened = scribe.add(scribe.dispatch()).opened
    assert [(each.node, each.type, each.group, each.created) for each in opened] == [
        (node_of(ALICE), "train", "1", TIME + 1),
        (node_of(BOB), "train", "1", TIME + 1),
    ]
    step = scribe.add(scribe.collect(scribe.taken(ALICE), scribe.error(BOB)))
    assert [(each.message, each.reason) for each in step.answered] == [
        (opened[0], ""),
        (opened[1], "no answer in time"),
    ]
    assert not scribe.chain.open


def test_an_unanswered_message_stays_open_for_a_later_collect():
    scribe = begun()
    late = scribe.message(BOB).id
    scribe.add(scribe.collect(scribe.taken(ALICE), unanswered=[late]))
    assert list(scribe.chain.open) == [late]
    scribe.add(scribe.collect(scribe.taken(BOB)))
    assert not scribe.chain.open


def test_ordinals_count_each_nodes_messages():
    scribe = begun()
    scribe.add(scribe.dispatch(scribe.group(ALICE, ALICE)))
    assert [scribe.chain.ordinal(node_of(client)) for client in (ALICE, BOB, CAROL)] == [3, 1, 0]


def test_memory_does_not_grow_with_the_chain():
    scribe = begun()
    scribe.add(scribe.collect(scribe.error(ALICE), scribe.error(BOB)))
    scribe.fill_until(600)
    assert len(scribe.chain.recent) == 256
    assert len(scribe.chain.open) <= 1


def test_a_roster_lets_a_new_member_in_and_an_old_one_out():
    scribe = begun()
    scribe.add(scribe.roster(scribe.with_dave().cid))
    assert scribe.chain.manifest.version == 2
    scribe.add(scribe.dispatch(scribe.group(DAVE)))


def test_a_chain_with_encrypted_private_parts_is_checked_as_far_as_it_shows():
    scribe = begun(encrypted=True)
    assert scribe.chain.open[list(scribe.chain.open)[-1]].type == ""


def test_a_missing_block_is_said_to_be_missing_and_changes_nothing():
    scribe = begun()
    body = scribe.collect(scribe.taken(ALICE))
    reply = TakenReply(reply=cbor_block("nowhere").cid)
    with pytest.raises(MissingBlock):
        scribe.add(replace(body, answers=scribe.pack([reply])))
    scribe.add(body)


def test_what_is_appended_to_a_copy_is_not_in_the_chain_itself() -> None:
    scribe = begun()
    shared = {
        name
        for name, value in vars(scribe.chain.copy()).items()
        if value is vars(scribe.chain)[name] and isinstance(value, MutableMapping | MutableSequence | LeftOutMessages)
    }
    assert not shared


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.binary()
    | st.text()
    | st.sampled_from([CONTENT, ANSWER]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(st.data())
def test_a_leader_that_writes_anything_into_a_field_breaks_a_rule_or_says_something_allowed(data: st.DataObject):
    scribe = begun()
    bodies = [
        scribe.dispatch(),
        scribe.collect(scribe.taken(ALICE), scribe.error(BOB)),
        scribe.roster(scribe.with_dave().cid),
        scribe.close(),
    ]
    value = body_value(data.draw(st.sampled_from(bodies)))
    changed = value | {data.draw(st.sampled_from(list(value))): data.draw(VALUES)}
    try:
        scribe.chain.append_block(signed_value(changed), scribe.source)
    except (BrokenRule, MissingBlock):
        assert scribe.chain.height == 1
