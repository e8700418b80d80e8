"""A run that needs a witness comes to its end whatever goes wrong, and nobody trains on what a leader cheats with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sim_disk import Disk, chain_of
from sim_faults import CALM, Faults
from sim_numbers import some
from sim_peer import Peer
from simulation import Scenario, Simulation, seen_by_the_app, undisturbed

from protocol.blocks.cid import CID
from protocol.records.bodies import Comparison, DispatchPrivate, RecomputedAck, Reply, Takeover, TakeoverCause
from protocol.records.private_parts import parse_private
from protocol.records.signed_records import parse_record, read_chained, read_record
from protocol.roles.effects import Effect, Report, What
from protocol.roles.leader.leader import Leader

ROUGH = Faults(loss=0.4, duplication=0.4, delay=0.02, stragglers=0.1, crash_chance=0.02, crashes=4, downtime=1.0)
WITHIN = 120.0
"""Seconds of virtual time in which a leader that cheats has been stopped."""


@pytest.mark.parametrize("seed", some(1, of=100))
def test_a_witnessed_run_ends_with_the_undisturbed_model(seed: int) -> None:
    scenario = Scenario(clients=2, standbys=1)
    run = Simulation(replace(scenario, witnesses=1), ROUGH, seed)
    assert run.run(to_the_last=True) == undisturbed(scenario)


def test_no_client_trains_on_what_a_leader_sends_that_its_witness_contradicts_nor_answers_anything_after() -> None:
    run = Simulation(Scenario(witnesses=1, clients=2, standbys=1, honest=False), CALM, 1)
    run.timeline.run(lambda: False, WITHIN)
    (standby,) = run.standbys
    words = [parse_record(block).body for block in standby.disk.acks.values()]
    told = [ack for ack in words if isinstance(ack, RecomputedAck)]
    (against,) = [ack for ack in told if ack.recomputed.comparison is Comparison.DIVERGED]
    answered = [_answered(client.disk, reply.reply) for client in run.clients for reply in client.disk.replies.values()]
    assert max(height for height, _ in answered) <= against.height
    assert 0 < max(height for height, kind in answered if kind == "train") < against.height
    assert run.server.disk.closed is None


@pytest.mark.parametrize("stops", [True, False], ids=["stops", "goes-on"])
def test_two_servers_that_contradict_a_third_lead_on_from_before_and_the_model_is_the_honest_one(
    stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Simulation(Scenario(witnesses=1, clients=2, rounds=4, standbys=2, elects=True, honest=False), CALM, 1)
    if stops:  # as an honest server does if another contradicts it; and nobody starts it again
        monkeypatch.setattr(run.server, "_stopped", lambda why: run.server.lose())
    else:
        monkeypatch.setattr(Leader, "_stop_if_disputed", lambda self, now: None)
    told = run.run()
    (takeover,) = (each for each in told if each["type"] == "takeover")
    assert (
        takeover["height"] == 7
    )  # in the place of the dispatch that it cheated in: the model after round 2's training
    assert seen_by_the_app(told) == seen_by_the_app(undisturbed(Scenario(clients=2, rounds=4)))
    (written,) = (body for body in _takeovers(run) if body.against is not None)
    assert (written.cause, written.height) == (TakeoverCause.DISPUTE, 7)


def test_who_crashes_between_laying_a_dispatch_down_and_its_vote_lays_it_down_again_and_votes() -> None:
    run = Simulation(Scenario(witnesses=1, clients=2, rounds=4, standbys=2, elects=True, honest=False), CALM, 1)
    followers = [*run.standbys, *run.clients]
    laid_down = [_crashes_once_laid_down(each) for each in followers]
    run.server._stopped = lambda why: run.server.lose()  # type: ignore[method-assign]  # nobody starts it again
    told = run.run()
    assert seen_by_the_app(told) == seen_by_the_app(undisturbed(Scenario(clients=2, rounds=4)))
    voted = [len(times) for peer, times in zip(followers, laid_down, strict=True) if peer.disk.votes]
    assert (len(voted) >= 3, set(voted)) == (True, {2})  # of five voters
    (written,) = (body for body in _takeovers(run) if body.against is not None)
    assert written.height == 7


def _crashes_once_laid_down(peer: Peer) -> list[Report]:
    """Have a peer crash the first time that it lays something down, before anything else. What it lays down."""
    carry_out, laid_down = peer._carry_out, list[Report]()

    def crash_or_carry_out(effect: Effect) -> None:
        carry_out(effect)
        if isinstance(effect, Report) and effect.what is What.LAID_DOWN:
            laid_down.append(effect)
            if len(laid_down) == 1:
                assert peer.disk.votes == {}
                peer.crash("crashes before its vote")

    peer._carry_out = crash_or_carry_out  # type: ignore[method-assign]  # each peer has its own moment
    return laid_down


def _takeovers(run: Simulation) -> Iterator[Takeover]:
    server = next(each for each in run.standbys if each.disk.closed is not None)
    assert server.disk.closed is not None
    for record in chain_of(server.disk.closed, server.disk):
        if isinstance(record.body, Takeover):
            yield record.body


def _answered(disk: Disk, reply: CID) -> tuple[int, str]:
    """The height of the dispatch that a reply answers, and the type of its messages."""
    body = read_record(reply, disk).body
    assert isinstance(body, Reply)
    dispatch = read_chained(body.dispatch, disk)
    ((kind, _),) = parse_private(dispatch.private, DispatchPrivate).kinds
    return dispatch.height, kind
