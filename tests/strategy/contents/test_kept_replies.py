"""`strategy.contents.kept_replies`: replies that were read before they are handed over, within a bound of memory."""

from __future__ import annotations

from flwr.app import ConfigRecord, RecordDict

from protocol.blocks.cid import raw_block
from strategy.contents.kept_replies import KeptReplies

A, B = raw_block(b"a").cid, raw_block(b"b").cid


def reply(name: str) -> RecordDict:
    return RecordDict({name: ConfigRecord({})})


def keeping(*messages: bytes, limit: int = 100, size: int = 40) -> KeptReplies:
    kept = KeptReplies(limit)
    for message in messages:
        assert kept.make_room(message, size)
        kept.put(message, A, reply(message.decode()))
    return kept


def test_a_reply_is_given_once() -> None:
    kept = keeping(b"1")
    assert [kept.take(b"1", A), kept.take(b"1", A)] == [reply("1"), None]


def test_the_oldest_make_room() -> None:
    kept = keeping(b"1", b"2", b"3")
    assert [kept.take(message, A) is None for message in (b"1", b"2", b"3")] == [True, False, False]


def test_what_has_lost_its_room_while_it_was_read_is_not_kept() -> None:
    kept = KeptReplies(limit=100)
    assert all(kept.make_room(message, 60) for message in (b"1", b"2"))
    kept.put(b"1", A, reply("1"))
    assert kept.take(b"1", A) is None


def test_one_that_is_larger_than_all_the_room_makes_none_forgotten() -> None:
    kept = keeping(b"1")
    assert not kept.make_room(b"2", 101)
    assert kept.take(b"1", A) == reply("1")


def test_another_content_is_not_given() -> None:
    assert keeping(b"1").take(b"1", B) is None


def test_a_reply_that_is_refused_is_forgotten() -> None:
    kept = keeping(b"1")
    assert kept.take(b"1", None) is None
    assert kept.take(b"1", A) is None


def test_what_is_taken_or_has_a_finding_gives_its_room_back() -> None:
    kept = keeping(b"1", b"2")
    kept.take(b"1", A)
    assert kept.make_room(b"3", 40)
    kept.put(b"3", A, None)
    assert kept.make_room(b"4", 60)
    assert kept.take(b"2", A) == reply("2")
