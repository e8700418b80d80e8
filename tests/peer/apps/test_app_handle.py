"""`peer.apps.app_process`: an app process starts wherever its peer was started, and says how it ended."""

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
import time
from pathlib import Path

import pytest

from peer.apps.app_process import AppCommand, AppProcess
from peer.apps.block_server import ServedRun
from peer.history.run_sources import CarSource
from protocol.app.calls import AppReady, FromApp, Halted, Prepare, Start, Task
from protocol.blocks.car import write_car
from protocol.blocks.cid import raw_block
from protocol.records.bodies import Role
from protocol.records.environment import Numerics
from strategy.replay.format import child_environment

APPS = Path(__file__).parents[2] / "apps"


def test_a_peer_started_in_a_folder_with_a_strategy_py_starts_its_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(APPS / "own_modules")
    command = AppCommand(
        Role.SERVER,
        tmp_path / "scratch",
        f"local:{tmp_path / 'engine'}",
        tmp_path / "app.log",
        child_environment(bytes(32), 1, Numerics.NATIVE),
    )

    async def first_words() -> FromApp | str:
        said: asyncio.Queue[FromApp | str] = asyncio.Queue()
        link = AppProcess(command, said.put_nowait, said.put_nowait)
        await link.start(APPS / "own_modules")
        try:
            return await asyncio.wait_for(said.get(), 60)
        finally:
            await link.stop()

    assert isinstance(asyncio.run(first_words()), AppReady)


def test_a_process_that_starts_before_its_app_is_there_runs_nothing_of_it_when_it_is_given(tmp_path: Path) -> None:
    folder, ran = tmp_path / "app" / "files", tmp_path / "ran"
    folder.parent.mkdir()
    contents, environment = f"local:{tmp_path / 'engine'}", child_environment(bytes(32), 1, Numerics.NATIVE)
    command = AppCommand(Role.SERVER, tmp_path / "scratch", contents, tmp_path / "app.log", environment)

    async def told() -> tuple[FromApp | str, bool, FromApp | str]:
        said: asyncio.Queue[FromApp | str] = asyncio.Queue()
        link = AppProcess(command, said.put_nowait, said.put_nowait)
        await link.start(folder, is_whole=False)
        try:
            shutil.copytree(APPS / "own_modules", folder)
            for module in folder.rglob("*.py"):
                module.write_text(f"open({str(ran)!r}, 'w').close()\n")
            link.hand(Prepare())
            ready = await asyncio.wait_for(said.get(), 60)
            before = ran.exists()
            link.hand(Start(raw_block(b"run").cid, 1, bytes(32), ()))
            return ready, before, await asyncio.wait_for(said.get(), 60)
        finally:
            await link.stop()

    ready, before, _ = asyncio.run(told())
    assert isinstance(ready, AppReady)
    assert not before
    assert ran.exists()


def test_where_contents_are_is_not_on_a_command_line_that_all_users_see(tmp_path: Path) -> None:
    where = f"local:{tmp_path / 'engine-with-a-secret'}"
    command = AppCommand(
        Role.CLIENT, tmp_path / "scratch", where, tmp_path / "app.log", child_environment(bytes(32), 1, Numerics.NATIVE)
    )

    async def command_line() -> bytes:
        link = AppProcess(command, lambda _: None, lambda _: None)
        await link.start(APPS / "numpy_fedavg")
        try:
            while not (line := Path(f"/proc/{link.pid}/cmdline").read_bytes()):  # as long as the kernel fills it in
                await asyncio.sleep(0.01)
            return line
        finally:
            await link.stop()

    line = asyncio.run(command_line())
    assert b"peer.apps.app_main" in line
    assert b"secret" not in line


def test_an_app_process_that_cannot_read_says_why_and_is_not_lost(tmp_path: Path) -> None:
    car, gone = tmp_path / "run.car", raw_block(b"gone").cid
    root = raw_block(b"root")
    car.write_bytes(b"".join(write_car([root.cid], [root])))
    environment = child_environment(bytes(32), 1, Numerics.NATIVE)
    blocks = ServedRun(CarSource(car))
    command = AppCommand(Role.CLIENT, tmp_path / "scratch", blocks, tmp_path / "app.log", environment)

    async def last_words() -> FromApp | str:
        said: asyncio.Queue[FromApp | str] = asyncio.Queue()
        link = AppProcess(command, said.put_nowait, said.put_nowait)
        await link.start(APPS / "numpy_fedavg")
        link.hand(Start(root.cid, 5, bytes(32), ()))
        link.hand(Task(bytes(32), gone, "train", "1", 3600, 0.0))
        try:
            assert isinstance(await asyncio.wait_for(said.get(), 60), AppReady)
            return await asyncio.wait_for(said.get(), 60)
        finally:
            await link.stop()

    halted = asyncio.run(last_words())
    assert isinstance(halted, Halted)
    assert str(gone) in halted.why


APP = """
[project]
name = "a"
version = "1"
[tool.flwr.app]
publisher = "a"
[tool.flwr.app.components]
serverapp = "server:app"
clientapp = "server:app"
"""


def how_it_ends(source: str, tmp_path: Path) -> str:
    """How an app process ends whose ServerApp is this source."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "pyproject.toml").write_text(APP)
    (app / "server.py").write_text(f"import multiprocessing as mp, os, time\n{source}\n")
    environment = child_environment(bytes(32), 1, Numerics.NATIVE)
    engine = f"local:{tmp_path / 'engine'}"
    command = AppCommand(Role.SERVER, tmp_path / "scratch", engine, tmp_path / "app.log", environment)

    async def ending() -> str:
        lost: asyncio.Queue[str] = asyncio.Queue()
        link = AppProcess(command, lambda _: None, lost.put_nowait)
        await link.start(app)
        link.hand(Start(raw_block(b"run").cid, 1, bytes(32), ()))
        try:
            return await asyncio.wait_for(lost.get(), 30)
        finally:
            await link.stop()

    return asyncio.run(ending())


@pytest.mark.parametrize(
    ("source", "how"),
    [
        ("mp.get_context('fork').Process(target=time.sleep, args=(60,)).start()\nos.abort()", "killed by signal 6"),
        ("assert mp.get_context('spawn').Pool(1).map(abs, [-1]) == [1]\nos._exit(77)", "exit code 77"),
    ],
    ids=["a child that outlives it", "a spawned pool"],
)
def test_an_app_may_have_processes_of_its_own(source: str, how: str, tmp_path: Path) -> None:
    assert how in how_it_ends(source, tmp_path)


def test_garbage_collections_of_an_app_pass_over_what_was_imported_before_it(tmp_path: Path) -> None:
    source = "import gc\nos._exit(77 if gc.get_freeze_count() > 10_000 else 1)"
    assert "exit code 77" in how_it_ends(source, tmp_path)


APP_WITH_A_CHILD = """
import pathlib, subprocess
from flwr.clientapp import ClientApp
app = ClientApp()
child = subprocess.Popen(["sleep", "600"], start_new_session=LEAVES)
pathlib.Path("child").write_text(str(child.pid))
IMPORTED
"""


whichever_group = pytest.mark.parametrize("leaves", [False, True], ids=["in its group", "left its group"])


def app_with_a_child(folder: Path, imported: str = "", *, leaves: bool = False) -> Path:
    app = folder / "app"
    app.mkdir()
    source = APP_WITH_A_CHILD.replace("IMPORTED", imported).replace("LEAVES", str(leaves))
    (app / "server.py").write_text(source)
    (app / "pyproject.toml").write_text(APP)
    return app


def child_of_it(folder: Path) -> int:
    """The process that the app has started, once there is one."""
    file = folder / "child"
    while not file.exists() or not file.read_text():
        time.sleep(0.01)
    return int(file.read_text())


def wait_for_its_end(pid: int) -> None:
    """Fails by the time limit of the tests."""
    while is_alive(pid):
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether it runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def command_in(folder: Path) -> AppCommand:
    engine = f"local:{folder / 'engine'}"
    return AppCommand(Role.CLIENT, folder, engine, folder / "app.log", child_environment(bytes(32), 1, Numerics.NATIVE))


async def running(folder: Path, app: Path, lost: asyncio.Queue[str]) -> AppProcess:
    link = AppProcess(command_in(folder), lambda _: None, lost.put_nowait)
    await link.start(app)
    link.hand(Start(raw_block(b"run").cid, 5, bytes(32), ()))
    return link


@whichever_group
def test_an_app_works_in_the_folder_given_and_its_processes_end_with_it(tmp_path: Path, leaves: bool) -> None:
    async def stopped() -> int:
        link = await running(tmp_path, app_with_a_child(tmp_path, leaves=leaves), asyncio.Queue())
        child = await asyncio.to_thread(child_of_it, tmp_path)
        await link.stop()
        return child

    assert not is_alive(asyncio.run(stopped()))


@whichever_group
def test_the_processes_of_an_app_that_is_lost_end_before_that_is_told(tmp_path: Path, leaves: bool) -> None:
    async def ended() -> str:
        lost: asyncio.Queue[str] = asyncio.Queue()
        link = await running(tmp_path, app_with_a_child(tmp_path, "import os; os._exit(9)", leaves=leaves), lost)
        try:
            return await asyncio.wait_for(lost.get(), 60)
        finally:
            assert not is_alive(child_of_it(tmp_path))
            await link.stop()

    assert "exit code 9" in asyncio.run(ended())


@whichever_group
def test_the_processes_of_an_app_end_if_its_peer_is_killed(tmp_path: Path, leaves: bool) -> None:
    app = app_with_a_child(tmp_path, leaves=leaves)
    peer = multiprocessing.get_context("fork").Process(target=run_for_ever, args=(tmp_path, app))
    peer.start()
    child = child_of_it(tmp_path)
    assert is_alive(child)
    peer.kill()
    wait_for_its_end(child)


def run_for_ever(folder: Path, app: Path) -> None:
    async def run() -> None:
        await running(folder, app, asyncio.Queue())
        await asyncio.sleep(3600)

    asyncio.run(run())


def test_a_process_that_the_app_starts_reads_nothing_of_the_peers(tmp_path: Path) -> None:
    reads = "import subprocess; pathlib.Path('read').write_bytes(subprocess.run(['cat'], stdout=-1).stdout)"

    async def started() -> None:
        link = await running(tmp_path, app_with_a_child(tmp_path, reads), asyncio.Queue())
        link.hand(Task(bytes(32), raw_block(b"x").cid, "train", "1", 3600, 0.0))
        while not (tmp_path / "read").exists():  # a file, of another process
            await asyncio.sleep(0.01)
        await link.stop()

    asyncio.run(started())
    assert (tmp_path / "read").read_bytes() == b""
