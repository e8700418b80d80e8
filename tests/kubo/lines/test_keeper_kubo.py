"""Members that all can only dial out, and a keeper that they reach: each on a host of its own, with a real firewall."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from federation import GATED, until
from namespaces import Host, hosts, why_not

from crypto.identity import Identity
from peer.audit.audit import Audit
from peer.history.run_sources import CarSource
from peer.history.scratch import Scratch
from peer.history.verdict import Verdict
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import reader_of
from peer.membership.changes import add_member, found_federation
from protocol.blocks.cid import CID, Block, BlockError
from protocol.federation.epochs import read_seed
from protocol.records.bodies import Role, Run
from protocol.records.signed_records import read_record

pytestmark = [pytest.mark.kubo, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]

PATIENCE = 240
"""Seconds that anything may take on a loaded machine."""

ROLES = {
    "keeper": Role.KEEPER,
    "hospital": Role.SERVER,
    "clinic": Role.CLIENT,
    "lab": Role.CLIENT,
    "watchdog": Role.AUDITOR,
}
ANY_PEER = "12D3KooWRRsvQzu3QF4ytQFMdveaQ6tTFvVzrjb5Nh8fXp2Gn9Kp"
"""Whoever answers at an address may have another name."""


@dataclass
class Member:
    """A home on a host, and what runs there."""

    host: Host
    home: Path
    variables: Mapping[str, str]
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *words: str | Path, stdin: str = "") -> subprocess.Popen[str]:
        """A ``peer`` command that runs on its host."""
        with self.log.open("a") as log:
            process = subprocess.Popen(
                self.host.command(sys.executable, "-P", "-m", "peer", *words, "--home", self.home),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={name: value for name, value in os.environ.items() if "PROXY" not in name.upper()} | self.variables,
            )
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        process.stdin = None
        self.running.append(process)
        return process

    @property
    def log(self) -> Path:
        return self.home.with_suffix(".log")

    def __call__(self, *words: str | Path, stdin: str = "", code: int = 0) -> str:
        """The output of a ``peer`` command, which ends with this exit code."""
        return self.ended(self.start(*words, stdin=stdin), code)

    def ended(self, process: subprocess.Popen[str], code: int = 0) -> str:
        """The output of a command that was started, once it has ended with this exit code."""
        out, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, self.log.read_text()
        return out

    def says(self, text: str) -> None:
        """Wait until its peer has told people this."""
        until(lambda: text in self.log.read_text(), lambda: f"{self.home} never said {text!r}:\n{self.log.read_text()}")

    def end(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=PATIENCE)


@dataclass
class Swarm:
    """The members by name. Nobody but the keeper can be called."""

    members: dict[str, Member]

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    def found(self) -> None:
        """One federation of all members, as each home has it. Its admin is the server, whom nobody can call."""
        people: dict[str, Identity] = {}
        for name in ROLES:
            people[name] = Identity.generate(name)
            KeyStore(Home(self[name].home).create().path).add(people[name], None)
        admin, now = people["hospital"], time.time()
        stored = found_federation(
            admin,
            name="trial",
            member_name="hospital",
            roles=[Role.SERVER],
            swarm_key=bytes(32),
            time=now,
            encrypt=True,
        )
        for name, role in ROLES.items():
            if name != "hospital":
                public = people[name].public_for(bytes(stored.id))
                stored = add_member(stored, admin, public, name=name, roles=[role], time=now)
        for name in ROLES:
            store = FederationStore(Home(self[name].home))
            store.save(stored)
            store.add_addresses(stored.id, [f"/ip4/{self['keeper'].host.ip}/tcp/4001/p2p/{ANY_PEER}"])

    def run(self, *clients: str) -> str:
        """A run from its beginning to its end; its head."""
        options = [
            "--app",
            GATED,
            "--min-clients",
            str(len(clients)),
            "--run-config",
            f"rounds=1 clients={len(clients)}",
        ]
        leading = self["hospital"].start("start", "--role", "server", *options, "--json")
        training = {
            name: self[name].start("start", "--role", "client", "--app", GATED, "--once", "--node-config", config)
            for name, config in ((name, f"partition-id={number}") for number, name in enumerate(clients))
        }
        head = json.loads(self["hospital"].ended(leading).splitlines()[-1])["head"]
        for name, process in training.items():
            self[name].ended(process)
        return str(head)


@pytest.fixture
def swarm(ipfs_program: Path, tmp_path: Path) -> Iterator[Swarm]:
    names = (*ROLES, "latecomer")
    variables = {
        "POLLEN_KUBO": str(ipfs_program),
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "OMP_NUM_THREADS": "1",
    }
    with ExitStack() as stack:
        at = stack.enter_context(hosts(*names, known={}))
        made = Swarm({name: Member(at[name], tmp_path / name, variables) for name in names})
        for name in names[1:]:
            at[name].dials_out_only()
        stack.callback(lambda: [member.end() for member in made.members.values()])
        yield made


def test_a_run_of_members_that_all_dial_out_goes_over_a_keeper_and_stays_there(swarm: Swarm) -> None:
    swarm.found()
    keeper = swarm["keeper"]
    keeper.start("start", "--role", "keeper", "--listen", f"{keeper.host.ip}:4001")
    keeper.says("starts as a keeper")
    head = swarm.run("clinic")
    keeper.says("and what they name")

    replayed: dict[str, Any] = json.loads(swarm["watchdog"]("audit", head, "--replay", "--app", GATED, "--json"))
    assert (replayed["verdict"], replayed["replay"]["outcome"]) == ("verified", "equal")
    keeper("export", head, keeper.home / "run.car")
    opens_nothing(keeper.home, CID.parse(head), keeper.home / "run.car")


def opens_nothing(home: Path, head: CID, run: Path) -> None:
    """With every key in the home, the whole run is verified, and nothing in it is read."""
    identity = KeyStore(home).load("keeper", Passphrases.of_process(None))
    with closing(CarSource(run)) as source, Scratch() as scratch:
        audit = Audit(head, source, scratch, reader=reader_of(identity))
        report = audit.run()
        assert report.verdict is Verdict.VERIFIED
        assert [(epoch.model, epoch.update) for epoch in audit.keys.epochs] == [(None, None)]
        assert report.run is not None
        begun = read_record(report.run, source).body
        assert isinstance(begun, Run)
        assert audit.keys.private(begun) is None
        with pytest.raises(BlockError, match="no seed that can be read"):
            read_seed(Block(begun.seed, source.get(begun.seed)), audit.keys)


@pytest.mark.all
def test_newcomers_join_over_a_keeper_whoever_invites_them(swarm: Swarm) -> None:
    keeper, hospital = swarm["keeper"], swarm["hospital"]
    keeper("keys", "init", "--name", "keeper", "--no-passphrase")
    keeper("federation", "init", "trial", "--role", "keeper")
    keeper("federation", "bootstrap", "--add-own", "--listen", f"{keeper.host.ip}:4001")
    keeper.start("serve")
    until(lambda: json.loads(keeper("status", "--json"))["parts"], lambda: "the keeper does not stand")

    def joins(name: str, ticket: str) -> None:
        swarm[name]("join", "-", "--no-passphrase", "--wait", "60", stdin=ticket)

    for name, role in {"hospital": "server", "clinic": "client", "watchdog": "auditor"}.items():
        joins(name, json.loads(keeper("federation", "invite", "--name", name, "--role", role, "--json"))["ticket"])
    keeper("federation", "admin", "hospital")
    keeper("federation", "export", keeper.home / "newer.federation")
    hospital("federation", "join", keeper.home / "newer.federation")
    inviting = hospital.start("federation", "invite", "--name", "lab", "--role", "client", "--wait", "--json")
    assert inviting.stdout is not None
    joins("lab", json.loads(inviting.stdout.readline())["ticket"])
    hospital.ended(inviting)
    head = swarm.run("clinic", "lab")

    invited = keeper("federation", "invite", "--name", "latecomer", "--role", "client", "--json")
    joins("latecomer", json.loads(invited)["ticket"])
    assert json.loads(swarm["latecomer"]("audit", head, "--json"))["verdict"] == "verified"
