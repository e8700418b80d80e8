"""A leader says of what another server has sent that its own app came to the same: nobody else may be here who can."""

from __future__ import annotations

from dataclasses import replace

import pytest
from attacked import Attacked, position
from chains import ALICE, APP, BOB, CONTENT, DAVE, ENVIRONMENT, SECOND, TTL, Scribe, id_of, node_of
from test_succession import SETTINGS, AServer

from protocol.app.calls import AppReady, Compared, NextEntry, Outgoing, Push
from protocol.blocks.bundle import NamedBundle
from protocol.federation.epochs import seed_block
from protocol.records.bodies import Comparison, RecomputedAck
from protocol.records.signed_records import parse_record
from protocol.replay.differences import Difference
from protocol.roles.effects import KeepAcks, Publish
from protocol.roles.events import AppCalled
from protocol.roles.leader.leader import Leader
from protocol.roles.leader.run_plan import ResumedRun, RunPlan, TermStart
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.standby.standby_plan import SignedAcks
from protocol.status.role_status import Lack
from protocol.wire.announcements import AckReady, Beat, Hello, PeerState, parse_announcement

ROUNDING = Difference("it differs", "arrays", "w", largest=1e-9, ulps=1.0)


def run(witnesses: int = 1, kind: str = "train") -> Scribe:
    """A run with one dispatch."""
    made = Scribe()
    seed = seed_block(bytes(32), None)
    made.source.add(seed)
    made.add(made.run(seed=seed.cid, witnesses=witnesses))
    made.add(made.dispatch(made.group(ALICE, BOB, type=kind), kinds=((kind, "1"),)))
    return made


def standing(witnesses: int = 1, kind: str = "train") -> AServer:
    """A standby whose app was given the first dispatch of a run, and has not compared it."""
    server = AServer(run(witnesses, kind))
    server.hears()
    server.feed(AppReady(ENVIRONMENT))
    server.asks()
    return server


def leading(witnesses: int = 1, kind: str = "train") -> AServer:
    """It has been elected since."""
    server = standing(witnesses, kind)
    server.wins()
    return server


def started_again(kept: SignedAcks, *, remembers: bool) -> tuple[Attacked, Scribe]:
    """A leader whose process before has taken the run over, and whose app replays it."""
    made = run()
    made.lead(leader=SECOND)
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3, witnesses=1, began_in=ENVIRONMENT)
    resumed = ResumedRun(made.chain, list(made.chain.recent), terms=[TermStart(0, 1), TermStart(2, 2)])
    settings = replace(SETTINGS, remembers=lambda _run: remembers, grace=0.0)
    trusted = TrustedManifest(made.first, made.source)
    author = Author(id_of(SECOND), (SECOND,), 1, session=bytes(16))
    leader = Attacked(Leader(author, trusted, plan, settings, resumed, kept={made.chain.run: kept}), made)
    leader.wait(60.0)
    for voter in (ALICE, BOB, DAVE):
        leader.say(voter, Beat(leader.manifest, PeerState.WORKING, position(made, term=2)))
    leader.feed(AppReady(ENVIRONMENT))
    for call in (1, 2):
        leader.feed(AppCalled(NextEntry(call)))
        leader.give_all()
    leader.feed(AppCalled(Compared(1, 2)))
    return leader, made


def compares(server: AServer, difference: Difference | None = None) -> None:
    server.feed(AppCalled(Compared(1, 2, difference)))
    server.here()


def words(server: Attacked) -> list[tuple[int, int, int, Comparison]]:
    """Of its words that are on disk: the term, from where to where, and what it says."""
    bodies = [parse_record(block).body for keep in server.all(KeepAcks) for block in keep.blocks]
    return [
        (body.term, body.recomputed.since, body.height, body.recomputed.comparison)
        for body in bodies
        if isinstance(body, RecomputedAck) and body.by == id_of(SECOND)
    ]


def told(server: AServer) -> int:
    """How often it has announced one to all."""
    said = [parse_announcement(each.data) for each in server.all(Publish)]
    return sum(isinstance(each.announcement.body, AckReady) for each in said)


def lacks_witnesses(server: AServer) -> bool:
    role = server.server.role
    assert isinstance(role, Leader)
    return Lack.WITNESSES in {wait.lack for wait in role.machine.status(server.now).waits}


def test_it_says_so_of_its_own_takeover_and_all_before_once_its_app_came_to_the_same() -> None:
    server = leading()
    assert (words(server), lacks_witnesses(server)) == ([], True)
    compares(server)
    assert words(server) == [(2, 1, 2, Comparison.EQUAL)]
    server.wait(0.0)
    assert not lacks_witnesses(server)


def test_it_says_so_again_as_long_as_the_message_is_open_and_signs_once() -> None:
    server = leading()
    compares(server)
    for _ in range(40):
        server.wait(60.0)
    assert told(server) > 20
    assert len(words(server)) == 1


def test_it_says_so_soon_to_who_comes() -> None:
    server = leading()
    compares(server)
    server.wait(600.0)
    before = told(server)
    server.say(ALICE, Hello(server.server.newest.ref, PeerState.IDLE, None, ""))
    server.wait(1.0)
    assert told(server) == before + 1


def test_what_it_signed_as_a_standby_counts_and_is_said_again() -> None:
    server = standing()
    compares(server)
    server.wins()
    server.asks()
    before = told(server)
    server.wait(600.0)
    assert told(server) > before
    assert words(server) == [(1, 1, 1, Comparison.EQUAL)]
    assert not lacks_witnesses(server)


@pytest.mark.parametrize(("witnesses", "kind"), [(0, "train"), (1, "evaluate")])
def test_it_says_nothing_if_no_client_waits_for_it(witnesses: int, kind: str) -> None:
    server = leading(witnesses, kind)
    compares(server)
    assert not words(server)


def test_it_says_nothing_of_what_its_app_did_otherwise() -> None:
    server = leading()
    compares(server, ROUNDING)
    assert not words(server)
    assert lacks_witnesses(server)


def test_it_says_nothing_of_what_it_sends_itself() -> None:
    server = leading(kind="evaluate")
    compares(server)
    server.asks()
    server.asks()
    server.feed(AppCalled(Push(1, (Outgoing(CONTENT, "train", "2", TTL, node_of(ALICE)),))))
    server.here()
    assert [body.TYPE for body in server.written] == ["takeover", "dispatch"]
    assert not words(server)


def test_a_process_that_goes_on_with_its_term_says_so_too() -> None:
    leader, _ = started_again(SignedAcks(), remembers=True)
    assert words(leader) == [(2, 1, 2, Comparison.EQUAL)]


@pytest.mark.parametrize(("acked", "remembers"), [((2, 2), True), ((0, -1), False)])
def test_a_process_that_has_said_so_or_may_have_forgotten_that_signs_nothing(
    acked: tuple[int, int], remembers: bool
) -> None:
    leader, _ = started_again(SignedAcks(acked), remembers=remembers)
    assert not words(leader)


def test_a_process_that_has_contradicted_the_run_signs_nothing() -> None:
    contradicted = run().chain.head
    leader, made = started_again(SignedAcks((1, 1), contradicted=contradicted), remembers=True)
    assert contradicted in made.chain.recent
    assert not words(leader)
