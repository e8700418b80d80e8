"""`peer.app_link`: an app process starts wherever its peer was started."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from peer.app_link import AppCommand, AppLink
from protocol.app_calls import FromApp, Ready
from protocol.records import Role
from strategy.replay_format import child_environment

APPS = Path(__file__).parent.parent / "apps"


def test_a_peer_started_in_a_folder_with_a_strategy_py_starts_its_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(APPS / "own_modules")
    command = AppCommand(
        Role.SERVER,
        APPS / "own_modules",
        tmp_path / "scratch",
        f"local:{tmp_path / 'engine'}",
        tmp_path / "app.log",
        child_environment(bytes(32), 1),
    )

    async def first_words() -> FromApp | str:
        said: asyncio.Queue[FromApp | str] = asyncio.Queue()
        link = AppLink(command, said.put_nowait, said.put_nowait)
        await link.start()
        try:
            return await asyncio.wait_for(said.get(), 60)
        finally:
            await link.stop()

    assert isinstance(asyncio.run(first_words()), Ready)
