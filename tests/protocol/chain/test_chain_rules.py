"""Each chain rule is broken alone, by the cases in `spoiled`."""

from __future__ import annotations

from pathlib import Path

import pytest
from chains import ALICE, BOB, Scribe, begun
from spoiled import CASES, Case

from protocol.blocks.cid import Block
from protocol.chain import rules
from protocol.chain.chain import check_reply
from protocol.chain.rules import RULES, BrokenRule
from protocol.federation.manifest import ManifestRule
from protocol.records.signed_records import parse_record

SPECIFICATION = Path(__file__).parents[3] / "docs" / "protocol.md"


def state_of(scribe: Scribe) -> tuple[object, ...]:
    """All that a chain remembers."""
    chain = scribe.chain
    ordinals = [chain.ordinal(node) for node in chain.manifest.nodes_of("client")] if chain.head else []
    manifest = chain.manifest if chain.head else None
    return (
        chain.head,
        chain.height,
        chain.term,
        chain.closed,
        dict(chain.open),
        dict(chain.left_out),
        chain.recent,
        chain.keys.next_number,
        ordinals,
        manifest,
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_record_that_breaks_a_rule_is_refused_and_its_honest_twin_passes(case: Case):
    scribe = case.start()
    spoiled = case.spoil(scribe)
    before = state_of(scribe)
    with pytest.raises(BrokenRule) as caught:
        scribe.chain.append_block(spoiled.bad, scribe.source)
    assert type(caught.value) is case.rule, caught.value
    assert state_of(scribe) == before
    if spoiled.good is not None:
        scribe.add(spoiled.good)


def test_every_rule_is_broken_by_a_case():
    assert {case.rule for case in CASES} == set(RULES.values())


def test_rules_have_distinct_names_and_say_why():
    assert [rule.number for rule in RULES.values()] == list(range(1, len(RULES) + 1))
    assert len({rule.name for rule in RULES.values()}) == len(RULES)
    assert all(rule.why for rule in RULES.values())


def test_the_specification_lists_the_rules():
    text = SPECIFICATION.read_text("utf-8")
    assert all(f"| {rule.number} | `{rule.name}` | {rule.why} |" in text for rule in RULES.values())
    assert all(f"| `{rule}` |" in text for rule in ManifestRule)


def test_a_leader_judges_an_arriving_reply_by_the_same_rules():
    scribe = begun()
    reply = scribe.taken(ALICE).reply
    record = parse_record(Block(reply, scribe.source[reply]))
    check_reply(record, scribe.message(ALICE), scribe.chain.in_force)
    with pytest.raises(rules.ReplyNames):
        check_reply(record, scribe.message(BOB), scribe.chain.in_force)
    run = parse_record(Block(scribe.chain.run, scribe.source[scribe.chain.run]))
    with pytest.raises(rules.ReplyType):
        check_reply(run, scribe.message(ALICE), scribe.chain.in_force)
