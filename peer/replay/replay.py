"""What a replay came to: what is equal, what differs, and what that may mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from peer.history.verdict import REPLAY, REPLAY_UNDECIDED, REPLAY_UNFINISHED, Finding
from protocol.blocks.cid import CID
from protocol.records.environment import Environment, differing
from protocol.replay.differences import Cause, Difference, Outcome, Reason, ranked
from protocol.replay.other_environments import cause_of, settling
from strategy.contents.summary import to_json

_IN_WORDS: Final = {
    Reason.SERVER: "the server did not run this app on these replies",
    Reason.APP: "the app does not do the same thing twice: it reads a clock, the machine's name or files that change, "
    "draws a uuid4, or takes results in the order in which its own threads finish",
    Reason.NOT_KEPT: "the app may have kept something of replies that are not kept here",
    Reason.UNRECORDED: "the app reads what is not recorded, such as a file or a variable that is another one here",
    Reason.MACHINE: "the recorded machine rounds differently from this one",
    Reason.VERSIONS: "the recorded versions compute something else than these",
}
"""What a difference may mean."""

MAX_ENVIRONMENTS: Final = 32
"""How many of a run's environments are told."""


@dataclass(frozen=True, slots=True)
class RecordedEnvironment:
    """An environment of the server's, as it says, compared with this one."""

    height: int
    """From the record at this height on."""
    differing: Mapping[str, tuple[str, str]]
    """What is another one here: the recorded value, and the one here."""
    cause: Cause
    """The most that this environment can change in a result of that one."""
    settling: str
    """With what a difference could be settled; empty if this environment is as good as that one."""

    def value(self) -> dict[str, Any]:
        """As ``--json`` shows it."""
        return {"height": self.height, "environment": _pairs_value(self.differing), "settling": self.settling or None}


def compared_environment(height: int, was: Environment, now: Environment) -> RecordedEnvironment:
    """The server's environment from ``height`` on, compared with this one."""
    return RecordedEnvironment(height, differing(was, now), cause_of(was, now), settling(was, now))


def _pairs_value(pairs: Mapping[str, tuple[str, str]]) -> dict[str, list[str]]:
    return {name: list(pair) for name, pair in pairs.items()}


NOT_COMPARED: Final = RecordedEnvironment(0, {}, Cause.NOTHING, "")
"""Before the app process has said what it runs in."""


@dataclass(frozen=True, slots=True)
class ComparedExchange:
    """The messages of one dispatch, or the final model, compared with what is recorded."""

    height: int
    round: int | None
    number: int | None
    """The exchange's number, from 1; None for what follows all exchanges, such as the final model."""
    messages: int
    outcome: Outcome = Outcome.EQUAL
    what: str = ""
    """What differs, in words; empty if nothing does."""
    difference: Difference | None = None
    """How the contents differ; None if they do not, or if something else differs."""
    message: int | None = None
    """The message of the dispatch, from 0, after which the app could not go on; None if it could."""
    environment: RecordedEnvironment = NOT_COMPARED
    """The one in force at it."""
    after_gap: bool = False
    """Whether a reply before it is not kept by policy."""
    made: CID | None = None
    """The content that the app made in its place; None if no content differs, or the app could go on."""

    def value(self) -> dict[str, Any]:
        """As ``--json`` shows it beside the exchange."""
        return {"outcome": self.outcome.value, "what": self.what or None, **_difference_value(self.difference)}

    def place_value(self) -> dict[str, Any]:
        """The same, with its place."""
        return {"height": self.height, "round": self.round, "message": self.message, **self.value()}


def _difference_value(found: Difference | None) -> dict[str, Any]:
    return {
        "record": found.record if found else None,
        "tensor": found.tensor if found else None,
        "largest": _number(found.largest if found else None),
        "ulps": _number(found.ulps if found else None),
        "of_update": _number(found.of_update if found else None),
        "of_bound": _number(found.of_bound if found else None),
        "unbounded": (found.unbounded or None) if found else None,
    }


def _number(value: float | None) -> Any:
    return None if value is None else to_json(value)


@dataclass(slots=True)
class Replay:
    """How a replay went."""

    exchanges: int = 0
    """How many were compared and are equal."""
    messages: int = 0
    """How many messages those exchanges have."""
    undecided: int = 0
    """How many exchanges differ without this machine being able to tell why. The final model counts as one."""
    first: ComparedExchange | None = None
    """The first that differs."""
    last: ComparedExchange | None = None
    """The last that differs."""
    widest: ComparedExchange | None = None
    """The one that differs most, in units in the last place."""
    at_end: ComparedExchange | None = None
    """What differs after all exchanges, such as the final model. Of an exchange, the audit's row of it says that."""
    beyond: ComparedExchange | None = None
    """The one that differs more than another machine can cause. The replay ends with it."""
    repeats: bool | None = None
    """Whether the app did the same when it was run once more here, up to the difference that decides; None if that was
    not tried, or did not end: then nobody is accused."""
    unfinished: str = ""
    """Why there is no verdict; empty if there is one."""
    not_kept: int = 0
    """How many exchanges could not be compared, because replies before them are not kept by policy."""
    not_checked: str = ""
    """What could not be compared; empty if the run was replayed to its end."""
    app_raised: bool = False
    """Whether the replay is unfinished because the app raised."""
    environments: list[RecordedEnvironment] = field(default_factory=list)
    """Those in which the server's app ran, as far as the replay came, `MAX_ENVIRONMENTS` of them at most."""
    seconds: float = 0.0
    """How long the replay took once the run was verified, with the second run of the app if there was one."""
    import_seconds: float = 0.0
    """How much of that went by before the app process had done its imports, which it begins earlier."""

    @property
    def _told(self) -> ComparedExchange | None:
        """The difference that the verdict speaks of."""
        return self.beyond or self.first

    @property
    def cause(self) -> Cause:
        """The most that this environment can change in the result that differs."""
        return Cause.NOTHING if self._told is None else self._told.environment.cause

    @property
    def environment(self) -> Mapping[str, tuple[str, str]]:
        """What differs between the environments: the recorded value, and the one here. The recorded one is that of the
        difference that the verdict speaks of, and without one that in which the run began."""
        if self._told is not None:
            return self._told.environment.differing
        return self.environments[0].differing if self.environments else {}

    @property
    def settling(self) -> str:
        """What would settle a difference; empty if this environment is as good as the recorded one. In the last one in
        which something differs, the server's app has done again all that came before."""
        if self.last is not None:
            return self.last.environment.settling
        return self.environments[-1].settling if self.environments else ""

    @property
    def mismatches(self) -> int:
        """How many exchanges differ. The final model counts as one."""
        return self.undecided + (self.beyond is not None)

    @property
    def outcome(self) -> Outcome:
        """The worst of all outcomes. A difference accuses nobody unless the app is known to do the same thing twice."""
        if self.first is None:
            return Outcome.EQUAL
        return Outcome.BEYOND if self.beyond is not None and self.repeats else Outcome.UNDECIDED

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """What may have caused the difference, the likeliest first; empty if there is none."""
        found = ranked(self.outcome, self.cause, repeats=self.repeats)
        is_doubtful = self._told is not None and self._told.after_gap and self.outcome is Outcome.UNDECIDED
        return (Reason.NOT_KEPT, *found) if is_doubtful and self.repeats is not False else found

    def findings(self) -> Iterator[Finding]:
        """The findings that follow from the replay."""
        if self.unfinished:
            yield Finding(self.first.height if self.first else None, None, REPLAY_UNFINISHED, self.unfinished)
        told = self._told
        if told is None:
            return
        where = "" if told.round is None else f"in round {told.round}, "
        what = f"{where}{told.what}; {self._meaning()}"
        is_beyond = self.outcome is Outcome.BEYOND
        yield Finding(
            told.height,
            None,
            REPLAY if is_beyond else REPLAY_UNDECIDED,
            what,
            1 if is_beyond else max(1, self.undecided),
        )

    def _meaning(self) -> str:
        """What the difference may mean, and what would tell."""
        first, *others = (_IN_WORDS[reason] for reason in self.reasons)
        if self.repeats is False:
            return f"run again on this machine, it differed from itself: {first}. No machine can settle that"
        meaning = f"{first}{''.join(f'; or {other}' for other in others)}"
        settled = f"; {self.settling} would settle it" if self.settling else ""
        if not self.environment:
            return f"this environment is the recorded one: {meaning}{settled}"
        pairs = ", ".join(f"{name} was {was!r} and is {now!r}" for name, (was, now) in self.environment.items())
        if self.outcome is Outcome.BEYOND:
            return f"no other machine causes that ({pairs}): {meaning}"
        differs = f"This environment is not the one that the server says it had ({pairs})"
        return f"{meaning}. {differs}{settled}"

    def value(self) -> dict[str, Any]:
        """As ``--json`` shows it."""
        return {
            "outcome": self.outcome.value,
            "exchanges": self.exchanges,
            "messages": self.messages,
            "mismatches": self.mismatches,
            "undecided": self.undecided,
            "first_divergence": None if self.first is None else self.first.place_value(),
            "widest": None if self.widest is None else self.widest.place_value(),
            "at_end": None if self.at_end is None else self.at_end.place_value(),
            "beyond": None if self.beyond is None else self.beyond.place_value(),
            "repeats": self.repeats,
            "reasons": [reason.value for reason in self.reasons],
            "settling": self.settling or None,
            "not_kept": self.not_kept,
            "not_checked": self.not_checked or None,
            "environment": _pairs_value(self.environment),
            "environments": [environment.value() for environment in self.environments],
            "seconds": round(self.seconds, 3),
            "import_seconds": round(self.import_seconds, 3),
        }
