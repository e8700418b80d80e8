"""Values as a reader of a report sees them, in a page or in plain text. What is not our own text is quoted."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from typing import Final

from peer.cli.output import size
from peer.history.reigns import Reign
from peer.report.facts import MAX_LINES, Curve, Distances, Error, Place, ReplayDifference, Round, RunReport
from protocol.replay.differences import Outcome
from protocol.replies.closing_rule import parse_closing
from protocol.visible import named, quoted

SHOWN_METRICS = 6
"""Metrics in a line of the table of rounds."""
SHOWN_NAMES = 6
"""Names in one cell."""


def moment(seconds: float | None) -> str:
    """Seconds since 1970 as a time in UTC; a record's time may be anything that its author wrote."""
    if seconds is None:
        return ""
    try:
        time = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return f"{seconds!r} (no date)"
    return time.strftime("%Y-%m-%d %H:%M:%S")


def place(where: Place) -> str:
    """A record of the chain."""
    return f"height {where.height}, {moment(where.time)}"


def number(value: object) -> str:
    """A number in few digits; what is none as it is."""
    return f"{value:.4g}" if isinstance(value, int | float) else "not finite" if value is None else named(str(value))


def bytes_of(count: int | None) -> str:
    """A size; nothing if it is not known."""
    return "" if count is None else size(count)


def took(exchange: Round) -> str:
    """From the messages to the last answer."""
    return "open" if exchange.ended is None else f"{exchange.ended - exchange.sent_at:.1f} s"


def people(names: Sequence[str]) -> str:
    """Some names; of many, how many there are."""
    if len(names) > SHOWN_NAMES:
        return f"{len(names)} members"
    return ", ".join(map(named, names))


def asked(exchange: Round) -> str:
    """Who was asked, who of them did not answer, and whose reply to an earlier exchange came late."""
    out = list(dict.fromkeys(answer.name for answer in exchange.errors if answer.left_out))
    errors = list(dict.fromkeys(answer.name for answer in exchange.errors if not answer.left_out))
    missing = [*errors, *(name for name in exchange.unanswered if name not in errors)]
    many = len(exchange.asked) > SHOWN_NAMES
    who = f"{len(exchange.asked)} clients" if many else ", ".join(map(named, exchange.asked))
    late = list(dict.fromkeys(each.name for each in exchange.late))
    more = (("left out", out), ("without an answer", missing), ("late for an earlier exchange", late))
    return "; ".join([who, *(f"{what}: {people(names)}" for what, names in more if names)])


def in_place_of(error: Error) -> str:
    """What an error is in place of an answer."""
    return "left out" if error.left_out else "reply refused" if error.refused else "no answer"


def means(exchange: Round) -> str:
    """The means of its metrics."""
    shown = [f"{named(name)} {number(value)}" for name, value in list(exchange.means.items())[:SHOWN_METRICS]]
    more = len(exchange.means) - SHOWN_METRICS
    return ", ".join(shown + ([f"and {more} more"] if more > 0 else []))


def round_number(row: Round | Distances | ReplayDifference, numbered: bool) -> str:
    """What a row is called: its round, or its exchange if the app numbers its rounds and this one has no number."""
    if row.number is None:
        return "the end"
    if not numbered:
        return str(row.number)
    return f"({row.number})" if row.round is None else str(row.round)


def counted(report: RunReport) -> str:
    """What the rows and the curves count."""
    return "round" if report.about.numbered else "exchange"


DIFFERENCES: Final = "What differed when the app ran again"
DIFFERENCES_ARE: Final = (
    "Each exchange is judged by itself: after a difference that another machine may have caused, the recorded message "
    "took the place of the computed one. A unit in the last place is that of the recorded number: a number near zero "
    "has many. The update is what the server made of the model before. The bound is the most that rounding on another "
    "machine can cause."
)

DIFFERENCE_HEADER: Final = (
    "height",
    "what differs most",
    "largest difference",
    "units in the last place",
    "share of the update",
    "share of the bound",
    "judged",
)
"""What the cells of `difference` are."""

REIGNS: Final = "Who led, and why that changed"
REIGN_HEADER: Final = ("term", "leader", "from", "to", "how it began", "acked by", "settled up to")
"""What the cells of `reign` are."""


def reign(row: Reign) -> list[str]:
    """A leader's time in a term."""
    lost = row.lost_in_words()
    return [
        str(row.term),
        named(row.leader),
        place(Place(row.since, row.began)),
        place(Place(row.until, row.ended)),
        f"{row.in_words(with_term=False)}{f'. {lost[:1].upper()}{lost[1:]}' if lost else ''}",
        f"{row.acked} members" if row.acked != 1 else "1 member",
        "nothing known" if row.settled is None else f"height {row.settled}",
    ]


_ENDED: Final = {"returned": "returned", "raised": "raised", "stopped": "was stopped"}
"""How a run's app ended."""

_JUDGED: Final = {
    Outcome.EQUAL: "equal",
    Outcome.UNDECIDED: "this machine cannot tell",
    Outcome.BEYOND: "more than another machine can cause",
}


def difference(row: ReplayDifference) -> list[str]:
    """What is not equal in a replay: where it is largest, how large, and how it was judged by itself."""
    if row.largest is None:
        return [str(row.height), row.what, "", "", "", "", _JUDGED[row.outcome]]
    return [
        str(row.height),
        f"{named(row.record)}, {named(row.tensor)}" if row.tensor else named(row.record),
        number(row.largest),
        number(row.ulps),
        "" if row.of_update is None else number(row.of_update),
        f"no bound: {row.unbounded}" if row.of_bound is None else number(row.of_bound),
        _JUDGED[row.outcome],
    ]


def by_client(row: Distances, names: Sequence[str]) -> list[str]:
    """The distances of a row, a cell for each client."""
    found = {each.name: each for each in row.updates}
    return [
        f"{number(each.norm)}; {_relative(each.apart, row.mean_norm)}; {_cosine(each.cosine)}" if each else ""
        for each in map(found.get, names)
    ]


def farthest(row: Distances) -> list[str]:
    """Who was farthest from the mean, and how far; who was least aligned with it, and how much."""
    far = max(
        (each for each in row.updates if each.apart is not None), key=lambda each: each.apart or 0.0, default=None
    )
    least = min(
        (each for each in row.updates if each.cosine is not None),
        key=lambda each: 1.0 if each.cosine is None else each.cosine,
        default=None,
    )
    return [
        *(["", "not finite"] if far is None else [named(far.name), _relative(far.apart, row.mean_norm)]),
        *(["", "none"] if least is None else [named(least.name), _cosine(least.cosine)]),
    ]


def _relative(apart: float | None, mean: float | None) -> str:
    return "no ratio" if apart is None or not mean else number(apart / mean)


def _cosine(value: float | None) -> str:
    return "no angle" if value is None else f"{value:.3f}"


def under(curve: Curve) -> str:
    """What is said beside a curve: which mean it has, its last value, and what is not drawn."""
    said = [f"line in bold: {curve.mean_words}"] if curve.mean is not None else []
    if curve.last is not None:
        said.append(f"last value {number(curve.last)}")
    text = "; ".join([*said, *curve.notes])
    return f"{text[:1].upper()}{text[1:]}" if text else ""


def told(curve: Curve) -> str:
    """A curve in a sentence, for those who do not see it."""
    values = [value for _, value in curve.mean.points if value is not None] if curve.mean else []
    range_of = f", from {number(values[0])} to {number(values[-1])}" if values else ""
    kind = "the mean" if curve.mean else "a line each"
    return f"Curve of {named(curve.name)} ({curve.what}): {kind} of {curve.count} clients{range_of}"


def facts_of(report: RunReport) -> Iterator[tuple[str, str]]:
    """The run in a few lines."""
    about, app = report.about, report.app
    yield "federation", _title(about.federation, "not readable without a key" if about.encrypted else "unknown")
    if app is not None:
        yield "app", f"{named(app.name)}, version {named(app.version)}"
        yield "replay format", str(app.replay_format)
    elif about.encrypted:
        yield "app", "encrypted: not readable without a key"
    yield "leader", named(about.leader) if about.leader else "unknown"
    if about.began is not None:
        yield "began", moment(about.began)
        ended = moment(about.ended) if about.ended is not None else "still open"
        reason = f": {quoted(about.reason)}" if about.reason else ""
        yield "ended", f"{ended}{f', the app {_ENDED[about.outcome]}' if about.outcome else ''}{reason}"
    shows_settled = len(report.reigns) > 1 or any(each.confirmed is not None for each in report.participants)
    if about.settled is not None and about.verified_height is not None and shows_settled:
        yield "settled", about.settled.in_words(about.verified_height, closed=about.ended is not None)
    if about.keep:
        yield "keeps", about.keep
    if about.closing:
        yield "rounds", f"an exchange closes {parse_closing(about.closing).in_words()}"
    if about.best is not None:
        yield "best", about.best.in_words()
    verified = 0 if about.verified_height is None else about.verified_height + 1
    rounds = f"{about.rounds} rounds, " if about.numbered else ""
    yield "size", f"{about.records} records, {verified} of them verified; {rounds}{about.exchanges} exchanges"
    yield "encrypted", "yes" if about.encrypted else "no"


def title_of(report: RunReport) -> str:
    """The run in a few words."""
    app = "an encrypted app" if report.about.encrypted else "an unknown app"
    return named(report.app.name) if report.app else app


def federation_of(report: RunReport) -> str:
    """The federation in a few words."""
    return _title(report.about.federation, "whose name cannot be read")


def _title(name: str, otherwise: str) -> str:
    return named(name) if name else otherwise


def clients_of(report: RunReport) -> list[str]:
    """The clients that have a line in a curve of metrics, in the order of the report."""
    return _in_order(report, report.curves)


def distance_clients_of(report: RunReport) -> list[str]:
    """Those that have one in a curve of distances."""
    return _in_order(report, report.distance_curves)


def _in_order(report: RunReport, curves: Sequence[Curve]) -> list[str]:
    drawn = {line.name for curve in curves for line in curve.clients}
    known = [each.name for each in report.participants if each.name in drawn]
    return [*known, *sorted(drawn.difference(known))][: 2 * MAX_LINES]
