"""A leader whose network is cut, one way or both, or slow: each member is on a host of its own, with its Kubo node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import bridge
import namespaces
import pytest
from bridge import Bridge, bridged
from federation import GATED, Federation, Gate, PeerProcess
from namespaces import Host

from protocol.records.bodies import Role

_WHY_NOT = namespaces.why_not() or bridge.why_not()
pytestmark = [pytest.mark.kubo, pytest.mark.all, pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT or "-")]

CLIENTS = ("one", "two")


class Apart(Federation):
    """Two servers and two clients, each on its host."""

    hosts: dict[str, Host]
    gate: Gate

    def within(self, name: str) -> Sequence[str]:
        return self.hosts[name].command() if name in self.hosts else ()

    def begin(self) -> tuple[PeerProcess, PeerProcess, list[PeerProcess]]:
        """Start all. The server, the standby and the clients of a run of three rounds that wait for the gate."""
        config = f'gate="{self.gate.folder}" rounds=3 clients={len(CLIENTS)}'
        server = self.server(GATED, "--run-config", config, *self._listen("server"))
        self.introduce("server")
        patient = ("--takeover-after", "5")  # a busy machine may be silent for a while
        words = ("--role", "server", "--standby", "--app", GATED, "--once", *patient)
        standby = self.start("second", *words, *self._listen("second"))
        self.introduce("second")
        standby.wait_for("peer-here", name="server")
        node_config = f'gate="{self.gate.folder}"'
        clients = [self.client(name, GATED, node_config, *self._listen(name)) for name in CLIENTS]
        return server, standby, clients

    def audited(self, name: str) -> Any:
        """What an audit on a host finds whose peer has ended."""
        head, home = self.head(name).head, self.home(name).path
        auditor = self.run(name, "audit", str(head), "--home", home, "--json")
        assert auditor.code() == 0, auditor.said
        report = auditor.json
        assert (report["verdict"], report["rounds"]) == ("verified", 3)
        return report

    def _listen(self, name: str) -> tuple[str, str]:
        return "--listen", f"{self.hosts[name].ip}:4001"


@pytest.fixture
def network() -> Iterator[tuple[Bridge, dict[str, Host]]]:
    with bridged("server", "second", *CLIENTS) as made:
        yield made


@pytest.fixture
def apart(
    network: tuple[Bridge, dict[str, Host]], ipfs_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Apart]:
    """Nothing runs yet. It encrypts."""
    monkeypatch.setenv("POLLEN_KUBO", str(ipfs_program))
    monkeypatch.setattr("federation.PATIENCE", 300.0)  # TCP tries a connection that was cut again ever more seldom
    made = Apart(tmp_path, "kubo")
    made.hosts, made.gate = network[1], Gate(tmp_path / "gate")
    made.add(*CLIENTS)
    made.add("second", role=Role.SERVER)
    yield made
    made.end()


def deaf(bridge: Bridge) -> None:
    """The leader hears nobody."""
    for name in ("second", *CLIENTS):
        bridge.cut(name, "server")


CUTS: dict[str, Callable[[Bridge], None]] = {
    "both-ways": lambda bridge: bridge.cut_off("server"),
    "nobody-hears-it": lambda bridge: bridge.cut("server"),
    "it-hears-nobody": deaf,
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_the_majority_goes_on_without_a_leader_that_is_cut_off_which_records_nothing_and_stands_by_afterwards(
    cut: Callable[[Bridge], None], network: tuple[Bridge, dict[str, Host]], apart: Apart
) -> None:
    apart.gate.open("round-1", "train-1", "round-2")
    server, standby, clients = apart.begin()
    server.wait_for("dispatched", round=2)
    standby.wait_for("recomputed", height=3)
    lacked = len(server.events("voters-lacking"))
    cut(network[0])
    standby.wait_for("took-over", term=2)
    server.wait_for("voters-lacking", count=lacked + 1)
    recorded = [len(server.events(event)) for event in ("dispatched", "collected")]
    apart.gate.open("train-2", "round-3")
    height = standby.wait_for("dispatched", round=3)["height"]
    assert [len(server.events(event)) for event in ("dispatched", "collected")] == recorded

    network[0].mend()
    server.wait_for("taken-over")
    server.wait_for("recomputed", height=height)
    apart.gate.open("train-3")
    assert [each.code() for each in (standby, *clients)] == [0] * 3, standby.said  # they wait 10 s for the server
    assert [each["leader"] for each in apart.audited("second")["reigns"]] == ["server", "second"]


def test_a_leader_behind_a_slow_line_leads_its_run_to_the_end(
    network: tuple[Bridge, dict[str, Host]], apart: Apart
) -> None:
    network[0].delay("server", 0.2)
    for number in (1, 2, 3):
        apart.gate.open(f"round-{number}", f"train-{number}")
    server, _, clients = apart.begin()
    assert [each.code() for each in (server, *clients)] == [0] * 3, server.said
    apart.audited("server")
