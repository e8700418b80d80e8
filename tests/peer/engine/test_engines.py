"""What both engines promise (`peer.engine.interface`): one suite, run on the local engine and on two Kubo nodes."""

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from peer.engine import open_engine
from peer.engine.interface import Engine, EngineError, Subscription, TooLarge, Unreachable
from peer.engine.kubo import api as kubo_api
from protocol.blocks.cid import CHUNK_SIZE, Block, MissingBlock, cbor_block, raw_block

SOON = 60.0
"""Seconds that a test waits for what must come; it comes in milliseconds."""


PROBE = b"does this reach you?"


@dataclass(frozen=True)
class Pair:
    """Two engines within reach of each other, and what makes another connection to the first."""

    kind: str
    one: Engine
    two: Engine
    reopen: Callable[[], Engine]

    def listen(self, topic: str, inbox: "Inbox") -> Subscription:
        """Subscribe the second engine, and wait until the first one knows of it: Kubo drops what is sent before."""
        subscription = self.two.subscribe(topic, inbox)
        deadline = time.monotonic() + SOON
        while not inbox.is_reached.wait(0.05):
            assert time.monotonic() < deadline, "no announcement came"
            self.one.publish(topic, PROBE)
        return subscription


@pytest.fixture(params=["local", pytest.param("kubo", marks=pytest.mark.kubo)])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """Engines of each kind; Kubo's nodes are shared by all tests, so each test makes bytes of its own."""
    if request.param == "local":
        addresses = (f"local:{tmp_path}", f"local:{tmp_path}")
    else:
        addresses = tuple(node.api for node in request.getfixturevalue("kubo_nodes"))
    one, two = (open_engine(address) for address in addresses)
    one.connect(two.addresses())
    opened = [one, two]

    def reopen() -> Engine:
        opened.append(open_engine(one.address))
        return opened[-1]

    yield Pair(request.param, one, two, reopen)
    for engine in opened:
        engine.close()


@pytest.fixture
def fresh(request: pytest.FixtureRequest) -> random.Random:
    """A source of bytes that no other test makes, the same in each run of the suite."""
    return random.Random(request.node.nodeid)


def chunks_of(fresh: random.Random, count: int, size: int = 1000) -> list[Block]:
    return [raw_block(fresh.randbytes(size)) for _ in range(count)]


def content_of(chunks: list[Block]) -> Block:
    return cbor_block({"links": [chunk.cid for chunk in chunks], "epoch": None, "private": b""})


class Inbox:
    """A receiver that keeps all that it is given except probes."""

    def __init__(self) -> None:
        self._queue: queue.Queue[bytes] = queue.Queue()
        self.is_reached = threading.Event()

    def __call__(self, data: bytes) -> None:
        self.is_reached.set()
        if data != PROBE:
            self._queue.put(data)

    def next(self) -> bytes:
        return self._queue.get(timeout=SOON)

    def is_empty(self) -> bool:
        return self._queue.empty()


# -- blocks --------------------------------------------------------------------------------------------------------


def test_a_block_that_was_put_is_here_and_reads_back(pair: Pair, fresh: random.Random) -> None:
    raw, cbor = raw_block(fresh.randbytes(CHUNK_SIZE)), cbor_block({"n": fresh.getrandbits(60)})
    pair.one.put([raw, cbor], pin=[cbor.cid])
    assert [pair.one.has(raw.cid), pair.one.has(cbor.cid)] == [True, True]
    assert [pair.one.get(raw.cid), pair.one.get(cbor.cid)] == [raw.data, cbor.data]
    assert [pair.one.get_here(raw.cid), pair.one.get_here(cbor.cid)] == [raw.data, cbor.data]


def test_a_block_outlives_the_connection_that_put_it(pair: Pair, fresh: random.Random) -> None:
    block = raw_block(fresh.randbytes(100))
    pair.one.put([block], pin=[block.cid])
    pair.one.close()
    assert pair.reopen().get(block.cid) == block.data


def test_putting_nothing_and_putting_twice_are_harmless(pair: Pair, fresh: random.Random) -> None:
    block = raw_block(fresh.randbytes(100))
    pair.one.put([])
    pair.one.put([block, block])
    pair.one.put([block], pin=[block.cid])
    assert pair.one.get(block.cid) == block.data


def test_an_empty_block_is_a_block(pair: Pair) -> None:
    empty = raw_block(b"")
    pair.one.put([empty])
    assert pair.one.get(empty.cid) == b""


def test_a_block_that_another_engine_has_is_fetched(pair: Pair, fresh: random.Random) -> None:
    block = cbor_block({"n": fresh.randbytes(50)})
    pair.one.put([block])
    assert pair.two.get(block.cid, timeout=SOON) == block.data


def test_a_block_that_nobody_has_is_unreachable(pair: Pair, fresh: random.Random) -> None:
    cid = raw_block(fresh.randbytes(50)).cid
    assert not pair.one.has(cid)
    with pytest.raises(MissingBlock):
        pair.one.get_here(cid)
    with pytest.raises(Unreachable) as raised:
        pair.one.get(cid, timeout=0.2)
    assert raised.value.cid == cid


def test_a_block_that_appears_while_somebody_waits_is_given_to_him(pair: Pair, fresh: random.Random) -> None:
    block = raw_block(fresh.randbytes(100))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(pair.two.get, block.cid, timeout=SOON)
        pair.one.put([block])
        assert waiting.result() == block.data


def test_many_threads_may_use_one_engine(pair: Pair, fresh: random.Random) -> None:
    blocks = chunks_of(fresh, 40)

    def put_and_get(block: Block) -> bytes:
        pair.one.put([block], pin=[block.cid])
        return pair.one.get(block.cid)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(put_and_get, blocks)) == [block.data for block in blocks]


def test_an_iterator_that_raises_ends_put_with_its_own_error(pair: Pair, fresh: random.Random) -> None:
    def broken() -> Iterator[Block]:
        yield from chunks_of(fresh, 3)
        raise KeyError("the caller's own")

    with pytest.raises(KeyError, match="the caller's own"):
        pair.one.put(broken())


# -- contents ------------------------------------------------------------------------------------------------------


def test_a_content_reads_back_manifest_first_then_its_chunks_in_order(pair: Pair, fresh: random.Random) -> None:
    chunks = chunks_of(fresh, 5)
    root = content_of(chunks)
    pair.one.put_content(root.cid, [*chunks, root])
    assert list(pair.one.read_content(root.cid)) == [root, *chunks]


def test_a_chunk_that_is_linked_twice_is_read_once(pair: Pair, fresh: random.Random) -> None:
    first, second = chunks_of(fresh, 2)
    root = content_of([first, second, first])
    pair.one.put_content(root.cid, [root, first, second])
    assert list(pair.one.read_content(root.cid)) == [root, first, second]


def test_a_content_whose_links_are_a_tree_reads_back_whole(pair: Pair, fresh: random.Random) -> None:
    chunks = chunks_of(fresh, 4)
    left = cbor_block({"tree": [chunk.cid for chunk in chunks[:2]]})
    right = cbor_block({"tree": [chunk.cid for chunk in chunks[2:]]})
    root = content_of([left, right])
    pair.one.put_content(root.cid, [root, left, right, *chunks])
    pair.two.fetch(root.cid, timeout=SOON, limit=1 << 20)
    assert list(pair.two.read_content(root.cid)) == [root, left, *chunks[:2], right, *chunks[2:]]


def test_chunks_that_are_here_already_may_be_left_out(pair: Pair, fresh: random.Random) -> None:
    old, new = chunks_of(fresh, 2)
    pair.one.put_content(content_of([old]).cid, [content_of([old]), old])
    root = content_of([old, new])
    pair.one.put_content(root.cid, [root, new])
    assert list(pair.one.read_content(root.cid)) == [root, old, new]


@pytest.mark.parametrize("others", [2, 20])  # few go through a node's API, many into its files
@pytest.mark.parametrize("root_is_here", [False, True])
def test_a_chunk_that_was_left_out_and_is_not_here_is_named_and_the_content_stored_once_it_is_given(
    pair: Pair, fresh: random.Random, monkeypatch: pytest.MonkeyPatch, others: int, root_is_here: bool
) -> None:
    monkeypatch.setattr(kubo_api, "CALL_SECONDS", 10.0)  # a node that asks others for the chunk is silent so long
    dropped, *chunks = chunks_of(fresh, 1 + others)
    root = content_of([*chunks, dropped])
    if root_is_here:
        pair.one.put([root])
    with pytest.raises(Unreachable) as raised:
        pair.one.put_content(root.cid, [root, *chunks])
    assert raised.value.cid == dropped.cid
    assert not pair.one.keeps(root.cid)
    pair.one.put_content(root.cid, [root, *chunks, dropped])
    assert pair.one.keeps(root.cid)


def test_a_content_whose_manifest_was_left_out_and_is_not_here_is_unreachable(pair: Pair, fresh: random.Random) -> None:
    chunks = chunks_of(fresh, 2)
    root = content_of(chunks)
    with pytest.raises(Unreachable) as raised:
        pair.one.put_content(root.cid, chunks)
    assert raised.value.cid == root.cid


def test_a_fetched_content_is_here(pair: Pair, fresh: random.Random) -> None:
    chunks = chunks_of(fresh, 3, CHUNK_SIZE)
    root = content_of(chunks)
    pair.one.put_content(root.cid, [root, *chunks])
    pair.two.fetch(root.cid, timeout=SOON, limit=4 << 20)
    assert all(pair.two.has(block.cid) for block in [root, *chunks])
    assert list(pair.two.read_content(root.cid)) == [root, *chunks]


def test_fetching_twice_is_harmless(pair: Pair, fresh: random.Random) -> None:
    root = content_of([])
    pair.one.put_content(root.cid, [root])
    pair.two.fetch(root.cid, timeout=SOON, limit=1000)
    pair.two.fetch(root.cid, timeout=SOON, limit=1000)
    assert list(pair.two.read_content(root.cid)) == [root]


def test_a_content_of_which_a_chunk_is_nowhere_is_unreachable(pair: Pair, fresh: random.Random) -> None:
    here, nowhere = chunks_of(fresh, 2)
    root = content_of([here, nowhere])
    pair.one.put([root, here])
    with pytest.raises(Unreachable):
        pair.two.fetch(root.cid, timeout=0.5, limit=1 << 20)


def test_a_content_over_the_limit_is_refused(pair: Pair, fresh: random.Random) -> None:
    chunks = chunks_of(fresh, 8, 10_000)
    root = content_of(chunks)
    pair.one.put_content(root.cid, [root, *chunks])
    with pytest.raises(TooLarge, match="larger than the 50000 bytes allowed"):
        pair.two.fetch(root.cid, timeout=SOON, limit=50_000)


@pytest.mark.parametrize("times", [2, 9])
def test_a_chunk_that_stands_in_a_content_again_and_again_counts_once(
    pair: Pair, fresh: random.Random, times: int
) -> None:
    (chunk,) = chunks_of(fresh, 1, 10_000)
    root = content_of([chunk] * times)
    pair.one.put_content(root.cid, [root, chunk])
    for engine in (pair.two, pair.two, pair.one):
        engine.fetch(root.cid, timeout=SOON, limit=10_000 + len(root.data))


def test_a_content_exactly_at_the_limit_is_taken(pair: Pair, fresh: random.Random) -> None:
    chunks = chunks_of(fresh, 3)
    root = content_of(chunks)
    pair.one.put_content(root.cid, [root, *chunks])
    pair.two.fetch(root.cid, timeout=SOON, limit=3000 + len(root.data))
    assert pair.two.has(root.cid)


def test_reading_a_content_that_was_not_fetched_whole_is_unreachable(pair: Pair, fresh: random.Random) -> None:
    here, nowhere = chunks_of(fresh, 2)
    root = content_of([here, nowhere])
    pair.one.put([root, here])
    with pytest.raises(Unreachable):
        list(pair.one.read_content(root.cid))


# -- pins ----------------------------------------------------------------------------------------------------------


def test_pinning_twice_and_both_ways_is_harmless(pair: Pair, fresh: random.Random) -> None:
    chunks = chunks_of(fresh, 2)
    root = content_of(chunks)
    pair.one.put([root, *chunks], pin=[root.cid])
    pair.one.pin(root.cid, recursive=True)
    pair.one.pin(root.cid, recursive=True)
    pair.one.pin(root.cid, recursive=False)
    assert pair.one.has(root.cid)


def test_unpinning_is_harmless_if_nothing_is_pinned(pair: Pair, fresh: random.Random) -> None:
    block = raw_block(fresh.randbytes(100))
    pair.one.put([block], pin=[block.cid])
    pair.one.unpin(block.cid)
    pair.one.unpin(block.cid)
    pair.one.unpin(raw_block(fresh.randbytes(100)).cid)


# -- dropping ------------------------------------------------------------------------------------------------------


def test_what_is_dropped_is_deleted_and_what_another_content_links_stays(pair: Pair, fresh: random.Random) -> None:
    shared, only = chunks_of(fresh, 2)
    dropped, kept = content_of([shared, only]), content_of([shared])
    record = raw_block(fresh.randbytes(100))
    pair.one.put_content(dropped.cid, [dropped, shared, only])
    pair.one.put_content(kept.cid, [kept])
    pair.one.put([record], pin=[record.cid])

    pair.one.drop([dropped.cid], [record.cid])

    here = {block.cid for block in (shared, only, dropped, kept, record) if pair.one.has(block.cid)}
    assert here == {shared.cid, kept.cid}


def test_the_first_block_of_what_is_dropped_may_stay_and_can_go_later(pair: Pair, fresh: random.Random) -> None:
    chunks = chunks_of(fresh, 2)
    root = content_of(chunks)
    pair.one.put_content(root.cid, [root, *chunks])
    for _ in range(2):  # as after a crash
        pair.one.drop([root.cid], keep=[root.cid])
        assert [pair.one.has(block.cid) for block in (root, *chunks)] == [True, False, False]
    pair.one.drop([root.cid])
    assert not pair.one.has(root.cid)


def test_dropping_what_is_not_here_does_no_harm(pair: Pair, fresh: random.Random) -> None:
    pair.one.drop([content_of(chunks_of(fresh, 1)).cid], [raw_block(fresh.randbytes(100)).cid])


def test_a_content_whose_earlier_blocks_were_dropped_has_to_be_given_whole(pair: Pair, fresh: random.Random) -> None:
    (chunk,) = chunks_of(fresh, 1)
    root = content_of([chunk])
    pair.one.put_content(root.cid, [root, chunk])
    pair.one.drop([root.cid])
    with pytest.raises(Unreachable):
        pair.one.put_content(root.cid, [])
    pair.one.put_content(root.cid, [root, chunk])
    assert list(pair.one.read_content(root.cid)) == [root, chunk]


def test_an_engine_tells_the_sizes_of_what_it_has(pair: Pair, fresh: random.Random) -> None:
    chunks = chunks_of(fresh, 3)
    root, nowhere = content_of(chunks), raw_block(fresh.randbytes(100))
    pair.one.put_content(root.cid, [root, *chunks])
    sizes = {block.cid: len(block.data) for block in (root, *chunks)}
    assert pair.one.sizes([root.cid, *sizes, nowhere.cid]) == sizes


# -- announcements -------------------------------------------------------------------------------------------------


def test_an_announcement_reaches_the_other_engine(pair: Pair) -> None:
    inbox = Inbox()
    subscription = pair.listen("reaches", inbox)
    pair.one.publish("reaches", b"\x00\xffhello\n")
    assert inbox.next() == b"\x00\xffhello\n"
    subscription.close()


def test_announcements_come_one_after_another(pair: Pair) -> None:
    inbox = Inbox()
    pair.listen("in-order", inbox)
    for n in range(20):
        pair.one.publish("in-order", b"%d" % n)
        assert inbox.next() == b"%d" % n


def test_a_large_announcement_comes_whole(pair: Pair, fresh: random.Random) -> None:
    inbox, data = Inbox(), fresh.randbytes(512 << 10)
    pair.listen("large", inbox)
    pair.one.publish("large", data)
    assert inbox.next() == data


def test_an_announcement_over_1_mib_is_refused(pair: Pair) -> None:
    with pytest.raises(EngineError, match="over the limit"):
        pair.one.publish("too-large", bytes((1 << 20) + 1))


def test_topics_are_kept_apart(pair: Pair) -> None:
    inbox = Inbox()
    pair.listen("topic/a", inbox)
    pair.one.publish("topic/b", b"not for a")
    pair.one.publish("topic/a", b"for a")
    assert inbox.next() == b"for a"


def test_every_subscription_gets_every_announcement(pair: Pair) -> None:
    inboxes = [Inbox(), Inbox()]
    for inbox in inboxes:
        pair.listen("every", inbox)
    pair.one.publish("every", b"to both")
    assert [inbox.next() for inbox in inboxes] == [b"to both", b"to both"]


def test_a_subscription_begins_now(pair: Pair) -> None:
    first, second = Inbox(), Inbox()
    pair.listen("now", first)
    pair.one.publish("now", b"before")
    assert first.next() == b"before"
    pair.listen("now", second)
    pair.one.publish("now", b"after")
    assert second.next() == b"after"


def test_a_closed_subscription_gets_nothing_more(pair: Pair) -> None:
    closed, other = Inbox(), Inbox()
    subscription = pair.listen("closed", closed)
    pair.listen("closed", other)
    subscription.close()
    subscription.close()
    pair.one.publish("closed", b"late")
    assert other.next() == b"late"
    assert closed.is_empty()


def test_a_receiver_that_raises_gets_the_next_announcement_all_the_same(pair: Pair) -> None:
    class Raising(Inbox):
        def __call__(self, data: bytes) -> None:
            super().__call__(data)
            raise ValueError(data)

    inbox = Raising()
    pair.listen("raises", inbox)
    for data in (b"first", b"second"):
        pair.one.publish("raises", data)
        assert inbox.next() == data


def test_a_receiver_may_close_its_own_subscription(pair: Pair) -> None:
    done: queue.Queue[bytes] = queue.Queue()

    def receive(data: bytes) -> None:
        subscription.close()
        done.put(data)

    inbox = Inbox()
    pair.listen("own", inbox)
    subscription = pair.two.subscribe("own", receive)
    for data in (b"the last", b"too late"):
        pair.one.publish("own", data)
        assert inbox.next() == data
    assert done.get(timeout=SOON) == b"the last"
    assert done.empty()


def test_the_thread_of_a_subscription_has_ended_once_the_engine_is_closed(pair: Pair) -> None:
    engine = pair.reopen()
    engine.subscribe("threads", lambda _: None)
    engine.subscribe("others", lambda _: None).close()

    engine.close()

    assert not {thread.name for thread in threading.enumerate()} & {"subscription threads", "subscription others"}


# -- who and where -------------------------------------------------------------------------------------------------


def test_status_says_what_the_engine_is(pair: Pair, fresh: random.Random) -> None:
    pair.one.put(chunks_of(fresh, 10, 10_000))
    inbox = Inbox()
    pair.listen("status", inbox)
    status = pair.one.status()
    assert (status.kind, status.peers, status.pubsub) == (pair.kind, 1, True)
    assert status.identity
    assert status.version
    assert status.addresses == pair.one.addresses()
    assert status.bytes_stored >= 100_000


def test_what_went_out_is_counted(pair: Pair, fresh: random.Random) -> None:
    block = raw_block(fresh.randbytes(100_000))
    before = pair.one.status().bytes_sent
    pair.one.put([block])
    pair.two.get(block.cid, timeout=SOON)
    assert pair.one.status().bytes_sent - before >= 100_000


def test_addresses_that_are_of_no_use_are_passed_over(pair: Pair) -> None:
    nobody = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWGRUfY2sLMKpmLPkAsyf3nn3nVcLVBFg5zfsRFQWVdzXT"
    pair.one.connect(["no address", nobody, *pair.two.addresses()])
    pair.one.connect([])
