"""`strategy.contents.kept_replies`: replies that were read before they are handed over, within bounds."""

from __future__ import annotations

import errno
import gc
import os
import resource
from pathlib import Path

import pytest
from flwr.app import Array, ConfigRecord, RecordDict

from protocol.blocks.cid import raw_block
from strategy.contents import array_files
from strategy.contents.array_files import ArrayFile
from strategy.contents.kept_replies import KeptReplies

A, B = raw_block(b"a").cid, raw_block(b"b").cid


def reply(name: str) -> RecordDict:
    return RecordDict({name: ConfigRecord({})})


def small(size: int) -> list[Array]:
    """Arrays of so many bytes, in memory."""
    return [Array("uint8", (size,), "an app's own", bytes(size))]


@pytest.fixture
def kept(tmp_path: Path) -> KeptReplies:
    return KeptReplies(tmp_path, small=100, files=2)


def keep(kept: KeptReplies, *messages: bytes) -> None:
    for message in messages:
        assert kept.make_room(message, small(40), hidden=False)
        kept.put(message, A, reply(message.decode()))


def files_for(
    kept: KeptReplies, monkeypatch: pytest.MonkeyPatch, *messages: bytes, size: int = 1000
) -> list[ArrayFile]:
    """What is made for replies whose arrays take so many bytes in files."""
    monkeypatch.setattr("strategy.contents.kept_replies.space_for", lambda _: size)
    made = [kept.make_room(message, [], hidden=False) for message in messages]
    return [file for file in made if file is not None]


def test_a_reply_is_given_once(kept: KeptReplies) -> None:
    keep(kept, b"1")
    assert [kept.take(b"1", A), kept.take(b"1", A)] == [reply("1"), None]


def test_the_oldest_make_room(kept: KeptReplies) -> None:
    keep(kept, b"1", b"2", b"3")
    assert [kept.take(message, A) is None for message in (b"1", b"2", b"3")] == [True, False, False]


def test_what_has_lost_its_room_while_it_was_read_is_not_kept(kept: KeptReplies) -> None:
    assert all(kept.make_room(message, small(60), hidden=False) for message in (b"1", b"2"))
    kept.put(b"1", A, reply("1"))
    assert kept.take(b"1", A) is None


def test_one_that_is_larger_than_all_the_room_makes_none_forgotten(kept: KeptReplies) -> None:
    keep(kept, b"1")
    assert not kept.make_room(b"2", small(101), hidden=False)
    assert kept.take(b"1", A) == reply("1")


def test_another_content_is_not_given(kept: KeptReplies) -> None:
    keep(kept, b"1")
    assert kept.take(b"1", B) is None


def test_a_reply_that_is_refused_is_forgotten(kept: KeptReplies) -> None:
    keep(kept, b"1")
    assert kept.take(b"1", None) is None
    assert kept.take(b"1", A) is None


def test_what_is_taken_or_has_a_finding_gives_its_room_back(kept: KeptReplies) -> None:
    keep(kept, b"1", b"2")
    kept.take(b"1", A)
    assert kept.make_room(b"3", small(40), hidden=False)
    kept.put(b"3", A, None)
    assert kept.make_room(b"4", small(60), hidden=False)
    assert kept.take(b"2", A) == reply("2")


def test_no_more_files_are_open_than_may_be(kept: KeptReplies, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_for(kept, monkeypatch, b"1", b"2", b"3")
    assert len(files) == 2
    del files[0]
    assert files_for(kept, monkeypatch, b"4")


def test_what_is_pythons_garbage_makes_room_but_is_not_looked_for_with_each_reply(
    kept: KeptReplies, monkeypatch: pytest.MonkeyPatch
) -> None:
    garbage: list[ArrayFile] = []
    looked: list[None] = []
    monkeypatch.setattr(gc, "collect", lambda: looked.append(garbage.clear()))
    garbage += files_for(kept, monkeypatch, b"1", b"2")
    held = files_for(kept, monkeypatch, b"3", b"4", b"5", b"6")
    assert (len(held), len(looked)) == (2, 1)


def test_a_file_has_no_name_and_ends_with_its_reply(
    kept: KeptReplies, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def open_here() -> list[str]:
        held = [os.path.realpath(descriptor) for descriptor in Path("/proc/self/fd").iterdir()]
        return [target for target in held if target.startswith(str(tmp_path))]

    files = files_for(kept, monkeypatch, b"1")
    assert (list(tmp_path.iterdir()), len(open_here())) == ([], 1)
    del files[:]
    assert open_here() == []


def test_a_reply_without_large_arrays_takes_no_file(kept: KeptReplies, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(files_for(kept, monkeypatch, b"1", b"2", b"3", size=0)) == 3


def test_a_reply_for_which_the_disk_has_no_room_is_not_kept(kept: KeptReplies, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert files_for(kept, monkeypatch, b"1") == []


def test_half_of_the_disk_is_left_however_many_replies_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, files = KeptReplies(tmp_path), list[ArrayFile]()
    monkeypatch.setattr(
        array_files.shutil,
        "disk_usage",
        lambda _: type("Usage", (), {"free": 10_000 - sum(each.size for each in files)}),
    )
    for number in range(20):
        files += files_for(kept, monkeypatch, str(number).encode())
    assert len(files) == 5


def test_half_of_what_is_free_and_of_what_the_process_may_write_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(array_files.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    limit = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert array_files.room_for_files(tmp_path / "not made yet", taken=300) == 350
    limit = 700
    assert array_files.room_for_files(tmp_path, taken=300) == 50
