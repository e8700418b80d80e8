"""A whole federation in one thread: from a seed to a finished run, or to a failure that says how to see it again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from random import Random
from typing import Any

from run_outcome import outcome
from sim_apps import APPS, cheating_app
from sim_desk import AdminsCommand, AskedFor
from sim_disk import Disk, chain_of, linked
from sim_faults import CALM, Faults
from sim_federation import DESK, OTHER_SERVERS, by_cid, founded, key_of, reader_of, with_newcomer, without
from sim_network import Network
from sim_peer import LOOKING, Peer
from sim_roles import RUN_PLAN, HistoryKeeper, Identity, Server, TrainingClient, acks_of
from sim_terms import Terms
from sim_time import EPOCH, Timeline
from sim_witness import Witness

from protocol.blocks.cid import CID, Block, MemoryBlocks
from protocol.chain.chain import Chain, Step
from protocol.federation.manifest import manifest_at
from protocol.federation.voters import voters_by_role
from protocol.records.bodies import Chained, Comparison, RecomputedAck
from protocol.records.signed_records import Record, read_chained
from protocol.replies.closing_rule import ClosingRule
from protocol.wire.announcement_seals import AnnouncementSeals

PATIENCE = 2 * 3600.0
"""Virtual seconds after the last fault, or the end of one, in which a run comes to its end, else it counts as stuck.
With the worst network it may take most of an hour."""

OFFLINE_BEGIN_WITHIN = 10.0
"""Seconds."""

APPOINTS_WITHIN = 8.0
"""Seconds after the server that is to lead knows of the run."""

GONE_WITHIN = 4.0
"""Seconds after it can be spared."""

SIZES = (90, 8, 2)
"""How many of a hundred drawn scenarios have 2 or 3 clients, 4 to 9, and 10 to 30."""


@dataclass(frozen=True)
class Scenario:
    """What is to be done. Nothing else may change the outcome."""

    clients: int = 3
    rounds: int = 3
    app: str = "rounds"
    remembers: bool = True
    """Whether what a client's app answers depends on its state: a restored home has an older one."""
    newcomer: bool = False
    """Whether a newer manifest reaches one of the peers while the run is on."""
    encrypted: bool = False
    """Whether the federation encrypts. Contents stay plain; what a seed draws is the same each time, keys are not."""
    leaver: bool = False
    """Whether one of the peers hears, while the run is on, that a client was removed which never came."""
    patient: bool = True
    """Whether the leader waits for its clients without end, as it must if they may be away for long."""
    standbys: int = 0
    """How many other servers replay the run; they may come late."""
    elects: bool = False
    """Whether one of them leads it on if the leader is not heard."""
    gone: bool = False
    """Whether the server that began the run is lost for good while it is on."""
    honest: bool = True
    """Whether the leader's app is the one that all others know."""
    witnesses: int = 0
    """How many other servers have to have recomputed what clients train on."""
    closing: ClosingRule | None = None
    """When an exchange closes though replies are not in."""
    appoints: bool = False
    """Whether an admin has one of the servers that stand by lead, some time while the run is on."""
    keeper: bool = False
    """Whether all others can only dial out, to a keeper."""
    approval: bool = False
    """Whether the clients' owners named no app, and approve the run's some time after it waits for that."""

    @classmethod
    def draw(cls, random: Random) -> Scenario:
        """Mostly a small one: what matters is how often things go wrong on the way. What a run costs grows with the
        square of its clients, so that a large one has one round."""
        clients = random.choices((random.randint(2, 3), random.randint(4, 9), random.randint(10, 30)), SIZES)[0]
        return cls(
            clients=clients,
            rounds=random.choice((2, 3)) if clients < 10 else 1,
            app=random.choice(sorted(APPS)),
            newcomer=random.random() < 0.25,
        )


class SimulationFailure(AssertionError):
    """A run that went wrong, with all that it takes to repeat it."""


@dataclass
class Simulation:
    """One run of ``scenario`` under ``faults``; everything that is left open comes from ``seed``."""

    scenario: Scenario
    faults: Faults
    seed: int
    timeline: Timeline = field(default_factory=Timeline)
    patience: float = PATIENCE

    def __post_init__(self) -> None:
        random = Random(self.seed)
        standbys = list(OTHER_SERVERS[: self.scenario.standbys])
        clients = [f"client-{number}" for number in range(1, self.scenario.clients + 1)]
        hub = "keeper" if self.scenario.keeper else None
        desk = [DESK] if self.scenario.appoints else []
        names = ("server", *standbys, *clients, *([] if hub is None else [hub]), *desk)
        blocks, newer = self._manifests(names)
        self.federation = blocks[0].cid
        network = Network(self.timeline, random, self.faults, names, hub)
        self.terms = Terms([_voters(each, self.federation) for each in (blocks, (*newer, *blocks))])
        witness = Witness([_seals(name, (*newer, *blocks), self.federation) for name in names], self.terms)
        shared = self.timeline, random, self.faults, network, witness
        program = partial(APPS[self.scenario.app], self.scenario.rounds)
        who = {name: Identity(name, self.federation) for name in names}
        leads = program if self.scenario.honest else partial(cheating_app, self.scenario.rounds)
        asked = self.scenario.clients, self.scenario.patient, len(standbys), self.scenario.elects
        plan = replace(RUN_PLAN, witnesses=self.scenario.witnesses, closing=self.scenario.closing)
        self.server = Peer("server", Server(who["server"], leads, *asked, begins=True, plan=plan), *shared)
        choices = not self.scenario.approval, self.scenario.remembers
        self.clients = [Peer(name, TrainingClient(who[name], *choices), *shared) for name in clients]
        self.standbys = [Peer(name, Server(who[name], program, *asked, begins=False), *shared) for name in standbys]
        self.keeper = None if hub is None else Peer(hub, HistoryKeeper(who[hub]), *shared)
        for peer in (self.server, *self.clients, *([] if self.keeper is None else [self.keeper])):
            peer.learn(self.federation, by_cid(blocks))
            self.timeline.after(random.uniform(0.0, 2.0), peer.start)
        for peer in self.standbys:
            peer.learn(self.federation, by_cid(blocks))
            self.timeline.after(random.choice((0.0, 1.0, 10.0)) * random.random(), peer.start)
        for _ in range(self.faults.offline_times):
            length = random.uniform(0.5, 1.5) * self.faults.offline_length
            network.leave_for("server", random.uniform(0.0, OFFLINE_BEGIN_WITHIN), length)
        if self.scenario.gone:
            self.timeline.after(LOOKING, partial(self._lose, random.uniform(0.0, GONE_WITHIN)))
        if self.scenario.approval:
            for client in self.clients:
                self.timeline.after(random.uniform(0.0, 20.0), client.approve)
        if self.scenario.appoints:
            self._appoint(Peer(DESK, AdminsCommand(who[DESK]), *shared), blocks, random)
        if newer:
            first_to_know = random.choice((self.server, *self.clients))
            at = random.uniform(0.0, 4.0)
            self.timeline.after(at, lambda: first_to_know.learn(newer[0].cid, by_cid((*newer, *blocks))))

    def _appoint(self, desk: Peer, blocks: tuple[Block, ...], random: Random) -> None:
        desk.learn(self.federation, by_cid(blocks))
        to = random.choice(self.standbys)
        AskedFor(desk, to, random.uniform(0.0, APPOINTS_WITHIN))

    def _manifests(self, names: tuple[str, ...]) -> tuple[tuple[Block, ...], tuple[Block, ...]]:
        """The blocks of the first version, and those of the second if there is to be one."""
        encrypted = self.scenario.encrypted
        if self.scenario.leaver:
            everybody = (*names, "leaver")
            return founded(everybody, encrypted=encrypted), without("leaver", everybody, encrypted=encrypted)
        newer = with_newcomer(names, encrypted=encrypted) if self.scenario.newcomer else ()
        return founded(names, encrypted=encrypted), newer

    def run(self, *, to_the_last: bool = False) -> tuple[Mapping[str, Any], ...]:
        """Let it happen; the outcome of the run. ``to_the_last``: the clients are done, too.

        Raises:
            SimulationFailure: if it does not come to a good end.
        """
        try:
            if not self.timeline.run(lambda: self._is_stuck or self._has_ended(to_the_last), math.inf):
                raise AssertionError("nothing is left that could happen")
            if not self._has_ended(to_the_last):
                raise AssertionError(f"the run is not finished {self.patience:g} s after the last fault")
            return self._judge()
        except Exception as error:
            raise SimulationFailure(
                f"{error!r}\n{self.scenario}\n{self.faults}\nseed {self.seed}; what happened last:\n"
                f"{self.timeline.last_lines}"
            ) from error

    def _lose(self, later: float) -> None:
        """Lose the server for good, some time after all others know of its run, and one of them could lead it: the
        run's seed is on no disk but a server's."""
        known = all(peer.disk.heads for peer in (*self.standbys, *self.clients))
        if known and any(peer.disk.whole(run) for peer in self.standbys for run in peer.disk.heads):
            self.timeline.after(later, self.server.lose)
        else:
            self.timeline.after(LOOKING, partial(self._lose, later))

    @property
    def _is_stuck(self) -> bool:
        return self.timeline.now > self.timeline.disturbed + self.patience

    def _has_ended(self, to_the_last: bool) -> bool:
        return self._is_over(to_the_last) and self._is_kept

    def _is_over(self, to_the_last: bool) -> bool:
        """Whether the server that leads the run by now is done with it; or all peers that are left."""
        if to_the_last:
            return all(peer.finished for peer in (self.server, *self.standbys, *self.clients) if not peer.is_lost)
        return any(peer.finished and _has_closed(peer) for peer in (self.server, *self.standbys))

    @property
    def _is_kept(self) -> bool:
        """Whether the keeper, if there is one, has found the run whole."""
        return self.keeper is None or bool(self.keeper.disk.complete)

    def _judge(self) -> tuple[Mapping[str, Any], ...]:
        """The server's chain holds by every rule, is all there, and takes from each client what that has on disk."""
        disks = [peer.disk for peer in (self.server, *self.standbys) if peer.finished]
        head = disks[0].closed
        assert head is not None
        disk = next((each for each in disks if each.whole(head)), disks[0])
        assert all(each.closed in (head, None) for each in disks), "two servers have closed the run in two ways"
        records = chain_of(head, disk)
        chain = Chain(self.federation, reader_of("server"))
        steps = [chain.append(record, disk) for record in records]
        left_out = {message.id for step in steps for message in step.left_out}
        answered = [answer for step in steps for answer in step.answered if answer.message.id not in left_out]
        self.left_out, self.late = len(left_out), sum(len(step.late) for step in steps)
        assert chain.closed
        needless = {cid for step in steps for cid in _of_disputed(step, disk)}
        assert disk.whole(head, needless), "the closed run is not all on the disk of a server"
        for standby in self.standbys:
            self._judge_standby(standby, records)
        assert self.keeper is None or self.keeper.disk.whole(head), "nor on the keeper's, which says that it is"
        kept = {message: reply.reply for client in self.clients for message, reply in client.disk.replies.items()}
        for answer in answered:
            named = answer.reply.cid if answer.reply else answer.error.refused if answer.error else None
            assert kept[answer.message.id] == named, "the chain has another reply than its client"
        late = {each.message.id: each.reply.cid for step in steps for each in step.late}
        assert late.items() <= kept.items(), "the chain tells of another late reply than its client's"
        return tuple(outcome(records, disk))

    def _judge_standby(self, standby: Peer, chain: list[Record]) -> None:
        """What it signed is of this chain, or of a record that a takeover in it has lost. Of an honest leader it says
        nothing but that it is equal."""
        bodies = [record.body for record in chain]
        for ack in acks_of(key_of(standby.name).verify_key.raw, standby.disk):
            is_in_it, is_lost = chain[ack.height].cid == ack.head, ack.term < bodies[ack.height].term
            assert is_in_it or is_lost, "a standby confirms another chain"
            if isinstance(ack, RecomputedAck) and self.scenario.honest:
                assert ack.recomputed.comparison is Comparison.EQUAL, "a standby contradicts an honest leader"
                assert ack.recomputed.since == 1, "a standby leaves something out"

    @property
    def seconds(self) -> float:
        """Virtual time that passed."""
        return self.timeline.now - EPOCH


def _has_closed(server: Peer) -> bool:
    """Whether it has written the close of the run that it led at last."""
    head = server.disk.closed
    return head is not None and read_chained(head, server.disk).by == key_of(server.name).verify_key.raw


def _seals(name: str, blocks: tuple[Block, ...], federation: CID) -> AnnouncementSeals:
    """Those of the member called ``name``; the first of ``blocks`` is the newest manifest."""
    source, reader = MemoryBlocks(by_cid(blocks)), reader_of(name)
    return AnnouncementSeals(manifest_at(blocks[0].cid, federation, source, reader=reader), source, reader)


def _voters(blocks: tuple[Block, ...], federation: CID) -> frozenset[bytes]:
    """Who votes by the manifest that is the first of ``blocks``."""
    manifest = manifest_at(blocks[0].cid, federation, MemoryBlocks(by_cid(blocks)), reader=reader_of("server"))
    return voters_by_role(manifest)


@cache
def undisturbed(scenario: Scenario) -> tuple[Mapping[str, Any], ...]:
    """What ``scenario`` comes to if nothing goes wrong."""
    return Simulation(scenario, CALM, seed=0).run()


def seen_by_the_app(told: Iterable[Mapping[str, Any]]) -> list[object]:
    """An outcome without what the app did not cause: index and roster records, the manifest in force, who leads, and
    what is encrypted, under other keys each time."""
    seen: list[object] = []
    for record in told:
        seen += [look["nodes"] for look in record["looks"] for _ in range(look["count"])]
        seen += ["nothing"] * record["empties"]
        if record["type"] not in ("roster", "index", "takeover"):
            told = {
                key: record[key] for key in record.keys() - {"by", "term", "height", "looks", "empties", "manifest"}
            }
            seen.append(told if record["epoch"] is None else _without_secrets(told))
    return seen


def _without_secrets(told: Mapping[str, Any]) -> dict[str, Any]:
    left = {key: told[key] for key in told.keys() - {"epoch", "private", "seed"}}
    if "answers" in left:
        left["answers"] = [_without_secrets(answer) for answer in left["answers"]]
    return left


def _of_disputed(step: Step, disk: Disk) -> set[CID]:
    """What a record links that a takeover is against, and nothing before it does: nobody needs it."""
    if not step.dispute:
        return set()
    record = step.dispute[0]
    assert isinstance(record.body, Chained)
    assert record.body.prev is not None
    return {*linked(record.cid, disk)} - {*linked(record.body.prev, disk)}
