"""What makes two runs the same run, and what does not."""

from __future__ import annotations

import pytest
from chains import ALICE, ANSWER, BOB, CONTENT, TIME, Scribe, begun, node_of
from run_outcome import outcome

from protocol.blocks.cid import raw_block

OTHER = raw_block(b"something else").cid


def tell(write) -> list:
    """The outcome of a run record and a dispatch to Alice and Bob, and of what ``write`` adds."""
    scribe = Scribe()
    steps = [scribe.add(scribe.run()), scribe.add(scribe.dispatch())]
    steps += [scribe.add(body(scribe)) for body in write]
    return list(outcome((step.record for step in steps), scribe.source))


def collect(**reply):
    return lambda scribe: scribe.collect(scribe.taken(ALICE, **reply), scribe.error(BOB))


def close(scribe):
    return scribe.close()


def test_times_of_records_and_replies_make_no_difference():
    def later(scribe):
        answers = scribe.taken(ALICE, time=1.0, created=2.0), scribe.error(BOB, created=3.0)
        return scribe.collect(*answers, time=4.0)

    assert tell([later, close]) == tell([collect(), close])


def test_a_run_begun_at_another_time_has_other_message_ids_and_the_same_outcome():
    def whole(time: float) -> tuple[set[bytes], list]:
        scribe = Scribe()
        steps = [scribe.add(scribe.run(time=time)), scribe.add(scribe.dispatch())]
        ids = set(scribe.chain.open)
        steps.append(scribe.add(collect()(scribe)))
        return ids, list(outcome((step.record for step in steps), scribe.source))

    (ids, told), (other_ids, same) = whole(TIME), whole(TIME + 1)
    assert not ids & other_ids
    assert told == same


def test_messages_are_named_by_node_and_number():
    _, first, _, second = tell([collect(), lambda scribe: scribe.dispatch(scribe.group(ALICE, ALICE))])
    assert [message["to"] for message in first["messages"]] == [(node_of(ALICE), 0), (node_of(BOB), 0)]
    assert [message["to"] for message in second["messages"]] == [(node_of(ALICE), 1), (node_of(ALICE), 2)]
    assert first["messages"][0]["content"] == CONTENT


def test_what_is_unanswered_is_told():
    *_, told = tell([lambda scribe: scribe.collect(scribe.taken(BOB), unanswered=[scribe.message(ALICE).id])])
    assert told["unanswered"] == [(node_of(ALICE), 0)]


@pytest.mark.parametrize(
    "other",
    {
        "content": [collect(content=OTHER), close],
        "error": [collect(content=None, code=2, reason="out of memory"), close],
        "order": [lambda scribe: scribe.collect(scribe.error(BOB), scribe.taken(ALICE)), close],
        "code": [lambda scribe: scribe.collect(scribe.taken(ALICE), scribe.error(BOB, code=5)), close],
        "reason": [lambda s: s.collect(s.taken(ALICE), s.error(BOB), reasons=["another"]), close],
        "looks": [lambda s: s.collect(s.taken(ALICE), s.error(BOB), looks=s.pack([s.look(ALICE)])), close],
        "empties": [lambda s: s.collect(s.taken(ALICE), s.error(BOB), empties=1), close],
        "model": [collect(), lambda scribe: scribe.close(model=OTHER)],
        "unfinished": [collect()],
    }.items(),
    ids=lambda item: item[0],
)
def test_what_the_app_saw_or_said_makes_a_difference(other):
    assert tell([collect(content=ANSWER), close]) != tell(other[1])


def test_an_index_is_only_named():
    scribe = begun()
    scribe.add(collect()(scribe))
    scribe.fill_until(255)
    steps = [scribe.add(scribe.index())]
    (told,) = outcome((step.record for step in steps), scribe.source)
    assert told["type"] == "index"
    assert "records" not in told
