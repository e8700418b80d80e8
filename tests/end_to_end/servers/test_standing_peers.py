"""``peer serve`` and ``peer run``: a peer that stands, and runs that come and go."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from federation import GATED, Federation, Gate, PeerProcess, until

from peer.audit.audit import Audit
from peer.base.faults import VARIABLE, Fault, Step, Victim, When
from peer.control.asking import ask
from peer.control.requests import Status
from peer.history.run_sources import EngineSource
from peer.history.scratch import Scratch
from peer.home.federations import FederationStore
from peer.home.journal import Journal
from peer.home.kept_jobs import KeptJob
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import reader_of
from peer.membership.changes import add_member, remove_member
from protocol.records.bodies import Role


class Standing:
    """A server and clients that stand."""

    def __init__(
        self, federation: Federation, gate: Gate, side_by_side: int = 1, clients: int = 2, **variables: str
    ) -> None:
        self.federation = federation
        self.home = federation.home("server")
        self.gate = gate
        self.server = self.serve("server", "--max-runs", str(side_by_side), **variables)
        several = ("--train-runs", str(side_by_side))
        self.clients = [self.train(name, number, *several) for number, name in enumerate(federation.names[:clients])]

    def train(self, name: str, number: int, *arguments: str | Path) -> PeerProcess:
        config = f'partition-id={number} num-partitions=2 gate="{self.gate.folder}"'
        return self.serve(name, "--app", GATED, "--node-config", config, *arguments)

    def serve(self, name: str, *arguments: str | Path, **variables: str) -> PeerProcess:
        home = self.federation.home(name).path
        words = ["serve", *arguments, "--home", home, "--ipfs", self.federation.engine, "-v", "--json"]
        return self.federation.run(name, *words, **variables)

    def peer(self, *arguments: str | Path) -> Any:
        """What a short command prints."""
        words = [sys.executable, "-P", "-m", "peer", *map(str, arguments), "--home", str(self.home.path), "--json"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def run(self, name: str) -> Any:
        """Hand a job over, once the server stands."""
        until(lambda: ask(self.home, Status()), lambda: f"it never stands:\n{self.server.said}")
        clients = len(self.clients)
        config = f'rounds=1 clients={clients} gate="{self.gate.folder}"'
        words = ("--run-config", config, "--min-clients", str(clients), "--seed", "1")
        return self.peer("run", GATED, *words, "--name", name)

    def jobs(self) -> list[KeptJob]:
        with Journal(self.home.journal) as journal:
            return journal.jobs.all()

    def wait(self, count: int) -> list[KeptJob]:
        """The jobs, once so many have ended."""

        def ended() -> list[KeptJob] | None:
            jobs = self.jobs()
            return jobs if len([job for job in jobs if job.ended is not None]) >= count else None

        return until(ended, lambda: f"they never end:\n{self.server.said}")


def test_a_standing_server_that_is_killed_loses_no_job_and_begins_none_twice(
    federation: Federation, gate: Gate
) -> None:
    standing = Standing(federation, gate, clients=1)
    standing.run("first")
    standing.run("second")
    standing.server.wait_for("run-opened")
    standing.server.kill()
    gate.open("round-1", "train-1")
    standing.server = standing.serve("server")

    first, second = standing.wait(2)
    assert (first.why, second.why) == ("", "")
    with Journal(standing.home.journal) as journal:
        heads = {head.run: head for head in journal.heads()}
    assert heads.keys() == {first.run, second.run}
    assert all(head.closed for head in heads.values())
    assert [run["state"] for run in standing.peer("ls")["runs"]] == ["closed", "closed"]

    standing.server.signal(signal.SIGTERM)
    assert standing.server.code() == 0, standing.server.said


@pytest.mark.all
@pytest.mark.parametrize(
    ("step", "when", "nth"),
    [
        (Step.STORE, When.BEFORE, 1),
        (Step.STORE, When.AFTER, 1),
        (Step.WRITE_HEAD, When.BEFORE, 1),
        (Step.WRITE_HEAD, When.AFTER, 1),
        (Step.WRITE_HEAD, When.AFTER, 4),  # of the close: all that is left is to end the job
    ],
)
def test_a_job_has_one_run_at_whichever_step_its_server_is_killed(
    step: Step, when: When, nth: int, federation: Federation, gate: Gate
) -> None:
    gate.open("round-1", "train-1")
    fault = str(Fault(Victim.PEER, step, when, nth))
    standing = Standing(federation, gate, **{VARIABLE: fault})
    standing.run("only")
    assert standing.server.code() != 0
    standing.server = standing.serve("server")

    (job,) = standing.wait(1)
    assert job.why == ""
    with Journal(standing.home.journal) as journal:
        (head,) = journal.heads()
    assert (head.run, head.closed) == (job.run, True)
    assert federation.audit()["verdict"] == "verified"


@pytest.mark.all  # the rule: tests/peer/jobs/test_job_server.py
def test_a_run_is_stopped_and_what_waits_is_given_up(federation: Federation, gate: Gate) -> None:
    standing = Standing(federation, gate)
    standing.run("first")
    standing.run("second")
    standing.server.wait_for("run-opened")
    said = ask(standing.home, Status())
    assert said is not None
    assert [part.role.run is not None for part in said.parts] == [True]
    standing.peer("stop", "second")
    standing.peer("stop", "first")

    first, second = standing.wait(2)
    assert second.run is None
    (run,) = standing.peer("ls")["runs"]
    assert (run["name"], run["state"]) == ("first", "stopped")
    assert federation.audit()["verdict"] == "verified"
    assert first.run is not None


def test_two_runs_of_one_server_go_on_side_by_side_with_the_same_clients(federation: Federation, gate: Gate) -> None:
    standing = Standing(federation, gate, side_by_side=2)
    gate.open("round-1")
    standing.run("first")
    standing.run("second")
    standing.server.wait_for("dispatched", 2)  # both wait for their clients, which wait for the gate
    for client in standing.clients:
        client.wait_for("task-started", 2)
    gate.open("train-1")

    first, second = standing.wait(2)
    assert (first.why, second.why) == ("", "")
    assert [run["state"] for run in standing.peer("ls")["runs"]] == ["closed", "closed"]


@pytest.mark.all  # the rule: tests/peer/jobs/test_between_runs.py
def test_who_came_and_who_was_removed_while_no_run_was_on_is_so_in_the_next(federation: Federation, gate: Gate) -> None:
    standing = Standing(federation, gate)
    gate.open("round-1", "train-1")
    standing.run("first")
    standing.wait(1)

    store, admin = FederationStore(standing.home), federation.admin
    stored = remove_member(federation.stored, admin, "two", time=time.time())
    public = federation.identity("three").public_for(bytes(stored.id))
    stored = add_member(stored, admin, public, name="three", roles=[Role.CLIENT], time=time.time())
    store.save(stored)
    FederationStore(federation.home("three")).join(stored)
    three = standing.train("three", 1)
    standing.run("second")

    first, second = standing.wait(2)
    assert (first.why, second.why) == ("", "")
    assert len(three.events("task-answered")) == 1
    assert [read_by(federation, "two", job) for job in (first, second)] == [True, False]


def read_by(federation: Federation, name: str, job: KeptJob) -> bool:
    """Whether a client has the key of the models of a job's run."""
    reader = reader_of(KeyStore(federation.home(name).path).load(name, Passphrases()))
    with Journal(federation.home("server").journal) as journal, federation.blocks() as engine, Scratch() as scratch:
        head = next(head.head for head in journal.heads() if head.run == job.run)
        audit = Audit(head, EngineSource(engine, 1.0), scratch, known=[federation.stored], reader=reader)
        audit.run()
    return audit.keys.content(1) is not None
