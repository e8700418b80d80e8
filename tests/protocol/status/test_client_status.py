"""What a client's owner sees, case by case."""

from __future__ import annotations

from a_client import AClient, plan
from chains import ALICE, APP, MEMBERS, begun, member

from protocol.records.bodies import Role
from protocol.roles.effects import What
from protocol.roles.events import AppsApproved
from protocol.status.role_status import Doing, Lack, RoleStatus, Wait
from protocol.wire.announcements import Bye, Recall


def status(client: AClient) -> RoleStatus:
    return client.machine.machine.status(client.now)


def test_a_client_that_hears_no_server_waits_for_one() -> None:
    client = AClient(plan())
    assert status(client).waits == (Wait(Lack.SERVER),)
    assert {each.doing for each in status(client).members} == {Doing.UNHEARD}


def test_a_client_names_the_run_that_it_follows_and_its_server() -> None:
    client = AClient(plan(app=APP))
    client.hear()
    told = status(client)
    assert told.run is not None
    assert (told.state, told.run.run, told.run.height) == ("following", client.scribe.chain.run, 1)
    assert {each.name: (each.doing, each.heard) for each in told.members} == {
        "server": (Doing.HERE, client.now),
        "second server": (Doing.UNHEARD, None),
    }


def test_a_server_that_said_goodbye_has_left_and_a_silent_one_is_away() -> None:
    client = AClient(plan(app=APP))
    client.hear()
    heard = client.now
    client.hear_say(Bye())
    assert {each.name: (each.doing, each.heard) for each in status(client).members}["server"] == (Doing.LEFT, heard)
    client.hear()
    for _ in range(100):
        client.wait(60.0)
    assert {each.name: each.doing for each in status(client).members}["server"] is Doing.AWAY


def test_a_server_that_only_asks_for_copies_of_its_home_is_not_taken_for_one_that_leads() -> None:
    client = AClient(plan())
    client.hear_say(Recall(b"1" * 16, None))
    assert not client.reported(What.PEER_HERE)
    assert {each.doing for each in status(client).members} == {Doing.UNHEARD}


def test_a_server_that_led_and_is_heard_again_without_leading_has_not_left() -> None:
    client = AClient(plan(app=APP))
    client.hear()
    client.hear_say(Bye())
    client.wait(1.0)
    client.hear_say(Recall(b"1" * 16, None))
    assert {each.name: each.doing for each in status(client).members}["server"] is Doing.UNHEARD


def test_an_app_that_nobody_approved_is_waited_for_until_the_owner_does() -> None:
    client = AClient(plan())
    client.hear()
    assert status(client).waits == (Wait(Lack.APPROVAL),)
    assert status(client).refuses.startswith("its owner has not approved")
    client.feed(AppsApproved(frozenset({APP})))
    assert status(client).waits == (Wait(Lack.APP_FILES),)


def test_a_client_says_why_it_takes_no_part() -> None:
    client = AClient(plan(approved=None))
    client.hear()
    assert "ours is" in status(client).refuses
    assert status(client).waits == ()


def test_a_member_that_also_leads_is_not_among_the_servers_of_its_own_client() -> None:
    both = {**MEMBERS, "alice": member(ALICE, Role.SERVER, Role.CLIENT)}
    client = AClient(plan(app=APP), begun(members=both))
    assert {each.name for each in status(client).members} == {"server", "second server"}
    assert status(client).of == 2
