"""Flower's own SuperLink and SuperNodes, as its documentation says, so that a benchmark can run an app on them.

*Production* is as in "Enable TLS connections", "Authenticate SuperNodes" and "Persist the state of the SuperLink":
TLS on all connections, also between a SuperNode and its apps; SuperNodes that are registered by their keys; and a
database on disk. *Fast* has all that its options and settings offer: no TLS, everything in memory, more objects sent
at once and in larger pieces, and a shorter poll. In both the node runs app processes
by itself (``--isolation subprocess``, the default), nothing is installed for the app, and nothing is reported to
anybody.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from measured import not_ended
from peer.base.errors import ExitCode, PeerError
from peer.base.interrupts import Interrupts

_HOST: Final = "127.0.0.1"
_LOOK: Final = 0.05
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 15.0
_LAST_LINES: Final = 15

_QUIET: Final = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "PYTHONUNBUFFERED": "1"}
_THREADS: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""As `peer.demo.processes` has it for Pollen's."""

_FASTEST: Final = {
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",  # a shorter one keeps a small machine busy with polls
    "FLWR_PRIVATE_MAX_CONCURRENT_OBJ_PUSHES": "4",
    "FLWR_PRIVATE_MAX_CONCURRENT_OBJ_PULLS": "4",
    "FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE": str(20 << 20),
}


class Setup(StrEnum):
    """How Flower is set up."""

    PRODUCTION = "production"
    FAST = "fast"


@dataclass(frozen=True, slots=True)
class _Process:
    name: str
    log: Path
    started: subprocess.Popen[bytes]


class SuperLinkRun:
    """A SuperLink, its SuperNodes and one run of an app. A context, at whose end no process is left.

    Each process works in the folder of its node: ``folder/server``, ``folder/client-1`` and so on.
    """

    def __init__(self, folder: Path, setup: Setup, clients: int, interrupts: Interrupts) -> None:
        self._folder = folder.resolve()
        self._setup = setup
        self._clients = clients
        self._interrupts = interrupts
        self._programs = Path(sys.executable).parent
        path = f"{self._programs}{os.pathsep}{os.environ.get('PATH', '')}"  # they start each other by name
        fastest = _FASTEST if setup is Setup.FAST else {}
        self._environment = {**os.environ, **_QUIET, **_THREADS, **fastest, "PATH": path}
        self._environment["FLWR_HOME"] = str(self._folder / "flower")
        self._processes: list[_Process] = []
        self._port = _free_port()

    @property
    def server_folder(self) -> Path:
        """Where the ServerApp works."""
        return self._folder / "server"

    def __enter__(self) -> SuperLinkRun:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(self, app: Path, run_config: str, result: Path, give_up: float) -> None:
        """Run ``app`` until ``result`` is there.

        Raises:
            PeerError: if the run, or a process, ends without it, or if it is not there after ``give_up`` seconds.
        """
        deadline = time.monotonic() + give_up
        self._flwr("run", str(app), "bench", "--run-config", run_config)
        while not result.exists():
            if time.monotonic() > deadline:
                raise not_ended(give_up, self._folder)
            time.sleep(_LOOK)
            self._interrupts.check()
            self._raise_failure()
            self._raise_failed_run()

    def _start(self) -> None:
        secure = self._setup is Setup.PRODUCTION
        tls = _Certificates(self._folder / "certificates") if secure else None
        home = self._folder / "flower"
        home.mkdir(parents=True)
        at = f"{_HOST}:{self._port}"
        trust = f'root-certificates = "{tls.authority}"' if tls is not None else "insecure = true"
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "bench"\n\n[superlink.bench]\naddress = "{at}"\n{trust}\n'
        )
        words = ["--host", _HOST, "--port", str(self._port), "--disable-runtime-dependency-installation"]
        if tls is None:
            words += ["--insecure"]
        else:
            words += [*tls.served, "--enable-supernode-auth", "--database", str(self.server_folder / "state.db")]
        self._spawn("server", "flower-superlink", words)
        self._await_port()
        for number in range(self._clients):
            self._start_node(number, at, tls)

    def _start_node(self, number: int, at: str, tls: _Certificates | None) -> None:
        name = f"client-{number + 1}"
        words = ["--superlink", at, "--host", _HOST, "--port", str(_free_port())]
        words += ["--node-config", f"partition-id={number} num-partitions={self._clients}"]
        if tls is None:
            words += ["--insecure"]
        else:
            private, public = _node_key(self._folder / "certificates", name)
            self._flwr("supernode", "register", str(public), "bench")
            words += [*tls.served, "--root-certificates", str(tls.authority)]
            words += ["--auth-supernode-private-key", str(private)]
        self._spawn(name, "flower-supernode", words)

    def _spawn(self, name: str, program: str, words: Sequence[str]) -> None:
        folder = self._folder / name
        folder.mkdir()
        log = folder / "output.log"
        with log.open("wb") as out, self._interrupts.held():
            started = subprocess.Popen(
                [str(self._programs / program), *words],
                cwd=folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
            self._processes.append(_Process(name, log, started))

    def _flwr(self, *words: str) -> str:
        done = subprocess.run(
            [str(self._programs / "flwr"), *words],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise PeerError(
                f"flwr {words[0]} failed: {(done.stderr or done.stdout).strip()}",
                fix=f"see the logs in {self._folder}",
                code=ExitCode.UNFINISHED,
            )
        return done.stdout

    def _await_port(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            self._interrupts.check()
            self._raise_failure()
            with contextlib.suppress(OSError), socket.create_connection((_HOST, self._port), 1.0):
                return
            if time.monotonic() > deadline:
                raise PeerError(
                    "the SuperLink does not listen", fix=f"see {self._folder / 'server'}", code=ExitCode.UNFINISHED
                )
            time.sleep(_LOOK)

    def _raise_failure(self) -> None:
        for process in self._processes:
            if process.started.poll() is not None:
                raise _failed(process)

    def _raise_failed_run(self) -> None:
        """The SuperLink goes on if an app fails, so its log is asked. The same if its SuperExec fails, with which the
        ServerApp ends: Flower 1.41 gives up a call after its database was locked for 5 s, which no option changes, and
        many SuperNodes or large models on a busy machine are enough for that."""
        server = self._processes[0]
        if b"Traceback (most recent call last)" in server.log.read_bytes():
            time.sleep(1.0)  # the rest of it is being written
            raise _failed(server)

    def _stop(self) -> None:
        with self._interrupts.held():
            for process in reversed(self._processes):
                process.started.terminate()
            deadline = time.monotonic() + _STOP_SECONDS
            for process in self._processes:
                try:
                    process.started.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    process.started.kill()
                    process.started.wait()


def _failed(process: _Process) -> PeerError:
    lines = process.log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
    return PeerError(
        "\n".join([f"Flower's {process.name} failed. Its last lines:", *(f"  | {line}" for line in lines)]),
        fix=f"see the cause in {process.log}",
        code=ExitCode.UNFINISHED,
    )


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind((_HOST, 0))
        return int(listening.getsockname()[1])


class _Certificates:
    """An authority, and one certificate for all that listen on this machine."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.authority = folder / "ca.crt"
        self._certificate, self._key = folder / "server.pem", folder / "server.key"
        now = datetime.datetime.now(datetime.UTC)
        root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

        def signed(subject: str, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> bytes:
            certificate = (
                x509.CertificateBuilder()
                .subject_name(_named(subject))
                .issuer_name(_named("benchmark authority"))
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(hours=1))
                .not_valid_after(now + datetime.timedelta(days=2))
                .add_extension(extension, critical=True)
                .sign(root, hashes.SHA256())
            )
            return certificate.public_bytes(serialization.Encoding.PEM)

        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(_HOST))])
        self.authority.write_bytes(signed("benchmark authority", root, x509.BasicConstraints(ca=True, path_length=0)))
        self._certificate.write_bytes(signed("benchmark", leaf, here))
        self._key.write_bytes(_private(leaf, serialization.PrivateFormat.PKCS8))

    @property
    def served(self) -> list[str]:
        """The words for whoever listens."""
        words = ["--ssl-ca-certfile", str(self.authority), "--ssl-certfile", str(self._certificate)]
        return [*words, "--ssl-keyfile", str(self._key)]


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _private(key: ec.EllipticCurvePrivateKey, format: serialization.PrivateFormat) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, format, serialization.NoEncryption())


def _node_key(folder: Path, name: str) -> tuple[Path, Path]:
    """A SuperNode's key pair: the private and the public file."""
    key = ec.generate_private_key(ec.SECP384R1())
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    private.write_bytes(_private(key, serialization.PrivateFormat.OpenSSH))
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    )
    return private, public
