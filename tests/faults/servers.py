"""Runs with several servers: one leads, the others stand by, and whoever is killed may never come back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from disturbed import APP, CLIENTS, Disturbed
from federation import Federation, PeerProcess

from peer.base.faults import VARIABLE, Fault
from peer.engine.chosen_engine import MANAGED, opened
from protocol.blocks.cid import CID, Block
from protocol.records.bodies import Close, Role
from protocol.records.signed_records import parse_record

FIRST: Final = "server"
"""It begins the run."""
SECOND: Final = "second"


def with_servers(root: Path, *more: str, encrypted: bool = False) -> Path:
    """Homes of two clients, of ``server``, and of the servers ``more``."""
    made = Federation(root, "", encrypted)
    made.add(*CLIENTS)
    made.add(*more, role=Role.SERVER)
    return root


class Servers(Disturbed):
    """A run in a copy of such homes. ``peers`` has the newest process of each that is not gone for good."""

    app: Path
    words: tuple[str | Path, ...]
    """Options of each server."""

    @classmethod
    def in_copies(
        cls, origin: Path, root: Path, *words: str | Path, app: Path = APP, engine: str = "", **variables: str
    ) -> Self:
        """Nothing runs yet."""
        made = cls.copy_of(origin, root, engine, **variables)
        made.app, made.words = app, words
        return made

    def start_server(self, name: str, fault: Fault | None = None, *, leads: bool = False) -> PeerProcess:
        """Start a server that begins a run if it ``leads``, and stands by otherwise."""
        variables = self.variables | ({VARIABLE: str(fault)} if fault else {})
        if leads:
            process = self.server(self.app, *self.words, clients=len(self.names), **variables)
        else:
            words = ("--role", "server", "--standby", "--app", self.app, "--once", *_not_of_the_run(self.words))
            process = self.start(name, *words, **variables)
        self.peers[name] = process
        return process

    def begin(self, *standbys: str, faults: Mapping[str, Fault] = {}, **node_configs: str) -> Self:
        """Start every peer, each with its fault if it has one. The run begins once the clients are here, which are the
        last, so that the others miss nothing of it."""
        self.start_server(FIRST, faults.get(FIRST), leads=True)
        self._introduce(FIRST)
        for name in standbys:
            self.start_server(name, faults.get(name))
            self._introduce(name)
        for name in standbys:
            self.peers[name].wait_for("peer-here", name=FIRST)
        for name in self.names:
            self.start_client(name, faults.get(name), node_configs.get(name, ""))
        return self

    def start_client(self, name: str, fault: Fault | None = None, config: str = "") -> None:
        """Start a client."""
        variables = self.variables | ({VARIABLE: str(fault)} if fault else {})
        self.peers[name] = self.client(name, self.app, config, **variables)

    def _introduce(self, name: str) -> None:
        if self.engine == MANAGED:
            self.introduce(name)

    def lose(self, name: str) -> None:
        """Kill a peer, and with it its Kubo node. Nobody waits for it any more."""
        self.peers.pop(name).kill()

    def final_model(self, name: str) -> CID:
        """The final model of the run in a home, by its content."""
        head = self.head(name).head
        with opened(self.home(name), self.engine_of(name), self.stored) as engine:
            close = parse_record(Block(head, engine.get(head))).body
        assert isinstance(close, Close)
        assert close.model is not None
        return close.model

    def audited(self, name: str, *words: str | Path) -> Any:
        """What ``peer audit`` finds in the file that a home exports."""
        report = json.loads(self.done(name, "audit", self.exported(name), "--json", *words))
        assert report["verdict"] == "verified", report["findings"]
        return report


def _not_of_the_run(words: tuple[str | Path, ...]) -> tuple[str | Path, ...]:
    """The options that a standby may have: settings are the run's."""
    at = words.index("--run-config") if "--run-config" in words else len(words)
    return (*words[:at], *words[at + 2 :])
