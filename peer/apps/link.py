"""The peer's end of its app process: starts it, hands it values, hears what it says, ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peer.apps.log import LOOK, keep_short
from peer.apps.processes import MARK, new_mark, signal_marked
from peer.engine.contents_address import CONTENTS_VARIABLE
from peer.home.passphrase import without_passphrases
from protocol.app.calls import FromApp, ToApp
from protocol.app.pipe import FrameReader, PipeError, encode
from protocol.records.bodies import Role

_END_SECONDS: Final = 5.0
"""How long an app process has to end by itself once its pipe is closed."""

_CHILDREN_SECONDS: Final = 1.0
"""How long the processes that an app has started have to end by themselves, once they are asked to."""

_LAST_WORDS: Final = 2000
"""Bytes of its log that say why it ended."""


@dataclass(frozen=True, slots=True)
class AppCommand:
    """What to start."""

    role: Role
    works_in: Path
    """The working directory of a ClientApp; a ServerApp's is a folder of its run in it."""
    contents: str
    """As `peer.engine.contents.open_contents` takes it."""
    log: Path
    """Where what the app prints goes."""
    environment: Mapping[str, str]
    """Variables besides those of this process (`strategy.replay.format`)."""


class AppLink:
    """One app process at a time."""

    def __init__(
        self,
        command: AppCommand,
        heard: Callable[[FromApp], None],
        lost: Callable[[str], None],
    ) -> None:
        """``heard`` gets each value it says; ``lost`` why it ended unasked. Both run in the event loop."""
        self._command = command
        self._heard = heard
        self._lost = lost
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._shortening: asyncio.Task[None] | None = None
        self._mark = ""
        self._may_end = False
        self.generation = 0
        """Goes up with each process."""

    @property
    def pid(self) -> int | None:
        """The process id of the one there is."""
        return self._process.pid if self._process is not None else None

    async def start(self, folder: Path) -> None:
        """Start a fresh process of the app in ``folder``, ending the one there is."""
        await self.stop()
        self.generation += 1
        self._may_end = False
        command = self._command
        self._mark = new_mark()
        command.log.parent.mkdir(parents=True, exist_ok=True)
        keep_short(command.log)
        with command.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # or the folder we were started in comes first, and a strategy.py in it is taken for ours
                "-m",
                "peer.apps.process",
                command.role.value,
                str(folder),
                str(command.works_in),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={
                    **without_passphrases(os.environ),
                    **command.environment,
                    "PYTHONPATH": _python_path(),
                    CONTENTS_VARIABLE: command.contents,
                    MARK: self._mark,
                },
                # a process group of its own: Ctrl-C in the terminal is for the peer, which ends this in good order,
                # with the processes that the app has started
                start_new_session=True,
            )
        self._listening = asyncio.create_task(self._listen(self._process, self._mark))
        self._shortening = asyncio.create_task(self._keep_log_short())

    def hand(self, value: ToApp) -> None:
        """Give it a value. One that is ending does not get it; that it ended is heard of in ``lost``."""
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(encode(value))

    def may_end(self) -> None:
        """It has done all it had to do, or said why it cannot: that it ends is no loss."""
        self._may_end = True

    async def stop(self) -> None:
        """End it: close its pipe, then kill. Nothing of it is heard after this."""
        process, self._process = self._process, None
        listening, self._listening = self._listening, None
        if self._shortening is not None:
            self._shortening.cancel()
        if process is None or listening is None:
            return
        listening.cancel()
        assert process.stdin is not None
        _signal_group(process.pid, signal.SIGTERM)  # a process that the app has started may want to clean up
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _END_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
        await _end_processes(process.pid, self._mark)

    async def _keep_log_short(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            if await asyncio.to_thread(keep_short, self._command.log):
                self._log_start = 0

    async def _listen(self, process: asyncio.subprocess.Process, mark: str) -> None:
        assert process.stdout is not None
        reader = FrameReader()
        why = ""
        try:
            while data := await process.stdout.read(1 << 16):
                for value in reader.feed(data):
                    if not isinstance(value, FromApp):
                        raise PipeError(f"a {type(value).__name__} from an app process")
                    self._heard(value)
        except PipeError as error:  # an app that writes to file descriptors it does not own
            why = f"what it sent is no frame: {error}; "
            process.kill()
        code = await process.wait()
        await _end_processes(process.pid, mark)
        ending = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        if not self._may_end:
            self._lost(f"{why}{ending}{self._last_words()}")

    def _last_words(self) -> str:
        with self._command.log.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, end - _LAST_WORDS))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return f"; its last words: {lines[-1]}" if lines else ""


async def _end_processes(group: int, mark: str) -> None:
    """End the processes that an app has started and that outlive it: asked first, so that they can clean up."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _CHILDREN_SECONDS
    left = _signal_all(group, mark, signal.SIGTERM)
    while left and loop.time() < until:
        await asyncio.sleep(0.02)
        left = _signal_all(group, mark, 0)
    if left:
        _signal_all(group, mark, signal.SIGKILL)


def _signal_all(group: int, mark: str, number: int) -> bool:
    """Signal those in the group, and those that have left it; whether there was any."""
    in_group = _signal_group(group, number)
    return signal_marked(mark, number) or in_group


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to an app's processes, 0 for none; whether any was left."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS says the second of those that have ended
        return False
    return True


def _python_path() -> str:
    """Ours first, then what there was, and last the folder we were started in, since it may have a model class."""
    ours = Path(__file__).resolve().parents[2]
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(entry for entry in (str(ours), *inherited, os.getcwd()) if entry)
