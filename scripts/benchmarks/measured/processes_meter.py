"""What processes take while a benchmark runs: processor time, memory, and bytes that nodes send each other.

All numbers are the kernel's own, from ``/proc`` and from ``ss`` (of iproute2), so they mean the same for every system
that is measured. A process belongs to the node, ``server`` or ``client-N``, in whose folder it works, or the process
that started it: the first that its working directory, its command line, or the place of its Kubo repository names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

_PROCESSES: Final = Path("/proc")
_LOOK: Final = 0.1
"""Seconds between two looks. What a process does after the last look at it is not in its own numbers; its processor
time is in those of the node, because who waits for a process inherits its time."""

_LOOKS_AT_SOCKETS: Final = 5
"""Each so many looks, also at the connections: that takes longer."""

_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
_END: Final = re.compile(r"(?:\S+\s+){3}(\S+)\s+(\S+)\s+users:.*?,pid=(\d+),(?:.*?\bbytes_sent:(\d+))?")
"""A line of ``ss``: state, two queues, our address, the other's, our process, and, once there are some, bytes sent."""

_K = TypeVar("_K")

Key = tuple[str, str]
"""A node and a program."""

ALL: Final = ""
"""In place of a program: all of a node's processes, those that have ended as well."""


@dataclass(slots=True)
class _Process:
    """One process, as it was at the last look."""

    node: str
    program: str
    own: float = 0.0
    """Seconds of its own."""
    inherited: float = 0.0
    """Seconds of those children that it has waited for."""
    ended: bool = False


@dataclass(slots=True)
class Measured:
    """What has been seen so far."""

    times: list[float] = field(default_factory=list)
    """Seconds since 1970 of each look."""
    seconds: list[dict[Key, float]] = field(default_factory=list)
    """At each look, the processor seconds of each program of each node so far, and of all of a node."""
    sent: list[dict[str, int]] = field(default_factory=list)
    """At each look, the bytes that each node has sent other nodes so far."""
    peaks: dict[Key, int] = field(default_factory=dict)
    """The most bytes of memory that a process of this kind had at once, mapped files included."""
    own_peaks: dict[Key, int] = field(default_factory=dict)
    """The same without mapped files; as seen at a look. Files in memory count, because nothing frees their pages."""
    own_peaks_together: dict[str, int] = field(default_factory=dict)
    """The most of it that all processes of a node had at once."""

    def seconds_between(self, begin: float, end: float) -> dict[Key, float]:
        """The processor seconds between two times."""
        return _between(self.times, self.seconds, begin, end)

    def sent_between(self, begin: float, end: float) -> dict[str, int]:
        """The bytes that each node sent between two times."""
        return {node: round(count) for node, count in _between(self.times, self.sent, begin, end).items()}


def _between(times: Sequence[float], looks: Sequence[Mapping[_K, float]], begin: float, end: float) -> dict[_K, float]:
    """How much each number grew between two times, which may lie between looks."""
    return {key: _at(times, looks, key, end) - _at(times, looks, key, begin) for key in looks[-1]}


def _at(times: Sequence[float], looks: Sequence[Mapping[_K, float]], key: _K, when: float) -> float:
    before = max((number for number, time_ in enumerate(times) if time_ <= when), default=0)
    after = min(before + 1, len(times) - 1)
    low, high = looks[before].get(key, 0), looks[after].get(key, 0)
    if times[after] <= times[before]:
        return float(low)
    share = min(1.0, max(0.0, (when - times[before]) / (times[after] - times[before])))
    return low + (high - low) * share


@contextmanager
def measured(folder: Path) -> Iterator[Measured]:
    """Measure this process's descendants until the context ends."""
    meter = Meter(folder)
    stop = threading.Event()

    def look_on() -> None:
        while not stop.wait(_LOOK):
            meter.look()

    thread = threading.Thread(target=look_on, name="meter")
    thread.start()
    try:
        yield meter.seen
    finally:
        stop.set()
        thread.join()
        meter.look()


class Meter:
    """Looks at this process's descendants, whose nodes have their folders in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.seen = Measured()
        self._in_folder = re.compile(re.escape(str(folder.resolve())) + r"/(server|client-\d+)\b")
        self._processes: dict[tuple[int, str], _Process] = {}
        """By process id and the time at which it started: ids come again."""
        self._connections: dict[str, tuple[str, int]] = {}
        self._has_sockets = shutil.which("ss") is not None
        self._looks = 0

    def look(self) -> None:
        """Look at all processes once."""
        living = self._living()
        for process in self._processes.values():
            process.ended = True
        nodes: dict[int, str] = {}
        together: dict[str, int] = defaultdict(int)
        for pid, key, (own, inherited) in living:
            process = self._processes[key]
            process.own, process.inherited, process.ended = own, inherited, False
            nodes[pid] = process.node
            together[process.node] += self._look_at_memory(pid, process)
        _raise(self.seen.own_peaks_together, together)
        if self._has_sockets and self._looks % _LOOKS_AT_SOCKETS == 0:
            self._look_at_connections(nodes)
        self._looks += 1
        self._take_down()

    def _living(self) -> list[tuple[int, tuple[int, str], tuple[float, float]]]:
        """Our descendants: id, key, and processor seconds. A parent comes before its children."""
        stats = {pid: stat for pid in _all() if (stat := _stat(pid))}
        children = defaultdict(list)
        for pid, stat in stats.items():
            children[int(stat[1])].append(pid)
        found: list[tuple[int, tuple[int, str], tuple[float, float]]] = []
        known = {key[0]: key for key in self._processes if key[0] in stats and stats[key[0]][19] == key[1]}
        waiting = [(pid, "") for pid in children[os.getpid()]] + [(pid, "") for pid in known]
        done = set()
        while waiting:
            pid, node = waiting.pop(0)
            if pid in done:
                continue
            done.add(pid)
            stat = stats[pid]
            key = (pid, stat[19])
            before = self._processes.get(key)
            if before is None:
                before = self._processes[key] = _Process(self._node_of(pid) or node, "")
            before.program = _program(pid) or before.program  # it may have begun as a copy of its parent
            node = before.node
            user, system, waited_user, waited_system = (int(stat[at]) * _TICK for at in range(11, 15))
            found.append((pid, key, (user + system, waited_user + waited_system)))
            waiting.extend((child, node) for child in children[pid])
        return found

    def _node_of(self, pid: int) -> str:
        for where in (_link(pid), _text(pid, "cmdline"), _text(pid, "environ").partition("IPFS_PATH=")[2]):
            if (named := self._in_folder.search(where)) is not None:
                return named[1]
        return ""

    def _look_at_memory(self, pid: int, process: _Process) -> int:
        """Note what a process has at most, and return what it has now without mapped files."""
        key = (process.node, process.program)
        told = dict(line.split(":", 1) for line in _text(pid, "status").splitlines() if ":" in line)
        most, *own = (
            int(told[name].split()[0]) << 10 if name in told else 0 for name in ("VmHWM", "RssAnon", "RssShmem")
        )
        _raise(self.seen.peaks, {key: most})
        _raise(self.seen.own_peaks, {key: sum(own)})
        return sum(own)

    def _look_at_connections(self, nodes: dict[int, str]) -> None:
        """What each end of a TCP connection between two nodes has sent, and what its kernel had to send again."""
        command = ["ss", "--tcp", "--info", "--numeric", "--processes", "--no-header", "--oneline"]
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        ends: dict[tuple[str, str], tuple[str, int]] = {}
        for line in told.splitlines():
            if (found := _END.match(line)) is not None and (node := nodes.get(int(found[3]))) is not None:
                ends[found[1], found[2]] = node, int(found[4] or 0)
        for (here, there), (node, sent) in ends.items():
            other = ends.get((there, here))
            if other is not None and other[0] != node:
                self._connections[f"{here} {there}"] = node, sent

    def _take_down(self) -> None:
        seconds: dict[Key, float] = defaultdict(float)
        for process in self._processes.values():
            seconds[process.node, process.program] += process.own
            if not process.ended:
                seconds[process.node, ALL] += process.own + process.inherited
        if self.seen.seconds:  # between two reads of a look, time may pass from a child to its parent, and be missed
            for key, before in self.seen.seconds[-1].items():
                seconds[key] = max(seconds.get(key, 0.0), before)
        sent: dict[str, int] = defaultdict(int)
        for node, count in self._connections.values():
            sent[node] += count
        self.seen.times.append(time.time())
        self.seen.seconds.append(dict(seconds))
        self.seen.sent.append(dict(sent))


def _raise(peaks: dict[_K, int], seen: Mapping[_K, int]) -> None:
    for key, value in seen.items():
        peaks[key] = max(peaks.get(key, 0), value)


def _program(pid: int) -> str:
    """What a process runs: the module or the script of a Python, otherwise the program."""
    words = [word for word in _text(pid, "cmdline").split("\0") if word]
    if not words:
        return ""
    if Path(words[0]).name.startswith("python"):
        if "-m" in words[:-1]:
            return words[words.index("-m") + 1]
        scripts = [word for word in words[1:] if not word.startswith("-")]
        return Path(scripts[0]).name if scripts else "python"
    return Path(words[0]).name


def _all() -> list[int]:
    return [int(name) for name in os.listdir(_PROCESSES) if name.isdigit()]


def _stat(pid: int) -> list[str]:
    """The fields from its state on (proc(5)); none if it has ended."""
    return _text(pid, "stat").rpartition(")")[2].split()


def _text(pid: int, name: str) -> str:
    with suppress(OSError):
        return (_PROCESSES / str(pid) / name).read_text(errors="replace")
    return ""


def _link(pid: int) -> str:
    with suppress(OSError):
        return str((_PROCESSES / str(pid) / "cwd").readlink())
    return ""
