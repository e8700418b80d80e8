"""An app that calls without end waits: no more of its calls are read than its peer can keep."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from peer.apps import app_process
from peer.apps.app_process import AppCommand, AppProcess
from peer.apps.open_calls import MAX_BYTES, MAX_CALLS, OpenCalls
from protocol.app.calls import FromApp, GetNodes, Nodes, Progress
from protocol.app.pipe import PipeError
from protocol.records.bodies import Role

CALLS_FOR_EVER = """
import sys
from peer.apps.app_main import encode
from protocol.app.calls import GetNodes
for call in range(100_000):
    sys.stdout.buffer.write(encode(GetNodes(call)))
sys.stdout.buffer.flush()
open("all", "w").close()
"""
CALLS_AND_ENDS = CALLS_FOR_EVER.replace("100_000", str(MAX_CALLS + 1))

ENOUGH_LOOKS = 200
"""How often in a row a process has to be seen asleep."""


@pytest.mark.parametrize(("count", "size"), [(MAX_CALLS, 10), (2, MAX_BYTES // 2)], ids=["many", "large"])
def test_too_much_waits_until_one_is_answered(count: int, size: int) -> None:
    calls = OpenCalls()
    for number in range(count):
        assert calls.are_few
        calls.came(GetNodes(number), size)

    assert not calls.are_few
    calls.answered(Nodes(0, ()))
    assert calls.are_few


def test_what_asks_for_no_answer_is_no_open_call() -> None:
    calls = OpenCalls()
    for _ in range(2 * MAX_CALLS):
        calls.came(Progress("on"), 10)

    assert calls.are_few


def test_a_number_that_is_in_use_is_refused() -> None:
    calls = OpenCalls()
    calls.came(GetNodes(7), 10)

    with pytest.raises(PipeError, match="number"):
        calls.came(GetNodes(7), 10)


def process_of(source: str, folder: Path, heard: list[FromApp], lost: asyncio.Queue[str]) -> AppProcess:
    command = AppCommand(Role.SERVER, folder, "local:", folder / "log", {}, python=(sys.executable, "-c", source))
    return AppProcess(command, heard.append, lost.put_nowait)


@pytest.fixture(autouse=True)
def in_a_folder_and_soon_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose calls nobody reads is seen to end only once its pipe is given up."""
    monkeypatch.chdir(tmp_path)
    for name in ("_END_SECONDS", "_DRAIN_SECONDS"):
        monkeypatch.setattr(app_process, name, 0.2)


def test_an_app_that_calls_without_end_is_not_read(tmp_path: Path) -> None:
    heard: list[FromApp] = []

    async def flood() -> None:
        process = process_of(CALLS_FOR_EVER, tmp_path, heard, asyncio.Queue())
        await process.start(tmp_path)
        asleep = 0
        while asleep < ENOUGH_LOOKS and not (tmp_path / "all").exists():
            await asyncio.sleep(0.005)
            state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
            asleep = asleep + 1 if state == "S" and len(heard) >= MAX_CALLS else 0
        await process.stop()

    asyncio.run(flood())

    assert not (tmp_path / "all").exists()


def test_the_end_of_an_app_is_noticed_while_its_calls_wait(tmp_path: Path) -> None:
    async def ending() -> str:
        lost: asyncio.Queue[str] = asyncio.Queue()
        process = process_of(CALLS_AND_ENDS, tmp_path, [], lost)
        await process.start(tmp_path)
        try:
            return await asyncio.wait_for(lost.get(), 60)
        finally:
            await process.stop()

    assert "exit code 0" in asyncio.run(ending())
