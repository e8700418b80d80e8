"""What is true only of the local engine: its files, its processes, its disk."""

import errno
import os
import queue
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from peer.engine import block_writer, open_engine
from peer.engine.interface import EngineUnavailable, StorageFull, TooLarge, Unreachable
from peer.engine.local import announcement_log
from peer.engine.local import engine as local
from peer.engine.local.engine import LocalEngine
from protocol.blocks.cid import Block, BlockMismatch, cbor_block, raw_block
from protocol.blocks.listing import pack

SOON = 60.0


def file_of(directory: Path, block: Block) -> Path:
    return directory / "blocks" / f"{block.cid.digest[0]:02x}" / str(block.cid)


def content(count: int) -> tuple[Block, list[Block]]:
    chunks = [raw_block(b"chunk %d" % n) for n in range(count)]
    return cbor_block({"links": [chunk.cid for chunk in chunks], "epoch": None, "private": b""}), chunks


def test_a_block_is_a_file_named_by_its_cid(local_engine: LocalEngine, tmp_path: Path) -> None:
    block = raw_block(b"hello")
    local_engine.put([block])
    assert file_of(tmp_path / "engine", block).read_bytes() == b"hello"


def test_a_tampered_file_is_no_block(local_engine: LocalEngine, tmp_path: Path) -> None:
    block = raw_block(b"hello")
    local_engine.put([block])
    file_of(tmp_path / "engine", block).write_bytes(b"jello")
    with pytest.raises(BlockMismatch):
        local_engine.get(block.cid)


def test_a_tampered_chunk_ends_the_reading_of_its_content(local_engine: LocalEngine, tmp_path: Path) -> None:
    root, chunks = content(3)
    local_engine.put_content(root.cid, [root, *chunks])
    file_of(tmp_path / "engine", chunks[1]).write_bytes(b"chunk X")
    blocks = iter(local_engine.read_content(root.cid))
    assert [next(blocks), next(blocks)] == [root, chunks[0]]
    with pytest.raises(BlockMismatch):
        next(blocks)


def test_a_file_cut_short_is_written_anew(local_engine: LocalEngine, tmp_path: Path) -> None:
    block = raw_block(b"hello")
    local_engine.put([block])
    file_of(tmp_path / "engine", block).write_bytes(b"hel")
    local_engine.put([block])
    assert local_engine.get(block.cid) == b"hello"


def test_a_content_that_is_put_is_not_read_back(local_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    root, chunks = content(3)
    local_engine.put(chunks)
    monkeypatch.setattr(local_engine._files, "read", None)
    local_engine.put_content(root.cid, [root, chunks[0]])  # the others are here
    assert local_engine.keeps(root.cid)


def test_a_pin_is_named_after_its_blocks_and_synced_with_them(
    local_engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, chunks = content(3)
    pin = tmp_path / "engine" / "pins" / f"{root.cid}.recursive"
    files = [file_of(tmp_path / "engine", block) for block in (root, *chunks)]
    seen: list[tuple[Path, bool, bool]] = []

    def synced(folder: Path) -> None:
        seen.append((folder, pin.exists(), all(file.exists() for file in files)))

    local_engine.put([*chunks, root])  # each of their folders is there
    files[0].unlink()
    monkeypatch.setattr(block_writer, "sync_folder", synced)
    link = os.link
    monkeypatch.setattr(os, "link", lambda file, name: (synced(name), link(file, name)))
    local_engine.put_content(root.cid, [root, *chunks])
    assert seen[0] == (pin, False, True)
    assert sorted(seen[1:]) == sorted((folder, True, True) for folder in {pin.parent, *(f.parent for f in files)})


def test_a_pin_takes_no_file_of_its_own(local_engine: LocalEngine, tmp_path: Path) -> None:
    block = raw_block(b"hello")
    local_engine.put([block], pin=[block.cid])
    (pin,) = (tmp_path / "engine" / "pins").iterdir()
    assert pin.samefile(file_of(tmp_path / "engine", block))


def test_a_pin_is_a_file_of_its_own_where_a_file_has_no_second_name(
    local_engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    block = raw_block(b"hello")
    for _ in range(2):
        local_engine.put([block], pin=[block.cid])
    (pin,) = (tmp_path / "engine" / "pins").iterdir()
    assert (pin.name, pin.read_bytes()) == (f"{block.cid}.direct", b"")


def test_a_new_folder_is_synced_side_by_side_with_what_is_in_it(
    local_engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(block_writer, "sync_folder", synced.append)
    block = raw_block(b"hello")
    folder = file_of(tmp_path / "engine", block).parent
    for folders in ({folder, folder.parent}, {folder}):
        local_engine.put([block])
        assert set(synced) == folders
        synced.clear()


def test_a_new_folder_of_another_process_is_synced_too_which_may_not_have_done_so_yet(
    local_engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    block = raw_block(b"hello")
    file = file_of(tmp_path / "engine", block)
    local_engine.put([raw_block(b"one before")])
    file.parent.mkdir()
    file.write_bytes(block.data)
    monkeypatch.setattr(block_writer, "sync_folder", synced.append)
    local_engine.put([block])
    assert set(synced) == {file.parent, file.parent.parent}


@pytest.mark.parametrize(("count", "handed_on"), [(1, 0), (3, 2)])
def test_the_last_block_is_written_in_the_callers_own_thread(
    count: int, handed_on: int, local_engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = local_engine._files._writer
    submit, begun = files._pool.submit, []

    def noted(function: Callable[..., object], *arguments: object) -> Future[object]:
        begun.append(function)
        return submit(function, *arguments)

    monkeypatch.setattr(files._pool, "submit", noted)
    blocks = [raw_block(b"%d" % number) for number in range(count)]
    for block in blocks:
        file_of(tmp_path / "engine", block).parent.mkdir()
    local_engine.put(blocks)
    assert [local_engine.get_here(block.cid) for block in blocks] == [block.data for block in blocks]
    assert begun.count(files._write) == handed_on
    assert begun.count(block_writer.sync_folder) == handed_on  # the last of their folders, too


def test_fetch_names_the_block_that_is_nowhere(local_engine: LocalEngine) -> None:
    root, chunks = content(3)
    local_engine.put([root, chunks[0], chunks[2]])
    with pytest.raises(Unreachable) as raised:
        local_engine.fetch(root.cid, timeout=0.1, limit=1 << 20)
    assert raised.value.cid == chunks[1].cid


def test_who_wants_to_stop_waits_for_no_block_that_is_nowhere(local_engine: LocalEngine) -> None:
    local_engine.hang_up()
    with pytest.raises(EngineUnavailable):
        local_engine.fetch(raw_block(b"nowhere").cid, timeout=SOON, limit=100)


def test_what_one_home_drops_stays_for_another_until_that_drops_it_too(tmp_path: Path) -> None:
    root, chunks = content(2)
    one, two = (LocalEngine(tmp_path / "engine", owner) for owner in ("01", "02"))
    one.put_content(root.cid, [root, *chunks])
    two.fetch(root.cid, timeout=SOON, limit=1 << 20)
    one.drop([root.cid])
    assert list(two.read_content(root.cid)) == [root, *chunks]
    two.drop([root.cid])
    assert not any(two.has(block.cid) for block in (root, *chunks))


def test_a_drop_that_was_cut_short_is_done_again_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, chunks = content(3)
    engine = LocalEngine(tmp_path / "engine", "01")
    engine.put_content(root.cid, [root, *chunks])
    unlink = Path.unlink
    left = [3]  # blocks, until the power goes

    def cut_short(path: Path, missing_ok: bool = False) -> None:
        if path.parent.parent.name == "blocks":
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", cut_short)
        with pytest.raises(KeyboardInterrupt):
            engine.drop([root.cid])
    engine.drop([root.cid])
    assert not any(engine.has(block.cid) for block in (root, *chunks))


def test_a_directory_of_before_homes_had_pins_of_their_own_loses_nothing(local_engine: LocalEngine) -> None:
    root, chunks = content(2)
    local_engine.put_content(root.cid, [root, *chunks])
    owned = open_engine(f"local+ab:{local_engine.address.removeprefix('local:')}")
    owned.drop([root.cid])
    assert list(owned.read_content(root.cid)) == [root, *chunks]


def test_a_pin_is_a_file_and_unpinning_removes_it(local_engine: LocalEngine, tmp_path: Path) -> None:
    block = raw_block(b"hello")
    local_engine.put([block], pin=[block.cid])
    assert [pin.name for pin in (tmp_path / "engine" / "pins").iterdir()] == [f"{block.cid}.direct"]
    local_engine.unpin(block.cid)
    assert not any((tmp_path / "engine" / "pins").iterdir())


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(EngineUnavailable, match="cannot use"):
        LocalEngine(tmp_path / "file" / "engine")


def test_a_directory_that_is_gone_is_unavailable(local_engine: LocalEngine, tmp_path: Path) -> None:
    (tmp_path / "engine").rename(tmp_path / "gone")
    with pytest.raises(EngineUnavailable, match="cannot use"):
        local_engine.put([raw_block(b"hello")])


def test_opening_one_directory_at_once_from_many_threads_is_harmless(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def open_and_publish() -> None:
        try:
            engine = LocalEngine(tmp_path / "engine")
            engine.publish("t", b"x")
            engine.close()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=open_and_publish) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# -- announcements -------------------------------------------------------------------------------------------------


def test_old_announcements_are_trimmed_and_new_ones_still_come(local_engine: LocalEngine) -> None:
    inbox: queue.Queue[bytes] = queue.Queue()
    for n in range(1200):
        local_engine.publish("t", b"%d" % n)
    local_engine.subscribe("t", inbox.put)
    local_engine.publish("t", b"new")
    assert inbox.get(timeout=SOON) == b"new"
    assert local_engine._announcements._database.execute("SELECT count(*) FROM announcement").fetchone()[0] < 1100


def test_a_subscription_leaves_no_fifo_behind(local_engine: LocalEngine, tmp_path: Path) -> None:
    subscription = local_engine.subscribe("t", lambda data: None)
    assert len(list((tmp_path / "engine" / "wake").iterdir())) == 1
    subscription.close()
    subscription._thread.join(SOON)
    assert list((tmp_path / "engine" / "wake").iterdir()) == []


def test_subscriptions_may_be_closed_while_announcements_wake_them(local_engine: LocalEngine) -> None:
    done = threading.Event()

    def publish() -> None:
        while not done.is_set():
            local_engine.publish("t", b"x")

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        for _ in range(300):
            local_engine.subscribe("t", lambda data: None).close()
    finally:
        done.set()
        publisher.join()


def test_the_fifo_of_a_killed_subscriber_is_removed_by_the_next_publisher(
    local_engine: LocalEngine, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "engine" / "wake" / "dead.0")
    local_engine.publish("t", b"x")
    assert list((tmp_path / "engine" / "wake").iterdir()) == []


def test_an_announcement_wakes_only_who_hears_its_topic(
    local_engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wake = tmp_path / "engine" / "wake"
    local_engine.subscribe("other", lambda data: None)
    others = set(wake.iterdir())
    local_engine.subscribe("t", lambda data: None)
    local_engine.subscribe("t", lambda data: None)
    hears_all = wake / "host~1.abc.0"  # as an older Pollen names it
    os.mkfifo(hears_all)
    woken: list[Path] = []
    monkeypatch.setattr(announcement_log, "_write_byte", woken.append)
    local_engine.publish("t", b"x")
    assert sorted(woken) == sorted(set(wake.iterdir()) - others)


# -- other processes -----------------------------------------------------------------------------------------------

SUBSCRIBER = """
import sys
from peer.engine import open_engine
from protocol.blocks.cid import CID
engine = open_engine(sys.argv[1])
engine.subscribe("work", lambda data: print(engine.get(CID.parse(data.decode())).decode(), flush=True))
print("ready", flush=True)
sys.stdin.read()
engine.close()
"""

WRITER = """
import os, sys
from peer.engine import open_engine
from protocol.blocks.cid import raw_block
engine = open_engine(sys.argv[1])
def blocks():
    for n in range(8):
        yield raw_block(b"%d" % n * 100000)
    print("written", flush=True)
    sys.stdin.read()
engine.put(blocks())
"""


def run(script: str, directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, f"local:{directory}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_block_and_its_announcement_reach_another_process(local_engine: LocalEngine, tmp_path: Path) -> None:
    block = raw_block(b"from one process to another")
    with run(SUBSCRIBER, tmp_path / "engine") as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        local_engine.put([block])
        local_engine.publish("work", str(block.cid).encode())
        assert other.stdout.readline() == "from one process to another\n"
        other.communicate("")
    assert other.returncode == 0


def test_what_a_killed_process_had_half_written_is_swept_at_the_next_opening(tmp_path: Path) -> None:
    with run(WRITER, tmp_path) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        writer.send_signal(signal.SIGKILL)
    assert list((tmp_path / "tmp").iterdir()) != []
    open_engine(f"local:{tmp_path}").close()
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not list((tmp_path / "blocks").glob("*/*"))


# -- a full disk ---------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_nothing_half_written_and_what_was_there(small_disk: Path) -> None:
    engine = LocalEngine(small_disk)
    old = raw_block(b"old")
    engine.put([old])
    large = [raw_block(random.Random(n).randbytes(1 << 20)) for n in range(6)]
    with pytest.raises(StorageFull, match=r"the disk that holds .* is full"):
        engine.put(large)
    assert list((small_disk / "tmp").iterdir()) == []
    assert list((small_disk / "blocks").glob("*/*")) == [file_of(small_disk, old)]
    assert engine.get(old.cid) == b"old"
    engine.put(large[:2])
    assert engine.get(large[1].cid) == large[1].data
    engine.close()


def test_an_announcement_on_a_full_disk_says_so(small_disk: Path) -> None:
    engine = LocalEngine(small_disk)
    engine.put([raw_block(random.Random(1).randbytes(1 << 20)) for _ in range(1)])

    def announce_much() -> None:
        for n in range(100):
            engine.publish("t", random.Random(n).randbytes(200_000))

    with pytest.raises(StorageFull):
        announce_much()
    engine.close()


def test_a_content_that_links_more_than_it_may_weigh_is_refused_before_they_are_looked_for(
    local_engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_FEW", 100)
    links, blocks = pack([raw_block(b"nobody has %d" % at).cid for at in range(10_000)])
    manifest = cbor_block({"links": links.value, "epoch": None, "private": b""})
    local_engine.put([manifest, *blocks])
    with pytest.raises(TooLarge, match="links more blocks"):
        local_engine.fetch(manifest.cid, timeout=60.0, limit=1 << 20)
