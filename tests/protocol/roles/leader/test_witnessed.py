"""The leader of a run that needs witnesses: whom clients wait for counts against none of them."""

from __future__ import annotations

from typing import Any

import pytest
from attacked import Attacked
from chains import ADMIN, ALICE, APP, BOB, CONTENT, ENVIRONMENT, MEMBERS, SECOND, SERVER, TIME, Scribe, id_of, node_of

from protocol.app.calls import AppReady, Finished, Outgoing, Push, Wait
from protocol.blocks.bundle import NamedBundle
from protocol.blocks.cid import Block
from protocol.blocks.listing import Listing
from protocol.federation.unsigned_versions import without_member
from protocol.records.bodies import Comparison, Dispatch, Recomputed, RecomputedAck
from protocol.records.signed_records import parse_record, sign_record
from protocol.roles.effects import KeepAcks, StartApp, Stop, StopCause, Store, What
from protocol.roles.events import AppCalled
from protocol.roles.leader.leader import LONGEST_LINGER, Leader
from protocol.roles.leader.run_plan import LeaderSettings, ResumedRun, RunPlan
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.status.role_status import Doing, Lack
from protocol.wire.announcements import AckReady, Beat, PeerState, Position

CLIENT_TIMEOUT, WITNESS_TIMEOUT = 60.0, 300.0


def leading(witnesses: int = 1) -> Attacked:
    """A leader that has sent a message to Alice and one to Bob, and whose app waits for the answers."""
    scribe = Scribe(MEMBERS)
    trusted = TrustedManifest(scribe.first, scribe.source)
    settings = LeaderSettings(2, CLIENT_TIMEOUT, witness_timeout=WITNESS_TIMEOUT)
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3, witnesses=witnesses)
    leader = Attacked(Leader(Author(id_of(SERVER), (SERVER,), 1), trusted, plan, settings), scribe)
    leader.feed(AppReady(ENVIRONMENT))
    push(leader)
    leader.feed(AppCalled(Wait(2, tuple(leader.machine.chain.open), None)))
    return leader


def push(leader: Attacked, call: int = 1) -> None:
    sent = tuple(Outgoing(CONTENT, "train", str(call), 1e6, node_of(client)) for client in (ALICE, BOB))
    leader.feed(AppCalled(Push(call, sent, None)))


def word(leader: Attacked, comparison: Comparison = Comparison.EQUAL, **changes: Any) -> Block:
    """What the second server signs of the head."""
    chain = leader.machine.chain
    told = Recomputed(since=1, comparison=comparison, message=None, content=None)
    given = {"by": id_of(SECOND), "time": TIME, "run": chain.run, "term": 1, "height": chain.height, "head": chain.head}
    return sign_record(RecomputedAck(**given, replies=Listing(()), recomputed=told), [SECOND])


def tell(leader: Attacked, ack: Block) -> None:
    leader.say(SECOND, AckReady(leader.machine.chain.run, ack.cid), blocks=[ack])


def sent(leader: Attacked) -> int:
    bodies = [parse_record(store.blocks[0]).body for store in leader.all(Store)]
    return sum(isinstance(body, Dispatch) for body in bodies)


def test_a_clients_time_begins_when_enough_servers_have_recomputed_its_message() -> None:
    leader = leading()
    leader.wait(10 * CLIENT_TIMEOUT)
    assert not leader.reported(What.MESSAGE_GIVEN_UP)
    tell(leader, word(leader))
    leader.wait(CLIENT_TIMEOUT - 1)
    assert not leader.reported(What.MESSAGE_GIVEN_UP)
    leader.wait(2)
    assert len(leader.reported(What.MESSAGE_GIVEN_UP)) == 2


def test_no_exchange_begins_once_witnesses_were_waited_for_too_long_until_they_are_back() -> None:
    leader = leading()
    leader.wait(WITNESS_TIMEOUT + 1)
    push(leader, 3)
    assert sent(leader) == 1
    assert leader.machine.machine.status(leader.now).is_paused
    tell(leader, word(leader))
    assert sent(leader) == 2
    assert [len(leader.reported(what)) for what in (What.WITNESSES_AWAITED, What.WITNESSED)] == [1, 1]


def test_the_status_names_those_that_are_waited_for_and_how_far_they_are() -> None:
    leader = leading()
    status = leader.machine.machine.status(leader.now)
    (wait,) = (wait for wait in status.waits if wait.lack is Lack.WITNESSES)
    assert (wait.whom, wait.here, wait.needed, wait.until) == (("second server",), 0, 1, TIME + WITNESS_TIMEOUT)
    tell(leader, word(leader))
    status = leader.machine.machine.status(leader.now)
    assert [(each.name, each.height) for each in status.witnesses] == [("second server", 1)]
    assert Lack.WITNESSES not in {wait.lack for wait in status.waits}
    assert all(each.doing is not Doing.WORKING or each.answer_by is not None for each in status.members)


def test_a_contradicted_leader_keeps_the_word_and_stops() -> None:
    leader = leading()
    against = word(leader, Comparison.DIVERGED)
    tell(leader, against)
    assert [keep.blocks for keep in leader.all(KeepAcks)] == [(against,)]
    (stop,) = leader.all(Stop)
    assert (stop.cause, "second server" in stop.why, "height 1" in stop.why) == (StopCause.DISPUTE, True, True)


def test_a_leader_that_is_contradicted_at_its_close_alone_ends_with_that() -> None:
    leader = leading()
    tell(leader, word(leader))
    leader.wait(CLIENT_TIMEOUT + 1)
    chain = leader.machine.chain
    here = Position(chain.run, chain.head, chain.height, chain.term)
    leader.say(SECOND, Beat(leader.manifest, PeerState.WORKING, here))
    leader.feed(AppCalled(Finished(3, None, "")))
    assert chain.closed
    tell(leader, word(leader, Comparison.DIVERGED))
    leader.wait(LONGEST_LINGER)
    assert [stop.cause for stop in leader.all(Stop)] == [StopCause.DISPUTE]


@pytest.mark.parametrize("comparison", Comparison)
def test_a_run_that_needs_none_goes_on_whatever_another_server_says(comparison: Comparison) -> None:
    leader = leading(witnesses=0)
    tell(leader, word(leader, comparison))
    leader.wait(CLIENT_TIMEOUT - 1)
    push(leader, 3)
    assert (sent(leader), leader.all(Stop)) == (2, [])


@pytest.mark.parametrize("still_a_member", [True, False])
def test_a_contradicted_leader_that_is_started_again_goes_on_only_without_the_server_that_spoke_against_it(
    still_a_member: bool,
) -> None:
    scribe = Scribe(MEMBERS)
    scribe.add(scribe.run(witnesses=1))
    scribe.add(scribe.dispatch())
    chain, manifest = scribe.chain, scribe.first
    if not still_a_member:
        unsigned = without_member(manifest, id_of(SECOND), by=id_of(ADMIN), time=TIME)
        manifest = scribe.read_manifest(scribe.next_manifest(unsigned).cid)
    told = Recomputed(since=1, comparison=Comparison.DIVERGED, message=None, content=None)
    given = {"by": id_of(SECOND), "time": TIME, "run": chain.run, "term": 1, "height": chain.height, "head": chain.head}
    against = sign_record(RecomputedAck(**given, replies=Listing(()), recomputed=told), [SECOND])
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3, witnesses=1)
    run = ResumedRun(chain, chain.recent, (against,))
    author, trusted = Author(id_of(SERVER), (SERVER,), 1 << 32), TrustedManifest(manifest, scribe.source)
    leader = Attacked(Leader(author, trusted, plan, LeaderSettings(1, CLIENT_TIMEOUT), run), scribe)
    assert [stop.cause for stop in leader.all(Stop)] == ([StopCause.DISPUTE] if still_a_member else [])
    assert bool(leader.all(StartApp)) is not still_a_member
