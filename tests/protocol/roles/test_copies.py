"""If two processes have one key, exactly one goes on, and what was said before stops none."""

from __future__ import annotations

from itertools import product

import pytest
from attacked import Attacked
from chains import ALICE, APP, ENVIRONMENT, SERVER, TIME, Scribe, id_of

from protocol.app.calls import AppReady
from protocol.blocks.bundle import NamedBundle
from protocol.roles.client.client import Client
from protocol.roles.client.client_plan import ClientPlan
from protocol.roles.copied_homes import LISTENING, CopiedHomes
from protocol.roles.effects import Publish, Stop, StopCause, Store
from protocol.roles.events import Due, Received
from protocol.roles.leader.leader import Leader
from protocol.roles.leader.run_plan import LeaderSettings, RunPlan
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.offline_times import OfflineTimes
from protocol.wire.announcements import (
    Alive,
    Announcement,
    Beat,
    Drop,
    ManifestRef,
    PeerState,
    Recall,
    Said,
    parse_announcement,
    sign_announcement,
)

OURS, THEIRS = bytes(16), bytes(15) + b"\1"


def said(peer: Attacked, kind: type[Said]) -> list[Said]:
    """What a peer has announced, of a kind."""
    bodies = [parse_announcement(effect.data).announcement.body for effect in peer.all(Publish)]
    return [body for body in bodies if isinstance(body, kind)]


def leader(session: bytes = OURS, first_counter: int = 100) -> Attacked:
    scribe = Scribe()
    author = Author(id_of(SERVER), (SERVER,), first_counter, session=session)
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3)
    machine = Leader(author, TrustedManifest(scribe.first, scribe.source), plan, LeaderSettings(1, 60.0))
    return Attacked(machine, scribe)


def client(session: bytes = OURS, first_counter: int = 100) -> Attacked:
    scribe = Scribe()
    author = Author(id_of(ALICE), (ALICE,), first_counter, session=session)
    machine = Client(author, TrustedManifest(scribe.first, scribe.source), ClientPlan(APP, bytes(32)), {})
    return Attacked(machine, scribe)


PEERS = pytest.mark.parametrize(("peer", "key"), [(leader, SERVER), (client, ALICE)], ids=["server", "client"])


def own_words(peer: Attacked, key: object, body: Said, counter: int) -> None:
    """Somebody sends what was signed with the peer's own key."""
    announcement = Announcement(peer.scribe.first.cid, id_of(key), counter, body)
    peer.feed(Received(sign_announcement(announcement, key)))


@PEERS
def test_a_peer_answers_another_process_with_its_key_however_low_that_counts(peer, key) -> None:
    asked = peer()
    own_words(asked, key, Recall(THEIRS, None), 200)
    assert [answer.to for answer in said(asked, Alive)] == [THEIRS]
    asked.wait(1.0)
    own_words(asked, key, Recall(b"c" * 16, None), 1)
    assert [answer.to for answer in said(asked, Alive)] == [THEIRS, b"c" * 16]


def test_a_member_whose_clock_and_home_went_back_is_shown_how_far_it_had_counted_and_counts_on_above() -> None:
    hearing, behind = leader(), client(first_counter=1 << 32)
    beat = Beat(ManifestRef(Scribe().first.cid, 1), PeerState.IDLE)
    own_words(hearing, ALICE, beat, 9 << 32)
    question = said_by(behind, Recall)[-1]

    hearing.feed(Received(question))
    hearing.feed(Received(question))  # it costs no more if somebody sends it again

    (shown,) = [effect.data for effect in hearing.all(Publish) if effect.subject == "shown"]
    behind.feed(Received(shown))
    behind.wait(60.0)
    hearing.feed(Received(said_by(behind, Recall)[-1]))
    assert hearing.machine.machine.inbox.dropped[Drop.REPLAYED] == 2, "the question after it is not heard"


def said_by(peer: Attacked, kind: type[Said]) -> list[bytes]:
    """The announcements of a kind, as they are sent."""
    sent = [effect.data for effect in peer.all(Publish)]
    return [data for data in sent if isinstance(parse_announcement(data).announcement.body, kind)]


@PEERS
@pytest.mark.parametrize("theirs", [Recall(THEIRS, None), Beat(ManifestRef(Scribe().first.cid, 1), PeerState.LEADING)])
def test_a_peer_that_hears_its_key_with_a_higher_counter_counts_on_above_it_so_that_others_still_hear_it(
    peer, key, theirs
):
    running = peer()
    running.wait(LISTENING + 0.1)
    own_words(running, key, theirs, 7 << 32)
    running.wait(60.0)
    counters = [parse_announcement(effect.data).announcement.counter for effect in running.all(Publish)]
    assert counters[-1] > 7 << 32
    assert len(set(counters)) == len(counters)


@PEERS
def test_a_peer_whose_key_is_at_work_elsewhere_stops_before_it_signs(peer, key) -> None:
    second = peer(first_counter=500)
    second.feed(AppReady(ENVIRONMENT))
    own_words(second, key, Alive(OURS, THEIRS, 100, True), 110)
    (stop,) = second.all(Stop)
    assert (stop.cause, "copied" in stop.why) == (StopCause.COPY, True)
    assert not second.all(Store)


@PEERS
@pytest.mark.parametrize(
    "old",
    [
        Recall(THEIRS, None),
        Alive(THEIRS, b"c" * 16, 0, True),
        Alive(OURS, OURS, 0, True),
        Beat(ManifestRef(Scribe().first.cid, 1), PeerState.LEADING),
    ],
    ids=["a question", "an answer to another process", "its own answer", "a beat"],
)
def test_old_words_that_somebody_sends_again_stop_nobody(peer, key, old: Said) -> None:
    running = peer()
    running.wait(LISTENING + 0.1)
    for counter in (1, 99, 100, 101):
        own_words(running, key, old, counter)
        running.wait(1.0)
    assert not running.all(Stop)


def test_nothing_is_signed_while_it_is_listened() -> None:
    starting = leader()
    starting.feed(AppReady(ENVIRONMENT))
    starting.wait(LISTENING - 0.1)
    assert said(starting, Recall)
    assert not starting.all(Store)
    starting.wait(0.2)
    assert starting.all(Store)


def test_a_client_listens_again_once_it_hears_a_server_through_which_others_may_be_reached() -> None:
    starting = client()
    starting.wait(LISTENING + 0.1)
    asked = len(said(starting, Recall))
    assert starting.machine.machine.copies.may_sign
    starting.say(SERVER, Beat(ManifestRef(Scribe().first.cid, 1), PeerState.LEADING))
    assert not starting.machine.machine.copies.may_sign
    assert starting.machine.machine.copies.settled, "it has listened before: who comes now yields"
    starting.wait(LISTENING + 0.1)
    assert starting.machine.machine.copies.may_sign
    assert len(said(starting, Recall)) > asked


@pytest.mark.parametrize("settled", list(product((True, False), repeat=2)), ids=str)
@pytest.mark.parametrize("since", [(1, 2), (2, 1), (1, 1)], ids=str)
def test_exactly_one_of_two_processes_yields(settled: tuple[bool, bool], since: tuple[int, int]) -> None:
    a, b = (CopiedHomes(session, count, OfflineTimes()) for session, count in zip((OURS, THEIRS), since, strict=True))
    a.settled, b.settled = settled
    answer_of_a, answer_of_b = a.answer(Recall(THEIRS, None), TIME), b.answer(Recall(OURS, None), TIME)
    assert answer_of_a is not None
    assert answer_of_b is not None
    assert a.yields_to(answer_of_b) != b.yields_to(answer_of_a)


@PEERS
def test_a_stranger_that_knows_the_question_answers_nothing(peer, key) -> None:
    starting = peer()
    other = ALICE if key is SERVER else SERVER
    starting.say(other, Alive(OURS, THEIRS, 1, True))
    assert not starting.all(Stop)


def test_a_process_asks_again_now_and_then() -> None:
    running = client()
    for _ in range(100):
        running.wait(1.0)
    assert 4 <= len(said(running, Recall)) <= 12
    running.feed(Due())


def test_a_process_that_starts_beside_one_that_has_listened_yields_though_its_clock_is_behind() -> None:
    running, newcomer = CopiedHomes(OURS, 9, OfflineTimes()), CopiedHomes(THEIRS, 1, OfflineTimes())
    running.settled, newcomer.settled = True, False
    answer = running.answer(Recall(THEIRS, None), TIME)
    assert answer is not None
    assert newcomer.yields_to(answer)


def test_a_process_that_asks_without_end_is_answered_at_most_five_times_a_second() -> None:
    running = CopiedHomes(OURS, 1, OfflineTimes())
    answers = [running.answer(Recall(THEIRS, None), TIME + at / 100) for at in range(100)]
    assert len([each for each in answers if each is not None]) == 5


def test_words_of_another_process_make_it_ask_soon_and_not_for_each_of_them() -> None:
    running = client()
    running.wait(10.0)
    before = len(said(running, Recall))
    for number in range(50):
        own_words(running, ALICE, Recall(bytes([number]) * 16, None), 1 + number)
        running.wait(0.01)
    assert len(said(running, Recall)) == before + 1
