"""A disk without room for another exchange: nothing new is begun, and what has begun goes on."""

from __future__ import annotations

from a_client import AClient, plan
from chains import ALICE, ANSWER, APP, CONTENT, ENVIRONMENT, TTL, node_of
from test_collecting import ALeader

from protocol.app.calls import AppReady, Examined, Outgoing, Pull, Push
from protocol.records.bodies import Collect, Dispatch
from protocol.records.signed_records import parse_record
from protocol.replies.checks_and_limits import Examination
from protocol.roles.effects import FetchContent, Store, What
from protocol.roles.events import AppCalled, RoomChanged
from protocol.status.role_status import Lack, Wait


def written(leader: ALeader, kind: type[Dispatch] | type[Collect]) -> int:
    records = (parse_record(store.blocks[0]).body for store in leader.all(Store))
    return sum(isinstance(body, kind) for body in records)


def test_a_server_without_room_sends_nothing_more_and_collects_what_was_sent() -> None:
    leader = ALeader()
    leader.feed(RoomChanged("the budget is used up"))
    examine = leader.hear_reply(ALICE)
    leader.feed(Examined(examine.id, Examination()))

    leader.feed(AppCalled(Push(2, (Outgoing(CONTENT, "train", "2", TTL, node_of(ALICE), round=4),))))
    leader.feed(AppCalled(Pull(3, (leader.message.id,))))
    assert (written(leader, Dispatch), written(leader, Collect)) == (1, 1)
    assert leader.reported(What.MESSAGE_GIVEN_UP) == []
    assert leader.machine.machine.status(leader.machine.chain and 0.0).waits == (Wait(Lack.ROOM),)

    leader.feed(RoomChanged(""))
    assert written(leader, Dispatch) == 2
    assert [len(leader.reported(what)) for what in (What.PAUSED, What.UNPAUSED)] == [1, 1]


def test_a_client_without_room_takes_no_message_in_hand_until_there_is_room() -> None:
    client = AClient(plan(app=APP))
    client.feed(RoomChanged("the budget is used up"))
    client.hear()
    client.feed(AppReady(ENVIRONMENT))
    assert not [effect for effect in client.effects if isinstance(effect, FetchContent)]
    client.feed(RoomChanged(""))
    assert ANSWER != CONTENT
    assert [effect.cid for effect in client.effects if isinstance(effect, FetchContent)] == [CONTENT]
