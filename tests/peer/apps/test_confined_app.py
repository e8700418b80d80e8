"""A confined app process is bounded in what it takes, and ended with all that it has started."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from pathlib import Path
from uuid import uuid4

import pytest

from peer.apps.app_process import AppCommand, AppProcess
from peer.apps.block_server import ServedEngine
from peer.confinement.confined import Confiner
from peer.confinement.means import ALL, Means, works_not
from peer.confinement.rules import Grants
from peer.engine.local.engine import LocalEngine
from protocol.app.calls import Start
from protocol.blocks.cid import raw_block
from protocol.records.bodies import Role
from protocol.records.environment import Numerics
from strategy.replay.format import child_environment

PROJECT = """
[project]
name = "a"
version = "1"
[tool.flwr.app]
publisher = "a"
[tool.flwr.app.components]
serverapp = "app:app"
clientapp = "app:app"
"""

FORKS_FOR_EVER = "subprocess.run('while :; do sleep 600 & done', shell=True)"
TAKES_ALL = """
for _ in range(4):
    if os.fork() == 0:
        held = [b"x" * (1 << 20) for _ in range(300)]
        time.sleep(600)
time.sleep(600)
"""
TAKES_ALL_AT_ONCE = """
try:
    b"x" * (1 << 30)
except MemoryError:
    os._exit(42)
"""
LEAVES_ONE = "subprocess.Popen(['sh', '-c', 'sleep 600; : SIGN'], start_new_session=True)\nopen('ready', 'w').close()"


def by(means: Means, *values: str, every_time: bool = True) -> object:
    """A case by this means, which not every machine has."""
    marks = [pytest.mark.skipif(bool(why := works_not(means)), reason=why)]
    return pytest.param(means, *values, marks=marks if every_time else [*marks, pytest.mark.all])


every_means = pytest.mark.parametrize("means", [by(means) for means in ALL], ids=[means.name for means in ALL])

TOO_MUCH = {
    "memory": (TAKES_ALL, "more than the 0.94 GB of memory"),
    "processes": (FORKS_FOR_EVER, "more than the 1024 processes"),
    "memory of one": (TAKES_ALL_AT_ONCE, "exit code 42"),
    "crash": ("os.abort()", "killed by signal 6"),
}
EVERY_TIME = (("memory", ALL[0]), ("processes", ALL[1]))
"""Each bound by one means: the watch is the same for all."""


def app_process(folder: Path, source: str, means: Means, lost: asyncio.Queue[str]) -> tuple[AppProcess, Path]:
    app = folder / "app"
    app.mkdir()
    (app / "pyproject.toml").write_text(PROJECT)
    (app / "app.py").write_text(f"import os, subprocess, time\n{source}\ntime.sleep(600)\n")
    confiner = Confiner(means, Grants(memory=900 << 20), (folder / "home",))
    command = AppCommand(
        Role.CLIENT,
        folder / "work",
        ServedEngine(LocalEngine(folder / "engine"), 1 << 30),
        folder / "app.log",
        child_environment(bytes(32), 1, Numerics.NATIVE),
        confiner=confiner,
    )
    return AppProcess(command, lambda _: None, lost.put_nowait), app


async def started(folder: Path, source: str, means: Means, lost: asyncio.Queue[str]) -> AppProcess:
    process, app = app_process(folder, source, means, lost)
    await process.start(app)
    process.hand(Start(raw_block(b"run").cid, 5, bytes(32), ()))
    return process


@pytest.mark.parametrize(
    ("means", "source", "why"),
    [by(means, *case, every_time=(name, means) in EVERY_TIME) for name, case in TOO_MUCH.items() for means in ALL],
    ids=[f"{name} by {means.name}" for name in TOO_MUCH for means in ALL],
)
def test_an_app_that_takes_too_much_is_ended_and_why_is_told(
    means: Means, source: str, why: str, tmp_path: Path
) -> None:
    async def ending() -> str:
        lost: asyncio.Queue[str] = asyncio.Queue()
        process = await started(tmp_path, source, means, lost)
        try:
            return await asyncio.wait_for(lost.get(), 120)
        finally:
            await process.stop()

    assert why in asyncio.run(ending())


@every_means
def test_what_an_app_has_started_ends_with_its_peer(means: Means, tmp_path: Path) -> None:
    sign = uuid4().hex
    source = LEAVES_ONE.replace("SIGN", sign)
    peer = multiprocessing.get_context("fork").Process(target=run_for_ever, args=(tmp_path, source, means))
    peer.start()
    wait_until(lambda: (tmp_path / "work" / "ready").exists())
    wait_until(lambda: are_there(sign))
    peer.kill()
    wait_until(lambda: not are_there(sign))


@every_means
def test_what_an_app_has_started_ends_as_it_is_stopped(means: Means, tmp_path: Path) -> None:
    sign = uuid4().hex

    async def stopped() -> None:
        process = await started(tmp_path, LEAVES_ONE.replace("SIGN", sign), means, asyncio.Queue())
        await asyncio.to_thread(wait_until, lambda: are_there(sign))
        await process.stop()

    asyncio.run(stopped())
    assert not are_there(sign)


def run_for_ever(folder: Path, source: str, means: Means) -> None:
    async def run() -> None:
        await started(folder, source, means, asyncio.Queue())
        await asyncio.sleep(3600)

    asyncio.run(run())


def wait_until(is_so) -> None:
    """Fails by the time limit of the tests."""
    while not is_so():
        time.sleep(0.02)


def are_there(sign: str) -> bool:
    """Whether a process has the sign in its command line."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if sign.encode() in (process / "cmdline").read_bytes():
                return True
        except OSError:
            continue
    return False
