"""The fault matrix: which role's process is killed, at which step, before or after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from peer.base.faults import Fault, Step, Victim, When

SERVER: Final = "server"
CLIENT: Final = "one"

STEPS: Final = {
    SERVER: (Step.STORE, Step.PIN, Step.WRITE_HEAD, Step.PUBLISH, Step.FETCH_CONTENT, Step.HAND, Step.APP_ANSWERED),
    CLIENT: (
        Step.STORE,
        Step.WRITE_HEAD,
        Step.KEEP_REPLY,
        Step.PUBLISH,
        Step.FETCH_CONTENT,
        Step.HAND,
        Step.APP_ANSWERED,
    ),
}
"""What each role does in an undisturbed run. A peer that was away fetches records: see `test_second_faults`."""

TIMES: Final = (1, 4)
"""Which of the times a step is taken."""

ONCE: Final = frozenset({Step.PIN})
"""Steps that are taken once."""

Cell = tuple[str, Fault]


def cells(victim: Victim) -> Iterator[Cell]:
    """Every cell with this victim."""
    for peer, steps in STEPS.items():
        for step in steps:
            if step is Step.PIN and victim is Victim.APP:
                continue  # the app process has done all it had to do by then
            for nth in TIMES[:1] if step in ONCE else TIMES:
                yield from ((peer, Fault(victim, step, when, nth)) for when in When)


def name(cell: Cell) -> str:
    """How a test is called; ``pytest -k`` finds it."""
    peer, fault = cell
    return f"{peer}-{fault.victim}-{fault.step}-{fault.when}-{fault.nth}"
