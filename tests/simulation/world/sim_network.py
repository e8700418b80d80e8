"""The network: pubsub that loses, repeats, delays and reorders, block exchange that fails, partitions of any shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from sim_disk import Disk
from sim_faults import Faults
from sim_time import Timeline

from protocol.blocks.cid import CID, MissingBlock

PARTITIONS_BEGIN_WITHIN = 30.0
"""Seconds; an undisturbed run takes a few."""


class Network:
    """What connects the peers, by name. A peer that is down neither hears nor gives."""

    def __init__(
        self, timeline: Timeline, random: Random, faults: Faults, names: Iterable[str], hub: str | None = None
    ) -> None:
        """``hub`` is the one peer that others can call; None: all can."""
        self._hub = hub
        self._timeline = timeline
        self._random = random
        self._faults = faults
        self._names = tuple(names)
        self._receivers: dict[str, tuple[tuple[str, ...], Callable[[bytes], None]]] = {}
        self._topics: dict[str, tuple[str, ...]] = {}
        """What the processes of each peer listen to, even those that are gone."""
        self._disks: dict[str, Disk] = {}
        self._cut_off: list[frozenset[str]] = []
        self._mute: list[frozenset[str]] = []
        """Sides that are not heard by the others, and hear them."""
        self._away: list[str] = []
        """The peers whose engines are away."""
        for _ in range(faults.partitions):
            self._plan_partition()
        for _ in range(faults.one_way):
            self._plan_partition(one_way=True)

    # -- who is there ----------------------------------------------------------------------------------------------

    def join(self, name: str, topics: tuple[str, ...], receive: Callable[[bytes], None], disk: Disk) -> None:
        """A process of ``name`` has started; ``receive`` gets what is published on ``topics``."""
        self._receivers[name] = (topics, receive)
        self._topics[name] = topics
        self._disks[name] = disk

    def leave(self, name: str) -> None:
        """Its process is gone."""
        self._receivers.pop(name, None)
        self._disks.pop(name, None)

    def answers(self, name: str) -> bool:
        """Whether the engine of ``name`` answers."""
        return name not in self._away

    def leave_for(self, name: str, begin: float, length: float) -> None:
        """Its engine is away, ``length`` seconds from ``begin`` on."""
        self._timeline.after(begin, lambda: self._cut(frozenset({name}), name))
        self._timeline.after(begin + length, lambda: self._heal(frozenset({name}), name))

    # -- announcements ---------------------------------------------------------------------------------------------

    def publish(self, sender: str, topic: str, data: bytes) -> None:
        """Carry an announcement to all that listen when it comes, also to the sender, as Kubo does."""
        for name in self._names:
            copies = 1 + (self._random.random() < self._faults.duplication)
            for _ in range(copies):
                if name == sender or self._random.random() >= self._faults.loss:
                    delay = self.delay()  # drawn for everybody: what a seed draws later does not depend on topics
                    if topic in self._topics.get(name, (topic,)):
                        self._timeline.after(delay, lambda name=name: self._deliver(sender, name, topic, data))

    def tell(self, sender: str, name: str, topic: str, data: bytes) -> None:
        """Carry an announcement to one alone, as who is connected to it can."""
        self._timeline.after(self.delay(), lambda: self._deliver(sender, name, topic, data))

    def _deliver(self, sender: str, name: str, topic: str, data: bytes) -> None:
        topics, receive = self._receivers.get(name, ((), None))
        if receive is not None and topic in topics and self._hears(name, sender):
            receive(data)

    def delay(self) -> float:
        """How long something takes."""
        long = 100.0 if self._random.random() < self._faults.stragglers else 1.0
        return self._random.expovariate(1.0 / self._faults.delay) * long

    # -- blocks ----------------------------------------------------------------------------------------------------

    def reach(self, name: str) -> Swarm:
        """The blocks that ``name`` can get now: its own, and those of everybody it is connected to."""
        return Swarm([self._disks[name], *(self._disks[other] for other in self._disks if self.connected(name, other))])

    # -- partitions ------------------------------------------------------------------------------------------------

    def connected(self, one: str, other: str) -> bool:
        """Whether one can call the other, and no partition lies between the two."""
        if self._hub not in (None, one, other) and one != other:
            return False
        return all((one in side) == (other in side) for side in (*self._cut_off, *self._mute))

    def _hears(self, name: str, sender: str) -> bool:
        if self._hub not in (None, name, sender) and name != sender:
            return False
        if any(sender in side and name not in side for side in self._mute):
            return False
        return all((name in side) == (sender in side) for side in self._cut_off)

    def _plan_partition(self, *, one_way: bool = False) -> None:
        side = frozenset(name for name in self._names if self._random.random() < 0.5)
        begin = self._random.uniform(0.0, PARTITIONS_BEGIN_WITHIN)
        end = begin + self._random.uniform(0.5, 1.5) * self._faults.partition_length
        if one_way:
            self._timeline.after(begin, lambda: self._silence(side))
            self._timeline.after(end, lambda: self._unsilence(side))
            return
        self._timeline.after(begin, lambda: self._cut(side))
        self._timeline.after(end, lambda: self._heal(side))

    def _silence(self, side: frozenset[str]) -> None:
        self._mute.append(side)
        self._timeline.disturb("network", f"nobody else hears {sorted(side)}")

    def _unsilence(self, side: frozenset[str]) -> None:
        self._mute.remove(side)
        self._timeline.disturb("network", f"all hear {sorted(side)} again")

    def _cut(self, side: frozenset[str], *away: str) -> None:
        self._away.extend(away)
        self._cut_off.append(side)
        self._timeline.disturb("network", f"cut off {sorted(side)}")

    def _heal(self, side: frozenset[str], *away: str) -> None:
        for name in away:
            self._away.remove(name)
        self._cut_off.remove(side)
        self._timeline.disturb("network", f"healed {sorted(side)}")


class Swarm:
    """The blocks on several disks, as a `protocol.blocks.cid.BlockSource`."""

    def __init__(self, disks: list[Disk]) -> None:
        self._disks = disks

    def get(self, cid: CID) -> bytes:
        """The block from the first disk that has it."""
        for disk in self._disks:
            if (data := disk.blocks.get(cid)) is not None:
                return data
        raise MissingBlock(cid)
