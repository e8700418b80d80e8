"""What goes wrong in one simulated run: a seed expands into these numbers, and a failure prints them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Final


@dataclass(frozen=True, slots=True)
class Faults:
    """Times are in virtual seconds, chances between 0 and 1."""

    loss: float = 0.0
    """How likely an announcement to one receiver is lost."""
    duplication: float = 0.0
    delay: float = 0.005
    """The mean. Delays vary, so that announcements overtake each other."""
    stragglers: float = 0.0
    """The chance of a delay a hundred times as long."""
    fetch_failure: float = 0.0
    partitions: int = 0
    partition_length: float = 0.0
    crash_chance: float = 0.0
    """The chance of a crash at each step of a process, before or after it."""
    crashes: int = 0
    """How many one peer may have."""
    downtime: float = 0.0
    app_losses: float = 0.0
    """The chance that an app process dies instead of saying what it would have said."""
    full_disks: float = 0.0
    """The chance that a durable step fails."""
    offline_times: int = 0
    """How often the leader's engine is away. Then nothing reaches the leader, and nothing comes from it."""
    offline_length: float = 0.0
    clean_stops: float = 0.0
    """The share of the leader's crashes that are requests to stop instead."""
    one_way: int = 0
    """Partitions in which one side still hears the other. They are as long as the others."""
    clock_drift: float = 0.0
    """By how much a clock may be too fast or too slow: 0.01 is a second in a hundred."""
    clock_jumps: float = 0.0
    """Seconds by which a machine's clock may be wrong when a process starts."""
    standstills: int = 0
    """How often a process stands still for a while, as on a machine that slept."""
    standstill_length: float = 0.0

    @classmethod
    def draw(cls, random: Random) -> Faults:
        """Anything from a quiet day to the worst: each kind of fault is left out of half of all runs. Runs in which
        all go wrong at once take longest, and hide what one kind alone brings about (Groce and others, "Swarm Testing",
        ISSTA 2012)."""
        worst = cls._worst(random)
        left_out = [name for kind in _KINDS if random.random() < 0.5 for name in kind]
        return replace(worst, **{name: getattr(CALM, name) for name in left_out})

    @classmethod
    def _worst(cls, random: Random) -> Faults:
        return cls(
            loss=random.choice((0.0, 0.1, 0.5, 0.8)),
            duplication=random.choice((0.0, 0.1, 0.5)),
            delay=random.choice((0.002, 0.02, 0.3)),
            stragglers=random.choice((0.0, 0.02, 0.1)),
            fetch_failure=random.choice((0.0, 0.1, 0.5)),
            partitions=random.choice((0, 0, 1, 3)),
            partition_length=random.choice((1.0, 10.0, 40.0)),
            crash_chance=random.choice((0.0, 0.005, 0.02, 0.1)),
            crashes=random.choice((1, 3, 6)),
            downtime=random.choice((0.1, 2.0, 20.0)),
            app_losses=random.choice((0.0, 0.1, 0.3)),
            full_disks=random.choice((0.0, 0.0, 0.02)),
            clean_stops=random.choice((0.0, 0.5)),
            one_way=random.choice((0, 0, 1)),
            clock_drift=random.choice((0.0, 0.001, 0.05)),
            clock_jumps=random.choice((0.0, 0.0, 3.0, 4000.0)),
            standstills=random.choice((0, 0, 0, 2)),
            standstill_length=random.choice((1.0, 20.0)),
        )


CALM = Faults()

_KINDS: Final = (
    ("loss",),
    ("duplication",),
    ("delay", "stragglers"),
    ("fetch_failure",),
    ("partitions", "one_way"),
    ("crash_chance", "clean_stops"),
    ("app_losses",),
    ("full_disks",),
    ("clock_drift", "clock_jumps"),
    ("standstills",),
)
"""What goes wrong together, or not at all."""
