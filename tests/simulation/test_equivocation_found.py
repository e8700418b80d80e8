"""A member that signs two records at one place is found out by all that see both, and nobody follows it any more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from sim_disk import chain_of
from sim_faults import CALM, Faults
from sim_federation import key_of
from sim_peer import Peer
from simulation import Scenario, Simulation

from protocol.blocks.cid import Block
from protocol.federation.manifest import node_id
from protocol.records.bodies import Chained, Dispatch, Group, Reply
from protocol.records.signed_records import parse_record, sign_record, typed_items
from protocol.roles.server.server import Server
from protocol.wire.announcements import (
    Announcement,
    Head,
    Position,
    ReplyReady,
    Said,
    sign_announcement,
    topic_all,
    topic_leader,
)

LOSSY = Faults(loss=0.5, duplication=0.3, delay=0.02, stragglers=0.1)


class TwoFaced:
    """Says in the name of a peer what its honest process does not: ``who`` has a copy of its key."""

    def __init__(self, run: Simulation, who: Peer) -> None:
        self.run = run
        self.who = who

    def say(self, body: Said, block: Block, topic: str, to: Iterable[Peer]) -> None:
        key = key_of(self.who.name)
        assert self.who._machine is not None
        acting = (self.who._machine.role if isinstance(self.who._machine, Server) else self.who._machine).machine.acting
        counter, acting.counter = acting.counter, acting.counter + 1  # or the honest half would not be heard
        said = Announcement(self.run.federation, key.verify_key.raw, counter, body, (), (block,))
        for peer in to:
            self.run.timeline.after(0.01, lambda peer=peer: peer._hear(sign_announcement(said, key)))

    def other_head(self, to: Iterable[Peer]) -> None:
        """Another record in the place of the newest that all clients have."""
        disk = self.who.disk
        (head,) = disk.heads.values()
        last = chain_of(head.head, disk)[-1].body
        assert isinstance(last, Chained)
        block = sign_record(replace(last, time=last.time + 1), [key_of(self.who.name)])
        self.say(Head(Position(head.run, block.cid, last.height, 1)), block, topic_all(self.run.federation), to)

    def other_reply(self) -> None:
        """Another reply to the message that it has answered last."""
        kept = list(self.who.disk.replies.values())[-1]
        body = parse_record(Block(kept.reply, self.who.disk.blocks[kept.reply])).body
        assert isinstance(body, Reply)
        block = sign_record(replace(body, created=body.created + 1), [key_of(self.who.name)])
        ready = ReplyReady(body.run, body.message, block.cid)
        self.say(ready, block, topic_leader(self.run.federation), [self.run.server])


def convicted(peer: Peer) -> set[bytes]:
    return {found.key for found in peer.disk.proofs}


def server_found_out(faults: Faults, seed: int) -> Simulation:
    """Once each client has answered, one of them is shown another head."""
    run = Simulation(Scenario(clients=3, rounds=400), faults, seed)
    assert run.timeline.run(lambda: all(client.disk.replies for client in run.clients), 60.0)
    TwoFaced(run, run.server).other_head(run.clients[:1])
    run.timeline.run(lambda: all(client.disk.proofs for client in run.clients), 60.0)
    return run


@pytest.mark.parametrize("faults", [CALM, LOSSY], ids=["calm", "lossy"])
def test_a_server_that_shows_one_client_another_head_is_followed_by_none(faults: Faults):
    run = server_found_out(faults, seed=4)
    assert [convicted(client) for client in run.clients] == [{key_of("server").verify_key.raw}] * 3
    answered = [len(client.disk.replies) for client in run.clients]
    run.timeline.run(lambda: False, 30.0)
    assert [len(client.disk.replies) for client in run.clients] == answered


def test_a_client_that_starts_again_still_knows_whom_not_to_follow():
    run = server_found_out(CALM, seed=4)
    client = run.clients[1]
    answered = len(client.disk.replies)
    client.crash()
    run.timeline.run(lambda: False, 30.0)
    assert len(client.disk.replies) == answered


@pytest.mark.parametrize("faults", [CALM, LOSSY], ids=["calm", "lossy"])
def test_a_client_that_answers_twice_is_asked_no_more(faults: Faults):
    run = Simulation(Scenario(clients=3, rounds=30), faults, seed=3)
    liar = run.clients[0]
    assert run.timeline.run(lambda: bool(liar.disk.replies), 60.0)
    twice = TwoFaced(run, liar)
    for time in range(20):  # the leader may not have heard the first one yet
        run.timeline.after(0.3 * time, twice.other_reply)
    assert run.timeline.run(lambda: run.server.finished, 1200.0)
    assert convicted(run.server) == {key_of(liar.name).verify_key.raw}
    assert node_id(liar.role.identity.member) not in last_asked(run)


def last_asked(run: Simulation) -> set[int]:
    """The nodes that the last dispatch of the finished run is for."""
    head = run.server.disk.closed
    assert head is not None
    *_, last = (record.body for record in chain_of(head, run.server.disk) if isinstance(record.body, Dispatch))
    return {node for group in typed_items(last.groups, Group, run.server.disk) for _, node in group.to}
