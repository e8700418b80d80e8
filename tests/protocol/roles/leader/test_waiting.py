"""What a peer says while it waits: once a wait has lasted, and again only if it changes; in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from attacked import Attacked, following, leading, listening, message_to, position
from chains import ALICE, APP, BOB, CAROL, CONTENT, ENVIRONMENT, SERVER, Scribe, begun, id_of, node_of

from protocol.app.calls import AppReady, GetNodes, Outgoing, Pull, Push, Wait
from protocol.blocks.bundle import NamedBundle
from protocol.roles.client.client import Client
from protocol.roles.client.client_plan import ClientPlan
from protocol.roles.effects import FetchContent, What
from protocol.roles.events import AppCalled, Done, ManifestChanged
from protocol.roles.leader.leader import Leader
from protocol.roles.leader.run_plan import LEAVE_TIMEOUT, LeaderSettings, RunPlan
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.report_limits import COMINGS_AT_ONCE
from protocol.wire.announcements import Beat, Bye, Head, Hello, PeerState


def here(peer: Attacked, *clients: Any, state: PeerState = PeerState.IDLE) -> None:
    for client in clients:
        peer.say(client, Beat(peer.manifest, state))


class Looking:
    """A leader whose app looks at the nodes as Flower's strategies do, once a second."""

    def __init__(self) -> None:
        self.leader = leading()
        here(self.leader, ALICE, BOB)
        self._call = 1
        self.look()  # as FedAvg does: the first look is answered once enough are here

    def call(self, call: Any) -> None:
        self._call += 1
        self.leader.feed(AppCalled(call(self._call)))

    def look(self, seconds: int = 1, *clients: Any) -> None:
        """Look so often, while these clients are heard."""
        for _ in range(seconds):
            here(self.leader, *clients)
            self.leader.wait(1.0)
            self.call(GetNodes)

    @property
    def told(self) -> list[Any]:
        return self.leader.reported(What.APP_WAITS_FOR_CLIENTS)


def test_an_app_that_does_nothing_but_look_is_said_to_wait_once() -> None:
    app = Looking()
    app.look(30, ALICE)
    first, second = app.told
    assert (first["here"], first["clients"]) == (2, 3)  # bob is not silent for long yet
    assert (second["here"], second["last"], round(second["ago"])) == (1, "bob", 15)


def test_it_is_said_again_if_others_are_here() -> None:
    app = Looking()
    app.look(30, ALICE)
    app.look(30, ALICE, CAROL)
    assert [told["here"] for told in app.told] == [2, 1, 2]


def test_where_nobody_is_here_that_is_said() -> None:
    app = Looking()
    app.look(30)
    assert app.told[-1]["here"] == 0


def test_a_client_that_comes_and_goes_is_one_wait() -> None:
    app = Looking()
    app.look(6, ALICE)
    for _ in range(8):
        app.leader.say(BOB, Bye())
        app.look(2, ALICE)
        app.look(2, ALICE, BOB)
    assert [told["here"] for told in app.told] == [2, 1]


def test_a_wait_is_told_again_if_it_was_over_for_long() -> None:
    app = Looking()
    app.look(30, ALICE)
    app.call(lambda call: Pull(call, ()))
    app.look(10, ALICE)
    assert len(app.told) == 2
    app.call(lambda call: Pull(call, ()))
    app.leader.wait(0.0)
    for _ in range(60):
        here(app.leader, ALICE)
        app.leader.wait(1.0)
    app.call(lambda call: Pull(call, ()))
    app.look(10, ALICE)
    assert len(app.told) == 3


def test_a_client_that_comes_and_goes_all_the_time_is_reported_only_so_often() -> None:
    leader = leading()
    for _ in range(50):
        here(leader, CAROL)
        leader.say(CAROL, Bye())
        leader.wait(0.5)
    assert len(leader.reported(What.PEER_HERE)) + len(leader.reported(What.PEER_LEFT)) == COMINGS_AT_ONCE


def test_clients_that_take_no_part_are_told_apart_from_those_that_are_silent() -> None:
    app = Looking()
    here(app.leader, CAROL, state=PeerState.REFUSED)
    app.look(6, ALICE, BOB)
    assert (app.told[0]["refusing"], app.told[0]["last"]) == (1, None)


def test_an_app_that_does_something_between_its_looks_waits_for_nobody() -> None:
    app = Looking()
    for _ in range(10):
        app.look(3, ALICE)
        app.call(lambda call: Pull(call, ()))
    assert app.told == []


def test_a_few_looks_far_apart_are_no_wait() -> None:
    app = Looking()
    app.leader.wait(3600.0)
    app.look()
    assert app.told == []


@pytest.mark.parametrize("leaves", [True, False], ids=["it says goodbye", "it is silent"])
def test_whose_answer_is_waited_for_while_it_is_away_is_said_with_the_time_left(leaves: bool) -> None:
    leader = leading()
    here(leader, ALICE)
    if leaves:
        leader.say(ALICE, Bye())
    else:
        leader.wait(20.0)
    (away,) = leader.reported(What.PEER_LEFT if leaves else What.PEER_AWAY)
    assert (away["name"], away["answer_within"]) == ("alice", LEAVE_TIMEOUT if leaves else 580.0)


def waiting(leader: Attacked) -> None:
    """Its app waits for Alice's answer, and she is here."""
    leader.feed(AppCalled(Wait(2, (message_to(leader, ALICE).id,), None)))
    here(leader, ALICE)


def test_a_client_that_left_in_order_is_given_up_soon() -> None:
    leader = leading()
    waiting(leader)
    leader.say(ALICE, Bye())
    leader.wait(LEAVE_TIMEOUT - 1.0)
    assert not leader.reported(What.COLLECTED)
    leader.wait(1.0)
    (told,) = leader.reported(What.MESSAGE_GIVEN_UP)
    assert (told["name"], "its client left" in str(told["why"])) == ("alice", True)
    assert leader.reported(What.COLLECTED)


@pytest.mark.parametrize("back", [Beat, Hello])
def test_a_client_that_is_back_in_time_goes_on(back: type[Beat] | type[Hello]) -> None:
    leader = leading()
    waiting(leader)
    leader.say(ALICE, Bye())
    leader.wait(LEAVE_TIMEOUT - 1.0)
    leader.say(ALICE, back(leader.manifest, PeerState.WORKING))
    leader.wait(100.0)
    assert not leader.reported(What.MESSAGE_GIVEN_UP)


def test_a_client_that_was_asked_after_it_left_has_its_time_from_then() -> None:
    leader = leading()
    here(leader, CAROL)
    leader.say(CAROL, Bye())
    leader.wait(LEAVE_TIMEOUT + 1.0)
    leader.feed(AppCalled(Push(2, (Outgoing(CONTENT, "train", "1", 3600.0, node_of(CAROL)),))))
    leader.feed(AppCalled(Wait(3, (message_to(leader, CAROL).id,), None)))
    leader.wait(LEAVE_TIMEOUT - 1.0)
    assert not leader.reported(What.MESSAGE_GIVEN_UP)
    leader.wait(1.0)
    assert leader.reported(What.MESSAGE_GIVEN_UP)


def test_a_client_that_owes_no_answer_is_just_away() -> None:
    leader = leading()
    here(leader, CAROL)
    leader.say(CAROL, Bye())
    assert leader.reported(What.PEER_LEFT) == [{"name": "carol", "answer_within": None}]


# -- a client ------------------------------------------------------------------------------------------------------


def lacking(peer: Attacked) -> list[str]:
    return [fields["lacking"] for fields in peer.reported(What.WAITING)]


def waits(client: Attacked, seconds: int, *, with_server: bool = True) -> list[str]:
    """What it has said it waits for, after so many seconds more."""
    for _ in range(seconds):
        if with_server:
            client.say(SERVER, Beat(client.manifest, PeerState.LEADING))
        client.wait(1.0)
    return lacking(client)


def test_a_client_that_hears_no_server_says_so_once() -> None:
    client = listening(begun())
    assert waits(client, 4, with_server=False) == []
    assert waits(client, 60, with_server=False) == ["server"]


def test_a_wait_that_comes_and_goes_is_said_once() -> None:
    client = listening(begun())
    waits(client, 10)
    for _ in range(10):
        client.say(SERVER, Bye())  # until it is heard again
        waits(client, 1, with_server=False)
        waits(client, 6)
    assert lacking(client) == ["run"]


def test_a_client_whose_server_has_no_run_says_so_once() -> None:
    client = listening(begun())
    assert waits(client, 60) == ["run"]
    assert [fields["name"] for fields in client.reported(What.PEER_HERE)] == ["server"]


@pytest.mark.parametrize("went", [What.PEER_LEFT, What.PEER_AWAY], ids=["it says goodbye", "it is silent"])
def test_a_client_says_that_its_server_is_gone_and_back(went: What) -> None:
    client = following()
    if went is What.PEER_LEFT:
        client.say(SERVER, Bye())
    for _ in range(25):
        client.wait(1.0)
    assert [fields["name"] for fields in client.reported(went)] == ["server"]
    assert "server" in lacking(client)
    client.say(SERVER, Hello(client.manifest, PeerState.LEADING))
    assert [fields["name"] for fields in client.reported(What.PEER_HERE)] == ["server", "server"]


def test_a_client_that_has_answered_waits_for_nothing_that_people_can_see_to() -> None:
    client = following()
    for fetch in client.all(FetchContent):
        client.feed(Done(fetch.id))
    assert waits(client, 60) == []


def test_a_message_whose_content_does_not_come_is_said_to() -> None:
    assert waits(following(), 60) == ["content"]


def test_records_that_do_not_come_are_said_to() -> None:
    client = listening(begun())
    client.say(SERVER, Head(position(client.scribe)))
    assert waits(client, 60) == ["records"]


def test_a_run_that_does_not_take_up_the_manifest_that_we_know_is_said_to() -> None:
    client = following()
    client.feed(ManifestChanged(client.scribe.with_dave().cid, client.scribe.source))
    assert waits(client, 60) == ["roster"]


def test_an_app_process_that_does_not_start_is_said_to() -> None:
    scribe = begun()
    client = a_client(scribe, ClientPlan(APP, bytes(32)))
    client.say(SERVER, Head(position(scribe)))
    client.give_all()
    assert waits(client, 60) == ["app"]


def test_an_app_whose_files_do_not_come_is_said_to() -> None:
    scribe = begun()
    client = a_client(scribe, ClientPlan(None, bytes(32), approved=frozenset({APP})))
    client.say(SERVER, Head(position(scribe)))
    client.give_all()
    assert waits(client, 60) == ["app-files"]


def test_a_client_that_waits_for_its_owner_has_said_that_already() -> None:
    scribe = begun()
    client = a_client(scribe, ClientPlan(None, bytes(32), approved=frozenset()))
    client.say(SERVER, Head(position(scribe)))
    client.give_all()
    assert waits(client, 60) == []
    assert client.reported(What.APP_UNAPPROVED)


def a_client(scribe: Scribe, plan: ClientPlan) -> Attacked:
    trusted = TrustedManifest(scribe.first, scribe.source)
    return Attacked(Client(Author(id_of(ALICE), (ALICE,), 1), trusted, plan, {}), scribe)


def test_a_server_whose_app_process_does_not_start_says_so() -> None:
    scribe = Scribe()
    trusted = TrustedManifest(scribe.first, scribe.source)
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3)
    settings = LeaderSettings(min_clients=2, client_timeout=600.0)
    leader = Attacked(Leader(Author(id_of(SERVER), (SERVER,), 1), trusted, plan, settings), scribe)
    leader.wait(6.0)
    assert lacking(leader) == ["app"]
    leader.feed(AppReady(ENVIRONMENT))
    leader.wait(60.0)
    assert lacking(leader) == ["app"]
