"""Takeovers of runs that are confined, witnessed, wait for no slow client, or whose lost tail has a roster."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from federation import GATED, Federation, Gate, PeerProcess, until

from peer.base.faults import VARIABLE, Fault, Step, Victim, When
from peer.confinement.means import tried
from protocol.blocks.cid import CID, Block
from protocol.records.bodies import Chained, Role, Roster
from protocol.records.signed_records import parse_record

pytestmark = pytest.mark.all

CLIENTS = ("one", "two")


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    """Three servers and two clients: of these five voters, four are left. It encrypts."""
    made = Federation(tmp_path, f"local:{tmp_path / 'engine'}")
    made.add(*CLIENTS)
    made.add("second", "third", role=Role.SERVER)
    yield made
    made.end()


class Begun:
    """A run of three rounds whose first is over."""

    def __init__(
        self,
        federation: Federation,
        gate: Gate,
        *words: str | Path,
        of_run: tuple[str, ...] = (),
        standbys: tuple[str, ...] = ("second",),
        **variables: str,
    ) -> None:
        """``words`` are options of all, ``of_run`` those of who begins the run, ``variables`` too."""
        self.federation, self.gate = federation, gate
        self.gates = {name: Gate(gate.folder / name) for name in CLIENTS}
        gate.open("round-1")
        self.let_train(1, *CLIENTS)
        self.begins = ("--run-config", f'gate="{gate.folder}" rounds=3 clients={len(CLIENTS)}', *of_run, *words)
        stand = ("--role", "server", "--standby", "--app", GATED, "--once", *words)
        self.standbys = {name: federation.start(name, *stand) for name in standbys}
        for standby in self.standbys.values():
            standby.wait_for("app-bundled")
        self.server = federation.server(GATED, *self.begins, clients=len(CLIENTS), **variables)
        self.clients = [federation.client(name, GATED, f'gate="{self.gates[name].folder}"', *words) for name in CLIENTS]

    def let_train(self, number: int, *names: str) -> None:
        for name in names:
            self.gates[name].open(f"train-{number}")

    def lose_leader_in_round_2(self) -> PeerProcess:
        """It has sent the round's messages, and nobody has answered. Who leads then."""
        for standby in self.standbys.values():
            standby.wait_for("recomputed", height=1)
        self.gate.open("round-2")
        self.server.wait_for("dispatched", round=2)
        self.server.kill()
        leads = lambda: next((each for each in self.standbys.values() if each.events("took-over")), None)  # noqa: E731
        led: PeerProcess = until(leads, lambda: "\n".join(each.said for each in self.standbys.values()))
        return led

    def end(self, *others: PeerProcess) -> Any:
        """Let it come to its end. What an audit finds in the first standby's home."""
        for number in (2, 3):
            self.gate.open(f"round-{number}")
            self.let_train(number, *CLIENTS)
        peers = (*self.standbys.values(), *self.clients, *others)
        assert [peer.code() for peer in peers] == [0] * len(peers), "\n".join(peer.said for peer in peers)
        report = json.loads(self.federation.done("second", "audit", self.federation.exported("second"), "--json"))
        assert (report["verdict"], report["rounds"]) == ("verified", 3), report["findings"]
        return report


def leaders(report: Any) -> list[str]:
    return [each["leader"] for each in report["reigns"]]


@pytest.mark.skipif(tried().found is None, reason="nothing here can confine an app")
def test_a_run_whose_apps_are_confined_is_taken_over(federation: Federation, gate: Gate) -> None:
    begun = Begun(federation, gate, "--confine", "--allow-read", gate.folder)
    assert begun.lose_leader_in_round_2() is begun.standbys["second"]
    assert leaders(begun.end()) == ["server", "second"]


def test_a_roster_that_is_lost_with_the_leader_is_brought_into_force_by_the_next(
    federation: Federation, gate: Gate
) -> None:
    roster = Fault(Victim.PEER, Step.WRITE_HEAD, When.AFTER, 4)  # after run, dispatch and collect: nobody has heard it
    begun = Begun(federation, gate, **{VARIABLE: str(roster)})
    second = begun.standbys["second"]
    begun.server.wait_for("collected")
    newcomer = federation.identity("newcomer").public_for(bytes(federation.stored.id)).key_text()
    federation.done("server", "federation", "add", newcomer, "--name", "newcomer", "--role", "client")
    assert begun.server.code() == -signal.SIGKILL, begun.server.said
    (lost,) = (body for body in chain(federation, "server") if isinstance(body, Roster))
    second.wait_for("took-over", term=2)

    back = federation.server(GATED, *begun.begins, clients=len(CLIENTS))
    version = federation.stored.manifest.version
    second.wait_for("manifest-in-force", count=2, version=version)  # known, then in force in the run
    assert leaders(begun.end(back)) == ["server", "second"]
    of_second = [body for body in chain(federation, "second") if isinstance(body, Roster)]
    assert lost.term == 1
    assert {(each.term, each.manifest) for each in of_second} == {(2, lost.manifest)}  # once it is settled, once more


def chain(federation: Federation, name: str) -> list[Chained]:
    """The records of the run in a home, the newest first."""
    found: list[Chained] = []
    with federation.blocks() as engine:
        link: CID | None = federation.head(name).head
        while link is not None:
            body = parse_record(Block(link, engine.get(link))).body
            assert isinstance(body, Chained)
            found.append(body)
            link = body.prev
    return found


@pytest.mark.parametrize("witnesses", [0, 1])
def test_a_new_leader_closes_rounds_by_the_runs_own_rule_and_waits_for_its_witnesses(
    witnesses: int, federation: Federation, gate: Gate
) -> None:
    closing = ("--min-replies", "1", "--round-deadline", "1")
    asked = ("--witnesses", "1") if witnesses else ()
    standbys = ("second", "third") if witnesses else ("second",)
    begun = Begun(federation, gate, of_run=closing + asked, standbys=standbys)
    leader = begun.lose_leader_in_round_2()
    begun.let_train(2, "one")
    assert leader.wait_for("left-out")["whom"] == "two"
    begun.let_train(2, "two")
    leader.wait_for("reply-late", name="two")
    report = begun.end()
    assert leaders(report) == ["server", leader.name]
    assert report["closing"] == "replies=1 deadline=1"
    assert report["participants"]["two"]["late"] >= 1
    if witnesses:
        assert all(each["recomputed_by"] for each in report["exchanges"]), report["exchanges"]
