"""What members confirm: kept by themselves and by the leader, true, and never twice at one height."""

from __future__ import annotations

import pytest
from sim_disk import chain_of
from sim_faults import CALM, Faults
from sim_numbers import some
from sim_roles import acks_of
from simulation import Scenario, Simulation

from protocol.records.bodies import Ack, Chained

ROUGH = Faults(loss=0.4, duplication=0.4, delay=0.02, stragglers=0.1, crash_chance=0.02, crashes=4, downtime=1.0)


def finished(faults: Faults, seed: int = 6) -> Simulation:
    """A run in which a client may have two messages open at one height."""
    run = Simulation(Scenario(clients=3, rounds=4, app="crossing"), faults, seed)
    run.run()
    return run


@pytest.mark.parametrize("seed", some(2, of=4))
def test_each_ack_confirms_the_chain_and_none_is_at_one_height_with_another(seed: int):
    run = finished(ROUGH, seed)
    head = run.server.disk.closed
    assert head is not None
    chain = [record.cid for record in chain_of(head, run.server.disk)]
    for client in run.clients:
        acks = acks_of(client.role.identity.member, client.disk)
        assert [ack.head for ack in acks] == [chain[ack.height] for ack in acks]
        assert len({ack.height for ack in acks}) == len(acks)


@pytest.mark.parametrize("faults", [CALM, ROUGH], ids=["calm", "rough"])
def test_acks_list_each_reply_of_their_member_once(faults: Faults):
    for client in finished(faults).clients:
        listed = [reply for ack in acks_of(client.role.identity.member, client.disk) for reply in ack.replies.value]
        kept = [each.reply for each in client.disk.replies.values()]
        assert listed == kept[: len(listed)]
        assert faults is ROUGH or listed == kept


def test_the_leader_keeps_what_its_clients_confirm():
    run = finished(CALM)
    for client in run.clients:
        *acks, _ = client.disk.acks  # a beat may overtake that of the close, and end the run
        assert set(acks) <= set(run.server.disk.acks)


def test_a_client_acks_the_close_and_once_for_each_message_it_answers():
    run = finished(CALM)
    head = run.server.disk.closed
    assert head is not None
    last = chain_of(head, run.server.disk)[-1].body
    assert isinstance(last, Chained)
    for client in run.clients:
        acks: list[Ack] = acks_of(client.role.identity.member, client.disk)
        assert acks[-1].height == last.height
        assert len(acks) <= len(client.disk.replies) + 1
