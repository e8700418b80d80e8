"""`strategy.grid`: all of Flower's Grid, over answers from elsewhere."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from any_records import exact, records
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from small_leader import MemoryStore

from protocol.app.calls import (
    ErrorCode,
    GetNodes,
    Handed,
    Nodes,
    Outgoing,
    Pull,
    Push,
    Pushed,
    PushRefused,
    Replies,
    Rules,
    Wait,
)
from protocol.blocks.cid import CID, raw_block
from protocol.blocks.content import ContentKey
from protocol.blocks.root_hints import MAX_ROOTS
from protocol.replies.checks_and_limits import Admission
from protocol.replies.judged_replies import judge
from protocol.visible import visible
from strategy.contents.codec import ContentWriter, decode
from strategy.contents.kept_replies import KeptReplies
from strategy.contents.sent_arrays import SentArrays
from strategy.flower_compat import server_run, take_identity
from strategy.grid import PollenGrid
from strategy.grid_answers import LiveAnswers, RunStopped
from strategy.replies.examination import Sent, examine, read_sent
from strategy.replies.sent_layouts import SentLayouts


@dataclass
class Answering:
    """Answers with what a test put there, and keeps what was pushed and asked for."""

    replies: dict[bytes, Handed] = field(default_factory=dict)
    pushed: list[tuple[Outgoing, ...]] = field(default_factory=list)
    asked: list[tuple[bytes, ...]] = field(default_factory=list)
    rules: Rules = ()

    def nodes(self) -> tuple[int, ...]:
        return (5, 9)

    def key(self) -> None:
        return None

    def push(self, messages: tuple[Outgoing, ...], key: ContentKey | None) -> Pushed:
        first = sum(map(len, self.pushed))
        self.pushed.append(messages)
        return Pushed(1, tuple(bytes([first + at]) * 32 for at in range(len(messages))), 100.0)

    def any_model(self) -> bool:
        return False

    def pull(self, messages: tuple[bytes, ...], rules: Rules = ()) -> tuple[Handed, ...]:
        self.asked.append(messages)
        self.rules = rules
        return tuple(self.replies.pop(message) for message in messages if message in self.replies)

    def wait(self, messages: tuple[bytes, ...], timeout: float | None, rules: Rules) -> tuple[Handed, ...]:
        return self.pull(messages, rules)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def answers() -> Answering:
    return Answering()


@pytest.fixture
def grid(answers: Answering, store: MemoryStore) -> PollenGrid:
    take_identity(7, 1)
    return PollenGrid(server_run(7), answers, store)


def message(node: int = 5, *, content: RecordDict | None = None, ttl: float | None = None, group: str = "") -> Message:
    return Message(content or RecordDict(), node, "train", ttl=ttl, group_id=group)


def content(store: MemoryStore, **values: int) -> CID:
    return ContentWriter(store).write(RecordDict({"m": MetricRecord(values)}), None)


def test_the_nodes_are_lists_that_can_be_read_twice(grid: PollenGrid) -> None:
    assert grid.get_node_ids() == [5, 9]
    assert [node.node_id for node in grid.get_nodes()] == [5, 9]


def test_the_run_is_a_copy(grid: PollenGrid) -> None:
    assert grid.run.run_id == 7
    assert grid.run is not grid.run
    grid.set_run(server_run(8))
    assert grid.run.run_id == 8


def test_a_message_gets_its_id_and_the_time_of_the_dispatch(grid: PollenGrid) -> None:
    sent = message()

    (message_id,) = grid.push_messages([sent])

    assert message_id == "00" * 32
    assert (sent.metadata.message_id, sent.metadata.created_at) == (message_id, 100.0)


def test_the_root_of_each_content_is_given_once_as_far_as_there_is_room(
    grid: PollenGrid, answers: Answering, store: MemoryStore
) -> None:
    large = [RecordDict({"c": ConfigRecord({"text": str(number) * (MAX_ROOTS // 3)})}) for number in range(3)]
    first, second, third = large
    grid.push_messages([message(node, content=content) for node, content in enumerate((first, first, second, third))])

    sent = answers.pushed[0]
    assert [each.root for each in sent] == [store.get(sent[0].content), b"", store.get(sent[2].content), b""]


def test_what_is_sent_is_in_the_store_when_it_is_pushed(
    grid: PollenGrid, answers: Answering, store: MemoryStore
) -> None:
    model = RecordDict({"w": ArrayRecord(), "c": ConfigRecord({"lr": 0.1})})

    grid.push_messages([message(5, content=model, ttl=30.5, group="3"), message(9, content=model)])

    first, second = answers.pushed[0]
    assert (first.type, first.group, first.ttl, first.node) == ("train", "3", 30.5, 5)
    assert (second.ttl, type(second.ttl), second.content) == (43_200, int, first.content)
    assert decode(first.content, store, None) == model


def test_text_of_a_class_of_its_own_is_sent_as_text(grid: PollenGrid, answers: Answering) -> None:
    grid.push_messages([Message(RecordDict(), 5, np.str_("train"), group_id=np.str_("3"))])

    (sent,) = answers.pushed[0]
    assert [(type(text), text) for text in (sent.type, sent.group)] == [(str, "train"), (str, "3")]


def test_content_that_was_changed_between_two_pushes_is_sent_as_it_is_then(
    grid: PollenGrid, answers: Answering
) -> None:
    changed = RecordDict()
    grid.push_messages([message(content=changed)])
    changed["c"] = ConfigRecord({"round": 2})
    grid.push_messages([message(content=changed)])

    assert answers.pushed[0][0].content != answers.pushed[1][0].content


def test_a_model_that_was_sent_leaves_memory_and_is_sent_alike_again(
    answers: Answering, store: MemoryStore, tmp_path: Path
) -> None:
    grid = PollenGrid(server_run(7), answers, store, sent=SentArrays(tmp_path))
    model = ArrayRecord({"a": Array(np.zeros(5000))})
    for _ in range(2):
        grid.push_messages([message(content=RecordDict({"arrays": model}))])
        assert "data" not in vars(model["a"])
    first, second = answers.pushed
    assert first[0].content == second[0].content


def test_messages_may_come_from_a_generator_and_none_are_no_call(grid: PollenGrid, answers: Answering) -> None:
    assert len(grid.push_messages(message(node) for node in (5, 9))) == 2
    assert grid.push_messages(iter([])) == []
    assert grid.send_and_receive([]) == []
    assert grid.pull_messages([]) == []
    assert (len(answers.pushed), answers.asked) == (1, [])


def told_of(answers: Answering, store: MemoryStore, *handed: Handed, config: dict[str, int] | None = None) -> list[str]:
    """What people are told of the replies to a message each."""
    told: list[str] = []
    take_identity(7, 1)
    grid = PollenGrid(server_run(7), answers, store, tell=told.append)
    answers.replies = {reply.message: reply for reply in handed}
    model = RecordDict({"c": ConfigRecord(config or {})})
    grid.send_and_receive([message(5 + 4 * at, content=model) for at in range(len(handed))])
    return told


def test_people_are_told_the_round_and_the_mean_of_what_was_measured(answers: Answering, store: MemoryStore) -> None:
    first, second = bytes(32), bytes([1]) * 32
    few = Handed(first, 112.0, content(store, loss=4, **{"num-examples": 1}))
    many = Handed(second, 112.0, content(store, loss=8, **{"num-examples": 3}))

    assert told_of(answers, store, few, many, config={"server-round": 3}) == ["round 3: train by 2: loss 7"]


def test_people_are_told_of_replies_that_are_errors(answers: Answering, store: MemoryStore) -> None:
    good, bad = Handed(bytes(32), 112.0, content(store, n=1)), Handed(bytes([1]) * 32, 112.0, code=2, reason="oh")

    assert told_of(answers, store, good, bad) == ["train by 1, 1 failed: n 1"]


def test_whom_an_exchange_left_out_did_not_fail(answers: Answering, store: MemoryStore) -> None:
    good = Handed(bytes(32), 112.0, content(store, n=1))
    out = Handed(bytes([1]) * 32, 112.0, code=2, reason="left out: 1")

    assert told_of(answers, store, good, out) == ["train by 1, 1 left out: n 1"]


any_text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)


@given(sent=records, answered=st.lists(records, min_size=1, max_size=2), group=any_text, reason=any_text)
@settings(max_examples=40)
def test_any_records_and_texts_go_through_and_are_told(
    sent: RecordDict, answered: list[RecordDict], group: str, reason: str
) -> None:
    answers, store, told = Answering(), MemoryStore(), list[str]()
    take_identity(7, 1)
    grid = PollenGrid(server_run(7), answers, store, tell=told.append)
    roots = [ContentWriter(store).write(each, None) for each in answered]
    handed = [Handed(bytes([at]) * 32, 112.0, root) for at, root in enumerate(roots)]
    failed = Handed(bytes([len(roots)]) * 32, 112.0, code=7, reason=reason)
    answers.replies = {each.message: each for each in [*handed, failed]}

    came = grid.send_and_receive([message(5 + at, content=sent, group=group) for at in range(len(roots) + 1)])

    assert [exact(each.content) for each in came[:-1]] == [exact(decode(root, store, None)) for root in roots]
    assert came[-1].error.reason == reason
    assert visible(told[0]) == told[0]


@given(sent=records)
@settings(max_examples=40)
def test_replies_are_compared_with_what_was_sent_as_it_would_be_read(sent: RecordDict) -> None:
    store, answers, layouts = MemoryStore(), Answering(), SentLayouts()
    PollenGrid(server_run(7), answers, store, layouts=layouts).push_messages([message(content=sent)])
    root = answers.pushed[0][0].content
    assert layouts.of(root, never) == read_sent(root, store, None)


def never() -> Sent:
    raise AssertionError("what was sent is read back")


@given(sent=records, answered=st.lists(records, min_size=1, max_size=3))
@settings(max_examples=40)
def test_any_records_are_examined_and_judged_in_words(sent: RecordDict, answered: list[RecordDict]) -> None:
    store = MemoryStore()
    root = ContentWriter(store).write(sent, None)
    layout = read_sent(root, store, None)
    found = {
        bytes([at]) * 32: examine(
            ContentWriter(store).write(each, None), store, None, layout, lambda: sent, update=True, keep=lambda _: None
        )[0]
        for at, each in enumerate(answered)
    }

    judged = judge(Admission(), None, found)

    assert all(visible(str(refusal)) == str(refusal) for refusal in judged.refused.values())


def test_a_reply_repeats_the_metadata_of_its_message(grid: PollenGrid, answers: Answering, store: MemoryStore) -> None:
    answers.replies[bytes(32)] = Handed(bytes(32), 112.0, content(store, n=3))

    (reply,) = grid.send_and_receive([message(9, ttl=60, group="3")])

    metadata = reply.metadata
    assert dict(reply.content["m"]) == {"n": 3}
    assert (metadata.run_id, metadata.src_node_id, metadata.dst_node_id) == (7, 9, 1)
    assert (metadata.reply_to_message_id, metadata.message_type, metadata.group_id) == ("00" * 32, "train", "3")
    assert (metadata.created_at, metadata.ttl) == (112.0, 48.0)
    assert len(metadata.message_id) == 64


def test_an_error_comes_with_its_code_and_reason(grid: PollenGrid, answers: Answering) -> None:
    answers.replies[bytes(32)] = Handed(bytes(32), 112.0, code=ErrorCode.NODE_UNAVAILABLE, reason="it is away")

    (reply,) = grid.send_and_receive([message()])

    assert reply.has_error()
    assert reply.error == Error(5, "it is away")


def test_a_reply_that_cannot_be_read_is_an_error_and_no_exception(
    grid: PollenGrid, answers: Answering, store: MemoryStore
) -> None:
    root = content(store, n=3)
    store[root] = b"\xf6"
    answers.replies[bytes(32)] = Handed(bytes(32), 112.0, root)

    (reply,) = grid.send_and_receive([message()])

    assert reply.error.code == ErrorCode.MESSAGE_UNAVAILABLE


def test_equal_replies_are_objects_of_their_own(grid: PollenGrid, answers: Answering, store: MemoryStore) -> None:
    root = content(store, n=3)
    answers.replies = {bytes([at]) * 32: Handed(bytes([at]) * 32, 112.0, root) for at in range(2)}

    first, second = grid.send_and_receive([message(5), message(9)])
    first.content["m"]["n"] = 4

    assert second.content["m"]["n"] == 3


def test_replies_are_asked_for_in_the_order_of_the_messages_and_only_until_they_came(
    grid: PollenGrid, answers: Answering, store: MemoryStore
) -> None:
    ids = grid.push_messages([message(5), message(9), message(5)])
    answers.replies[bytes([1]) * 32] = Handed(bytes([1]) * 32, 112.0, content(store, n=1))

    (first,) = grid.pull_messages(set(ids))
    assert grid.pull_messages(reversed(ids)) == []

    assert first.metadata.src_node_id == 9
    assert [[message_id[0] for message_id in asked] for asked in answers.asked] == [[0, 1, 2], [0, 2]]


def test_the_old_way_to_make_a_message(grid: PollenGrid) -> None:
    made = grid.create_message(RecordDict(), "query", 9, "g", ttl=5.0)

    assert (made.metadata.dst_node_id, made.metadata.group_id, made.metadata.ttl) == (9, "g", 5.0)


def errors() -> list[tuple[Message, str]]:
    take_identity(7, 1)
    without_content = Message(Error(1), reply_to=message())
    reply = Message(RecordDict(), reply_to=message())
    too_far = message()
    too_far.metadata.dst_node_id = 2**63
    surrogate = message(group="\ud800")
    return [
        (without_content, "no content"),
        (reply, "not replies"),
        (too_far, "is no node id"),
        (surrogate, "surrogates"),
        (message(ttl=-1), "no time to live"),
        (message(ttl=float("inf")), "no time to live"),
    ]


@pytest.mark.parametrize(("bad", "why"), errors(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_message_that_cannot_be_sent_is_refused_and_nothing_is_pushed(
    bad: Message, why: str, grid: PollenGrid, answers: Answering
) -> None:
    with pytest.raises(ValueError, match=why):
        grid.push_messages([message(), bad])
    assert answers.pushed == []


def test_exchanges_from_several_threads_each_get_their_own_replies(store: MemoryStore) -> None:
    class Echo(Answering):
        lock = threading.Lock()

        def push(self, messages: tuple[Outgoing, ...], key: ContentKey | None) -> Pushed:
            with self.lock:
                return super().push(messages, key)

        def wait(self, messages: tuple[bytes, ...], timeout: float | None, rules: Rules) -> tuple[Handed, ...]:
            sent = {bytes([at]) * 32: message for at, (message,) in enumerate(self.pushed)}
            return tuple(Handed(message, 112.0, sent[message].content) for message in messages)

    grid = PollenGrid(server_run(7), Echo(), store)

    def ask(number: int) -> int:
        question = RecordDict({"m": MetricRecord({"n": number})})
        (reply,) = grid.send_and_receive([message(content=question)])
        return reply.content["m"]["n"]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(40))) == list(range(40))


def test_a_reply_that_was_read_already_is_not_read_again(answers: Answering, tmp_path: Path) -> None:
    away, examined, kept = raw_block(b"away").cid, RecordDict({"m": MetricRecord({"n": 1})}), KeptReplies(tmp_path)
    kept.make_room(bytes(32), [], hidden=False)
    kept.put(bytes(32), away, examined)
    answers.replies[bytes(32)] = Handed(bytes(32), 112.0, away)
    grid = PollenGrid(server_run(7), answers, MemoryStore(), kept=kept)

    (reply,) = grid.send_and_receive([message()])

    assert reply.content is examined


# -- live answers --------------------------------------------------------------------------------------------------


class Pipe:
    """Answers with a given value, and keeps the calls."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.calls: list[object] = []

    def ask(self, call: object) -> object:
        self.calls.append(call)
        return self.answers.pop(0)


def test_each_call_has_a_number_of_its_own() -> None:
    pipe = Pipe(Nodes(1, (5,)), Pushed(2, (b"m",), 1.0), Replies(3, ()), Replies(4, ()))
    live = LiveAnswers(pipe, None)  # type: ignore[arg-type]

    live.nodes()
    live.push((), None)
    live.pull((b"m",))
    live.wait((b"m",), 2.0)

    assert pipe.calls == [GetNodes(1), Push(2, ()), Pull(3, (b"m",)), Wait(4, (b"m",), 2.0)]


def test_a_push_that_breaks_a_rule_is_a_value_error() -> None:
    live = LiveAnswers(Pipe(PushRefused(1, "node 3 is no client member")), None)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="node 3 is no client member"):
        live.push((), None)


def test_an_answer_of_another_kind_stops_the_run() -> None:
    with pytest.raises(RunStopped):
        LiveAnswers(Pipe(Replies(1, ())), None).nodes()  # type: ignore[arg-type]


def test_a_reply_that_nobody_waits_for_stops_the_run(grid: PollenGrid, answers: Answering) -> None:
    grid.push_messages([message()])
    answers.pull = lambda messages, rules: (Handed(bytes([7]) * 32, 1.0),)  # type: ignore[method-assign]

    with pytest.raises(RunStopped):
        grid.pull_messages(["00" * 32])
