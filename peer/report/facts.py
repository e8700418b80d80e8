"""What a report says: the one value that a page, a text and a JSON object show.

What grows with a run is a `Table`, which is read from disk one row at a time. All texts of others are cut to
`MAX_TEXT` characters when they are gathered, and are not made safe to show here: each form does that for all of its
text, in one place.

In ``body`` texts, people and contents have labels and names. `RunReport.ids` says which CID or key each label is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from peer.audit.report import BestModel, Settled
from peer.history.reigns import Reign
from peer.history.verdict import Finding, Verdict
from protocol.replay.differences import Outcome

VERSION: Final = 1
"""Of the JSON form, docs/report.md. It grows by one with each change that a reader of the form before would miss."""

MAX_TEXT: Final = 300
"""Characters of a name, a reason or a setting."""
MAX_METRICS: Final = 24
"""Metrics of a run that are drawn and listed."""
MAX_LINES: Final = 10
"""Clients that have a line of their own in a curve. If there are more, a band shows from where to where they are."""

Row = TypeVar("Row", covariant=True)


class Table(Generic[Row]):
    """Rows that are read anew each time, and never held all at once."""

    def __init__(self, count: int, rows: Callable[[], Iterator[Row]]) -> None:
        self._count = count
        self._rows = rows

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Row]:
        return self._rows()


@dataclass(frozen=True, slots=True)
class Made:
    """How the report came to be."""

    command: str
    version: str
    """Of Pollen."""
    at: float
    """Seconds since 1970. Nothing else in the report depends on when it was made."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the audit came to, and what that rests on."""

    verdict: Verdict
    words: str
    """The verdict in a sentence."""
    root: str | None
    """`peer.audit.root_of_trust.Root`."""
    root_words: str
    """Whose word it rests on, in a sentence."""
    checked: tuple[str, ...]
    not_checked: tuple[str, ...]
    findings: tuple[Finding, ...]
    findings_left_out: int
    remarks: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class About:
    """The run as a whole."""

    federation: str
    """Its name; empty if it cannot be read."""
    run: str | None
    head: str
    federation_id: str | None
    leader: str
    began: float | None
    """Seconds since 1970, by the server's clock, as all times are unless something else is said."""
    ended: float | None
    """None while the run is open."""
    outcome: str
    """``returned`` or ``raised``; empty while the run is open."""
    reason: str
    records: int
    """Found; the audit says how many of them are verified."""
    verified_height: int | None
    keep: str
    """The plan by which contents stay or go; empty if all stay."""
    closing: str
    """The rule by which exchanges close early; empty if each waits for all its replies."""
    best: BestModel | None
    """The best model; None if the run marks none."""
    rounds: int
    numbered: bool
    """Whether the app numbers its rounds; otherwise each exchange counts as one."""
    exchanges: int
    encrypted: bool
    readable: bool
    """Whether names, settings and metrics could be read."""
    settled: Settled | None
    """Up to where the run is settled; None if its first record could not be verified."""


@dataclass(frozen=True, slots=True)
class WentOn:
    """Another environment of the server's app, from a place on."""

    place: Place
    changes: tuple[tuple[str, str, str], ...]
    """What is not as in the one before: name, as it was, as it was from then on."""


@dataclass(frozen=True, slots=True)
class App:
    """What was run, and with what. Only for those who can read the run."""

    name: str
    version: str
    id: str
    settings: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]
    differing: tuple[tuple[str, str, str], ...]
    """What of the environment is another one in the replay: name, as it was, as it is."""
    went_on: tuple[WentOn, ...]
    """Each other environment in which the server went on later."""
    replay_format: int


@dataclass(frozen=True, slots=True)
class ReplayDifference:
    """An exchange, or the end of the run, at which the app, run again, did not do quite what is recorded.

    A number that is not finite is a text, such as ``inf``. All are None if something else than numbers differs.
    """

    number: int | None
    """Of the exchange; None at the end of the run."""
    round: int | None
    height: int
    what: str
    """In words."""
    record: str
    tensor: str
    largest: float | str | None
    """The largest absolute difference of two numbers."""
    ulps: float | str | None
    """The largest difference in units in the last place."""
    of_update: float | str | None
    """The norm of the difference, relative to that of what the server made of the model before."""
    of_bound: float | str | None
    """The largest difference, as a share of what rounding can cause; None if no bound can be derived."""
    unbounded: str
    """Why no bound can be derived."""
    outcome: Outcome
    """How this exchange was judged, by itself."""


@dataclass(frozen=True, slots=True)
class Place:
    """A record's height, and its time."""

    height: int
    time: float


@dataclass(frozen=True, slots=True)
class Participant:
    """A member of the federation during the run."""

    label: str
    """``M1`` and so on."""
    name: str
    """As the rest of the report calls it: its name if that can be read, otherwise its label."""
    roles: tuple[str, ...]
    """When it was last a member."""
    since: Place
    until: Place | None
    """The record by which it was removed; None if it was a member at the end."""
    asked: int
    answered: int
    errors: int
    left_out: int
    """Its messages for whose reply an exchange did not wait: no errors of its own."""
    late: int
    """Its replies that came after their exchange had closed."""
    confirmed: int | None
    """The height up to which it confirmed the run; None if it confirmed nothing."""


@dataclass(frozen=True, slots=True)
class Change:
    """An admission, a removal, or another change of who is a member."""

    place: Place
    version: int
    """Of the manifest that brought it."""
    words: str


@dataclass(frozen=True, slots=True)
class Distance:
    """How far one update was from the mean of its exchange."""

    name: str
    norm: float | None
    """The L2 norm of its change of the model that was sent. None here and below: not a finite number."""
    apart: float | None
    """The L2 norm of the difference between its change and the mean change."""
    cosine: float | None
    """Between its change and the mean change."""


@dataclass(frozen=True, slots=True)
class Distances:
    """The updates of one training exchange, beside their mean."""

    number: int
    """Of the exchange."""
    round: int | None
    weighted: bool
    """Whether the mean is weighted by ``num-examples``."""
    mean_norm: float | None
    """The L2 norm of the mean change."""
    updates: tuple[Distance, ...]
    why_not: str
    """Why nothing was measured; empty if it was."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one participant gave back."""

    name: str
    reply: str | None
    """The CID of its signed record."""
    content: str | None
    bytes: int | None
    metrics: dict[str, object]
    """As its app sent them, the first `MAX_METRICS`."""
    code: int | None
    reason: str
    refused: str | None
    """The CID of the reply that the server refused."""
    left_out: bool
    """Whether its exchange did not wait for it, by the run's own rule."""


@dataclass(frozen=True, slots=True)
class Late:
    """A reply that came after its exchange had closed."""

    name: str
    exchange: int
    reply: str
    """The CID of its signed record."""


@dataclass(frozen=True, slots=True)
class Round:
    """One exchange: messages that were sent at once, and what came back."""

    number: int
    round: int | None
    types: tuple[str, ...]
    height: int
    last_height: int
    sent_at: float
    ended: float | None
    asked: tuple[str, ...]
    answers: tuple[Answer, ...]
    unanswered: tuple[str, ...]
    late: tuple[Late, ...]
    """Of which its collects tell: they came too late for earlier exchanges."""
    bytes_sent: int | None
    bytes_received: int | None
    means: dict[str, object]
    weighted: bool
    """Whether the means are weighted by ``num-examples``."""
    confirmed_by: tuple[str, ...]
    recomputed_by: tuple[str, ...]
    """The servers whose own app sent the same, as they sign."""
    dispatch: str
    contents: tuple[str, ...]
    """The CIDs of what was sent."""

    @property
    def errors(self) -> tuple[Answer, ...]:
        """The answers that are none."""
        return tuple(answer for answer in self.answers if answer.code is not None)


@dataclass(frozen=True, slots=True)
class Error:
    """An answer that the app did not get, and why."""

    round: str
    """Its round or its exchange, for people."""
    name: str
    refused: bool
    """Whether the server refused a reply; otherwise there was none, or the client's own app failed."""
    left_out: bool
    """Whether the exchange did not wait for it."""
    reason: str
    code: int


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a curve. A value that is not finite is None, and leaves a gap."""

    name: str
    points: tuple[tuple[int, float | None], ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """One quantity over the rounds."""

    what: str
    """Whose quantity: ``train``, ``evaluate``, or a name of ours."""
    name: str
    mean: Line | None
    mean_words: str
    """Which mean it is."""
    clients: tuple[Line, ...]
    """Each client's line, if there are at most `MAX_LINES` clients."""
    band: tuple[tuple[int, float, float], ...]
    """If there are more: the round, the smallest and the largest value of all."""
    count: int
    """How many clients there are in it."""
    notes: tuple[str, ...]
    """What is not drawn, or drawn in another way than one would think."""
    last: float | None
    """The last value of the mean, if there is one."""


@dataclass(frozen=True, slots=True)
class Id:
    """What a label or a name in the report stands for."""

    label: str
    what: str
    id: str


@dataclass(frozen=True, slots=True)
class RunReport:
    """All of it."""

    made: Made
    judgement: Judgement
    about: About
    app: App | None
    replayed: bool
    """Whether the app was run again, to an end."""
    differences: Table[ReplayDifference]
    reigns: tuple[Reign, ...]
    """Who led when, term by term."""
    reigns_left_out: int
    participants: tuple[Participant, ...]
    changes: tuple[Change, ...]
    rounds: Table[Round]
    errors: Table[Error]
    curves: tuple[Curve, ...]
    distances: Table[Distances]
    distance_curves: tuple[Curve, ...]
    metrics_left_out: int
    """Metrics over `MAX_METRICS`, which nothing here shows."""
    ids: Sequence[Id]
    """The few that the whole report is about: the run, its federation, its app, its members."""
    record_ids: Table[Id]
    """Each record of the chain."""
    content_ids: Table[Id]
    """Each reply and each content."""
