"""A keeper: follows every run, keeps what it cannot read, and passes on what members announce."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from attacked import Attacked, keeping, nowhere, position
from chains import (
    ALICE,
    ANSWER,
    APP,
    BOB,
    CONTENT,
    KEEPER,
    SECOND,
    SERVER,
    STRANGER,
    TIME,
    WITH_KEEPER,
    Scribe,
    begun,
    id_of,
    reader_of,
)
from other_signatures import signed_otherwise

from protocol.blocks.cid import CID, Block, cbor_block
from protocol.blocks.listing import Listing
from protocol.chain.chain import Chain
from protocol.records.bodies import Ack
from protocol.records.signed_records import parse_record, sign_record
from protocol.roles.effects import (
    FetchContent,
    FetchRecord,
    KeepAcks,
    KeepWhole,
    PassOn,
    Publish,
    Store,
    What,
    WriteHead,
)
from protocol.roles.events import Done, RoomChanged
from protocol.roles.keeper import kept_runs
from protocol.roles.keeper.keeper import Keeper
from protocol.roles.keeper.kept_contents import NAMED_AT_ONCE, SOUGHT_AT_ONCE
from protocol.roles.keeper.kept_runs import Remembered
from protocol.status.role_status import Lack, Wait
from protocol.wire.announcements import (
    AckReady,
    Beat,
    Bye,
    Head,
    PeerState,
    Recall,
    Recalled,
    ReplyReady,
    parse_announcement,
)


def scribe_of(server: Any = SERVER) -> Scribe:
    """A run with a message to Alice and one to Bob, in a federation with a keeper."""
    assert server is SERVER
    return begun(members=WITH_KEEPER)


def kept(scribe: Scribe) -> Attacked:
    """A keeper at the head of that run."""
    keeper = keeping(scribe)
    keeper.say(SERVER, Head(position(scribe)))
    keeper.give_all()
    return keeper


def contents_of(keeper: Attacked) -> list[CID]:
    """What it fetches, in order."""
    return [fetch.cid for fetch in keeper.all(FetchContent)]


def have(keeper: Attacked, *contents: CID) -> None:
    """Contents that it fetches are here; all of them, if none is named."""
    for fetch in list(keeper.fetching.values()):
        if isinstance(fetch, FetchContent) and (not contents or fetch.cid in contents):
            del keeper.fetching[fetch.id]
            keeper.feed(Done(fetch.id))


def reply(scribe: Scribe, content: CID = ANSWER) -> tuple[ReplyReady, Block]:
    """Alice's answer to her message, and what she announces of it."""
    block = scribe.sign(scribe.reply_body(ALICE, content=content), ALICE)
    return ReplyReady(scribe.chain.run, scribe.message(ALICE).id, block.cid), block


def test_a_run_is_on_disk_record_by_record_each_before_its_head() -> None:
    scribe = scribe_of()
    keeper = kept(scribe)
    steps = [effect for effect in keeper.effects if isinstance(effect, Store | WriteHead)][1:]
    assert [type(step) for step in steps] == [Store, WriteHead, Store, WriteHead]
    assert steps[-1].head == scribe.chain.head


def test_what_records_name_is_fetched_and_pinned() -> None:
    scribe = scribe_of()
    keeper = kept(scribe)
    seed = cbor_block({"seed": b"s"}).cid
    assert contents_of(keeper) == [APP, seed, CONTENT]


def test_runs_are_kept_side_by_side() -> None:
    one = scribe_of()
    keeper = kept(one)
    other = begun(members=WITH_KEEPER, time=TIME - 1)
    keeper.scribe = other
    keeper.say(SERVER, Head(position(other)))
    keeper.give_all()
    status = keeper.machine.machine.status(keeper.now)
    assert status.keeps is not None
    assert (status.keeps.open, status.keeps.whole) == (2, 0)


def test_a_closed_run_is_whole_once_all_that_it_names_is_here() -> None:
    scribe = scribe_of()
    scribe.add(scribe.close())
    keeper = kept(scribe)
    assert keeper.reported(What.RUN_CLOSED)
    have(keeper, APP, CONTENT)
    assert not keeper.all(KeepWhole)
    have(keeper)
    assert [whole.run for whole in keeper.all(KeepWhole)] == [scribe.chain.run]
    told = parse_announcement(keeper.all(Publish)[-1].data).announcement.body
    assert isinstance(told, Beat)
    assert told.position == position(scribe), "its leader hears that it may go"
    fetches = len(keeper.all(FetchRecord))
    keeper.say(SERVER, Head(position(scribe)))
    assert len(keeper.all(FetchRecord)) == fetches, "a whole run is followed again"


def test_a_keeper_says_that_it_has_all_of_a_run_only_once_that_is_on_its_disk() -> None:
    scribe = scribe_of()
    keeper = kept(scribe)
    have(keeper)
    keeper.disk_works = False
    scribe.add(scribe.close())
    keeper.say(SERVER, Head(position(scribe)))
    keeper.give_all()
    have(keeper)
    assert not keeper.all(KeepWhole)
    keeper.feed(Done(keeper.all(WriteHead)[-1].id))
    assert keeper.all(KeepWhole)


def test_a_keeper_that_starts_again_goes_on_with_what_is_not_whole() -> None:
    scribe = scribe_of()
    keeper = keeping(scribe, Remembered({scribe.chain.run: position(scribe)}, {}, frozenset()))
    keeper.give_all()
    assert APP in contents_of(keeper)


@pytest.mark.parametrize("speaker", [ALICE, SECOND], ids=["a client", "another server"])
def test_nobody_but_its_leader_says_how_far_a_run_is(speaker: Any) -> None:
    scribe = scribe_of()
    keeper = kept(scribe)
    keeper.say(speaker, Head(position(scribe, head=nowhere("head"), height=9)))
    assert nowhere("head") not in [fetch.cid for fetch in keeper.all(FetchRecord)]


def test_a_server_whose_runs_nobody_has_keeps_no_other_run_waiting() -> None:
    scribe = scribe_of()
    keeper = keeping(scribe)
    for number in range(20):
        run = nowhere(f"run {number}")
        keeper.say(SECOND, Head(position(scribe, run=run, head=nowhere(f"head {number}"))))
    assert len(keeper.all(FetchRecord)) == 4
    keeper.say(SERVER, Head(position(scribe)))
    assert scribe.chain.head in [fetch.cid for fetch in keeper.all(FetchRecord)]
    keeper.fail()
    assert not keeper.machine._runs.followed, "a run of which nothing could be had is remembered"


def silence(keeper: Attacked) -> None:
    """The leader says nothing for so long that it counts as away."""
    keeper.wait(60.0)


def verified(keeper: Attacked, where: Any) -> Beat:
    """What a client's beat says that has verified so much."""
    return Beat(keeper.manifest, PeerState.IDLE, where)


def test_a_keeper_that_was_away_at_the_close_hears_of_it_by_a_client() -> None:
    scribe = scribe_of()
    keeper = kept(scribe)
    have(keeper)
    scribe.add(scribe.close())
    keeper.say(ALICE, verified(keeper, position(scribe)))
    assert not keeper.fetching, "its leader is here, and says itself how far it is"
    silence(keeper)
    keeper.say(ALICE, verified(keeper, position(scribe)))
    keeper.give_all()
    have(keeper)
    assert keeper.all(KeepWhole)


def test_what_a_client_says_that_is_not_so_changes_nothing_and_it_waits_longer_each_time() -> None:
    scribe = scribe_of()
    keeper = kept(scribe)
    have(keeper)
    silence(keeper)
    tried = len(keeper.all(FetchRecord))
    for number in range(100):
        keeper.say(ALICE, verified(keeper, position(scribe, head=nowhere(number), height=50)))
        keeper.fail()
        keeper.wait(1.0)
    assert len(keeper.all(FetchRecord)) - tried < 20
    assert keeper.machine.machine.status(keeper.now).run.head == scribe.chain.head
    scribe.add(scribe.close())
    keeper.say(BOB, verified(keeper, position(scribe)))
    keeper.give_all()
    assert keeper.reported(What.RUN_CLOSED), "what one client says keeps nobody else's word from being looked into"


def test_a_server_that_has_not_heard_that_its_run_is_all_here_is_told_again() -> None:
    scribe = scribe_of()
    scribe.add(scribe.close())
    keeper = keeping(scribe, Remembered({}, {scribe.chain.run: position(scribe)}, frozenset()))
    said = [len(keeper.all(Publish))]
    for _ in range(20):
        keeper.say(SERVER, Beat(keeper.manifest, PeerState.LEADING, position(scribe)))
        said.append(len(keeper.all(Publish)))
    assert said[-1] == said[0] + 1, "once, however often it asks"
    told = parse_announcement(keeper.all(Publish)[-1].data).announcement.body
    assert told.position == position(scribe)


def test_a_server_whose_runs_are_far_ahead_has_only_so_much_of_them_walked_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept_runs, "BEHIND_OF_ONE", 100)
    long = [Scribe(WITH_KEEPER), Scribe(WITH_KEEPER)]
    keeper = keeping(long[0])
    for number, scribe in enumerate(long):
        scribe.add(scribe.run(time=TIME - number))
        scribe.fill_until(80)
        keeper.scribe = scribe
        keeper.say(SERVER, Head(position(scribe)))
        while fetch := next((each for each in keeper.fetching.values() if isinstance(each, FetchRecord)), None):
            if parse_record(Block(fetch.cid, scribe.source[fetch.cid])).body.height < 5:
                break
            keeper.give(fetch)
        keeper.fetching.clear()
    (lost,) = keeper.reported(What.RUN_LOST)
    assert "too much at once" in lost["why"]
    (left,) = keeper.machine._runs.followed.values()
    assert left.verified.records_between > 50, "the other run is walked back"


# -- contents ------------------------------------------------------------------------------------------------------


def test_a_content_that_nobody_has_is_looked_for_less_and_less_often() -> None:
    scribe = scribe_of()
    keeper = kept(scribe)
    have(keeper, APP, CONTENT)
    waited = []
    for _ in range(6):
        keeper.fail()
        began, tried = keeper.now, len(keeper.all(FetchContent))
        while len(keeper.all(FetchContent)) == tried:
            keeper.wait(1.0)
        waited.append(keeper.now - began)
    assert waited == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_contents_that_nobody_has_do_not_stand_in_the_way_of_others() -> None:
    scribe = scribe_of()
    for number in range(NAMED_AT_ONCE):
        scribe.add(scribe.dispatch(scribe.group(ALICE, content=nowhere(number))))
    keeper = kept(scribe)
    while any(isinstance(fetch, FetchContent) for fetch in keeper.fetching.values()):
        keeper.fail()
    keeper.wait(30.0)
    assert len(keeper.fetching) == SOUGHT_AT_ONCE
    scribe.add(scribe.dispatch(scribe.group(BOB, content=ANSWER)))
    keeper.say(SERVER, Head(position(scribe)))
    keeper.give_all()
    assert contents_of(keeper)[-1] == ANSWER


def test_a_run_that_made_room_for_others_is_followed_again_while_its_contents_are_still_fetched() -> None:
    scribe = scribe_of()
    keeper = kept(scribe)
    keeper.machine._runs._leave(keeper.machine._runs.followed[scribe.chain.run])
    keeper.say(SERVER, Head(position(scribe)))
    keeper.give_all()
    assert contents_of(keeper).count(CONTENT) == 1
    have(keeper)
    assert keeper.machine._contents.lacking == 0


def test_a_keeper_without_room_says_so_to_leaders_that_wait_for_it() -> None:
    keeper = keeping(scribe_of())
    keeper.feed(RoomChanged("its budget is 1 GB"))
    keeper.wait(10.0)
    told = parse_announcement(keeper.all(Publish)[-1].data).announcement.body
    assert told.note


def test_a_keeper_without_room_takes_no_content_and_every_record() -> None:
    scribe = scribe_of()
    keeper = keeping(scribe)
    keeper.feed(RoomChanged("its budget is 1 GB"))
    keeper.say(SERVER, Head(position(scribe)))
    keeper.give_all()
    ready, block = reply(scribe)
    keeper.say(ALICE, ready, blocks=[block])
    keeper.wait(1000.0)
    assert contents_of(keeper) == []
    assert keeper.all(WriteHead)[-1].head == scribe.chain.head
    assert keeper.machine.machine.status(keeper.now).waits == (Wait(Lack.ROOM),)
    keeper.feed(RoomChanged(""))
    assert APP in contents_of(keeper), "there is room again"


# -- replies -------------------------------------------------------------------------------------------------------


def test_a_reply_and_its_content_are_kept_before_a_collect_takes_it() -> None:
    scribe = scribe_of()
    keeper = kept(scribe)
    ready, block = reply(scribe)
    keeper.say(ALICE, ready, blocks=[block])
    fetch = keeper.all(FetchContent)[-1]
    assert (fetch.cid, fetch.of_reply) == (ANSWER, True)
    assert block in keeper.all(Store)[-1].blocks


def test_one_reply_that_is_signed_again_and_again_is_kept_once() -> None:
    scribe = scribe_of()
    keeper = kept(scribe)
    ready, block = reply(scribe)
    keeper.say(ALICE, ready, blocks=[block])
    stored = len(keeper.all(Store))
    for number in range(5):
        again = signed_otherwise(parse_record(block), ALICE, bytes([number]) * 32)
        keeper.say(ALICE, replace(ready, record=again.cid), blocks=[again])
    assert len(keeper.all(Store)) == stored


def test_nobody_answers_another_ones_message() -> None:
    scribe = scribe_of()
    keeper = kept(scribe)
    ready, block = reply(scribe)
    keeper.say(BOB, ready, blocks=[block])
    assert ANSWER not in contents_of(keeper)


def test_a_second_answer_to_a_message_is_proof_and_not_kept() -> None:
    scribe = scribe_of()
    keeper = kept(scribe)
    for content in (ANSWER, nowhere("other")):
        ready, block = reply(scribe, content)
        keeper.say(ALICE, ready, blocks=[block])
    assert keeper.reported(What.EQUIVOCATION)
    assert nowhere("other") not in contents_of(keeper)


def test_a_client_that_claims_what_nobody_has_waits_and_no_other_does() -> None:
    scribe = scribe_of()
    for number in range(8):
        scribe.add(scribe.dispatch(scribe.group(ALICE, content=nowhere(number))))
    keeper = kept(scribe)
    have(keeper)
    for message in [each for each in scribe.chain.open.values() if each.node == scribe.message(ALICE).node]:
        body = scribe.reply_body(ALICE, message=message.id, dispatch=message.dispatch, content=nowhere(message.id))
        block = scribe.sign(body, ALICE)
        keeper.say(ALICE, ReplyReady(scribe.chain.run, message.id, block.cid), blocks=[block])
    assert len([fetch for fetch in keeper.all(FetchContent) if fetch.of_reply]) == 2
    of_bob = scribe.sign(scribe.reply_body(BOB), BOB)
    keeper.say(BOB, ReplyReady(scribe.chain.run, scribe.message(BOB).id, of_bob.cid), blocks=[of_bob])
    assert keeper.all(FetchContent)[-1].cid == ANSWER


# -- acks ----------------------------------------------------------------------------------------------------------


def ack(scribe: Scribe, **changes: Any) -> Block:
    """Alice's ack of the head."""
    chain = scribe.chain
    given = {"by": id_of(ALICE), "time": TIME, "run": chain.run, "term": 1, "height": chain.height, "head": chain.head}
    return sign_record(Ack(**{**given, "replies": Listing(())} | changes), [ALICE])


def test_an_ack_of_what_is_kept_is_kept_beside_it_once() -> None:
    scribe = scribe_of()
    keeper = kept(scribe)
    block = ack(scribe)
    for _ in range(2):
        keeper.say(ALICE, AckReady(scribe.chain.run, block.cid), blocks=[block])
    assert [effect.blocks for effect in keeper.all(KeepAcks)] == [(block,)]


def test_an_ack_of_the_close_is_kept_though_the_run_is_whole() -> None:
    scribe = scribe_of()
    scribe.add(scribe.close())
    keeper = kept(scribe)
    have(keeper)
    block = ack(scribe)
    keeper.say(ALICE, AckReady(scribe.chain.run, block.cid), blocks=[block])
    assert keeper.all(KeepAcks)


def test_an_ack_of_another_record_at_its_height_is_refused() -> None:
    scribe = scribe_of()
    keeper = kept(scribe)
    block = ack(scribe, head=nowhere("head"))
    keeper.say(ALICE, AckReady(scribe.chain.run, block.cid), blocks=[block])
    assert keeper.reported(What.ACK_REFUSED)
    assert not keeper.all(KeepAcks)


# -- saying --------------------------------------------------------------------------------------------------------


def test_what_a_member_says_is_passed_on_as_it_came() -> None:
    keeper = keeping(scribe_of())
    said = keeper.said(ALICE, Beat(keeper.manifest, PeerState.IDLE))
    keeper.feed(said)
    assert [(each.by, each.data, each.subject) for each in keeper.all(PassOn)] == [
        (id_of(ALICE), said.data, "presence")
    ]


def test_what_a_stranger_says_or_what_comes_twice_is_not_passed_on() -> None:
    keeper = keeping(scribe_of())
    said = keeper.said(ALICE, Bye())
    for each in (keeper.said(STRANGER, Bye()), said, said):
        keeper.feed(each)
    assert len(keeper.all(PassOn)) == 1


def test_a_keeper_says_nothing_of_a_run_in_its_own_name() -> None:
    keeper = kept(scribe_of())
    keeper.wait(2.0)
    bodies = [parse_announcement(said.data).announcement.body for said in keeper.all(Publish)]
    assert bodies
    assert all(body.position is None for body in bodies if isinstance(body, Beat))
    assert not [body for body in bodies if isinstance(body, Head)]


def test_a_server_that_starts_hears_how_far_its_run_was() -> None:
    scribe = scribe_of()
    keeper = kept(scribe)
    keeper.say(SERVER, Recall(bytes(16), scribe.chain.run))
    told = parse_announcement(keeper.all(Publish)[-1].data).announcement.body
    assert told == Recalled(id_of(SERVER), bytes(16), position(scribe))


def test_a_member_of_another_role_that_asks_is_told_nothing_of_runs() -> None:
    scribe = scribe_of()
    keeper = kept(scribe)
    keeper.say(ALICE, Recall(bytes(16), scribe.chain.run))
    bodies = [parse_announcement(said.data).announcement.body for said in keeper.all(Publish)]
    assert not [body for body in bodies if isinstance(body, Recalled)]


# -- what it cannot read -------------------------------------------------------------------------------------------


def test_no_key_of_an_encrypted_run_is_wrapped_for_a_keeper() -> None:
    scribe = begun(encrypted=True, members=WITH_KEEPER)
    body = scribe.sign(scribe.reply_body(ALICE), ALICE)
    chain = Chain(scribe.first.cid, reader_of(KEEPER))
    for cid in scribe.chain.recent:
        chain.append_block(Block(cid, scribe.source[cid]), scribe.source)
    (epoch,) = chain.keys.epochs
    assert (epoch.model, epoch.update) == (None, None)
    assert chain.keys.content(1) is None
    assert chain.keys.reply_content(parse_record(body).body) is None
    assert chain.manifest.name == "trial", "a keeper reads what announcements are judged by"


def test_what_is_encrypted_is_kept_like_all_else() -> None:
    scribe = begun(encrypted=True, members=WITH_KEEPER)
    trusted_head = scribe.chain.head
    keeper = keeping(scribe)
    assert isinstance(keeper.machine, Keeper)
    sealed = keeper.machine.machine.newest.seals
    said = keeper.said(SERVER, Head(position(scribe)))
    keeper.feed(type(said)(sealed.seal(said.data)))
    keeper.give_all()
    assert keeper.all(WriteHead)[-1].head == trusted_head
    assert CONTENT in contents_of(keeper)
