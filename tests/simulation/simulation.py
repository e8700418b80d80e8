"""A whole federation in one thread: from a seed to a finished run, or to a failure that says how to see it again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from random import Random
from typing import Any

from sim_apps import APPS
from sim_disk import Disk, chain_of
from sim_faults import CALM, Faults
from sim_network import Network
from sim_roles import ClientPeer, Identity, Server
from sim_time import EPOCH, Timeline
from sim_witness import Witness

from crypto.keys import SigningKey
from protocol.chain import Chain
from protocol.machine import TrustedManifest
from protocol.manifest import first_manifest
from protocol.manifest_drafts import new_federation
from protocol.outcome import outcome
from protocol.records import EncryptionKeyText, Member, Role
from protocol.signed import parse_record, sign_record

PATIENCE = 2 * 3600.0
"""Virtual seconds after which a run counts as stuck."""


@dataclass(frozen=True)
class Scenario:
    """What is to be done; its outcome may depend on this alone."""

    clients: int = 3
    rounds: int = 3
    app: str = "rounds"

    @classmethod
    def draw(cls, random: Random) -> Scenario:
        """A small one: what matters is how often things go wrong on the way."""
        return cls(clients=random.choice((2, 3)), rounds=random.choice((2, 3)), app=random.choice(sorted(APPS)))


class SimulationFailure(AssertionError):
    """A run that went wrong, with all it takes to see it again."""


@dataclass
class Simulation:
    """One run of ``scenario`` under ``faults``; everything that is left open comes from ``seed``."""

    scenario: Scenario
    faults: Faults
    seed: int
    timeline: Timeline = field(default_factory=Timeline)

    def __post_init__(self) -> None:
        random = Random(self.seed)
        names = [f"client-{number}" for number in range(1, self.scenario.clients + 1)]
        keys = {name: _key(name) for name in ("server", *names)}
        trusted = _federation(tuple(keys))
        network = Network(self.timeline, random, self.faults, keys)
        shared = self.timeline, random, self.faults, network, Witness()
        program = partial(APPS[self.scenario.app], self.scenario.rounds)
        self.server = Server(Identity(keys["server"], trusted), len(names), program, *shared)
        self.clients = [ClientPeer(name, Identity(keys[name], trusted), *shared) for name in names]
        for peer in (self.server, *self.clients):
            self.timeline.after(random.uniform(0.0, 2.0), peer.start)

    def run(self) -> tuple[Mapping[str, Any], ...]:
        """Let it happen; the outcome of the run.

        Raises:
            SimulationFailure: where it does not come to a good end.
        """
        try:
            if not self.timeline.run(lambda: self.server.finished, PATIENCE):
                raise AssertionError(f"the run is not finished after {PATIENCE:g} s")
            return self._judge()
        except Exception as error:
            raise SimulationFailure(
                f"{error!r}\n{self.scenario}\n{self.faults}\nseed {self.seed}; what happened last:\n"
                f"{self.timeline.last_lines}"
            ) from error

    def _judge(self) -> tuple[Mapping[str, Any], ...]:
        """The server's chain holds by every rule, is all there, and takes from each client what that has on disk."""
        disk, head = self.server.disk, self.server.closed
        assert head is not None
        records = chain_of(head, disk)
        chain = Chain(self.server.identity.trusted.manifest.federation)
        answered = [answer for record in records for answer in chain.append(record, disk).answered]
        assert chain.closed
        assert disk.whole(head), "the closed run is not all on the leader's disk"
        kept = {message: reply.reply for client in self.clients for message, reply in client.disk.replies.items()}
        for answer in answered:
            assert answer.reply is not None
            assert kept[answer.message.id] == answer.reply.cid, "the chain has another reply than its client"
        return tuple(outcome(records, disk))

    @property
    def seconds(self) -> float:
        """Virtual time that passed."""
        return self.timeline.now - EPOCH


@cache
def undisturbed(scenario: Scenario) -> tuple[Mapping[str, Any], ...]:
    """What ``scenario`` comes to where nothing goes wrong."""
    return Simulation(scenario, CALM, seed=0).run()


@cache
def _key(name: str) -> SigningKey:
    return SigningKey.from_seed(hashlib.sha256(name.encode()).digest())


@cache
def _federation(names: tuple[str, ...]) -> TrustedManifest:
    admin = _key("admin")
    encryption = EncryptionKeyText(suite="simulated", key=b"none")
    members = [
        Member(
            id=_key(name).verify_key.raw,
            signing=_key(name).verify_key.raw,
            encryption=encryption,
            roles=(Role.SERVER if name == "server" else Role.CLIENT,),
        )
        for name in names
    ]
    draft = new_federation(
        name="simulated",
        admins=[admin.verify_key.raw],
        members=members,
        names={member.id: name for member, name in zip(members, names, strict=True)},
        by=admin.verify_key.raw,
        time=EPOCH,
    )
    record = sign_record(draft.body, [admin])
    blocks = Disk()
    blocks.put([record, *draft.blocks])
    return TrustedManifest(first_manifest(parse_record(record), blocks), blocks.blocks)
