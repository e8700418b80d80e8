"""The peer's end of the pipe: starts the app process, sends it values, receives its values, ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peer.apps.app_log import AppLog
from peer.apps.app_python import OUR_PYTHON, folders_of
from peer.apps.block_server import BlockServer, Contents
from peer.apps.child_processes import MARK, Marked, lives, new_mark
from peer.apps.contents_given import CONTENTS_VARIABLE
from peer.apps.open_calls import OpenCalls
from peer.base import posix
from peer.confinement.confined import Confiner
from peer.confinement.folders import temporary_folder
from peer.confinement.means import words_before
from peer.confinement.rules import TEMPORARY, Confinement, variables_of
from peer.confinement.watch import Watch
from peer.home.passphrase import without_passphrases
from protocol.app.calls import FromApp, Prepare, Start, ToApp, contents_named
from protocol.app.pipe import FrameReader, PipeError, encode
from protocol.blocks.cid import CID
from protocol.records.bodies import Role

_END_SECONDS: Final = 5.0
"""How long an app process has to end after its pipe is closed."""

_CHILDREN_SECONDS: Final = 1.0
"""How long the app's own child processes have to end after SIGTERM, and then after SIGKILL."""

_SIGNALLED: Final = 128
"""An exit code over this is that of a process which a signal killed, as shells tell it."""

_LAST_WORDS: Final = 2000
"""Characters of its last line, in which the reason may be."""

_DRAIN_SECONDS: Final = 5.0
"""How long the rest of its output may take, once the process and all that it started have ended."""


@dataclass(frozen=True, slots=True)
class AppCommand:
    """What to start."""

    role: Role
    works_in: Path
    """A ClientApp works here. A ServerApp works in a subfolder of its own run."""
    contents: str | Contents
    """The address of an engine, which the process opens itself; or blocks that the peer gives it."""
    log: Path
    """The app's output goes here."""
    environment: Mapping[str, str]
    """Variables besides those of this process (`strategy.replay.format`)."""
    confiner: Confiner | None = None
    """None: the process may do what the peer may."""
    python: tuple[str, ...] = OUR_PYTHON
    """The command of the Python that runs it."""
    run_log: Callable[[CID], Path] | None = None
    """Where the output of a run's app goes besides; None for nowhere."""


class AppProcess:
    """One app process at a time."""

    def __init__(
        self,
        command: AppCommand,
        heard: Callable[[FromApp], Awaitable[None] | None],
        lost: Callable[[str], Awaitable[None] | None],
    ) -> None:
        """``heard`` gets each value from the app; ``lost`` gets the reason if the process ends unasked. Both run in the
        event loop. Until what they return is done, nothing more is read."""
        self._command = command
        self._heard = heard
        self._lost = lost
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._log: AppLog | None = None
        self._logging: asyncio.Task[None] | None = None
        self._watching: list[asyncio.Task[None]] = []
        """What is looked at again and again as long as it runs."""
        self._calls = OpenCalls()
        self._blocks: BlockServer | None = None
        self._belongings = contextlib.ExitStack()
        """What is only for the process that runs."""
        self._exceeded = ""
        """Why we ended it, if it took more than it may."""
        self._mark = ""
        self._may_end = False
        self.generation = 0
        """Counts the processes started."""

    @property
    def pid(self) -> int | None:
        """The process id, if a process runs."""
        return self._process.pid if self._process is not None else None

    async def start(
        self, folder: Path, *, is_whole: bool = True, own_environment: Mapping[str, str] | None = None
    ) -> None:
        """Start a new process for the app in ``folder``, after ending the old one. An ``own_environment`` is in place
        of the command's.

        If the folder is not whole yet, the process waits for `Prepare`, and the folder is alone in its parent.
        """
        await self.stop()
        self.generation += 1
        self._may_end = False
        self._exceeded = ""
        self._calls = OpenCalls()
        command = self._command
        self._mark = new_mark()
        command.log.parent.mkdir(parents=True, exist_ok=True)
        words = [
            *command.python,
            "-P",  # without it the current folder comes first, and a strategy.py there would hide ours
            "-m",
            "peer.apps.app_main",
            command.role.value,
            str(folder),
            str(command.works_in),
        ]
        environment = {**(own_environment or command.environment), "PYTHONPATH": _python_path(), MARK: self._mark}
        environment[CONTENTS_VARIABLE] = self._contents()
        confinement = None
        if command.confiner is None:
            environment = {**without_passphrases(os.environ), **environment}
        else:
            command.works_in.mkdir(parents=True, exist_ok=True)  # it is mounted
            temporary = self._belongings.enter_context(temporary_folder("pollen-app-"))
            own = [folder if is_whole else folder.parent, command.works_in]
            confinement = command.confiner.confinement(folders_of(command.python), own, temporary)
            words = [*words_before(command.confiner.means, confinement, temporary, command.works_in), *words]
            environment = _of_confined(command.confiner.grants.variables, environment)
        ours, theirs = os.pipe()  # not asyncio's: its process would count as running while a child has this end
        try:
            self._process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=theirs,
                env=environment,
                pass_fds=() if self._blocks is None else (self._blocks.theirs.fileno(),),
                # its own process group, so that Ctrl-C reaches only the peer, which then ends the app in order
                start_new_session=True,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._log = AppLog(command.log)
        self._logging = asyncio.create_task(_keep(self._log, ours))
        if self._blocks is not None:
            self._blocks.start()
        self._listening = asyncio.create_task(self._listen(self._process, self._mark, self._calls))
        self._watching = []
        if confinement is not None:
            self._watching.append(asyncio.create_task(self._watch(self._process, confinement)))
        if is_whole:
            self.hand(Prepare())

    def _contents(self) -> str:
        """What contents the process is given (`peer.apps.contents_given`)."""
        contents = self._command.contents
        if isinstance(contents, str):
            self._blocks = None
            return contents
        self._blocks = BlockServer(contents)
        self._belongings.callback(self._blocks.close)
        return f"{contents.given_as}{self._blocks.theirs.fileno()}"

    async def _watch(self, process: asyncio.subprocess.Process, confinement: Confinement) -> None:
        """End a process that takes more than it may."""
        try:
            watch = await asyncio.to_thread(Watch, process.pid, confinement)
            while not (why := await asyncio.to_thread(watch.exceeded)):
                await asyncio.sleep(watch.interval)
        except OSError as error:
            why = f"it was ended, as nobody could see how much it takes: {error}"
        self._exceeded = why
        process.kill()

    def hand(self, value: ToApp) -> None:
        """Send a value. A process that is ending does not get it; ``lost`` tells of its end."""
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            if self._blocks is not None:
                self._blocks.name(contents_named(value))
            if isinstance(value, Start) and self._log is not None and self._command.run_log is not None:
                self._log.begin(self._command.run_log(value.run))
            self._calls.answered(value)
            self._process.stdin.write(encode(value))

    def may_end(self) -> None:
        """From now on the process may end by itself: it is done, or has said why it cannot go on."""
        self._may_end = True

    async def stop(self) -> None:
        """End the process: close its pipe, wait, then kill. Nothing is heard from it afterwards."""
        process, self._process = self._process, None
        listening, self._listening = self._listening, None
        for task in self._watching:
            task.cancel()
        if process is None or listening is None:
            self._belongings.close()
            return
        listening.cancel()
        assert process.stdin is not None
        _signal_group(process.pid, signal.SIGTERM)  # lets the app's child processes clean up
        process.stdin.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        await _end_processes(process.pid, self._mark)
        await self._logged()
        await _discard(process)
        self._belongings.close()

    async def _logged(self) -> None:
        """Take the rest of the output. Somebody who still has the other end of its pipe is not waited for."""
        if self._logging is not None:
            done, _ = await asyncio.wait([self._logging], timeout=_DRAIN_SECONDS)
            if not done:
                self._logging.cancel()

    async def _listen(self, process: asyncio.subprocess.Process, mark: str, calls: OpenCalls) -> None:
        assert process.stdout is not None
        reader = FrameReader()
        why = ""
        try:
            while data := await process.stdout.read(1 << 16):
                for value in reader.feed(data):
                    if not isinstance(value, FromApp):
                        raise PipeError(f"a {type(value).__name__} from an app process")
                    calls.came(value, reader.size)
                    await _done(self._heard(value))
                await _has_room(process, calls)
        except PipeError as error:  # the app wrote to a file descriptor that it does not own
            why = f"it sent something other than a frame: {error}; "
            process.kill()
        code = await process.wait()
        await _end_processes(process.pid, mark)
        await self._logged()
        if not self._may_end:
            await _done(self._lost(self._exceeded or f"{why}{self._ending(code)}{self._last_words()}"))

    def _ending(self, code: int) -> str:
        if self._command.confiner is not None and code > _SIGNALLED:  # what confines it says so as a shell does
            code = _SIGNALLED - code
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    def _last_words(self) -> str:
        last = "" if self._log is None else self._log.last[-_LAST_WORDS:]
        return f"; its last words: {last}" if last else ""


async def _discard(process: asyncio.subprocess.Process) -> None:
    """Read what an ended process said and nobody heard, so that its pipe is closed."""
    assert process.stdout is not None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while await process.stdout.read(1 << 16):
                pass


async def _done(room: Awaitable[None] | None) -> None:
    if room is not None:
        await room


async def _has_room(process: asyncio.subprocess.Process, calls: OpenCalls) -> None:
    """Wait until few calls are open and the process has read its answers, or has ended."""

    async def room() -> None:
        assert process.stdin is not None
        with contextlib.suppress(ConnectionError):
            await process.stdin.drain()
        await calls.few()

    waiting = [asyncio.create_task(room()), asyncio.create_task(process.wait())]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()


async def _keep(log: AppLog, descriptor: int) -> None:
    """Keep what is written to the other end of this pipe, until nobody has that end."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    try:
        while data := await reader.read(1 << 16):
            await asyncio.to_thread(log.write, data)
    finally:
        transport.close()
        log.close()


async def _end_processes(group: int, mark: str) -> None:
    """End the app's child processes that are left: first SIGTERM, so that they can clean up, then SIGKILL."""
    loop = asyncio.get_running_loop()
    marked = Marked(mark)
    left = _signal_all(group, marked, signal.SIGTERM)
    for while_they_run in (0, signal.SIGKILL):
        until = loop.time() + _CHILDREN_SECONDS
        while left and loop.time() < until:
            await asyncio.sleep(0.02)
            left = _signal_all(group, marked, while_they_run)


def _signal_all(group: int, marked: Marked, number: int) -> bool:
    """Signal the processes in the group and those that have left it. Returns whether any of them runs, or may."""
    in_group = _signal_group(group, number)
    return marked.signal(number) or in_group


def _signal_group(group: int, number: int) -> bool:
    """Signal the processes in the group; 0 only looks. Returns whether there were any."""
    try:
        posix.signal_group(group, number)
    except (ProcessLookupError, PermissionError):  # macOS raises the second if they have ended
        return False
    return lives(group)


def _of_confined(granted: Iterable[str], own: Mapping[str, str]) -> dict[str, str]:
    """The environment of a confined process: what is granted of ours, and its own."""
    places = {"HOME": str(TEMPORARY), "TMPDIR": str(TEMPORARY)}
    return {**variables_of(without_passphrases(os.environ), granted), **places, **own}


def _python_path() -> str:
    """Our code first, then the inherited path. The current folder is last: it may have a model class."""
    ours = Path(__file__).resolve().parents[2]
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(entry for entry in (str(ours), *inherited, os.getcwd()) if entry)
