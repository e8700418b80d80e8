"""A federation of real processes. This process makes homes, starts peers with ``peer start``, and reads their logs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import processes_said

from crypto.identity import Identity
from peer.audit.audit import Audit
from peer.cli.main import run
from peer.engine import open_engine
from peer.engine.interface import Engine, EngineError, EngineUnavailable
from peer.engine.kubo.node import running_at
from peer.history.run_sources import EngineSource
from peer.history.scratch import Scratch
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import reader_of
from peer.membership.changes import add_member, found_federation
from protocol.records.bodies import Role

APPS: Final = Path(__file__).parent.parent / "apps"
GATED: Final = Path(__file__).parent / "gated"
"""An app whose rounds and clients wait for files, so that a test decides what happens when."""

PATIENCE: Final = 240.0
"""Seconds after which waiting fails: something hangs. On a machine with a hundred busy processes a peer may take one of
them to start."""

LOOK_AGAIN: Final = 0.03

CRASHES: Final = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE})
"""The signals of a process that broke in native code. No test ends one so."""

Fields = Mapping[str, Any]


class PeerProcess:
    """One ``peer`` process, its reports on standard error as JSON lines."""

    module: ClassVar[str] = "peer"

    def __init__(
        self, name: str, arguments: list[str], log: Path, environment: Mapping[str, str], within: Sequence[str] = ()
    ) -> None:
        """``within`` are the words of a command that runs it."""
        self.name = name
        self.log = log
        self._out = log.with_suffix(".out")
        processes_said.remember(name, log)
        with log.open("wb") as err, self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [*within, sys.executable, "-P", "-m", self.module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**_environment(), **environment},
                cwd=log.parent,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """What it wrote to standard error."""
        return self.log.read_text(errors="replace")

    @property
    def printed(self) -> str:
        """What it wrote to standard output."""
        return self._out.read_text(errors="replace")

    @property
    def json(self) -> Any:
        """The one object on its standard output."""
        return json.loads(self._out.read_text())

    def events(self, event: str) -> list[Fields]:
        """What it has reported of this kind."""
        named = f'"event": "{event}"'  # to parse the whole log each time would take longer than what is waited for
        lines = (line for line in self.said.splitlines() if line.startswith("{") and line.endswith("}"))
        return [fields for line in lines if named in line and (fields := json.loads(line)).get("event") == event]

    def wait_for(self, event: str, count: int = 1, **expected: object) -> Fields:
        """The ``count``-th report of a kind with these fields, once it is there."""

        def found() -> Fields | None:
            fitting = [fields for fields in self.events(event) if expected.items() <= fields.items()]
            return fitting[count - 1] if len(fitting) >= count else None

        def over() -> str:
            return "" if self.process.poll() is None else f"{self.name} ended with {self.process.returncode}"

        return until(found, lambda: f"{self.name} never reported {event} {expected} ({count}x):\n{self.said}", over)

    def code(self) -> int:
        """Its exit code, once it has ended. An AssertionError if it does not end, or crashed."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not end:\n{self.said}") from None
        assert -code not in CRASHES, f"{self.name} crashed with {signal.Signals(-code).name}:\n{self.said}"
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it as a power cut would, and wait until it is gone."""
        self.process.kill()
        self.process.wait()


def until(found: Callable[[], Any], failure: Callable[[], str], over: Callable[[], str] = lambda: "") -> Any:
    """What ``found`` returns once it returns something. An AssertionError if ``over`` says that it never will."""
    deadline = time.monotonic() + PATIENCE
    while True:
        why = over()  # first: what it did before it ended counts
        if value := found():
            return value
        if why or time.monotonic() > deadline:
            raise AssertionError(f"{why}\n{failure()}")
        time.sleep(LOOK_AGAIN)


def _environment() -> dict[str, str]:
    """This process's, without the tester's settings of ``peer``. An app process that crashes says where, too."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("POLLEN_")}
    return {**ours, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONFAULTHANDLER": "1"}


@dataclass
class Gate:
    """A folder of files that a gated app waits for."""

    folder: Path

    def open(self, *names: str) -> None:
        """Let those pass that wait for these."""
        self.folder.mkdir(exist_ok=True)
        for name in names:
            (self.folder / name).touch()

    def reached(self, name: str) -> None:
        """Wait until an app that ``tells`` so waits for this one: it has the message, and goes on with it whatever
        its peer hears meanwhile."""
        until((self.folder / f"at-{name}").exists, lambda: f"no app came to {name}")


@dataclass
class Federation:
    """One server and some clients that have joined. Nothing runs yet."""

    process: ClassVar[type[PeerProcess]] = PeerProcess

    root: Path
    engine: str
    encrypted: bool = True
    names: list[str] = field(default_factory=list)
    """Of the clients."""
    others: list[str] = field(default_factory=list)
    """The names of members beside the server that are no clients."""
    processes: list[PeerProcess] = field(default_factory=list)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    """In the environment of every process started, and so in that of their children."""

    def __post_init__(self) -> None:
        admin = self.identity("server")
        stored = found_federation(
            admin,
            name="trial",
            member_name="server",
            roles=[Role.SERVER],
            swarm_key=bytes(32),
            time=time.time(),
            encrypt=self.encrypted,
        )
        FederationStore(self.home("server")).save(stored)

    def home(self, name: str) -> Home:
        """Whose home it is."""
        return Home(self.root / name).create()

    def identity(self, name: str) -> Identity:
        """A new identity in a home of its own."""
        identity = Identity.generate(name)
        KeyStore(self.home(name).path).add(identity, None)
        return identity

    @property
    def stored(self) -> StoredFederation:
        """As the server's home has it."""
        return FederationStore(self.home("server")).current()

    @property
    def admin(self) -> Identity:
        """The identity of the server, which founded it."""
        return KeyStore(self.home("server").path).load("server", Passphrases.of_process(None))

    def add(self, *names: str, role: Role = Role.CLIENT) -> None:
        """Add members and let every home know."""
        admin, stored = self.admin, self.stored
        for name in names:
            public = self.identity(name).public_for(bytes(stored.id))
            stored = add_member(stored, admin, public, name=name, roles=[role], time=time.time())
        (self.names if role is Role.CLIENT else self.others).extend(names)
        FederationStore(self.home("server")).save(stored)
        for name in (*self.others, *self.names):
            FederationStore(self.home(name)).join(stored)

    def start(self, name: str, *arguments: str | Path, **variables: str) -> PeerProcess:
        """Start ``peer start`` in a home."""
        home = self.home(name).path
        command = ["start", *map(str, arguments), "--home", str(home), "--ipfs", self.engine_of(name), "-v", "--json"]
        return self.run(name, *command, **variables)

    def engine_of(self, name: str) -> str:
        """The engine that a peer is started with."""
        return self.engine

    def within(self, name: str) -> Sequence[str]:
        """The words of a command in which a peer's run."""
        return ()

    def run(self, name: str, *arguments: str | Path, **variables: str) -> PeerProcess:
        """Start any ``peer`` command."""
        log = self.root / f"{name}-{len(self.processes)}.log"
        marked = {"E2E_MARK": self.mark, **variables}
        process = self.process(name, list(map(str, arguments)), log, marked, self.within(name))
        self.processes.append(process)
        return process

    def done(self, name: str, *arguments: str | Path, code: int = 0) -> str:
        """What a ``peer`` command prints that is run in this process, which saves a second of imports."""
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            ended = run([*map(str, arguments), "--home", str(self.home(name).path)])
        assert ended == code, printed.getvalue()
        return printed.getvalue()

    def exported(self, name: str = "server") -> Path:
        """The CAR file of the newest run in a home."""
        car = self.root / f"{name}.car"
        self.done(name, "export", str(self.head(name).head), car)
        return car

    def meet(self, server: PeerProcess) -> None:
        """Tell the clients' homes where the running server's Kubo node is, as ``peer federation export`` does.

        Raises:
            EngineUnavailable: if the node is stopped.
        """
        server.wait_for("waiting-for-clients")
        api = running_at(self.home("server").path / "ipfs")
        if api is None:
            raise EngineUnavailable("the server's node does not run")
        with self.blocks(api) as engine:
            addresses = engine.addresses()
        for name in self.names:
            FederationStore(self.home(name)).add_addresses(self.stored.id, addresses)

    def introduce(self, name: str) -> None:
        """Tell every other home where a peer's managed Kubo node is, once that runs."""
        addresses = until(lambda: self._addresses(name), lambda: f"the node of {name} does not answer")
        for folder in self.root.iterdir():
            if folder.name != name and (folder / "federations").is_dir():
                FederationStore(self.home(folder.name)).add_addresses(self.stored.id, addresses)

    def _addresses(self, name: str) -> tuple[str, ...]:
        api = running_at(self.home(name).path / "ipfs")
        if api is None:
            return ()
        try:
            with self.blocks(api) as engine:
                return tuple(engine.addresses())
        except EngineError:
            return ()

    def server(self, app: Path, *arguments: str | Path, clients: int = 2, **variables: str) -> PeerProcess:
        """Start the server."""
        options = ["--role", "server", "--app", app, "--min-clients", str(clients), "--seed", "1"]
        return self.start("server", *options, *arguments, **variables)

    def client(
        self, name: str, app: Path, node_config: str = "", *arguments: str | Path, **variables: str
    ) -> PeerProcess:
        """Start a client that leaves when the run is closed."""
        config = f"partition-id={self.names.index(name)} num-partitions={len(self.names)} {node_config}"
        options = ["--role", "client", "--app", app, "--once", "--node-config", config]
        return self.start(name, *options, *arguments, **variables)

    @contextlib.contextmanager
    def blocks(self, engine: str | None = None) -> Iterator[Engine]:
        """The engine, for a look at what was kept."""
        opened = open_engine(engine or self.engine)
        try:
            yield opened
        finally:
            opened.close()

    def head(self, name: str) -> RunHead:
        """The newest run in a home."""
        journal = Journal(self.home(name).journal)
        try:
            (newest,) = journal.heads()
            return newest
        finally:
            journal.close()

    def audit(self) -> Any:
        """What ``peer audit --json`` prints of the server's head."""
        with self.blocks() as engine, Scratch() as scratch:
            source, head = EngineSource(engine, 1.0), self.head("server").head
            report = Audit(head, source, scratch, known=[self.stored], reader=reader_of(self.admin)).run()
            return json.loads("".join(report.json_parts(scratch)))

    def replay(self, head: str | Path, app: Path, *arguments: str, **variables: str) -> tuple[int, Any]:
        """What ``peer audit HEAD --replay`` ends with and prints; its app has the ``variables`` too."""
        arguments += tuple(word for name in variables if "POLLEN" not in name for word in ("--allow-env", name))
        auditor = self.run("auditor", "audit", head, "--replay", "--app", app, *arguments, "--json", **variables)
        return auditor.code(), auditor.json

    def orphans(self) -> list[int]:
        """Processes of this federation that are still there."""
        return [process for process in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_ours(process)]

    def _is_ours(self, process: int) -> bool:
        try:
            environment = Path(f"/proc/{process}/environ").read_bytes()
            state = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][:1]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return False
        return f"E2E_MARK={self.mark}".encode() in environment and state != "Z"

    def half_written(self) -> list[Path]:
        """Files that are not whole."""
        return [path for path in self.root.rglob("*") if path.suffix in (".tmp", ".part")]

    def end(self) -> None:
        """Kill whatever still runs."""
        for peer in self.processes:  # their environment is not to be read, so `orphans` may not know them
            peer.kill()
        for process in self.orphans():
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(process, signal.SIGKILL)
