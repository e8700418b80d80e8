"""Before it signs in a run, a client hears from its leader what it may have forgotten, and a leader from clients."""

from __future__ import annotations

from attacked import Attacked, nowhere, position
from chains import ALICE, APP, BOB, ENVIRONMENT, SECOND, SERVER, Scribe, begun, id_of, node_of

from protocol.app.calls import AppReady
from protocol.blocks.bundle import NamedBundle
from protocol.blocks.cid import CID
from protocol.roles.client.client import Client
from protocol.roles.client.client_plan import ClientPlan
from protocol.roles.copied_homes import LISTENING
from protocol.roles.effects import (
    FetchContent,
    FetchRecord,
    Hand,
    KeepPlace,
    KeepReply,
    Publish,
    Report,
    Store,
    What,
    WriteHead,
)
from protocol.roles.leader.clients_here import MAX_UNKNOWN_RUNS
from protocol.roles.leader.leader import Leader
from protocol.roles.leader.run_plan import LeaderSettings, ResumedRun, RunPlan
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.wire.announcements import (
    Head,
    Hello,
    Known,
    ManifestRef,
    PeerState,
    Position,
    Recall,
    Recalled,
    parse_announcement,
)

SESSION = bytes(16)


def client_of(scribe: Scribe) -> Attacked:
    """Alice's client, which has a message, and has listened for copies."""
    author = Author(id_of(ALICE), (ALICE,), 1 << 32, session=SESSION)
    client = Attacked(
        Client(author, TrustedManifest(scribe.first, scribe.source), ClientPlan(APP, bytes(32)), {}), scribe
    )
    client.feed(AppReady(ENVIRONMENT))
    client.say(SERVER, Head(position(scribe)))
    client.wait(LISTENING + 0.1)
    client.give_all()
    return client


def asked(peer: Attacked) -> list[Recall]:
    bodies = [parse_announcement(effect.data).announcement.body for effect in peer.all(Publish)]
    return [body for body in bodies if isinstance(body, Recall) and body.run is not None]


def message_of(scribe: Scribe) -> bytes:
    manifest = scribe.first
    return next(m.id for m in scribe.chain.open.values() if manifest.member_by_node(m.node).id == id_of(ALICE))


def told(scribe: Scribe, *answers: Known, session: bytes = SESSION, ack=None) -> Recalled:
    return Recalled(id_of(ALICE), session, position(scribe), answers, ack)


def test_a_client_begins_no_message_before_the_leader_has_said_that_it_has_no_answer() -> None:
    scribe = begun()
    client = client_of(scribe)
    assert asked(client)[-1].messages == (message_of(scribe),)
    assert not client.all(FetchContent)
    client.say(SERVER, told(scribe, Known(message_of(scribe), None)))
    assert client.all(FetchContent)


def test_what_others_say_or_was_said_to_another_process_does_not_count() -> None:
    scribe = begun()
    client = client_of(scribe)
    client.say(BOB, told(scribe, Known(message_of(scribe), None)))
    client.say(SERVER, told(scribe, Known(message_of(scribe), None), session=b"x" * 16))
    assert not client.all(FetchContent)


def test_a_reply_that_is_none_of_ours_is_neither_kept_nor_gone_round() -> None:
    scribe = begun()
    client = client_of(scribe)
    client.say(SERVER, told(scribe, Known(message_of(scribe), nowhere("a reply"))))
    assert not client.all(FetchContent)
    assert not client.all(KeepReply)


def leader_of(scribe: Scribe) -> Attacked:
    """The leader of a scribe's run, which starts again with all of it."""
    author = Author(id_of(SERVER), (SERVER,), 1 << 32, session=SESSION)
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3)
    trusted = TrustedManifest(scribe.first, scribe.source)
    return Attacked(
        Leader(author, trusted, plan, LeaderSettings(1, 60.0), ResumedRun(scribe.chain, scribe.chain.recent)), scribe
    )


def test_a_client_that_asks_without_end_is_told_once_in_a_while() -> None:
    scribe = begun()
    leader = leader_of(scribe)
    leader.wait(120.0)
    for _ in range(100):
        leader.now += 0.001
        leader.say(ALICE, Recall(bytes(16), scribe.chain.run, (message_of(scribe),)))
    said = [parse_announcement(each.data).announcement.body for each in leader.all(Publish)]
    assert len([body for body in said if isinstance(body, Recalled)]) == 1


def waiting_leader_of(scribe: Scribe, told_past: int) -> Attacked:
    """The leader of a run whose owner lets it wait for the members; so many of two have said what they know."""
    author = Author(id_of(SERVER), (SERVER,), 1 << 32, session=SESSION)
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3)
    settings = LeaderSettings(1, 60.0, waits_for_members=True)
    resumed = ResumedRun(scribe.chain, scribe.chain.recent)
    leader = Attacked(Leader(author, TrustedManifest(scribe.first, scribe.source), plan, settings, resumed), scribe)
    leader.feed(AppReady(ENVIRONMENT))
    for member in (ALICE, BOB)[:told_past]:
        leader.say(member, Recalled(id_of(SERVER), SESSION, position(scribe)))
    for _ in range(60):
        leader.wait(1.0)
    return leader


def test_a_leader_that_waits_for_its_members_gives_its_app_no_run_before_all_have_spoken() -> None:
    leader = waiting_leader_of(begun(), 1)
    assert not leader.all(Hand)
    assert not leader.all(KeepPlace)
    (waiting,) = [report for report in leader.all(Report) if report.fields.get("lacking") == "past"]
    assert waiting.fields["whom"] == "bob"


def test_once_all_have_spoken_it_goes_on_and_keeps_its_place() -> None:
    leader = waiting_leader_of(begun(), 2)
    assert leader.all(Hand)
    assert len(leader.all(KeepPlace)) == 1


def ahead(scribe: Scribe) -> Position:
    return Position(scribe.chain.run, nowhere("a head"), scribe.chain.height + 3, 1)


def test_a_head_that_nobody_has_is_looked_for_once_and_holds_the_leader_no_longer() -> None:
    leader = leader_of(begun())
    scribe = leader.scribe
    recalled = Recalled(id_of(SERVER), SESSION, ahead(scribe))
    leader.say(ALICE, recalled)
    (looked,) = leader.all(FetchRecord)
    assert leader.machine._forgotten.holds
    leader.fail(looked)
    leader.say(ALICE, recalled)
    assert leader.all(FetchRecord) == [looked]
    assert not leader.machine._forgotten.holds
    assert not leader.all(Store)
    assert not leader.all(WriteHead)


def beginning(scribe: Scribe, *known: CID) -> Attacked:
    """A leader that begins another run in a scribe's federation, whose home knows of some runs."""
    author = Author(id_of(SERVER), (SERVER,), 1 << 32, session=SESSION)
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3)
    settings = LeaderSettings(1, 60.0, known_runs=frozenset(known))
    return Attacked(Leader(author, TrustedManifest(scribe.first, scribe.source), plan, settings), scribe)


def is_in(scribe: Scribe, run: CID) -> Hello:
    manifest = ManifestRef(scribe.first.cid, scribe.first.version)
    return Hello(manifest, PeerState.IDLE, position(scribe, run=run))


def test_a_run_that_only_clients_know_is_told_once() -> None:
    scribe = begun()
    leader = beginning(scribe)
    leader.say(ALICE, is_in(scribe, scribe.chain.run))
    leader.say(BOB, is_in(scribe, scribe.chain.run))
    (told,) = leader.reported(What.RUN_UNKNOWN)
    assert (told["name"], told["run"]) == ("alice", str(scribe.chain.run))


def test_an_older_run_that_this_home_knows_is_not_told() -> None:
    scribe = begun()
    leader = beginning(scribe, scribe.chain.run)
    leader.say(ALICE, is_in(scribe, scribe.chain.run))
    assert not leader.reported(What.RUN_UNKNOWN)


def test_a_client_that_names_many_runs_is_told_of_for_a_few() -> None:
    scribe = begun()
    leader = beginning(scribe)
    for number in range(20):
        leader.say(ALICE, is_in(scribe, nowhere(str(number))))
        leader.wait(600.0)
    assert len(leader.reported(What.RUN_UNKNOWN)) <= MAX_UNKNOWN_RUNS


def test_the_server_that_was_elected_is_asked_again_before_anything_is_signed() -> None:
    scribe = begun()
    client = client_of(scribe)
    client.say(SERVER, Recalled(id_of(ALICE), SESSION, position(scribe)))
    before = len(asked(client))
    scribe.lead()
    scribe.add(scribe.dispatch(scribe.group(ALICE)))
    client.say(SECOND, Head(position(scribe)))
    client.give_all()
    assert len(asked(client)) == before + 1
    ours = [message.id for message in scribe.chain.open.values() if message.node == node_of(ALICE)]
    assert list(asked(client)[-1].messages) == ours
    assert not client.all(Hand)[1:]
