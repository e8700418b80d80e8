"""What a demo does, and where in its folder things are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from peer.home.home import Home
from protocol.records.bodies import Role


@dataclass(frozen=True, slots=True)
class DemoPeer:
    """One peer of the demo: a process with its own home."""

    name: str
    role: Role
    home: Home
    log: Path
    """The process's output. A later run appends to it."""
    partition: int
    """The number of a client's part of the data."""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """The options of the demo."""

    folder: Path
    dataset: str
    data_dir: Path | None
    model: str
    clients: int
    rounds: int
    ipfs: str
    """``local``, ``kubo``, or what `peer.engine.open_engine` takes."""
    standbys: int = 0
    """Servers beside the one that leads."""
    kills_leader: bool = False
    """Whether the server that leads is killed in a middle round, so that a standby has to take over."""

    @property
    def server(self) -> DemoPeer:
        """The server that leads the run from its start. It founds the federation."""
        return self._peer("server", Role.SERVER, 0)

    @property
    def server_peers(self) -> list[DemoPeer]:
        """The peers of all servers."""
        return [self.server, *self.standby_peers]

    @property
    def auditing(self) -> DemoPeer:
        """The server with whose home and engine the run is followed and audited. It lives to the end."""
        return self.standby_peers[-1] if self.kills_leader else self.server

    @property
    def middle_round(self) -> int:
        """The round in which the leader is killed."""
        return self.rounds // 2 + 1

    @property
    def client_peers(self) -> list[DemoPeer]:
        """The clients' peers."""
        return [self._peer(f"client-{number}", Role.CLIENT, number - 1) for number in range(1, self.clients + 1)]

    @property
    def standby_peers(self) -> list[DemoPeer]:
        """The peers of the servers that do not lead."""
        return [self._peer(f"standby-{number}", Role.SERVER, 0) for number in range(1, self.standbys + 1)]

    @property
    def joining(self) -> list[DemoPeer]:
        """All peers but the server that founds the federation."""
        return [*self.standby_peers, *self.client_peers]

    @property
    def peers(self) -> list[DemoPeer]:
        """All peers, the servers first."""
        return [self.server, *self.joining]

    @property
    def logs(self) -> Path:
        """The folder of the processes' logs."""
        return self.folder / "logs"

    @property
    def report(self) -> Path:
        """The page that tells what the audit found."""
        return self.folder / "report.html"

    def _peer(self, name: str, role: Role, partition: int) -> DemoPeer:
        return DemoPeer(name, role, Home(self.folder / name), self.logs / f"{name}.log", partition)

    def command(self, peer: DemoPeer) -> list[str]:
        """The words after ``peer`` that start this peer."""
        words = ["start", "--role", peer.role.value, "--dataset", self.dataset, "--home", str(peer.home.path)]
        words += ["--federation", FEDERATION, "--identity", peer.name, "--json", "-v"]
        if self.data_dir is not None:
            words += ["--data-dir", str(self.data_dir)]
        if peer.role is Role.SERVER:
            words += ["--model", self.model, "--min-clients", str(self.clients)]
            words += ["--rounds", str(self.rounds)] if peer.name == self.server.name else ["--standby", "--once"]
        else:
            words += ["--once", "--node-config", f"partition-id={peer.partition} num-partitions={self.clients}"]
        return words


FEDERATION = "demo"
"""The name of the demo's federation."""
