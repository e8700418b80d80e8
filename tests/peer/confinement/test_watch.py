"""`peer.confinement.watch`: whatever way a confined process has to take more than it may, it is seen.

Some of them take what no process's share of memory shows, or hide it behind a thread that has ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from peer.confinement.disk import COUNTED_EVERY, Disk
from peer.confinement.folders import temporary_folder
from peer.confinement.machine import OUR_ROOT, existing
from peer.confinement.means import ALL, Means, words_before, works_not
from peer.confinement.rules import SYSTEM, Confinement
from peer.confinement.watch import Watch

MEMORY, DISK = 64 << 20, 48 << 20
"""Little, so that it is taken soon. A Python alone has a third of that memory."""

PRELUDE = """
import ctypes, mmap, os, socket, sys, threading, time
libc = ctypes.CDLL(None)
def stay():
    while True: time.sleep(600)
"""

SHARED = f"held = mmap.mmap(-1, {2 * MEMORY})\nfor at in range(0, len(held), 4096): held[at] = 1"

TOO_MUCH = {
    "memory that two share": (f"{SHARED}\nos.fork(); stay()", "--max-memory"),
    "memory, once the first thread has ended": (
        f"def take():\n time.sleep(0.2)\n {SHARED.replace(chr(10), chr(10) + ' ')}\n stay()\n"
        "threading.Thread(target=take).start(); libc.syscall(EXIT, 0)",
        "--max-memory",
    ),
    "tables of pages": (
        "libc.mmap.restype = ctypes.c_size_t\n"
        "libc.mmap.argtypes = [ctypes.c_size_t] * 6\n"
        "size = 1 << 36\n"
        "at = libc.mmap(0, size, 1, 0x4022, 2**64 - 1, 0)\n"  # for reading, private, no memory set aside
        "libc.madvise(ctypes.c_size_t(at), ctypes.c_size_t(size), 15)\n"  # no huge pages
        "for place in range(at, at + size, 2 << 20): ctypes.string_at(place, 1)\nstay()",
        "--max-memory",
    ),
    "buffers of sockets": (
        "held = []\nwhile True:\n"
        " one, other = socket.socketpair(); held += [one, other]\n"
        " one.setblocking(False)\n"
        " try:\n  while True: one.send(bytes(1 << 16))\n except OSError: pass\n"
        " if len(held) > 2000: stay()",
        "--max-memory",
    ),
    "files in memory": (
        "for name in range(1 << 20): os.close(os.open(f'/dev/shm/{name}', os.O_CREAT))\nstay()",
        "--max-memory",
    ),
    "open files": (
        "for _ in range(40):\n if os.fork() == 0:\n  held = [os.dup(0) for _ in range(4000)]; stay()\nstay()",
        "files, sockets and pipes open",
    ),
    "processes": ("while True:\n if os.fork() == 0: stay()", "processes"),
    "disk": (
        "for name in range(1000): open(f'/tmp/{name}', 'wb').write(bytes(1 << 20))\nstay()",
        "--max-disk",
    ),
    "disk, by files without a name": (
        "held = []\nfor name in range(200):\n"
        " file = open('/tmp/x', 'wb'); held.append(file); os.unlink('/tmp/x')\n"
        " file.write(bytes(1 << 20)); file.flush()\n"
        "stay()",
        "--max-disk",
    ),
    "disk, deeper than a path is long": (
        "for _ in range(30): os.mkdir('d' * 200); os.chdir('d' * 200)\n"
        "for name in range(200): open(str(name), 'wb').write(bytes(1 << 20))\nstay()",
        "--max-disk",
    ),
    "disk, where nobody looks": (
        "os.mkdir('/tmp/closed'); within = os.open('/tmp/closed', os.O_RDONLY)\n"
        "os.mkdir('in', dir_fd=within); further = os.open('in', os.O_RDONLY, dir_fd=within)\n"
        "os.chmod('/tmp/closed', 0)\n"
        "for name in range(200):\n"
        " file = os.open(str(name), os.O_CREAT | os.O_WRONLY, dir_fd=further); os.write(file, bytes(1 << 20))\n"
        " os.close(file)\nstay()",
        "--max-disk",
    ),
}
EXIT = {"x86_64": 60, "aarch64": 93}.get(os.uname().machine, 0)


@pytest.fixture
def own() -> Iterator[tuple[Path, Path]]:
    """Its ``/tmp``, and where it works."""
    with temporary_folder("pollen-test-") as temporary, temporary_folder("pollen-test-") as work:
        yield temporary, work


def watched(means: Means, source: str, temporary: Path, work: Path) -> str:
    read = (*existing(SYSTEM), OUR_ROOT, *map(Path, (sys.prefix, sys.base_prefix)))
    confinement = Confinement(read, (work,), memory=MEMORY, disk=DISK, own=(work, temporary), processes=64)
    command = [sys.executable, "-I", "-S", "-c", f"EXIT = {EXIT}\n{PRELUDE}\n{source}"]
    with subprocess.Popen(
        [*words_before(means, confinement, temporary, work), *command], stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            watch = Watch(process.pid, confinement)
            while not (why := watch.exceeded()):
                assert process.poll() is None, process.stderr and process.stderr.read().decode()
                time.sleep(0.02)
        finally:
            process.kill()
    return why


@pytest.mark.parametrize("means", ALL, ids=[means.name for means in ALL])
@pytest.mark.parametrize(("source", "why"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_what_is_taken_is_seen(means: Means, source: str, why: str, own: tuple[Path, Path]) -> None:
    if absent := works_not(means):
        pytest.skip(absent)

    assert why in watched(means, source, *own)


MAPPED = """
place = os.open(LARGE, os.O_RDONLY)
held = mmap.mmap(place, 0, {how})
for at in range(0, len(held), 4096): {touch}
open(DONE, "w").close(); stay()
"""
READ = MAPPED.format(how="access=mmap.ACCESS_COPY", touch="held[at]")

HELD = {
    "a file that is mapped and read": (READ, ""),
    "what is written into a private mapping of a file": (
        MAPPED.format(how="access=mmap.ACCESS_COPY", touch="held[at] = 1"),
        "--max-memory",
    ),
}


@pytest.mark.parametrize(("source", "why"), HELD.values(), ids=HELD)
def test_of_a_mapped_file_only_what_is_written_counts_as_memory(
    source: str, why: str, own: tuple[Path, Path], tmp_path: Path
) -> None:
    large, done = tmp_path / "large", own[1] / "done"
    with large.open("wb") as file:
        file.truncate(2 * MEMORY)
    words = [sys.executable, "-I", "-S", "-c", f"LARGE, DONE = {str(large)!r}, {str(done)!r}\n{PRELUDE}\n{source}"]
    confinement = Confinement((), (own[1],), memory=MEMORY, disk=1 << 30, own=own)
    # not confined: what is looked at is only below a process
    with subprocess.Popen(["sh", "-c", 'trap "" TERM; "$@" & echo $!; wait', "sh", *words], stdout=-1) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            while not done.exists():
                assert process.poll() is None
                time.sleep(0.02)
            found = Watch(process.pid, confinement).exceeded()
            resident = Path(f"/proc/{child}/statm").read_text().split()[1]
        finally:
            os.kill(child, signal.SIGKILL)
    assert int(resident) * os.sysconf("SC_PAGE_SIZE") > 2 * MEMORY
    assert why in found
    assert bool(found) == bool(why)


@pytest.fixture
def idle(own: tuple[Path, Path]) -> Iterator[tuple[Watch, int]]:
    """The watch over a process that takes nothing, and its child."""
    confinement = Confinement((), (own[1],), memory=1 << 30, disk=1 << 30, own=own)
    with subprocess.Popen(["sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        yield Watch(process.pid, confinement), child
        os.kill(child, signal.SIGKILL)


def test_what_takes_nothing_is_ended_first_if_the_machine_runs_out_of_memory(idle: tuple[Watch, int]) -> None:
    watch, child = idle

    assert watch.exceeded() == ""
    assert Path(f"/proc/{child}/oom_score_adj").read_text() == "1000\n"


def test_an_app_ends_before_the_machine_has_nothing_left_whoever_took_it(
    idle: tuple[Watch, int], own: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, _ = idle

    with monkeypatch.context() as full:
        full.setattr(Disk, "nearly_full", lambda _: own[1])
        assert "hardly any space was left" in watch.exceeded()
    monkeypatch.setattr("peer.confinement.watch.memory_left", lambda: 0)
    assert "hardly any of this machine's memory" in watch.exceeded()


def test_a_disk_is_nearly_full_if_less_than_a_tenth_of_what_was_free_is(
    own: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [1000]
    monkeypatch.setattr("peer.confinement.disk._free", lambda _: SimpleNamespace(size=free[0], files=10))
    disk = Disk(own, (), 10_000, 10_000)

    assert disk.nearly_full() is None
    free[0] = 99
    assert disk.nearly_full() is not None


def test_what_is_written_is_seen_though_others_free_as_much_at_the_same_time(
    own: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peer.confinement.disk._free", lambda _: SimpleNamespace(size=1000, files=10))
    disk = Disk(own, (), 10_000, 10)
    (own[0] / "large").write_bytes(bytes(1 << 20))

    assert max(disk.held(lambda: 0).size for _ in range(COUNTED_EVERY)) >= 1 << 20


def test_what_is_taken_counts_from_the_most_that_was_free(
    own: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [1000]
    monkeypatch.setattr("peer.confinement.disk._free", lambda _: SimpleNamespace(size=free[0], files=10))
    disk = Disk(own, (), 10_000, 10)
    free[0] = 50_000
    disk.held(lambda: 0)
    (own[0] / "large").write_bytes(bytes(1 << 20))
    free[0] = 1001

    assert disk.held(lambda: 0).size >= 1 << 20
