"""The app process: hosts one Flower app for one run. The peer starts it; people do not.

``python -m peer.apps.process ROLE APP_FOLDER FOLDER`` speaks `protocol.app.pipe` on its standard input and output.
Its environment says where contents are (`peer.engine.contents_address`).
A ClientApp works in FOLDER, a ServerApp in a folder of its run there, so that it finds no files of another run.
What the app prints goes to standard error. When the peer goes, however it does, the pipe ends and so does this process,
with all that the app has started: it leads a process group of its own.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from peer.apps.processes import MARK, kill_marked
from peer.apps.reply_examination import Examiner, examine_in_threads
from peer.engine.contents import EngineContents, open_contents
from peer.engine.contents_address import CONTENTS_VARIABLE
from peer.engine.interface import EngineError
from protocol.app.calls import (
    Examine,
    Finished,
    FromApp,
    GridCall,
    Halted,
    Ready,
    ServerAnswer,
    Start,
    Task,
)
from protocol.app.pipe import FrameReader, encode
from protocol.records.bodies import Role
from strategy.answers import RunStopped
from strategy.contents.kept import Kept
from strategy.hosting.client_host import serve_client_app
from strategy.hosting.host import prepare
from strategy.hosting.server_host import run_server_app

_MARK: Final = os.environ.get(MARK, "")
"""As we were started with: an app may change its environment."""


class Pipe:
    """Our end of the pipe. A thread reads; the process ends when the pipe does, whatever the app is doing."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._sending = threading.Lock()
        self._waiting: dict[int, queue.SimpleQueue[ServerAnswer]] = {}
        self._starts: queue.SimpleQueue[Start] = queue.SimpleQueue()
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self.to_examine: queue.SimpleQueue[Examine] = queue.SimpleQueue()
        """Replies that the peer wants examined."""
        threading.Thread(target=self._read, name="pipe", daemon=True).start()

    def send(self, value: FromApp) -> None:
        """Give the peer a value."""
        frame = encode(value)
        with self._sending:
            self._outgoing.write(frame)
            self._outgoing.flush()

    def ask(self, call: GridCall) -> ServerAnswer:
        """Send a Grid's call and wait for its answer. Safe to call from several threads."""
        answer: queue.SimpleQueue[ServerAnswer] = queue.SimpleQueue()
        self._waiting[call.call] = answer
        self.send(call)
        return answer.get()

    def start(self) -> Start:
        """Wait for what to run."""
        return self._starts.get()

    def tasks(self) -> Iterator[Task]:
        """The messages for a ClientApp, as they come."""
        while True:
            yield self._tasks.get()

    def _read(self) -> None:
        reader = FrameReader()
        while data := os.read(self._incoming.fileno(), 1 << 16):
            for value in reader.feed(data):
                match value:
                    case Start():
                        self._starts.put(value)
                    case Task():
                        self._tasks.put(value)
                    case Examine():
                        self.to_examine.put(value)
                    case _ if isinstance(value, ServerAnswer):
                        self._waiting.pop(value.call).put(value)
        kill_marked(_MARK)  # the peer is gone, and the app and its processes may be anywhere
        if os.getpgid(0) == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(0)


def main(role: Role, app_dir: Path, where: str, works_in: Path) -> int:
    """Host the app until its run, or the peer, ends; the exit code. ``where`` is as `open_contents` takes it."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever the app prints must not get between our frames
    _let_go(0, os.O_RDONLY)  # nor may a process that it starts read them
    # a child that the app forks may outlive this process, whose end the peer sees by the end of its pipe
    os.register_at_fork(after_in_child=lambda: _let_go(outgoing.fileno(), os.O_WRONLY))
    _leave_main()
    pipe = Pipe(incoming, outgoing)
    environment = prepare(app_dir)
    contents = open_contents(where)  # before the app's folder is in sight: it imports
    kept = Kept()
    if isinstance(contents, EngineContents):  # else the run is over
        examine_in_threads(Examiner(contents.engine, kept), pipe.to_examine, pipe.send)
    pipe.send(Ready(environment))
    start = pipe.start()
    try:
        if role is Role.SERVER:
            ending = run_server_app(app_dir, start, pipe, contents, works_in / str(start.run), kept=kept)
            if not isinstance(ending, Finished):  # which was said, and answered
                pipe.send(ending)
        else:
            for answered in serve_client_app(app_dir, start, contents, pipe.tasks(), works_in):
                pipe.send(answered)
    except RunStopped as error:
        sys.stderr.write(f"the run stopped: {error}\n")
        cause = error.__cause__
        pipe.send(Halted(str(error), cause.fix if isinstance(cause, EngineError) else ""))
        return 1
    return 0


def _let_go(descriptor: int, mode: int) -> None:
    """Have nothing of the pipe there."""
    null = os.open(os.devnull, mode)
    os.dup2(null, descriptor)
    os.close(null)


def _leave_main() -> None:
    """Have ``multiprocessing`` import no main module in processes that it spawns: ours is out of the app's sight."""
    main_module = sys.modules["__main__"]
    main_module.__spec__ = None
    vars(main_module).pop("__file__", None)


if __name__ == "__main__":
    contents_at = os.environ.pop(CONTENTS_VARIABLE)  # nothing for the app's own processes
    code = main(Role(sys.argv[1]), Path(sys.argv[2]), contents_at, Path(sys.argv[3]))
    sys.stderr.flush()
    os._exit(code)  # threads that an app left behind do not keep it
