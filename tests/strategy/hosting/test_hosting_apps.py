"""`strategy.hosting.server_host` and `strategy.hosting.client_host`: unchanged Flower apps run, and do the same thing
twice."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from small_leader import APPS, Leader, MemoryStore, run_app, start_for

from protocol.app.calls import ErrorCode, Task
from protocol.blocks.cid import CID, Block
from strategy.contents.codec import ContentWriter, decode
from strategy.grid_answers import RunStopped
from strategy.hosting.client_host import ClientHost, serve_client_app
from strategy.hosting.host import MAX_REASON
from strategy.hosting.server_host import run_server_app


def last_content(leader: Leader) -> RecordDict:
    return decode(leader.sent[-1].content, leader.store, None)


def test_fedavg_trains_and_leaves_its_final_model(tmp_path: Path) -> None:
    finished, leader = run_app("numpy_fedavg", tmp_path)

    assert finished.error == ""
    assert [message.type for message in leader.sent[::3]] == ["train", "evaluate"] * 2
    assert finished.model is not None
    assert decode(finished.model, leader.store, None)["arrays"] == last_content(leader)["arrays"]


def test_equal_content_for_many_nodes_is_one_content(tmp_path: Path) -> None:
    _, leader = run_app("numpy_fedavg", tmp_path)

    assert all(len({message.content for message in push.messages}) == 1 for push in leader.pushes)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("numpy_fedavg", ""),
        *(
            ("numpy_fedavg", f'strategy="{name}" size=70')
            for name in ("FedAdagrad", "FedAdam", "FedAvgM", "FedMedian", "FedTrimmedAvg", "FedYogi")
        ),
        ("legacy_fedavg", ""),
        *(("older_traffic", f'kind="{kind}"') for kind in ("widening", "counting", "scalars", "counters")),
        ("polling", ""),
        ("client_state", ""),
    ],
)
def test_an_app_does_the_same_thing_twice(name: str, config: str, tmp_path: Path) -> None:
    first, before = run_app(name, tmp_path, config)
    second, after = run_app(name, tmp_path, config)

    assert first == second
    assert first.error == ""
    assert before.pushes == after.pushes
    assert before.looks == after.looks


def test_a_server_fn_app_makes_one_exchange_a_round(tmp_path: Path) -> None:
    finished, leader = run_app("legacy_fedavg", tmp_path)

    assert [len(push.messages) for push in leader.pushes] == [2, 3, 2, 3]
    assert finished.model is not None
    (array,) = decode(finished.model, leader.store, None)["arrays"].values()
    assert (array.dtype, array.numpy().shape) == ("", (30, 5))


def test_a_server_fn_app_goes_on_without_a_client_that_is_lost(tmp_path: Path) -> None:
    finished, leader = run_app("legacy_fedavg", tmp_path, lost=lambda node, dispatch: node == 11)

    assert finished.error == ""
    assert len(leader.pushes) == 4


def test_secure_aggregation_goes_through(tmp_path: Path) -> None:
    finished, leader = run_app("secagg", tmp_path)

    assert finished.error == ""
    assert finished.model is not None
    assert len(leader.pushes) == 4  # its four stages


def test_a_polling_app_gets_each_reply_once(tmp_path: Path) -> None:
    finished, leader = run_app("polling", tmp_path)

    assert (finished.error, finished.model) == ("", None)
    assert len(leader.sent) == 3 + 6
    assert {message.group for message in leader.sent} == {str(number) for number in range(7)}


def test_a_client_keeps_its_state_and_an_error_becomes_flowers_own(tmp_path: Path) -> None:
    _, leader = run_app("client_state", tmp_path, clients=1)

    assert last_content(leader)["seen"]["calls"] == [1, 2, -ErrorCode.CLIENT_APP_RAISED_EXCEPTION, 4]


def test_an_interrupted_message_is_answered_the_same_after_a_restart(tmp_path: Path) -> None:
    app, store = APPS / "client_state", MemoryStore()
    content = ContentWriter(store).write(RecordDict(), None)
    tasks = [Task(bytes([number]) * 32, content, "query", "", 60, 1.0) for number in range(2)]
    host = ClientHost(app, start_for(app, 11), store)
    uninterrupted = [host.answer(task) for task in tasks]

    restarted = ClientHost(app, start_for(app, 11), store).answer(tasks[1])

    assert (restarted.content, restarted.state) == (uninterrupted[1].content, uninterrupted[1].state)
    assert uninterrupted[0].content != uninterrupted[1].content


def test_a_state_that_did_not_change_is_not_written_again(tmp_path: Path) -> None:
    same = CLIENT + "context.state.setdefault('s', ConfigRecord()); return Message(RecordDict(), reply_to=message)"
    app, store = broken_app(tmp_path, client=same), Writes()
    content = ContentWriter(store).write(RecordDict(), None)
    host = ClientHost(app, start_for(app, 11), store)
    first = host.answer(Task(bytes(32), content, "query", "", 60, 1.0))
    store.roots.clear()

    second = host.answer(Task(bytes(31) + b"1", content, "query", "", 60, 1.0, first.state))

    assert (second.state, first.state in store.roots) == (first.state, False)


def test_an_app_without_a_state_has_none(tmp_path: Path) -> None:
    app, store = broken_app(tmp_path, client=CLIENT + "return Message(RecordDict(), reply_to=message)"), Writes()
    content = ContentWriter(store).write(RecordDict(), None)

    answered = ClientHost(app, start_for(app, 11), store).answer(Task(bytes(32), content, "query", "", 60, 1.0))

    assert answered.state is None


def test_a_client_reads_arrays_that_the_message_before_had_too_only_once(tmp_path: Path) -> None:
    class Reads(MemoryStore):
        def get(self, cid: CID) -> bytes:  # type: ignore[override]
            read.append(cid)
            return super().get(cid)

    read: list[CID] = []
    reads = CLIENT + "message.content['a']['w'].numpy(); return Message(RecordDict(), reply_to=message)"
    app, store = broken_app(tmp_path, client=reads), Reads()
    model = ArrayRecord({"w": Array(np.zeros(20_000))})
    contents = [
        ContentWriter(store).write(RecordDict({"a": model, "c": ConfigRecord({"round": number})}), None)
        for number in range(2)
    ]
    read.clear()
    tasks = [Task(bytes([number]) * 32, content, "query", "", 60, 1.0) for number, content in enumerate(contents)]

    answers = list(serve_client_app(app, start_for(app, 11), store, tasks, tmp_path / "scratch"))

    assert [answer.code for answer in answers] == [None, None]
    assert len([cid for cid in read if cid.is_raw]) == 1


@pytest.mark.parametrize(("count", "is_given"), [(2, True), (1_000, False), (20_000, False)], ids=str)
def test_a_client_gives_the_block_of_an_answer_that_is_one_small_block(
    tmp_path: Path, count: int, is_given: bool
) -> None:
    source = "import numpy as np\n" + CLIENT
    source += f"return Message(RecordDict({{'a': ArrayRecord({{'w': Array(np.zeros({count}))}})}}), reply_to=message)"
    app, store = broken_app(tmp_path, client=source), MemoryStore()
    content = ContentWriter(store).write(RecordDict(), None)

    answered = ClientHost(app, start_for(app, 11), store).answer(Task(bytes(32), content, "query", "", 60, 1.0))

    assert answered.content is not None
    assert answered.root == (store.get(answered.content) if is_given else b"")


def test_a_client_keeps_nothing_of_an_answer_in_memory(tmp_path: Path) -> None:
    size = 4_000_000
    answers = f"r = RecordDict({{'a': ArrayRecord({{'w': Array(np.zeros({size // 8}))}})}}); r.array_records['a']\n"
    source = "import numpy as np\n" + CLIENT + answers + "    return Message(r, reply_to=message)"
    app, store = broken_app(tmp_path, client=source), Writes()
    content = ContentWriter(store).write(RecordDict(), None)
    held: list[int] = []

    def tasks() -> Iterator[Task]:
        for number in range(2):
            held.append(tracemalloc.get_traced_memory()[0])
            store.clear()
            ContentWriter(store).write(RecordDict(), None)
            yield Task(bytes([number]) * 32, content, "query", "", 60, 1.0)

    tracemalloc.start()
    try:
        for answered in serve_client_app(app, start_for(app, 11), store, tasks(), tmp_path / "scratch"):
            assert answered.code is None, answered.reason
            store.clear()
    finally:
        tracemalloc.stop()
    assert held[1] < held[0] + size // 2


class Writes(MemoryStore):
    """Keeps which contents were put."""

    def __init__(self) -> None:
        super().__init__()
        self.roots: list[CID] = []

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        self.roots.append(root)
        super().put_content(root, blocks)


def broken_app(folder: Path, server: str = "", client: str = "") -> Path:
    """An app with these sources, in modules of names of its own."""
    stem = f"broken_{hashlib.sha256((server + client).encode()).hexdigest()[:16]}"  # not imported before
    (folder / "app").mkdir()
    (folder / "app" / f"{stem}_server.py").write_text(server)
    (folder / "app" / f"{stem}_client.py").write_text(client)
    (folder / "app" / "pyproject.toml").write_text(
        f'[project]\nname = "x"\nversion = "1"\n[tool.flwr.app]\npublisher = "x"\n[tool.flwr.app.components]\n'
        f'serverapp = "{stem}_server:app"\nclientapp = "{stem}_client:app"\n'
    )
    return folder / "app"


HEAD = "from flwr.app import *\nfrom flwr.serverapp import ServerApp\nfrom flwr.clientapp import ClientApp\n"
SERVER = HEAD + "app = ServerApp()\n@app.main()\ndef main(grid, context):\n    "
UNPRINTABLE = "class Unprintable(Exception):\n    def __str__(self):\n        raise SystemExit(7)\n"
HUGE = "RecordDict({'c': ConfigRecord({'x': 10**400})})"
CLIENT = HEAD + "app = ClientApp()\n@app.query()\ndef query(message, context):\n    "


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("app = 1", "is a int, not a ServerApp"),
        ("", "Unable to load attribute app"),
        ("syntax error", "SyntaxError"),
        (SERVER + "raise KeyError('boom')", "KeyError"),
        (SERVER + "raise SystemExit(3)", "SystemExit"),
        (SERVER + "raise KeyboardInterrupt", "KeyboardInterrupt"),
        (SERVER + "raise GeneratorExit", "GeneratorExit"),
        (SERVER + "open('data/x')", "name data by an absolute path"),
        ("import no_such_package.part", "no module 'no_such_package' is installed"),
        (SERVER + "raise ValueError('\\ud800')", "ValueError"),
        (SERVER + f"grid.push_messages([Message({HUGE}, 5, 'train')])", "record 'c', key 'x': an integer of 1329 bits"),
        (SERVER + "grid.push_messages([Message(RecordDict(), 5, 'train', ttl=-1.0)])", "ttl of -1.0"),
        (SERVER + "grid.push_messages([Message(RecordDict(), -5, 'train')])", "-5 is no node id"),
        (SERVER + "grid.push_messages([Message(RecordDict(), 5, 'train', group_id='\\ud800')])", "surrogates"),
    ],
)
def test_what_a_server_app_raises_is_its_error(source: str, error: str, tmp_path: Path) -> None:
    app, store = broken_app(tmp_path, server=source), MemoryStore()

    finished = run_server_app(app, start_for(app, 1), Leader(store, {}), store, tmp_path / "scratch")

    assert error in finished.error
    assert finished.error.encode()


@pytest.mark.parametrize(
    ("source", "code", "reason"),
    [
        ("import no_such_module", 1, "no_such_module"),
        ("app = 1", 1, "is a int, not a ClientApp"),
        (CLIENT + "raise KeyError('boom')", 2, "<class 'KeyError'>:<''boom''>"),
        (CLIENT + "raise SystemExit(3)", 2, "SystemExit"),
        (CLIENT + "raise KeyboardInterrupt", 2, "KeyboardInterrupt"),
        (CLIENT + "raise GeneratorExit", 2, "GeneratorExit"),
        ("raise KeyboardInterrupt", 1, "KeyboardInterrupt"),
        (UNPRINTABLE + CLIENT + "raise Unprintable", 2, "a Unprintable whose text raises a SystemExit"),
        (CLIENT + "return Message(Error(5, Unprintable()), reply_to=message)\n" + UNPRINTABLE, 5, "whose text raises"),
        (CLIENT + "raise ValueError('x' * 10**7)", 2, "xxx"),
        (CLIENT + "context.node_config['partition-id']", 2, '--node-config "partition-id=..."'),
        (CLIENT + "c = context.node_config; c['num-partitions']", 2, '--node-config "num-partitions=..."'),
        (CLIENT + "int(context.node_config.get('site'))", 2, '--node-config "site=..."'),
        (CLIENT + "context.run_config['partition-idx']", 2, "<class 'KeyError'>:<''partition-idx''>"),
        (CLIENT + "open('./data/x')", 2, "the folder its peer was started in, or --work-dir"),
        ("import no_such_package.part", 1, "no module 'no_such_package' is installed"),
        (CLIENT + "return None", 2, "a NoneType, not a message"),
        (CLIENT + "m = Message(RecordDict(), reply_to=message); m.metadata.created_at = 'x'; return m", 2, "nan"),
        (CLIENT + "return RecordDict()", 2, "a RecordDict, not a message"),
        (
            CLIENT
            + "c = ConfigRecord({'x': [1]}); c['x'].append(None)\n"
            + "    return Message(RecordDict({'c': c}), reply_to=message)",
            2,
            "record 'c', key 'x'",
        ),
        (CLIENT + f"return Message({HUGE}, reply_to=message)", 2, "record 'c', key 'x': an integer of 1329 bits"),
        (CLIENT + "return Message(Error(77, 'own'), reply_to=message)", 77, "own"),
        (CLIENT + "return Message(Error(-1, 'own'), reply_to=message)", 2, "-1 is no error code"),
        (CLIENT + "m = Message(RecordDict(), reply_to=message); m.metadata.created_at = 1e999; return m", 2, "inf"),
        (HEAD + "app = ClientApp()", 2, "No query function"),
    ],
)
def test_what_a_client_app_raises_is_flowers_error(source: str, code: int, reason: str, tmp_path: Path) -> None:
    app, store = broken_app(tmp_path, client=source), MemoryStore()
    task = Task(bytes(32), ContentWriter(store).write(RecordDict(), None), "query", "", 60, 1.0)

    (answered,) = serve_client_app(app, start_for(app, 11), store, [task], tmp_path / "scratch")

    assert (answered.content, answered.code) == (None, code)
    assert reason in answered.reason
    assert len(answered.reason) <= MAX_REASON


def test_a_message_that_cannot_be_read_is_unavailable(tmp_path: Path) -> None:
    app, store = APPS / "client_state", MemoryStore()
    root = ContentWriter(store).write(RecordDict(), None)
    store[root] = b"\xf6"

    answered = ClientHost(app, start_for(app, 11), store).answer(Task(bytes(32), root, "query", "", 60, 1.0))

    assert answered.code == ErrorCode.MESSAGE_UNAVAILABLE


class FullStore(MemoryStore):
    def put_content(self, root: object, blocks: object) -> None:
        raise OSError("no space left on device")


@pytest.mark.parametrize("swallowed", [False, True])
def test_a_full_disk_stops_the_run_and_is_no_error_of_the_apps(swallowed: bool, tmp_path: Path) -> None:
    push = "grid.push_messages([Message(RecordDict(), 5, 'train')])"
    source = f"try: {push}\n    except BaseException: pass" if swallowed else push
    app = broken_app(tmp_path, server=SERVER + source)

    with pytest.raises(RunStopped, match="no space left"):
        run_server_app(app, start_for(app, 1), Leader(MemoryStore(), {}), FullStore(), tmp_path / "scratch")


def test_the_apps_files_go_to_its_scratch_folder(tmp_path: Path) -> None:
    app = broken_app(tmp_path, server=SERVER + "open('model.pt', 'w').close()")

    run_server_app(app, start_for(app, 1), Leader(MemoryStore(), {}), MemoryStore(), tmp_path / "scratch")

    assert (tmp_path / "scratch" / "model.pt").exists()
    assert Path.cwd() != tmp_path / "scratch"


def test_a_server_app_finds_no_files_of_an_earlier_process_of_its_run(tmp_path: Path) -> None:
    app = broken_app(tmp_path, server=SERVER + "open('model.pt', 'x').close()")  # raises if there is one
    store, scratch = MemoryStore(), tmp_path / "scratch"

    for _ in range(3):
        finished = run_server_app(app, start_for(app, 1), Leader(store, {}), store, scratch)

    assert finished.error == ""
    assert (tmp_path / "scratch.before" / "model.pt").exists()
