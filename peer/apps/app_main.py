"""The app process: hosts one Flower app for one run. The peer starts it; people do not.

``python -m peer.apps.app_main ROLE APP_FOLDER FOLDER`` speaks `protocol.app.pipe` on its standard input and output.
Its environment says where contents are (`peer.apps.contents_given`). A ClientApp works in FOLDER. A ServerApp works
in a subfolder of its own run, so it sees no files of other runs. The app's output goes to standard error.

The process leads its own process group. When the peer ends, for whatever reason, the pipe ends, and this process ends
with all its children.
"""

from __future__ import annotations

import gc
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from peer.apps.child_processes import MARK, kill_marked
from peer.apps.contents_given import CONTENTS_VARIABLE, open_contents
from peer.apps.reply_examination import Examiner, examine_in_threads
from peer.base import posix
from peer.base.freed_memory import keep_freed_memory
from peer.engine.contents import RecordedContents
from peer.engine.interface import EngineError
from protocol.app.calls import (
    AppReady,
    Examine,
    Finished,
    FromApp,
    GridCall,
    Halted,
    Prepare,
    ServerAnswer,
    Start,
    Task,
)
from protocol.app.pipe import FrameReader, encode
from protocol.records.bodies import Role
from strategy.contents.kept_replies import KeptReplies
from strategy.grid_answers import RunStopped
from strategy.hosting.client_host import serve_client_app
from strategy.hosting.host import prepare
from strategy.hosting.server_host import run_server_app
from strategy.replies.sent_layouts import SentLayouts

_MARK: Final = os.environ.get(MARK, "")
"""Read at the start, because an app may change its environment."""


class Pipe:
    """Our end of the pipe. A thread reads it, and ends the process when the pipe ends."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._sending = threading.Lock()
        self._waiting: dict[int, queue.SimpleQueue[ServerAnswer]] = {}
        self._prepares: queue.SimpleQueue[Prepare] = queue.SimpleQueue()
        self._starts: queue.SimpleQueue[Start] = queue.SimpleQueue()
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self.to_examine: queue.SimpleQueue[Examine] = queue.SimpleQueue()
        """Replies that the peer asks us to examine."""
        threading.Thread(target=self._read, name="pipe", daemon=True).start()

    def send(self, value: FromApp) -> None:
        """Send the peer a value."""
        frame = encode(value)
        with self._sending:
            self._outgoing.write(frame)
            self._outgoing.flush()

    def ask(self, call: GridCall) -> ServerAnswer:
        """Send a call of the Grid and wait for the answer. Safe to call from several threads."""
        answer: queue.SimpleQueue[ServerAnswer] = queue.SimpleQueue()
        self._waiting[call.call] = answer
        self.send(call)
        return answer.get()

    def prepare(self) -> None:
        """Wait until the app's folder is whole."""
        self._prepares.get()

    def start(self) -> Start:
        """Wait until the peer says what to run."""
        return self._starts.get()

    def tasks(self) -> Iterator[Task]:
        """The messages for a ClientApp, as they arrive."""
        while True:
            yield self._tasks.get()

    def _read(self) -> None:
        reader = FrameReader()
        while data := os.read(self._incoming.fileno(), 1 << 16):
            for value in reader.feed(data):
                match value:
                    case Prepare():
                        self._prepares.put(value)
                    case Start():
                        self._starts.put(value)
                    case Task():
                        self._tasks.put(value)
                    case Examine():
                        self.to_examine.put(value)
                    case _ if isinstance(value, ServerAnswer):
                        self._waiting.pop(value.call).put(value)
        kill_marked(_MARK)  # the peer is gone, and the app's processes may have left the group
        if posix.leads_its_group():
            posix.signal_group(0, signal.SIGKILL)
        os._exit(0)


def main(role: Role, app_dir: Path, where: str, works_in: Path) -> int:
    """Host the app until its run or the peer ends. Returns the exit code. ``where`` is as `open_contents` takes it."""
    keep_freed_memory()
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # the app's output must not get between our frames
    _let_go(0, os.O_RDONLY)  # and a child process must not read them
    # a forked child may outlive this process; if it held the pipe, the peer would not see this process end
    os.register_at_fork(after_in_child=lambda: _let_go(outgoing.fileno(), os.O_WRONLY))
    _leave_main()
    pipe = Pipe(incoming, outgoing)
    pipe.prepare()
    environment = prepare(app_dir)
    contents = open_contents(where)  # it imports, so it comes before the app's folder is on the path
    kept, layouts = KeptReplies(works_in.absolute()), SentLayouts()
    if not isinstance(contents, RecordedContents):  # in an audit there is nobody to answer
        examine_in_threads(Examiner(contents, kept, layouts), pipe.to_examine, pipe.send)
    gc.freeze()  # Flower's Bulyan and QFedAvg collect garbage for each reply: 0.1 s if that goes through all of torch
    pipe.send(AppReady(environment))
    start = pipe.start()
    try:
        if role is Role.SERVER:
            scratch = works_in / str(start.run)
            ending = run_server_app(app_dir, start, pipe, contents, scratch, kept=kept, layouts=layouts)
            if not isinstance(ending, Finished):  # the app's host has sent that itself
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
    """Replace a descriptor of the pipe by ``/dev/null``."""
    null = os.open(os.devnull, mode)
    os.dup2(null, descriptor)
    os.close(null)


def _leave_main() -> None:
    """Keep ``multiprocessing`` from importing this module as ``__main__`` in the processes that an app spawns."""
    main_module = sys.modules["__main__"]
    main_module.__spec__ = None
    vars(main_module).pop("__file__", None)


if __name__ == "__main__":
    contents_at = os.environ.pop(CONTENTS_VARIABLE)  # the app's child processes must not have it
    code = main(Role(sys.argv[1]), Path(sys.argv[2]), contents_at, Path(sys.argv[3]))
    sys.stderr.flush()
    os._exit(code)  # do not wait for threads that the app left behind
