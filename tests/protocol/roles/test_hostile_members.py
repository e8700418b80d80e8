"""A member with a valid key may say anything: nobody else waits for it, and it costs no more than it may."""

from __future__ import annotations

import pytest
from attacked import Attacked, following, leading, listening, message_to, nowhere, position, reply_of
from chains import ADMIN, ALICE, BOB, CAROL, SECOND, SERVER, begun, block_of

from crypto.keys import SigningKey
from protocol.app.calls import Examine
from protocol.blocks.cid import CID, Block
from protocol.records.bodies import Reply
from protocol.roles.catch_up import MAX_BEHIND
from protocol.roles.effects import Connect, FetchRecord, Publish, Report, Store, What
from protocol.wire.announcements import (
    Beat,
    Bye,
    Head,
    Hello,
    ManifestRef,
    PeerState,
    Recall,
    Recalled,
    ReplyReady,
    parse_announcement,
)


def ready(leader: Attacked, client: SigningKey, record: CID) -> ReplyReady:
    return ReplyReady(leader.machine.chain.run, message_to(leader, client).id, record)


# -- replies -----------------------------------------------------------------------------------------------------------


def test_nobody_announces_an_answer_to_a_message_of_another() -> None:
    leader = leading()
    leader.say(CAROL, ready(leader, ALICE, nowhere("answer")))
    assert not leader.fetching


def test_a_true_answer_does_not_wait_for_one_that_nobody_has() -> None:
    leader = leading()
    leader.say(BOB, ready(leader, ALICE, nowhere("answer")))
    reply = reply_of(leader, ALICE, nowhere("content"))
    leader.say(ALICE, ready(leader, ALICE, reply.cid), blocks=[reply])
    assert [examine.reply for examine in leader.all(Examine)] == [nowhere("content")]


def test_few_answers_of_one_client_are_looked_into_at_a_time() -> None:
    leader = leading()
    for at in range(300):
        leader.now += 0.01
        leader.say(ALICE, ready(leader, ALICE, nowhere(at)))
    assert len(leader.fetching) == 1


def test_a_client_whose_answers_cannot_be_had_is_asked_ever_less_often() -> None:
    leader = leading()
    for at in range(1000):
        leader.now += 0.01
        leader.say(ALICE, ready(leader, ALICE, nowhere(at)))
        if leader.fetching:
            leader.fail()
    assert len(leader.all(FetchRecord)) <= 6


def test_a_second_answer_to_one_message_is_not_fetched() -> None:
    leader = leading()
    replies = [reply_of(leader, ALICE, nowhere(at)) for at in range(20)]
    for reply in replies:
        leader.say(ALICE, ready(leader, ALICE, reply.cid), blocks=[reply])
        leader.fail()
        leader.wait(20.0)
    assert {examine.reply for examine in leader.all(Examine)} == {nowhere(0)}


def test_nothing_but_an_answer_is_fetched_for_what_is_said_to_be_one() -> None:
    leader = leading()
    leader.say(ALICE, ready(leader, ALICE, nowhere("answer")))
    assert [fetch.kind for fetch in leader.all(FetchRecord)] == [Reply]


def test_an_answer_of_another_run_is_refused() -> None:
    leader = leading()
    reply = reply_of(leader, ALICE, nowhere("content"), run=begun().chain.run)
    leader.say(ALICE, ready(leader, ALICE, reply.cid), blocks=[reply])
    assert len(leader.reported(What.REPLY_REFUSED)) == 1
    assert not leader.fetching


# -- manifests ---------------------------------------------------------------------------------------------------------


def beat(cid: CID, version: int = 1_000) -> Beat:
    return Beat(ManifestRef(cid, version), PeerState.IDLE)


def test_a_newer_manifest_does_not_wait_for_one_that_nobody_has() -> None:
    client = following()
    client.say(BOB, beat(nowhere("manifest")))
    dave = client.scribe.with_dave()
    client.say(CAROL, beat(dave.cid, 2))
    client.give(next(fetch for fetch in client.fetching.values() if getattr(fetch, "cid", None) == dave.cid))
    assert client.machine.machine.newest.manifest.version == 2


def test_one_of_the_manifests_that_a_member_invents_is_fetched_at_a_time() -> None:
    client = listening(begun())
    for at in range(300):
        client.now += 0.01
        client.say(BOB, beat(nowhere(at)))
    assert len(client.fetching) == 1


def test_a_member_that_invents_manifests_is_believed_ever_less_often() -> None:
    client = listening(begun())
    for at in range(1000):
        client.now += 1.0
        client.say(BOB, beat(nowhere(at)))
        client.fail()
    assert len(client.all(FetchRecord)) <= 14


def test_nothing_but_what_follows_ours_is_fetched_for_what_is_said_to_be_a_manifest() -> None:
    client = listening(begun())
    client.say(BOB, beat(nowhere("manifest")))
    (fetch,) = client.all(FetchRecord)
    assert fetch.kind.__name__ == "Federation"
    assert fetch.trusted == client.scribe.first.cid


# -- heads -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("height", [2, 3, 2**63 - 1])
def test_another_server_says_nothing_of_the_run_that_is_followed(height: int) -> None:
    client = following()
    client.fail()
    client.say(SECOND, Head(position(client.scribe, head=nowhere("head"), height=height)))
    assert not client.fetching


def test_a_leader_that_claims_an_absurd_height_is_not_followed_there() -> None:
    client = following()
    client.fail()
    client.say(SERVER, Head(position(client.scribe, head=nowhere("head"), height=MAX_BEHIND + 10)))
    assert not client.fetching
    assert len(client.reported(What.RUN_LOST)) == 1


def test_a_run_that_nobody_has_keeps_a_client_from_its_run_once() -> None:
    scribe = begun()
    client = listening(scribe)

    def invent(name: str) -> None:
        client.say(SECOND, Head(position(scribe, run=nowhere(name), head=nowhere(f"the head of {name}"), height=5)))

    invent("a run")
    client.say(SERVER, Head(position(scribe)))
    client.fail()
    invent("another run")
    client.say(SERVER, Head(position(scribe)))
    client.give_all()
    assert client.reported(What.RUN_FOLLOWED)


def test_a_server_whose_run_is_at_hand_is_followed_whatever_others_say_meanwhile() -> None:
    scribe = begun()
    client = listening(scribe)
    client.say(SERVER, Head(position(scribe)))
    for at in range(50):
        client.say(SECOND, Head(position(scribe, run=nowhere(("run", at)), head=nowhere(at), height=5)))
    client.give_all()
    assert client.reported(What.RUN_FOLLOWED)


def test_blocks_that_a_record_does_not_need_are_not_kept() -> None:
    scribe = begun()
    client = following(scribe)
    client.effects.clear()
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    junk = block_of(b"\xff not dag-cbor")
    head = Block(scribe.chain.head, scribe.source[scribe.chain.head])
    reply = [Block(cid, data) for cid, data in scribe.source.items() if cid not in client._closure(scribe.chain.run)]
    client.say(SERVER, Head(position(scribe)), blocks=[head, junk, *reply[-3:]])
    client.give_all()
    stored = {block.cid for store in client.all(Store) for block in store.blocks}
    assert scribe.chain.head in stored
    assert junk.cid not in stored


# -- floods ------------------------------------------------------------------------------------------------------------


def flood(machine: Attacked, who: SigningKey, seconds: int) -> None:
    """As many hellos as a member may say, from ever new places."""
    for at in range(seconds * 100):
        machine.now += 0.01
        state = PeerState.REFUSED if at % 2 else PeerState.IDLE
        machine.say(who, Hello(machine.manifest, state, None, "a note"), addresses=(f"/ip4/10.0.0.1/tcp/{at}/p2p/a",))
        machine.wait(0.0)


@pytest.mark.parametrize("attacked", [leading, following])
def test_hellos_without_end_make_nobody_talk_so_much_that_nobody_listens(attacked: type[Attacked]) -> None:
    machine = attacked()
    machine.effects.clear()
    flood(machine, CAROL if attacked is leading else SECOND, seconds=10)
    assert len(machine.all(Publish)) < 100  # of the 1,000 that everybody takes from one member in that time


def test_a_server_that_asks_without_end_what_is_known_of_its_run_is_told_seldom() -> None:
    client = following()
    for _ in range(200):
        client.now += 0.001
        client.say(SERVER, Recall(bytes(16), client.scribe.chain.run))
    said = [parse_announcement(each.data).announcement.body for each in client.all(Publish)]
    assert len([body for body in said if isinstance(body, Recalled)]) == 1


def test_a_member_that_moves_without_end_is_called_seldom() -> None:
    leader = leading()
    flood(leader, CAROL, seconds=10)
    assert len(leader.all(Connect)) <= 3
    assert len(leader.machine.machine.known_addresses) == 1


def test_a_member_that_comes_and_goes_does_not_fill_the_log() -> None:
    leader = leading()
    for _ in range(2000):
        leader.now += 0.01
        leader.say(CAROL, Hello(leader.manifest, PeerState.IDLE))
        leader.say(CAROL, Bye())
    assert len(leader.all(Report)) < 150


def test_admins_are_no_members_by_their_office() -> None:
    leader = leading()
    leader.effects.clear()
    leader.say(ADMIN, Hello(leader.manifest, PeerState.IDLE))
    assert not leader.effects
