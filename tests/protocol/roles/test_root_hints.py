"""The root block of a small content comes beside the record that names the content. It is a hint: what it is not, or
nobody's record names, is not stored."""

from __future__ import annotations

from attacked import Attacked, following, leading, position, reply_of
from chains import ALICE, BOB, CAROL, SERVER, Scribe, begun, id_of, node_of

from protocol.app.calls import Answered, Examine, Outgoing, Push, Task
from protocol.blocks.cid import Block, cbor_block, raw_block
from protocol.blocks.root_hints import MAX_REPLY_ROOT, MAX_ROOTS
from protocol.roles.effects import FetchContent, FetchRecord, Hand, Publish, Store
from protocol.roles.events import AppCalled, Done
from protocol.wire.announcements import INLINE_BUDGET, Announcement, Head, ReplyReady, parse_announcement

ROOT = cbor_block({"a small content": [raw_block(b"its chunk").cid]})
OTHER = cbor_block({"another": 1})
FORGED = cbor_block({"a small content": [raw_block(b"another chunk").cid]})


def announced(peer: Attacked, kind: type[Head] | type[ReplyReady]) -> list[Announcement]:
    said = [parse_announcement(each.data).announcement for each in peer.all(Publish)]
    return [each for each in said if isinstance(each.body, kind)]


def push(*contents: tuple[Block, bytes]) -> Announcement:
    """What a leader says whose app sends these contents, each with these bytes as its root."""
    leader = leading()
    before = len(announced(leader, Head))
    sent = tuple(Outgoing(root.cid, "train", "2", 60.0, node_of(BOB), root=data) for root, data in contents)
    leader.feed(AppCalled(Push(2, sent)))
    return announced(leader, Head)[before]


def test_a_leader_announces_the_roots_that_it_sends_after_the_record_each_once() -> None:
    head = push((ROOT, ROOT.data), (OTHER, OTHER.data), (ROOT, ROOT.data))
    assert isinstance(head.body, Head)
    assert head.blocks[0].cid == head.body.position.head
    assert head.blocks[-2:] == (ROOT, OTHER)
    assert head.blocks.count(ROOT) == 1


def test_a_leader_announces_nothing_that_is_not_the_root_of_what_it_sends() -> None:
    head = push((ROOT, FORGED.data), (OTHER, b""))
    assert {ROOT, FORGED, OTHER}.isdisjoint(head.blocks)


def test_a_leader_announces_no_more_roots_than_everybody_is_to_get() -> None:
    roots = [cbor_block(bytes([number]) * (MAX_ROOTS // 3)) for number in range(3)]
    large = cbor_block(bytes(MAX_ROOTS))
    head = push((large, large.data), *((root, root.data) for root in roots))
    assert [block for block in head.blocks if block in (large, *roots)] == roots[:2]
    assert MAX_ROOTS <= INLINE_BUDGET


def hear(scribe: Scribe, client: Attacked, *roots: Block) -> None:
    """The server says that its run has this head."""
    blocks = [Block(cid, data) for cid, data in scribe.source.items()]
    client.say(SERVER, Head(position(scribe)), blocks=(*blocks, *roots))


def sent_to_alice(*roots: Block) -> Attacked:
    """Alice's client, which is sent `ROOT`, and hears these blocks beside the record."""
    scribe = Scribe()
    scribe.add(scribe.run())
    client = following(scribe)
    scribe.add(scribe.dispatch(scribe.group(ALICE, BOB, content=ROOT.cid)))
    hear(scribe, client, *roots)
    return client


def test_a_client_has_the_root_stored_that_came_with_the_record_that_names_it() -> None:
    assert [(fetch.cid, fetch.root) for fetch in sent_to_alice(OTHER, ROOT).all(FetchContent)] == [(ROOT.cid, ROOT)]


def test_a_client_fetches_what_came_with_other_bytes() -> None:
    assert [(fetch.cid, fetch.root) for fetch in sent_to_alice(FORGED).all(FetchContent)] == [(ROOT.cid, None)]


def test_a_client_stores_no_block_that_no_record_names() -> None:
    client = sent_to_alice(OTHER, ROOT)
    stored = {block for store in client.all(Store) for block in store.blocks}
    assert {OTHER, ROOT}.isdisjoint(stored)
    assert OTHER not in [fetch.root for fetch in client.all(FetchContent)]


def test_a_client_takes_no_root_from_who_does_not_lead_the_run() -> None:
    scribe = Scribe()
    scribe.add(scribe.run())
    client = following(scribe)
    scribe.add(scribe.dispatch(scribe.group(ALICE, BOB, content=ROOT.cid)))
    client.say(CAROL, Head(position(scribe)), blocks=[ROOT])
    hear(scribe, client)
    assert [fetch.root for fetch in client.all(FetchContent)] == [None]


def answering(content: Block, root: bytes) -> Attacked:
    """Alice's client, whose app has answered with a content and these bytes as its root."""
    client = following(begun())
    (fetch,) = client.all(FetchContent)
    client.feed(Done(fetch.id))
    (task,) = (hand.value for hand in client.all(Hand) if isinstance(hand.value, Task))
    client.feed(Answered(task.message, client.now, content=content.cid, root=root))
    return client


def test_a_client_announces_the_root_of_its_answer_after_the_record_and_once() -> None:
    client = answering(OTHER, OTHER.data)
    client.wait(60.0)
    first, *later = announced(client, ReplyReady)
    assert isinstance(first.body, ReplyReady)
    assert [block.cid for block in first.blocks] == [first.body.record, OTHER.cid]
    assert [len(each.blocks) for each in later] == [1] * len(later) != []


def test_a_client_announces_neither_a_false_nor_a_large_root() -> None:
    large = cbor_block(bytes(MAX_REPLY_ROOT))
    for client in (answering(OTHER, FORGED.data), answering(large, large.data)):
        assert [len(each.blocks) for each in announced(client, ReplyReady)] == [1]


def hear_reply(leader: Attacked, *roots: Block) -> None:
    """Alice says that she has answered with `ROOT`."""
    record = reply_of(leader, ALICE, ROOT.cid)
    ready = ReplyReady(leader.machine.chain.run, _message(leader), record.cid)
    leader.say(ALICE, ready, blocks=(record, *roots))


def _message(leader: Attacked) -> bytes:
    return next(id for id, each in leader.machine.chain.open.items() if each.node == node_of(ALICE))


def test_a_leader_has_the_root_of_a_reply_stored_that_came_with_its_record() -> None:
    leader = leading()
    hear_reply(leader, OTHER, ROOT)
    assert [(examine.reply, examine.root) for examine in leader.all(Examine)] == [(ROOT.cid, ROOT)]


def test_a_leader_fetches_a_reply_that_came_with_other_bytes() -> None:
    leader = leading()
    hear_reply(leader, FORGED)
    assert [(examine.reply, examine.root) for examine in leader.all(Examine)] == [(ROOT.cid, None)]


def test_a_leader_keeps_no_root_while_it_fetches_the_record_of_a_reply() -> None:
    leader = leading()
    record = reply_of(leader, ALICE, ROOT.cid)
    leader.say(ALICE, ReplyReady(leader.machine.chain.run, _message(leader), record.cid), blocks=[ROOT])
    (fetch,) = (fetch for fetch in leader.fetching.values() if isinstance(fetch, FetchRecord))
    leader.give(fetch, {record.cid: record.data})
    assert [examine.root for examine in leader.all(Examine)] == [None]


def test_a_leader_does_not_take_the_root_of_a_reply_that_it_refuses() -> None:
    leader = leading()
    record = reply_of(leader, ALICE, ROOT.cid, by=id_of(BOB))
    leader.say(ALICE, ReplyReady(leader.machine.chain.run, _message(leader), record.cid), blocks=(record, ROOT))
    assert leader.all(Examine) == []
