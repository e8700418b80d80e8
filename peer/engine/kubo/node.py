"""A managed Kubo node: a private ``ipfs daemon`` in the peer's home."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, Self

from peer.base import posix
from peer.engine.disk_errors import translated
from peer.engine.interface import EngineError, EngineUnavailable
from peer.engine.kubo.address import UNIX, fits_socket
from peer.engine.kubo.api import KuboApi
from peer.engine.kubo.config import configure, earlier_port, environment, prepare, run_ipfs
from peer.engine.kubo.contents.node_files import REPOSITORY, block_file
from peer.engine.kubo.contents.unfinished_contents import UnfinishedContents
from peer.engine.kubo.contents.waiting_pins import WaitingPin, WaitingPins
from peer.engine.kubo.peer_id import former_addresses, identify
from peer.engine.kubo.program import find_ipfs
from peer.engine.kubo.reach import Listen, Reach
from peer.home.home import PRIVATE_FILE, PRIVATE_FOLDER
from protocol.blocks.cid import CID
from protocol.wire.node_address import HostKind

_STEP: Final = 0.005
"""Seconds between two looks at a node that starts or stops."""

_ANSWER_SECONDS: Final = 5.0
"""Seconds that a starting node has to answer one call."""

_FORMER_SECONDS: Final = 2.0
"""Seconds that a node has to reach the one whose peer id it had."""

_STOP_SECONDS: Final = 1.0
"""Seconds that a node has to stop before it is asked more firmly. All that it has answered is on disk by then."""

_LOG_LIMIT: Final = 10 << 20
"""A log with more bytes is begun anew at the next start."""

_NAMED: Final = 3
"""How many pins that cannot be set are named."""

_LOOPBACK: Final = Reach()

_log = logging.getLogger(__name__)

_WATCH: Final = """
read -r _
kill -TERM "$1" 2>/dev/null
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    kill -0 "$1" 2>/dev/null || exit 0
    sleep 0.1
done
kill -KILL "$1" 2>/dev/null
"""
"""Stops the daemon when our end of the pipe on its standard input closes. The kernel closes it however we end, even by
``kill -9``. (Linux's PR_SET_PDEATHSIG will not do: it fires when the *thread* that started the child ends.)"""

_TAKEN: Final = "address already in use"
"""What a node says that another process has its port, which it took since that was looked for."""


class KuboNode:
    """One private node, its repository in ``home/ipfs``. Not safe from several threads.

    ``swarm_key`` (32 bytes) makes the network private: nodes with another key cannot connect. ``reach`` says where
    other nodes reach it: on loopback, unless members live on other machines. If it names no port, that is any free one,
    the same at each start if it can be, so that known addresses stay true. The RPC API is a Unix socket in a folder
    that only the owner can open. Over TCP every user of the machine could read, unpin and stop the node, and even with
    ``API.Authorizations`` Kubo serves profiles and logs to all.
    """

    def __init__(self, home: Path, swarm_key: bytes, reach: Reach = _LOOPBACK) -> None:
        self.repository = home.absolute() / "ipfs"
        self._swarm_key = swarm_key
        self._reach = reach

        self._daemon: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None
        self._api = ""

    @property
    def api(self) -> str:
        """The address of its RPC API once it is started, as `peer.engine.open_engine` takes it."""
        if not self._api:
            raise EngineUnavailable("the Kubo node is not started")
        return self._api

    @property
    def log(self) -> Path:
        """Where the daemon writes."""
        return self.repository / "daemon.log"

    @property
    def is_running(self) -> bool:
        """Whether the daemon is alive."""
        return self._daemon is not None and self._daemon.poll() is None

    def start(self, *, timeout: float = 60.0, collect: bool = False) -> None:
        """Start the daemon and wait until its API answers. Harmless if it runs.

        With ``collect`` it first deletes what nobody pinned, unless contents were on their way as its peer ended. No
        other time is safe: while the node runs, blocks may be stored that are still to be pinned, and Kubo's own
        collecting does not wait for those.

        Raises:
            EngineError: if there is no usable ``ipfs``, it cannot listen there, or another process uses the repository.
            EngineUnavailable: if it ends, or does not answer within ``timeout`` seconds; with its last words.
        """
        if self.is_running:
            return
        deadline = time.monotonic() + timeout
        program = find_ipfs()
        prepare(program, self.repository, self._swarm_key)
        self._await_unlocked(deadline)
        identify(program, self.repository)
        self._configure()
        if collect:
            self._collect(program)
        UnfinishedContents(self.repository).prepare()
        WaitingPins(self.repository).prepare()
        try:
            self._spawn(program)
            while not self._comes_up(deadline):
                self.stop()
                self._configure()
                self._spawn(program)
            self._call_former()
        except BaseException:
            self.stop()
            raise

    def answers(self, within: float) -> bool:
        """Whether it answers the cheapest of calls ``within`` so many seconds."""
        return self._answering(within) is not None

    def stop(self) -> None:
        """Stop the daemon: ask, then kill. Harmless if it does not run."""
        daemon, self._daemon = self._daemon, None
        if daemon is not None:
            # Kubo waits for open streams, such as a subscription; asked a second time, it ends at once.
            for ask in (daemon.terminate, daemon.terminate, daemon.kill):
                ask()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    daemon.wait(_STOP_SECONDS)
                    break
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.kill()
            watch.communicate()
        self._api = ""

    def leave_running(self) -> int:
        """Let the daemon go on when this process ends, and forget it. Returns its process id."""
        if self._daemon is None or self._watch is None:
            raise EngineUnavailable("the Kubo node is not started")
        self._watch.kill()  # before its pipe closes, which is its sign to stop the daemon
        self._watch.communicate()
        pid = self._daemon.pid
        self._daemon = self._watch = None
        return pid

    @contextlib.contextmanager
    def started(self, *, collect: bool = False) -> Iterator[Self]:
        """The node, which runs until the context ends; with ``collect`` as in `start`."""
        self.start(collect=collect)
        with self:
            yield self

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _configure(self) -> None:
        """Say where it listens, at a port that is free now.

        Raises:
            EngineError: if it cannot listen there.
        """
        swarm_port = _port_for(self._reach.listen, earlier_port(self.repository))
        api = _socket_for(self.repository)
        api.unlink(missing_ok=True)  # a killed node leaves it, and Kubo would find it taken
        self._link_from(api.parent)
        configure(self.repository, self._reach, swarm_port=swarm_port, api=f"/unix{api}")

    def _comes_up(self, deadline: float) -> bool:
        """Wait until its API answers. Whether it does: if its port was taken as it started, another is to be found.

        Raises:
            EngineUnavailable: if it ends for another reason, or does not answer by ``deadline``.
        """
        try:
            self._await_api(deadline)
        except EngineUnavailable:
            if self.is_running or _TAKEN not in self._last_words() or time.monotonic() > deadline:
                raise
            return False
        return True

    def _link_from(self, folder: Path) -> None:
        """Make the repository known beside the socket, so that whoever opens the socket finds the block files."""
        link = folder / REPOSITORY
        if folder != self.repository and not (link.is_symlink() and link.readlink() == self.repository):
            with translated(folder):
                link.unlink(missing_ok=True)
                link.symlink_to(self.repository)

    def _await_unlocked(self, deadline: float) -> None:
        """Wait for the node of a peer that was killed, which takes a moment to end. Then clear what it left."""
        lock = self.repository / "repo.lock"
        while _is_locked(lock):
            if time.monotonic() > deadline:
                raise EngineError(f"another Kubo uses {self.repository}", f"see who it is: fuser {lock}; then stop it")
            time.sleep(_STEP)
        (self.repository / "api").unlink(missing_ok=True)  # names a socket that nobody has any more

    def _collect(self, program: Path) -> None:
        """Delete what nobody pinned. If that fails, the node starts all the same.

        Kubo deletes nothing if a pinned tree is not whole: it could not know what belongs to it.
        """
        with translated(self.repository):
            if UnfinishedContents(self.repository).spare():
                return
        if failed := self._set_waiting_pins(program):
            which = "; ".join(f"{pin.cid} cannot be pinned: {why}" for pin, why in islice(failed.items(), _NAMED))
            _log.warning("what nobody pinned is not deleted from %s: %s", self.repository, which)
            return
        if (failure := run_ipfs(program, self.repository, "repo", "gc", "--silent")) is not None:
            _log.warning("what nobody pinned is not deleted from %s: %s", self.repository, failure)

    def _set_waiting_pins(self, program: Path) -> dict[WaitingPin, str]:
        """Set the pins that the node did not set before it ended. Returns those that cannot be set, and why."""

        def add(cids: Sequence[CID], recursive: bool) -> str:
            kind = f"--recursive={str(recursive).lower()}"
            return run_ipfs(program, self.repository, "pin", "add", "--offline", kind, *map(str, cids)) or ""

        def is_here(cid: CID) -> bool:
            return block_file(self.repository / "blocks", cid).exists()

        waiting = WaitingPins(self.repository)
        return waiting.settle(waiting.all(), add, is_here)

    def _spawn(self, program: Path) -> None:
        with translated(self.repository):
            mode = "wb" if self.log.is_file() and self.log.stat().st_size > _LOG_LIMIT else "ab"
            with self.log.open(mode) as log:
                self.log.chmod(PRIVATE_FILE)
                self._log_start = log.tell()
                # Sessions of their own: Ctrl-C in the terminal is for the peer, which then stops its node itself.
                self._daemon = subprocess.Popen(
                    [str(program), "daemon", "--migrate=true"],
                    env=environment(self.repository),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    umask=0o077,
                )
                self._watch = subprocess.Popen(
                    ["/bin/sh", "-c", _WATCH, "watch", str(self._daemon.pid)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )

    def _await_api(self, deadline: float) -> None:
        while True:
            if not self.is_running:
                raise self._unavailable("the Kubo node ended as it started")
            if (address := self._answering(_ANSWER_SECONDS)) is not None:
                self._api = address
                return
            if time.monotonic() > deadline:
                raise self._unavailable("the Kubo node does not answer")
            time.sleep(_STEP)

    def _answering(self, within: float) -> str | None:
        """The address at which the node answers; None if it does not."""
        if (address := running_at(self.repository)) is None:
            return None
        with contextlib.suppress(EngineUnavailable), contextlib.closing(KuboApi(address)) as api:
            api.call("version", within=within)
            return address
        return None

    def _call_former(self) -> None:
        """Call the node of which this one may be a copy, before its peer looks for others with its key."""
        with contextlib.closing(KuboApi(self.api)) as api:
            for address in former_addresses(self.repository):
                with contextlib.suppress(EngineError):  # most no longer run
                    api.call("swarm/connect", address, within=_FORMER_SECONDS)

    def _last_words(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read(1 << 20).decode(errors="replace").strip().splitlines()
        return " | ".join(lines[-5:]) or "nothing"

    def _unavailable(self, what: str) -> EngineUnavailable:
        return EngineUnavailable(f"{what}; it said: {self._last_words()}", f"look at {self.log}")


def _is_locked(path: Path) -> bool:
    """Whether a living process holds Kubo's lock. It is a POSIX lock, so a file that a crash left does not count."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        posix.try_range_lock(descriptor)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def running_at(repository: Path) -> str | None:
    """The address of the RPC API of the node that runs with this repository, or was killed. None if the file names
    another socket: in a copy of a repository it names the original's."""
    try:
        api = (repository / "api").read_text().strip()
    except FileNotFoundError:
        return None
    if not api.startswith("/unix/"):
        raise EngineError(f"{repository / 'api'} names no socket: {api[:80]!r}", "stop the Kubo that uses it")
    return UNIX + api.removeprefix("/unix") if api == f"/unix{_socket_for(repository)}" else None


def _socket_for(repository: Path) -> Path:
    """Where the RPC API listens, the same each time: in the repository, or if that path is too long for a socket, in a
    folder of this user's among the temporary files.

    Raises:
        EngineError: if that folder belongs to somebody else.
    """
    inside = repository / "api.sock"
    if fits_socket(inside):
        return inside
    name = hashlib.sha256(os.fsencode(repository)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"pollen-{posix.own_user()}-{name}"
    with translated(folder):
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        found = folder.lstat()
    if (
        not stat.S_ISDIR(found.st_mode)
        or found.st_uid != posix.own_user()
        or stat.S_IMODE(found.st_mode) != PRIVATE_FOLDER
    ):
        raise EngineError(
            f"the folder {folder}, where the Kubo node's socket has to be, is not only yours",
            f"name another home with a shorter path, or see whose it is: ls -ld {folder}",
        )
    return folder / "api.sock"


def _port_for(listens: Sequence[Listen], before: int) -> int:
    """The port of those that name none: the one used ``before`` if it is free, otherwise any free one.

    Raises:
        EngineError: if a node cannot listen at one of them.
    """
    chosen = 0
    for listen in listens:
        ports = (before, 0) if listen.port is None else (listen.port,)
        found = [_bound(listen, port) for port in ports]
        port = next((each for each in found if isinstance(each, int)), None)
        if port is None:
            raise _cannot_listen(listen, str(found[-1]))
        if listen.port is None:
            chosen = chosen or port
    return chosen


def _bound(listen: Listen, port: int) -> int | str:
    """The port at which a node can listen, or why it cannot."""
    with socket.socket(socket.AF_INET6 if listen.kind is HostKind.IP6 else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Kubo's own listener does
        try:
            probe.bind((listen.ip, port))
            probe.listen(1)  # for a port that somebody listens on, only this fails
        except OSError as error:
            return str(error.strerror)
        return int(probe.getsockname()[1])


def _cannot_listen(listen: Listen, why: str) -> EngineError:
    fix = "give an IP address of this machine: --listen IP"
    if listen.port is not None:
        fix = (
            "give an IP address of this machine and a free port, --listen IP:PORT; "
            f"what has this port: ss -ltnp sport = :{listen.port}"
        )
    return EngineError(f"cannot listen on {listen.text} for other Kubo nodes: {why}", fix)
