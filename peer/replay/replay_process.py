"""The confined process in which the app of a replay runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final

from peer.apps.app_process import AppCommand, AppProcess
from peer.apps.app_python import with_another_id
from peer.apps.block_server import ServedRun
from peer.confinement.folders import temporary_folder
from peer.replay.conditions import Conditions
from protocol.app.calls import FromApp, Start
from protocol.records.bodies import Role
from protocol.records.environment import Environment

_WAITING: Final = 1024
"""How much that an app process says may wait; it says no more until some is taken."""


class ReplayProcess:
    """The app process of one replay, the loop in which it is listened to, and its folder. The loop may rest."""

    def __init__(
        self,
        conditions: Conditions,
        contents: ServedRun,
        environment: Mapping[str, str],
        start: Start,
        recorded: Environment,
    ) -> None:
        """``recorded`` is the environment that the run had."""
        self.start = start
        self.recorded = recorded
        self.said: asyncio.Queue[FromApp | str] = asyncio.Queue(_WAITING)
        self._belongings = ExitStack()
        with ExitStack() as stack:
            place = stack.enter_context(temporary_folder("pollen-replay-"))
            self.folder = place / "app" / "files"
            """The app's, which is made when the app is given."""
            self.folder.parent.mkdir()
            python = conditions.python
            if start.elsewhere and conditions.confiner is not None:
                python = with_another_id(python)
            command = AppCommand(
                role=Role.SERVER,
                works_in=place / "scratch",
                contents=contents,
                log=place / "app.log",
                environment=environment,
                python=python,
                confiner=conditions.confiner,
            )
            self.link = AppProcess(command, self.said.put, self.said.put)
            self.loop = stack.enter_context(asyncio.Runner())
            stack.callback(lambda: self.loop.run(self.link.stop()))
            self.loop.run(self.link.start(self.folder, is_whole=False))
            self._belongings = stack.pop_all()

    def close(self) -> None:
        """End the process, and remove its folder."""
        self._belongings.close()
