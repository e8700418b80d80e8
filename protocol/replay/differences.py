"""What a difference between a replay and the record means: the rule, without any measuring.

`verified` means equal, bit for bit. So this decides between two other outcomes alone: a difference that no other
machine can cause, and one of which this machine cannot tell who caused it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """The most that an environment which is not the recorded one can do to what an app sends."""

    NOTHING = "nothing"
    """It is the recorded one, or differs in nothing that matters."""
    ROUNDING = "rounding"
    """Other instructions, kernels or mathematical functions: each operation may be rounded in another way."""
    ANYTHING = "anything"
    """Other versions of Python or of a package: they may compute something else."""


class Outcome(StrEnum):
    """What comparing what the app sent with what is recorded came to."""

    EQUAL = "equal"
    """Bit for bit."""
    BEYOND = "beyond"
    """Different, and more than another machine can cause."""
    UNDECIDED = "undecided"
    """Different, and this machine cannot tell whether the server or its machine did it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far apart two messages, or two final models, are."""

    what: str
    """For people."""
    record: str
    """The key of the record that differs most."""
    tensor: str | None = None
    """The key of the tensor, or of the value, in it; None if the record itself is missing or of another type."""
    largest: float | None = None
    """The largest absolute difference of two numbers; None if anything else than numbers differs."""
    ulps: float | None = None
    """The largest difference in units in the last place of the recorded number."""
    of_update: float | None = None
    """The norm of the difference, relative to that of the recorded update: what the server made of the model before."""
    of_bound: float | None = None
    """The largest difference, as a share of what rounding can cause at its place; None if no bound can be derived."""
    unbounded: str = ""
    """Why no bound can be derived."""

    @property
    def is_rounding(self) -> bool:
        """Whether only numbers differ, as rounding may have them differ."""
        return self.largest is not None


def judged(difference: Difference | None, cause: Cause, *, flowers_own: bool) -> Outcome:
    """What a difference means; ``difference`` is None if something else differs than the contents of messages.

    ``flowers_own`` says whether Flower's own code alone decided what is sent to whom: an app's own may decide by a
    number, which rounding changes.
    """
    match cause:
        case Cause.NOTHING:
            return Outcome.BEYOND
        case Cause.ANYTHING:
            return Outcome.UNDECIDED
    if difference is None or not difference.is_rounding:
        return Outcome.BEYOND if flowers_own else Outcome.UNDECIDED
    if difference.of_bound is None:
        return Outcome.UNDECIDED
    return Outcome.BEYOND if difference.of_bound > 1 else Outcome.UNDECIDED


class Reason(StrEnum):
    """What may have caused a difference."""

    SERVER = "server"
    """The server did not run this app on these replies."""
    APP = "app"
    """The app does not do the same thing twice."""
    UNRECORDED = "unrecorded"
    """The app reads something that is not recorded, and that is another one here."""
    NOT_KEPT = "not-kept"
    """The app may have kept something of replies that are not kept here."""
    MACHINE = "machine"
    """Another processor, other kernels or another C library round in another way."""
    VERSIONS = "versions"
    """Other versions of Python or of a package compute something else."""


def ranked(outcome: Outcome, cause: Cause, *, repeats: bool | None) -> tuple[Reason, ...]:
    """What may have caused a difference, what the evidence speaks for most first.

    ``repeats`` says whether the app, run again on this machine and told another time and place, did what it had done
    before; None if nobody tried.
    """
    if repeats is False:
        return (Reason.APP,)
    others = (Reason.UNRECORDED,) if repeats else (Reason.APP, Reason.UNRECORDED)
    match outcome, cause:
        case Outcome.EQUAL, _:
            return ()
        case (Outcome.BEYOND, _) | (_, Cause.NOTHING):
            return (Reason.SERVER, *others)
        case _, Cause.ROUNDING:
            return (Reason.MACHINE, Reason.SERVER, *others)
    return (Reason.VERSIONS, Reason.MACHINE, Reason.SERVER, *others)
