"""Which jobs a standing server takes, and which of them begin now.

A job is a run that was asked for. Jobs begin in the order in which they were accepted, as many at a time as fit. None
overtakes another, so that a large one is not put off for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from protocol.federation.manifest import Manifest
from protocol.records.bodies import Role

MAX_WAITING: Final = 100
"""Jobs that wait at most."""

MAX_OF_ONE: Final = 20
"""Jobs of one member that wait at most, so that nobody takes all places. The owner of the server may fill them."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a job takes of the machine, as whoever asks says: a hint, not a bound."""

    memory: int = 0
    """Bytes."""
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What runs side by side at most."""

    runs: int = 1
    memory: int | None = None
    """Bytes for all jobs that run; None: not counted."""
    gpus: int | None = None


@dataclass(frozen=True, slots=True)
class Queued:
    """A job that is not done yet."""

    number: int
    """In the order of acceptance."""
    asker: bytes
    """The member that asked for it."""
    needs: Needs
    is_running: bool


def may_ask(manifest: Manifest, member: bytes) -> bool:
    """Whether a member may have a server run something: an admin, or a server itself."""
    known = manifest.members.get(member)
    return known is not None and (Role.SERVER in known.roles or known.signing in manifest.admins)


def why_refused(queue: Iterable[Queued], asker: bytes, owner: bytes, needs: Needs, limits: Limits) -> str:
    """Why another job of ``asker`` is not accepted; empty if it is. ``owner`` is the server's own member."""
    if limits.memory is not None and needs.memory > limits.memory:
        return f"it needs {_gib(needs.memory)} of memory, and this server gives its runs {_gib(limits.memory)}"
    if limits.gpus is not None and needs.gpus > limits.gpus:
        return f"it needs {needs.gpus} GPUs, and this server gives its runs {limits.gpus}"
    waiting = [job for job in queue if not job.is_running]
    if len(waiting) >= MAX_WAITING:
        return f"{MAX_WAITING} jobs wait already"
    if asker != owner and sum(job.asker == asker for job in waiting) >= MAX_OF_ONE:
        return f"{MAX_OF_ONE} jobs of this member wait already"
    return ""


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.3g} GiB"


def to_begin(queue: Iterable[Queued], limits: Limits) -> Iterator[Queued]:
    """The jobs that begin now, the oldest first."""
    jobs = sorted(queue, key=lambda job: job.number)
    running = [job for job in jobs if job.is_running]
    for job in jobs:
        if job.is_running:
            continue
        if not _fits([*running, job], limits):
            return
        running.append(job)
        yield job


def _fits(jobs: list[Queued], limits: Limits) -> bool:
    memory, gpus = (sum(job.needs.memory for job in jobs), sum(job.needs.gpus for job in jobs))
    return (
        len(jobs) <= limits.runs
        and (limits.memory is None or memory <= limits.memory)
        and (limits.gpus is None or gpus <= limits.gpus)
    )
