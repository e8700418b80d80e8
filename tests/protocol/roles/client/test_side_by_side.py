"""A server that leads several runs at once, and its clients: each stays in its run until that is over."""

from __future__ import annotations

from attacked import Attacked, following, leading, listening, position
from chains import ALICE, APP, ENVIRONMENT, SERVER, TIME, Scribe, begun, id_of

from protocol.app.calls import AppReady
from protocol.roles.acting import Acting
from protocol.roles.client.client import Client
from protocol.roles.client.client_plan import ClientPlan
from protocol.roles.effects import Publish, What
from protocol.roles.events import Stopping
from protocol.roles.leader.presence import AWAY_AFTER
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.wire.announcements import Beat, Bye, Head, PeerState, Recall


def another_run() -> Scribe:
    """Of the same server in the same federation."""
    scribe = Scribe()
    scribe.add(scribe.run(time=TIME + 1))
    return scribe


def followed(client: Attacked) -> list[object]:
    return [fields["run"] for fields in client.reported(What.RUN_FOLLOWED)]


def test_a_client_stays_in_a_run_while_its_leader_speaks_of_it() -> None:
    client, other = following(), another_run()
    client.say(SERVER, Head(position(other)))
    client.say(SERVER, Head(position(client.scribe)))
    client.give_all()
    assert followed(client) == [str(client.scribe.chain.run)]


def test_a_client_leaves_a_run_of_which_its_leader_has_not_spoken_for_long() -> None:
    client, other = following(), another_run()
    client.wait(AWAY_AFTER + 1)
    client.scribe.source.update(other.source)
    client.say(SERVER, Head(position(other)))
    client.give_all()
    assert followed(client) == [str(scribe.chain.run) for scribe in (client.scribe, other)]


def test_a_client_leaves_a_run_once_its_leader_has_said_goodbye() -> None:
    client, other = following(), another_run()
    client.scribe.source.update(other.source)
    client.say(SERVER, Bye())
    client.say(SERVER, Head(position(other)))
    client.give_all()
    assert followed(client) == [str(scribe.chain.run) for scribe in (client.scribe, other)]


def test_a_client_leaves_a_run_if_another_process_of_its_leader_begins_a_new_one() -> None:
    client, other = following(), another_run()
    client.scribe.source.update(other.source)
    client.say(SERVER, Recall(b"1" * 16, None))
    client.say(SERVER, Recall(b"2" * 16, None))
    client.say(SERVER, Head(position(other)))
    client.give_all()
    assert followed(client) == [str(scribe.chain.run) for scribe in (client.scribe, other)]


def beside(acting: Acting) -> Attacked:
    """One of several machines of Alice's client."""
    scribe = begun()
    author = Author(id_of(ALICE), (ALICE,), 1, acting=acting)
    trusted = TrustedManifest(scribe.first, scribe.source)
    client = Attacked(Client(author, trusted, ClientPlan(APP, bytes(32)), {}), scribe)
    client.feed(AppReady(ENVIRONMENT))
    return client


def test_two_machines_of_a_client_follow_two_runs() -> None:
    acting, other = Acting(1), another_run()
    clients = [beside(acting), beside(acting)]
    for client in clients:
        client.scribe.source.update(other.source)
        for scribe in (clients[0].scribe, other):
            client.say(SERVER, Head(position(scribe)))
        client.give_all()
    assert [followed(client) for client in clients] == [[str(clients[0].scribe.chain.run)], [str(other.chain.run)]]


def test_machines_that_act_for_one_member_count_their_announcements_together_and_say_goodbye_once() -> None:
    acting = Acting(1)
    clients = [beside(acting), beside(acting)]
    before = acting.counter
    for client in clients:
        client.effects.clear()
        client.feed(Stopping())
    assert [len(client.all(Publish)) for client in clients] == [0, 1]
    assert acting.counter == before + 1


def test_what_a_client_says_of_another_run_that_is_led_here_does_not_bring_it_into_ours() -> None:
    leader, other = leading(), another_run()
    leader.machine.machine.acting.take_up(other.chain.run, "the leader beside")
    leader.say(ALICE, Beat(leader.manifest, PeerState.IDLE, position(other)))
    assert leader.reported(What.PEER_HERE) == []
    leader.say(ALICE, Beat(leader.manifest, PeerState.IDLE))
    assert [fields["name"] for fields in leader.reported(What.PEER_HERE)] == ["alice"]


def test_a_client_that_is_alone_hears_of_a_run_for_the_first_time() -> None:
    client = listening(begun())
    client.say(SERVER, Head(position(client.scribe)))
    client.give_all()
    assert followed(client) == [str(client.scribe.chain.run)]
