"""`strategy.replay.scripted_answers`: each way in which an app may do another thing than is recorded, and that it
cannot get away."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from recorded_app import ScriptPipe

from protocol.app.calls import (
    CloseEntry,
    CollectEntry,
    DispatchEntry,
    Diverged,
    EntryHead,
    Handed,
    Look,
    Outgoing,
    Pushed,
    QuietEntry,
    Replayed,
    Scripted,
    ScriptEntry,
)
from protocol.blocks.cid import raw_block
from protocol.replay.differences import Cause
from strategy.grid_answers import LiveAnswers
from strategy.replay.scripted_answers import Divergence, ScriptedAnswers, ScriptOver

MODEL = raw_block(b"a model").cid
ONE, TWO = bytes([1]) * 32, bytes([2]) * 32
TO_ONE, TO_TWO = (Outgoing(MODEL, "train", "", 60, node) for node in (11, 12))
NODES = Look(nodes=(11, 12), count=1)


def head(height: int, *looks: Look, empties: int = 0) -> EntryHead:
    return EntryHead(height, looks, empties)


DISPATCH = DispatchEntry(0, head(1, NODES), 5.0, (Scripted(ONE, TO_ONE), Scripted(TWO, TO_TWO)))
COLLECT = CollectEntry(0, head(2), (Handed(ONE, 6.0, MODEL), Handed(TWO, 6.0, MODEL)), ())
CLOSE = CloseEntry(0, head(3), raised=False, model=None)
CHAIN = (DISPATCH, COLLECT, CLOSE)


def replaying(*entries: ScriptEntry) -> tuple[ScriptedAnswers, ScriptPipe]:
    pipe = ScriptPipe(entries)
    return ScriptedAnswers(pipe, LiveAnswers(pipe, None)), pipe


def test_what_is_recorded_is_answered() -> None:
    script, pipe = replaying(*CHAIN)
    assert script.nodes() == (11, 12)
    pushed = script.push((TO_ONE, TO_TWO), None)
    assert isinstance(pushed, Pushed)
    assert (pushed.messages, pushed.created) == ((ONE, TWO), 5.0)
    assert script.wait((ONE, TWO), None) == COLLECT.replies
    assert script.finish(None, "") is None
    assert (pipe.compared, pipe.told) == (2, [])


def test_looks_and_vain_pulls_are_answered_as_often_as_recorded() -> None:
    first, then = Look(nodes=(11,), count=2), Look(nodes=(11, 12), count=1)
    script, _ = replaying(
        DispatchEntry(0, head(1, first, then), 5.0, DISPATCH.messages),
        CollectEntry(0, head(2, empties=2), COLLECT.replies, ()),
    )
    assert [script.nodes() for _ in range(3)] == [(11,), (11,), (11, 12)]
    script.push((TO_ONE, TO_TWO), None)
    assert [len(script.pull((ONE, TWO))) for _ in range(3)] == [0, 0, 2]


def test_what_was_seen_before_an_index_was_seen_before_the_apps_next_record() -> None:
    script, _ = replaying(QuietEntry(0, head(1, NODES)), DispatchEntry(0, head(2, NODES), 5.0, DISPATCH.messages))
    assert [script.nodes(), script.nodes()] == [(11, 12), (11, 12)]
    script.push((TO_ONE, TO_TWO), None)


def test_how_much_may_differ_goes_by_the_environment_in_force_at_the_next_entry() -> None:
    moved = QuietEntry(0, head(2), may_differ=Cause.ROUNDING)
    script, _ = replaying(DISPATCH, moved, CollectEntry(0, head(3), COLLECT.replies, ()), CLOSE)
    assert script.next_dispatch() is not None
    assert script.may_differ is Cause.NOTHING
    dispatched(script)
    assert script.next_dispatch() is None  # a collect is next, in the new environment
    assert script.may_differ is Cause.ROUNDING


def dispatched(script: ScriptedAnswers) -> ScriptedAnswers:
    script.nodes()
    script.push((TO_ONE, TO_TWO), None)
    return script


def collected(script: ScriptedAnswers) -> ScriptedAnswers:
    dispatched(script).wait((ONE, TWO), None)
    return script


def other(**changed: object) -> Outgoing:
    fields = {name: getattr(TO_TWO, name) for name in TO_TWO.__dataclass_fields__}
    return Outgoing(**{**fields, **changed})  # type: ignore[arg-type]  # as the test says


Doing = Callable[[ScriptedAnswers], object]


@pytest.mark.parametrize(
    ("doing", "height", "what"),
    [
        (lambda script: [script.nodes(), script.nodes()], 1, "looks at the nodes, but a dispatch of 2 messages"),
        (lambda script: script.push((TO_ONE, TO_TWO), None), 1, "looked at the nodes more often"),
        (lambda script: script.pull((ONE,)), 1, "pulls replies, but a dispatch"),
        (lambda script: script.wait((ONE,), None), 1, "waits for 1 replies, but a dispatch"),
        (lambda script: script.push((TO_ONE,), None), 1, "sends 1 messages, 2 are recorded"),
        (lambda script: script.push((TO_TWO, TO_ONE), None), 1, "message 0 differs: its addressee was 11 and is 12"),
        (
            lambda script: script.push((TO_ONE, other(type="evaluate")), None),
            1,
            "its type was 'train' and is 'evaluate'",
        ),
        (lambda script: script.push((TO_ONE, other(group="2")), None), 1, "its group was '' and is '2'"),
        (lambda script: script.push((TO_ONE, other(ttl=61)), None), 1, "its ttl was 60 and is 61"),
        (
            lambda script: script.push((TO_ONE, other(content=raw_block(b"").cid)), None),
            1,
            "message 1 differs: its content",
        ),
        (lambda script: dispatched(script).push((TO_ONE,), None), 2, "sends 1 messages, but a collect of 2 replies"),
        (lambda script: dispatched(script).wait((ONE,), None), 2, "waits for 1 replies, but a collect of 2"),
        (lambda script: dispatched(script).nodes(), 2, "looks at the nodes, but a collect"),
        (lambda script: collected(script).push((TO_ONE,), None), 3, "sends 1 messages, but its return is recorded"),
        (lambda script: dispatched(script).finish(None, ""), 2, "returned, but a collect"),
        (lambda script: collected(script).finish(None, "KeyError"), 3, "raised KeyError, but its return is recorded"),
        (lambda script: collected(script).finish(MODEL, ""), 3, "no final model is recorded"),
    ],
)
def test_a_difference_says_where_and_what(doing: Doing, height: int, what: str) -> None:
    script, _ = replaying(*CHAIN)
    with pytest.raises(Divergence) as raised:
        doing(script)
    verdict = raised.value.verdict()
    assert verdict.height == height
    assert what in verdict.what
    assert not verdict.raised_there


def test_an_app_that_raised_raises_again_or_differs() -> None:
    raised = CloseEntry(0, head(1), raised=True, model=None)
    assert replaying(raised)[0].finish(None, "KeyError") is None
    with pytest.raises(Divergence, match="raised when it was recorded and returned now") as returned:
        replaying(raised)[0].finish(None, "")
    with pytest.raises(Divergence, match="but its end is recorded") as goes_on:
        replaying(raised)[0].push((TO_ONE,), None)
    assert [each.value.verdict().raised_there for each in (returned, goes_on)] == [True, True]


def test_a_difference_is_sticky_and_told_once_and_at_once() -> None:
    script, pipe = replaying(*CHAIN)
    for call in (lambda: script.pull((ONE,)), script.nodes, lambda: script.push((TO_ONE, TO_TWO), None)):
        with pytest.raises(Divergence, match="pulls replies"):
            call()
    with pytest.raises(Divergence, match="pulls replies"):
        script.finish(None, "")
    (told,) = pipe.told
    assert isinstance(told, Diverged)


def test_a_difference_is_none_that_an_app_can_catch_as_an_exception() -> None:
    assert not issubclass(Divergence, Exception)
    assert not issubclass(ScriptOver, Exception)


def test_at_the_end_of_the_script_every_call_ends_the_replay() -> None:
    script, pipe = replaying(DISPATCH)
    dispatched(script)
    for call in (script.nodes, lambda: script.wait((ONE, TWO), None), lambda: script.finish(None, "")):
        with pytest.raises(ScriptOver):
            call()
    assert pipe.told[0] == Replayed()


# -- threads of the app's own --------------------------------------------------------------------------------------


def in_a_thread(call: Callable[[], object]) -> None:
    """Call it as a thread of the app's would, to its end."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def two_exchanges(*looks: Look) -> tuple[ScriptEntry, ...]:
    return (
        DispatchEntry(0, head(1, NODES), 5.0, (Scripted(TWO, TO_TWO),)),
        DispatchEntry(0, head(2, *looks), 5.5, (Scripted(ONE, TO_ONE),)),
        CollectEntry(0, head(3), (Handed(TWO, 6.0, MODEL),), ()),
        CollectEntry(0, head(4), (Handed(ONE, 6.5, MODEL),), ()),
    )


def test_exchanges_of_two_threads_are_found_in_any_order() -> None:
    script, pipe = replaying(*two_exchanges())
    script.nodes()
    got: list[tuple[Handed, ...]] = []
    for message, id in ((TO_ONE, ONE), (TO_TWO, TWO)):

        def exchange(message: Outgoing = message, id: bytes = id) -> None:
            script.push((message,), None)
            got.append(script.wait((id,), None))

        in_a_thread(exchange)
    assert [reply.message for (reply,) in got] == [ONE, TWO]
    assert pipe.compared == 2


def test_looks_of_two_threads_are_answered_in_any_order() -> None:
    script, _ = replaying(*two_exchanges(NODES))
    script.nodes()
    looks: list[tuple[int, ...]] = []
    in_a_thread(lambda: looks.append(script.nodes()))  # recorded after the first push
    in_a_thread(lambda: script.push((TO_TWO,), None))
    in_a_thread(lambda: script.push((TO_ONE,), None))
    assert looks == [(11, 12)]


def test_what_one_thread_did_not_see_is_left_for_the_next() -> None:
    script, _ = replaying(
        DispatchEntry(0, head(1, Look(nodes=(11, 12), count=2)), 5.0, (Scripted(ONE, TO_ONE),)),
        DispatchEntry(0, head(2), 5.5, (Scripted(TWO, TO_TWO),)),
    )
    script.nodes()
    in_a_thread(lambda: script.push((TO_ONE,), None))  # before the other thread looks, as it did when it was recorded
    looks: list[tuple[int, ...]] = []
    in_a_thread(lambda: looks.append(script.nodes()))
    in_a_thread(lambda: script.push((TO_TWO,), None))
    assert looks == [(11, 12)]


def test_one_thread_does_things_in_the_recorded_order() -> None:
    script, _ = replaying(*two_exchanges())
    script.nodes()
    with pytest.raises(Divergence, match="addressee"):
        script.push((TO_ONE,), None)
