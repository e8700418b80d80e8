"""What is true only of the Kubo engine: nodes that are down, are not Kubo, restart, or run out of disk."""

import contextlib
import http.server
import json
import queue
import random
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from damage import flipped, spoil

from peer.engine import open_engine
from peer.engine.interface import (
    Engine,
    EngineError,
    EngineUnavailable,
    PublishRefused,
    SharedEngine,
    StorageFull,
    Unreachable,
)
from peer.engine.kubo import api as kubo_api
from peer.engine.kubo.api import KuboApi
from peer.engine.kubo.config import configure, environment, prepare
from peer.engine.kubo.engine import KuboEngine
from peer.engine.kubo.node import KuboNode
from peer.engine.kubo.reach import Reach
from protocol.blocks.cid import Block, BlockMismatch, MissingBlock, cbor_block, raw_block

KEY = bytes(range(32))
SOON = 60.0

needs_kubo = pytest.mark.kubo

VERSION = {"version": b'{"Version": "0.43.0"}'}
"""What a Kubo node says."""


@pytest.fixture
def node(ipfs_program: Path, tmp_path: Path) -> Iterator[KuboNode]:
    with KuboNode(tmp_path, KEY) as node:
        yield node


@pytest.fixture
def engine(node: KuboNode) -> Iterator[KuboEngine]:
    engine = KuboEngine(node.api, managed=True)
    yield engine
    engine.close()


def pins(program: Path, node: KuboNode) -> dict[str, str]:
    """CIDs and how they are pinned, as the plain ``ipfs`` program lists them; without Kubo's own, an empty folder."""
    done = subprocess.run(
        [program, "pin", "ls"], env=environment(node.repository), capture_output=True, text=True, check=True
    )
    return dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if not line.startswith("Qm"))


@needs_kubo
def test_a_node_of_this_machine_is_not_asked_for_blocks_that_it_has(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = [raw_block(b"chunk %d" % number) for number in range(3)]
    root = cbor_block({"links": [chunk.cid for chunk in chunks]})
    engine.put_content(root.cid, [root, *chunks])
    calls: list[str] = []
    call = KuboApi.open
    monkeypatch.setattr(
        KuboApi, "open", lambda api, path, *args, **more: calls.append(path) or call(api, path, *args, **more)
    )
    assert list(engine.read_content(root.cid)) == [root, *chunks]
    assert [engine.get(chunk.cid) for chunk in chunks] == [chunk.data for chunk in chunks]
    assert calls == []
    with pytest.raises(MissingBlock):
        engine.get_here(raw_block(b"of nobody").cid)
    assert calls == ["block/get"]


@needs_kubo
@pytest.mark.parametrize("number", [1, 3, 30])
def test_a_content_of_few_blocks_comes_without_a_pin(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Then it comes in one session of bitswap, where a pin has one for the root and one for the rest."""
    chunks = [raw_block(b"chunk %d" % number + bytes(100_000)) for number in range(number)]
    root = cbor_block({"links": [chunk.cid for chunk in chunks]})
    engine.put_content(root.cid, [root, *chunks])
    here: list[int] = []
    call = KuboApi.open
    with KuboNode(tmp_path / "other", KEY) as node, contextlib.closing(open_engine(node.api)) as other:
        other.connect(engine.addresses())

        def counted(api: KuboApi, path: str, *args: str, **more: Any) -> Any:
            if path == "pin/add":
                here.append(sum(other.has(chunk.cid) for chunk in chunks))
            return call(api, path, *args, **more)

        monkeypatch.setattr(KuboApi, "open", counted)
        other.fetch(root.cid, timeout=SOON, limit=1 << 22)
        assert list(other.read_content(root.cid)) == [root, *chunks]
        assert other.keeps(root.cid)
    if number <= 3:
        assert here == []
    else:  # more come sooner side by side
        assert here[0] < number


@needs_kubo
def test_a_content_of_few_blocks_of_which_something_is_here_comes_without_a_pin(
    engine: Engine, node: KuboNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk = raw_block(b"chunk")
    root = cbor_block({"links": [chunk.cid]})
    engine.put([root])
    with KuboNode(tmp_path / "other", KEY) as another, contextlib.closing(open_engine(another.api)) as other:
        other.put([chunk])
        other.connect(engine.addresses())
        assert calls_of_fetching(engine, root, monkeypatch) == ["dag/stat"]
    assert engine.get_here(chunk.cid) == chunk.data


@needs_kubo
def test_for_a_content_that_is_here_the_node_is_not_called(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = raw_block(b"chunk")
    root = cbor_block({"links": [chunk.cid]})
    engine.put([root, chunk])
    assert calls_of_fetching(engine, root, monkeypatch) == []
    assert engine.keeps(root.cid)


def calls_of_fetching(engine: Engine, root: Block, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the node is called for as ``root`` is fetched."""
    calls: list[str] = []
    call = KuboApi.open
    monkeypatch.setattr(
        KuboApi, "open", lambda api, path, *args, **more: calls.append(path) or call(api, path, *args, **more)
    )
    engine.fetch(root.cid, timeout=SOON, limit=1 << 20)
    monkeypatch.undo()
    return calls


# -- with the plain ipfs program -----------------------------------------------------------------------------------


@needs_kubo
def test_a_record_is_pinned_alone_and_a_content_with_all_it_links_to(
    engine: KuboEngine, node: KuboNode, ipfs_program: Path
) -> None:
    chunk = raw_block(b"chunk")
    root = cbor_block({"links": [chunk.cid]})
    record = cbor_block({"content": root.cid, "prev": raw_block(b"not here").cid})
    engine.put([record], pin=[record.cid])
    engine.put_content(root.cid, [root, chunk])
    engine.settle_pins()
    assert pins(ipfs_program, node) == {
        str(record.cid): "direct",
        str(root.cid): "recursive",
        str(chunk.cid): "indirect",
    }


@needs_kubo
def test_what_is_unpinned_is_collected_and_what_is_pinned_is_not(
    engine: KuboEngine, node: KuboNode, ipfs_program: Path
) -> None:
    kept, dropped = raw_block(b"kept"), raw_block(b"dropped")
    for block in (kept, dropped):
        engine.put([block], pin=[block.cid])
    engine.unpin(dropped.cid)
    engine.settle_pins()
    subprocess.run([ipfs_program, "repo", "gc"], env=environment(node.repository), capture_output=True, check=True)
    assert [engine.has(kept.cid), engine.has(dropped.cid)] == [True, False]


@needs_kubo
def test_the_plain_program_reads_what_the_engine_stored(engine: Engine, node: KuboNode, ipfs_program: Path) -> None:
    block = cbor_block({"hello": [1, 2, 3], "link": raw_block(b"x").cid})
    engine.put([block])
    done = subprocess.run(
        [ipfs_program, "dag", "get", str(block.cid)], env=environment(node.repository), capture_output=True, check=True
    )
    assert json.loads(done.stdout) == {"hello": [1, 2, 3], "link": {"/": str(raw_block(b"x").cid)}}


@needs_kubo
def test_a_block_that_was_tampered_with_on_the_nodes_disk_is_refused(engine: Engine, node: KuboNode) -> None:
    block = raw_block(b"A" * 1000)
    engine.put([block])
    spoil(node.repository / "blocks", [block.cid], flipped)
    for _ in range(2):  # it is left as it was found
        with pytest.raises(BlockMismatch):
            engine.get(block.cid)


@needs_kubo
def test_what_is_not_whole_is_not_pinned(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peer.engine.kubo.contents.content_fetcher.STALL_SECONDS", 0.2)
    record = cbor_block({"content": raw_block(b"not here").cid})
    engine.put([record])
    with pytest.raises(Unreachable, match="is not whole, so it is not pinned"):
        engine.pin(record.cid, recursive=True)


# -- many chunks: written beside the node ----------------------------------------------------------------------------


def many_chunks() -> tuple[Block, list[Block]]:
    """A content of more blocks than one call takes, and its chunks, of 1 MB in all."""
    chunks = [raw_block(random.Random(n).randbytes(100_000)) for n in range(10)]
    return cbor_block({"links": [chunk.cid for chunk in chunks]}), chunks


@pytest.fixture
def uploaded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of each upload from now on."""
    sizes: list[int] = []
    call = KuboApi.open

    def counted(api: KuboApi, path: str, *args: str, upload: Iterable[bytes] | None = None, **more: Any) -> Any:
        if upload is not None:
            upload = list(upload)
            sizes.append(sum(map(len, upload)))
        return call(api, path, *args, upload=upload, **more)

    monkeypatch.setattr(KuboApi, "open", counted)
    return sizes


@needs_kubo
def test_many_chunks_do_not_go_through_the_api_of_a_node_whose_pins_may_not_wait(
    ipfs_program: Path, node: KuboNode, uploaded: list[int]
) -> None:
    """An earlier release has left it running, which knows of no pins that wait."""
    (node.repository / "waiting-pins").rmdir()
    root, chunks = many_chunks()
    with contextlib.closing(KuboEngine(node.api, managed=True)) as engine:
        engine.put_content(root.cid, [root, *chunks])
    (size,) = uploaded
    assert size < 2 * len(root.data) + 200
    assert pins(ipfs_program, node)[str(root.cid)] == "recursive"


@needs_kubo
def test_nothing_that_is_stored_goes_through_the_api_of_a_managed_node(
    engine: KuboEngine, ipfs_program: Path, node: KuboNode, uploaded: list[int], tmp_path: Path
) -> None:
    root, chunks = many_chunks()
    engine.put_content(root.cid, [root, *chunks])
    assert uploaded == []
    engine.settle_pins()
    assert pins(ipfs_program, node)[str(root.cid)] == "recursive"
    with KuboNode(tmp_path / "other", KEY) as another, contextlib.closing(open_engine(another.api)) as other:
        other.connect(engine.addresses())
        other.fetch(root.cid, timeout=SOON, limit=2_000_000)
        assert list(other.read_content(root.cid)) == [root, *chunks]


@needs_kubo
def test_a_node_that_was_asked_for_a_chunk_before_finds_it_once_it_is_written(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubo_api, "CALL_SECONDS", 10.0)  # a node that does not find it is silent so long
    root, chunks = many_chunks()
    assert not engine.has(chunks[3].cid)
    engine.put_content(root.cid, [root, *chunks])
    assert engine.has(chunks[3].cid)
    assert engine.keeps(root.cid)


@needs_kubo
def test_of_many_chunks_those_that_are_here_may_be_left_out(engine: Engine) -> None:
    root, chunks = many_chunks()
    engine.put([chunks[0]])
    engine.put_content(root.cid, [root, *chunks[1:]])
    assert engine.keeps(root.cid)


@needs_kubo
def test_what_is_written_beside_a_node_counts_as_stored_until_it_is_dropped(engine: Engine) -> None:
    root, chunks = many_chunks()
    before = engine.status().bytes_stored
    engine.put_content(root.cid, [root, *chunks])
    assert engine.status().bytes_stored == before + sum(len(block.data) for block in (root, *chunks))
    engine.drop([root.cid])
    assert engine.status().bytes_stored == before
    engine.put_content(root.cid, [root, *chunks])
    assert engine.keeps(root.cid)


# -- restarts ------------------------------------------------------------------------------------------------------


@needs_kubo
def test_an_engine_is_unavailable_while_its_node_is_down_and_works_after(engine: Engine, node: KuboNode) -> None:
    block = raw_block(b"before")
    engine.put([block])
    node.stop()
    for call in (
        lambda: engine.get(raw_block(b"of nobody").cid),
        lambda: engine.publish("t", b"x"),
        lambda: engine.subscribe("t", print),
        lambda: engine.pin(block.cid, recursive=True),
        engine.status,
    ):
        with pytest.raises(EngineUnavailable, match="no Kubo node answers at"):
            call()
    node.start()
    assert engine.get(block.cid) == b"before"


@needs_kubo
def test_a_subscription_goes_on_after_its_node_was_away(engine: Engine, node: KuboNode) -> None:
    inbox: queue.Queue[bytes] = queue.Queue()
    engine.subscribe("t", inbox.put)
    engine.publish("t", b"before")
    assert inbox.get(timeout=SOON) == b"before"
    node.stop()
    node.start()
    deadline = time.monotonic() + SOON
    while inbox.empty():  # what is published before it has subscribed again is lost, as on any network
        assert time.monotonic() < deadline
        engine.publish("t", b"after")
        time.sleep(0.05)
    assert inbox.get() == b"after"


@needs_kubo
def test_closing_an_engine_ends_the_threads_of_its_subscriptions(node: KuboNode) -> None:
    before = set(threading.enumerate())
    engine = open_engine(node.api)
    for topic in ("a", "b"):
        engine.subscribe(topic, lambda data: None)
    started = set(threading.enumerate()) - before
    assert len(started) == 2
    engine.close()
    for thread in started:
        thread.join(SOON)
        assert not thread.is_alive()


# -- what is said at once, and what a node refuses to say -------------------------------------------------------------


@needs_kubo
def test_all_of_thirty_that_publish_at_once_through_one_node_are_heard(node: KuboNode) -> None:
    """Each by a connection of its own, as peers and `peer join` that share a node."""
    inbox: queue.Queue[bytes] = queue.Queue()
    listener = open_engine(node.api)
    listener.subscribe("t", inbox.put)
    publishers = [open_engine(node.api) for _ in range(30)]
    begin = threading.Barrier(30)

    def publish(number: int) -> None:
        begin.wait()
        publishers[number].publish("t", bytes([number]))

    with ThreadPoolExecutor(30) as pool:
        list(pool.map(publish, range(30)))
    assert {inbox.get(timeout=SOON) for _ in range(30)} == {bytes([number]) for number in range(30)}
    for engine in (listener, *publishers):
        engine.close()


def remember_higher(program: Path, node: KuboNode, peer: str) -> None:
    """Make a stopped node remember that it heard ``peer`` with a number of years from now: in nanoseconds since
    1970, big-endian, and in letters, since the program takes it as text."""
    put = [program, "diag", "datastore", "put", f"/pubsub/seqno/{peer}", "!abcdefg"]
    subprocess.run(put, env=environment(node.repository), check=True, capture_output=True)


@needs_kubo
def test_a_managed_node_that_has_heard_itself_with_a_higher_number_is_fixed(
    ipfs_program: Path, node: KuboNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peer.engine.kubo.pubsub._TRIES", 3)
    with contextlib.closing(open_engine(node.api)) as engine:
        identity = engine.status().identity
    node.stop()
    remember_higher(ipfs_program, node, identity)
    node.start()
    with contextlib.closing(open_engine(node.api)) as theirs, pytest.raises(PublishRefused) as raised:
        theirs.publish("t", b"x")
    assert "clock was set back" in str(raised.value)
    assert f"ipfs pubsub reset --peer {identity}" in raised.value.fix
    inbox: queue.Queue[bytes] = queue.Queue()
    with contextlib.closing(open_engine(node.api, managed=True)) as ours:
        ours.subscribe("t", inbox.put)
        ours.publish("t", b"y")
        assert inbox.get(timeout=SOON) == b"y"


# -- a node of the user's ------------------------------------------------------------------------------------------


@contextmanager
def users_node(program: Path, repository: Path, changes: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    """A node as a user has it, its RPC API on a TCP port; its URL."""
    prepare(program, repository, KEY)
    configure(repository, Reach(), swarm_port=0, api="/ip4/127.0.0.1/tcp/0")
    config = json.loads((repository / "config").read_text())
    for section, values in changes.items():
        config[section] |= values
    (repository / "config").write_text(json.dumps(config))
    with subprocess.Popen(
        [program, "daemon"], env=environment(repository), stdout=subprocess.PIPE, text=True
    ) as daemon:
        assert daemon.stdout is not None
        port = next(line for line in daemon.stdout if line.startswith("RPC API server")).split("/")[-1].strip()
        assert any(line.startswith("Daemon is ready") for line in daemon.stdout)
        yield f"http://127.0.0.1:{port}"
        daemon.terminate()


@needs_kubo
def test_a_node_with_pubsub_off_says_how_to_turn_it_on(ipfs_program: Path, tmp_path: Path) -> None:
    with users_node(ipfs_program, tmp_path / "ipfs", {"Pubsub": {"Enabled": False}}) as url:
        engine = open_engine(url)
        for call in (lambda: engine.publish("t", b"x"), lambda: engine.subscribe("t", print)):
            with pytest.raises(EngineError, match="has pubsub off") as raised:
                call()
            assert "ipfs config --json Pubsub.Enabled true" in raised.value.fix
        assert engine.status().pubsub is False
        engine.close()


@needs_kubo
def test_a_node_that_wants_credentials_is_given_them(ipfs_program: Path, tmp_path: Path) -> None:
    scopes = {
        name: {"AuthSecret": secret, "AllowedPaths": ["/api/v0"]}
        for name, secret in (("a", "basic:alice:p@ss:word"), ("b", "bearer:token"))
    }
    block = raw_block(b"x")
    with users_node(ipfs_program, tmp_path / "ipfs", {"API": {"Authorizations": scopes}}) as url:
        for credentials in ("alice:p%40ss%3Aword", "bearer:token"):
            engine = open_engine(url.replace("//", f"//{credentials}@"))
            engine.put([block], pin=[block.cid])
            assert engine.status().pubsub
            engine.close()
        for credentials in ("", "alice:wrong@", "bearer:wrong@"):
            with pytest.raises(EngineError, match="forbids this call") as raised:
                open_engine(url.replace("//", f"//{credentials}"))
            assert "http://bearer:TOKEN@HOST:5001" in raised.value.fix
            assert "wrong" not in str(raised.value)


def test_a_node_that_is_not_running_is_unavailable() -> None:
    with pytest.raises(EngineUnavailable, match=r"no Kubo node answers at http://127.0.0.1:1") as raised:
        open_engine("http://127.0.0.1:1")
    assert "ipfs daemon" in raised.value.fix


@contextmanager
def server_that_says(
    status: int,
    body: bytes,
    answers: Mapping[str, bytes] | None = None,
    *,
    hung: threading.Semaphore | None = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """An HTTP server that answers everything alike, with ``headers``, but what ``answers`` names; with ``hung`` it
    answers nothing else, and counts there what came."""
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            special = (answers or {}).get(self.path.removeprefix("/api/v0/").split("?")[0])
            if special is None and hung is not None:
                hung.release()
                over.wait()
                return
            said = body if special is None else special
            self.send_response(status)
            usual = {"Content-Type": "application/json", "Content-Length": str(len(said))}
            for header, value in (headers if headers and special is None else usual).items():
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        over.set()
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"<h1>not here</h1>"),
        (200, b"<h1>welcome</h1>"),
        (200, b"{}"),
        (200, b"[1]"),
        (200, b""),
        (501, b""),
        (200, b"[" * 100_000),
        (501, b"[" * 100_000),
    ],
)
def test_what_is_no_kubo_is_named(status: int, body: bytes) -> None:
    with (
        server_that_says(status, body) as url,
        pytest.raises(EngineError, match="is not a Kubo node's RPC API") as raised,
    ):
        open_engine(url)
    assert "Addresses.API" in raised.value.fix


def test_a_node_that_is_too_old_is_named() -> None:
    with (
        server_that_says(200, b'{"Version": "0.30.0-dev"}') as url,
        pytest.raises(EngineError, match=r"has version 0\.30\.0-dev, older than 0\.40"),
    ):
        open_engine(url)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_proxy_without_its_node_is_a_node_that_is_away(status: int) -> None:
    with (
        server_that_says(status, b"<h1>Bad Gateway</h1>") as url,
        pytest.raises(EngineUnavailable, match=f"is away: HTTP status {status}"),
    ):
        open_engine(url)


@pytest.mark.parametrize("body", [b"<h1>welcome</h1>", b"{}", b"[1]", b"", b"null", b'{"ID": 1, "Addresses": 7}'])
def test_a_node_whose_place_another_program_has_taken_is_away_and_breaks_nothing(body: bytes) -> None:
    block = raw_block(b"x")
    with server_that_says(200, body, VERSION) as url:
        engine = open_engine(url)
        for call in (engine.status, engine.addresses, lambda: engine.connect(["/ip4/127.0.0.1/tcp/1/p2p/x"])):
            with pytest.raises(EngineUnavailable):
                call()
        with pytest.raises(EngineError):
            engine.put([block])
        engine.close()


@pytest.mark.parametrize(
    "headers",
    [{"Content-Length": "99"}, {"Transfer-Encoding": "chunked"}, {"Content-Length": "2", "Content-Encoding": "gzip"}],
    ids=["cut-short", "cut-in-a-chunk", "not-what-it-is-said-to-be"],
)
def test_a_node_that_dies_in_its_answer_is_away(headers: Mapping[str, str]) -> None:
    block = raw_block(b"x")
    with server_that_says(200, b"9\r", VERSION, headers=headers) as url, contextlib.closing(open_engine(url)) as engine:
        for call in (engine.status, engine.addresses, lambda: engine.put([block]), lambda: engine.get(block.cid)):
            with pytest.raises(EngineUnavailable):
                call()


def test_a_node_that_hangs_is_given_up_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peer.engine.kubo.api.CALL_SECONDS", 0.1)
    monkeypatch.setattr("peer.engine.kubo.api.QUICK_SECONDS", 0.1)
    with server_that_says(200, b"", VERSION, hung=threading.Semaphore(0)) as url:
        engine = open_engine(url)
        for call in (
            engine.status,
            lambda: engine.put([raw_block(b"x")]),
            lambda: engine.pin(raw_block(b"x").cid, recursive=False),
        ):
            with pytest.raises(EngineUnavailable, match="did not answer in time"):
                call()
        engine.close()


def test_a_node_that_hangs_is_not_taken_for_one_that_cannot_find_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a wait for a block is a wait for the node. An answer that nobody has the block would end an app's run."""
    monkeypatch.setattr("peer.engine.kubo.api.GRACE", 0.1)
    monkeypatch.setattr("peer.engine.kubo.api.CALL_SECONDS", 0.1)
    with server_that_says(200, b"", VERSION, hung=threading.Semaphore(0)) as url:
        engine, cid = open_engine(url), raw_block(b"x").cid
        for call in (
            lambda: engine.get(cid, timeout=0.1),
            lambda: engine.fetch(cid, timeout=0.1, limit=1),
            lambda: engine.pin(cid, recursive=True),
        ):
            with pytest.raises(EngineUnavailable, match="did not answer in time"):
                call()
        engine.close()


def test_stopping_ends_the_calls_that_a_node_leaves_hanging_and_makes_no_other() -> None:
    block, arrived = raw_block(b"x"), threading.Semaphore(0)
    with server_that_says(200, b"", VERSION, hung=arrived) as url, ThreadPoolExecutor(2) as pool:
        engine = open_engine(url)
        calls = [pool.submit(engine.put, [block]), pool.submit(engine.publish, "t", b"x")]
        arrived.acquire()
        arrived.acquire()
        engine.hang_up()
        for call in calls:
            with pytest.raises(EngineUnavailable):
                call.result(timeout=SOON)
        with pytest.raises(EngineUnavailable, match="nobody waits for"):
            engine.put([block])
        engine.close()


@pytest.mark.parametrize(
    "said",
    [
        "committing batch to datastore at /blocks: datastore closed",
        "pin: pinner closed",
        "promise channel was closed",
        "leveldb: closed",
        "pin: context canceled",
    ],
)
def test_a_node_that_is_stopping_is_unavailable_and_refuses_nothing(said: str) -> None:
    """What Kubo 0.43 answered to imports, pins and gets while it was told to stop (SIGTERM)."""
    with server_that_says(500, json.dumps({"Message": said}).encode()) as url, pytest.raises(EngineUnavailable):
        open_engine(url)


# -- a full disk ---------------------------------------------------------------------------------------------------


@needs_kubo
def test_a_full_disk_says_so_and_keeps_what_was_there(ipfs_program: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.strip()}")
    try:
        with KuboNode(disk, KEY) as node:
            engine = open_engine(node.api)
            old = raw_block(b"old")
            engine.put([old], pin=[old.cid])
            chunks = [raw_block(random.Random(n).randbytes(1 << 20)) for n in range(20)]
            root = cbor_block({"links": [chunk.cid for chunk in chunks]})
            with pytest.raises(StorageFull, match="is full"):
                engine.put_content(root.cid, [root, *chunks])
            assert engine.get(old.cid) == b"old"
            engine.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# -- dropping, at a node that is its owner's -------------------------------------------------------------------------


@needs_kubo
def test_what_the_owner_of_a_node_has_pinned_stays_when_a_home_drops_it(ipfs_program: Path, node: KuboNode) -> None:
    chunks = [raw_block(b"chunk %d" % number) for number in range(3)]
    ours, theirs = (cbor_block({"links": [chunk.cid for chunk in some]}) for some in (chunks, chunks[:1]))
    with contextlib.closing(open_engine(node.api, owner="01")) as home:
        home.put_content(ours.cid, [ours, *chunks])
        home.put([theirs, raw_block(b"nobody pins this")])
        subprocess.run(
            [ipfs_program, "pin", "add", str(theirs.cid)],
            env=environment(node.repository),
            check=True,
            capture_output=True,
        )
        assert (home.keeps(ours.cid), home.keeps(chunks[0].cid)) == (True, False)
        home.drop([ours.cid])
        assert not home.keeps(ours.cid)
        here = [home.has(block.cid) for block in (ours, *chunks, theirs, raw_block(b"nobody pins this"))]
    assert here == [False, True, False, False, True, True]


@needs_kubo
def test_a_home_drops_nothing_at_a_node_that_another_home_uses(node: KuboNode) -> None:
    root = cbor_block({"links": []})
    with (
        contextlib.closing(open_engine(node.api, owner="01")) as one,
        contextlib.closing(open_engine(node.api, owner="02")),
        contextlib.closing(open_engine(node.api, owner="01")) as again,
    ):
        one.put_content(root.cid, [root])
        for home in (one, again):
            with pytest.raises(SharedEngine, match="another home uses"):
                home.drop([root.cid])
        assert one.has(root.cid)


def test_a_block_that_is_not_here_is_not_pinned_at_a_users_node_which_asks_nobody_for_it(
    ipfs_program: Path, tmp_path: Path
) -> None:
    here, nowhere = raw_block(b"here"), raw_block(b"nowhere").cid
    with users_node(ipfs_program, tmp_path / "node", {}) as url, contextlib.closing(KuboEngine(url)) as engine:
        for pin in ([nowhere], [here.cid, nowhere]):
            with pytest.raises(Unreachable, match=f"{nowhere} is not here, so it is not pinned"):
                engine.put([here], pin=pin)
        with pytest.raises(Unreachable, match="is not pinned"):
            engine.drop([], [here.cid], keep=[nowhere])
