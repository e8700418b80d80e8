"""A bridge between hosts (network namespaces) that cuts, delays and is slow, in Python: it needs no module of the
kernel.

Each host's interface is a TAP device whose frames this process carries. (A TAP device may be moved into a namespace;
whoever made it goes on reading and writing its frames: Documentation/networking/tuntap.rst.)
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import select
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from itertools import count
from typing import Final

from namespaces import Host

TUNSETIFF: Final = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
"""linux/if_tun.h."""

FRAME: Final = 65_536
MTU: Final = 60_000
"""Bytes: the fewer frames the better, since each goes through Python."""

ETHERNET: Final = 1500
"""Bytes, as over a line: of how much TCP has on its way at least."""

QUEUE: Final = 1 << 14
"""Bytes that wait for a slow line. What comes then is lost, as at any router."""


def why_not() -> str:
    """Why there can be none here; empty if there can."""
    return "" if os.access("/dev/net/tun", os.R_OK | os.W_OK) else "there is no /dev/net/tun"


class Bridge:
    """Carries the frames of some hosts, each to all others, until it is closed. Safe to use from several threads."""

    def __init__(self, names: list[str], devices: dict[str, int]) -> None:
        self._names = names
        self._devices = devices
        self._cut: set[tuple[str, str]] = set()
        self._delays: dict[str, float] = {}
        self._rates: dict[str, float] = {}
        self._busy: dict[str, float] = {}
        """Until when the slow line from a host has something to carry."""
        self._wake, self._woken = os.pipe()
        self._thread = threading.Thread(target=self._carry, name="bridge")
        self._thread.start()

    def cut(self, sender: str, *receivers: str) -> None:
        """Carry nothing any more from a host to others: to all of them, if none is named."""
        self._cut |= {(sender, receiver) for receiver in receivers or self._others(sender)}

    def cut_off(self, name: str) -> None:
        """Carry nothing from a host, nor to it."""
        self.cut(name)
        for other in self._others(name):
            self.cut(other, name)

    def mend(self) -> None:
        """Carry everything again, at once."""
        self._cut.clear()
        self._delays.clear()
        self._rates.clear()

    def delay(self, name: str, seconds: float) -> None:
        """Carry what comes from a host, and what goes to it, so much later each."""
        self._delays[name] = seconds

    def slow(self, name: str, rate: float) -> None:
        """Carry so many bytes a second of what comes from a host."""
        self._rates[name] = rate

    def close(self) -> None:
        """Carry nothing more."""
        os.close(self._woken)
        self._thread.join()
        os.close(self._wake)
        for device in self._devices.values():
            os.close(device)

    def _others(self, name: str) -> list[str]:
        return [other for other in self._names if other != name]

    def _carry(self) -> None:
        sources = {device: name for name, device in self._devices.items()}
        waiting: list[tuple[float, int, str, bytes]] = []
        numbers = count()
        while True:
            timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            ready, _, _ = select.select([self._wake, *sources], [], [], timeout)
            if self._wake in ready:
                return
            now = time.monotonic()
            for device in ready:
                sender, frame = sources[device], os.read(device, FRAME)
                sent = now
                if (rate := self._rates.get(sender)) is not None:
                    begins = max(now, self._busy.get(sender, now))
                    if (begins - now) * rate > QUEUE:
                        continue
                    sent = self._busy[sender] = begins + len(frame) / rate
                for receiver in self._others(sender):
                    if (sender, receiver) in self._cut:
                        continue
                    at = sent + self._delays.get(sender, 0.0) + self._delays.get(receiver, 0.0)
                    heapq.heappush(waiting, (at, next(numbers), receiver, frame))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, receiver, frame = heapq.heappop(waiting)
                with contextlib.suppress(OSError):  # that host is down
                    os.write(self._devices[receiver], frame)


def _tap(name: str) -> int:
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return device


@contextlib.contextmanager
def bridged(*names: str, mtu: int = MTU) -> Iterator[tuple[Bridge, dict[str, Host]]]:
    """One host for each name, and the bridge that joins them. It carries frames of ``mtu`` bytes at most."""
    made = {name: Host(f"b{os.getpid()}-{name}", f"10.78.0.{number}") for number, name in enumerate(names, 1)}
    devices: dict[str, int] = {}
    bridge: Bridge | None = None
    try:
        for number, (name, host) in enumerate(made.items()):
            called = f"k{os.getpid()}-{number}"
            _ip("netns", "add", host.name)
            devices[name] = _tap(called)
            _ip("link", "set", called, "netns", host.name)
            inside = ("-n", host.name)
            _ip(*inside, "link", "set", called, "name", "eth0", "mtu", str(mtu))
            _ip(*inside, "addr", "add", f"{host.ip}/24", "dev", "eth0")
            _ip(*inside, "link", "set", "eth0", "up")
            _ip(*inside, "link", "set", "lo", "up")
        bridge = Bridge(list(made), devices)
        yield bridge, made
    finally:
        if bridge is not None:
            bridge.close()
        for host in made.values():
            subprocess.run(["ip", "netns", "del", host.name], stderr=subprocess.DEVNULL, check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
