"""A run as the page shows it: its rounds, who refused what, its records. It grows as the run is read."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from peer.history.reigns import Reign, Reigns
from peer.history.rounds import Exchange
from peer.metrics.points import measured
from peer.web.curves import Curves
from protocol.blocks.cid import CID
from protocol.blocks.json_values import json_value
from protocol.chain.chain import Chain, Step
from protocol.keeping.best import BestSoFar
from protocol.status.measures import kept
from protocol.visible import visible
from protocol.wire.announcements import Position

MAX_FAILURES: Final = 50
"""Errors and refused replies that are kept, the newest."""

MAX_REIGNS: Final = 50
"""Terms that are told, the newest."""

MAX_REASON: Final = 500
"""Characters of a reason."""


@dataclass(frozen=True, slots=True)
class Round:
    """A row of the table of rounds. What others chose is visible."""

    number: int
    round: int | None
    time: float
    ended: float | None
    types: str
    asked: int
    answered: int
    failed: int
    left_out: int
    """How many of those that failed the exchange did not wait for."""
    late: int
    """Replies of which it tells, which came too late for earlier exchanges."""
    height: int
    """Of the record that sent its messages."""
    dispatch: CID
    means: dict[str, float]


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that is an error, or was refused. What others chose is visible."""

    exchange: int
    round: int | None
    who: str
    reason: str
    refused: bool
    left_out: bool
    reply: CID | None


@dataclass(slots=True)
class Recomputed:
    """What another server's own app made of a run, as it signs."""

    spans: list[tuple[int, int]] = field(default_factory=list)
    """From where to where it did what is recorded; both heights are inside."""
    otherwise: int | None = None
    """Where it did something else."""

    def equal(self, since: int, until: int) -> None:
        """It did what is recorded there, above all that was noted before."""
        if self.spans and since <= self.spans[-1][1] + 1:
            since = min(since, self.spans.pop()[0])
        self.spans.append((since, until))

    @property
    def in_words(self) -> str:
        """How far it is."""
        if self.otherwise is not None:
            return f"otherwise at height {self.otherwise}"
        return f"equal up to height {self.spans[-1][1]}" if self.spans else ""


@dataclass(slots=True)
class RunView:
    """What was read of a run. Safe to use from several threads."""

    run: CID
    rounds: list[Round] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    curves: Curves = field(default_factory=Curves)
    confirmed: dict[str, int] = field(default_factory=dict)
    """The height up to which each member has confirmed the chain."""
    recomputed: dict[str, Recomputed] = field(default_factory=dict)
    """What the apps of other servers made of it."""
    witnesses: int = 0
    """How many of them clients wait for before they train."""
    app: str = ""
    federation: str = ""
    reigns: Reigns = field(default_factory=Reigns)
    """Who led when."""
    settled: int | None = None
    """The height up to which it is settled, by the acks that are here and the voters of now; None if nothing is."""
    keep: str = ""
    """The plan by which its contents stay or go; empty if all stay."""
    closing: str = ""
    """When its exchanges close early, in words; empty if each waits for all."""
    best: BestSoFar | None = None
    """The best model by now; None if the run marks none, or this reader cannot read by what."""
    best_round: int | None = None
    closed: bool = False
    met: int = 0
    """Records above those that are verified: they were read on the way back from the head, and are to be verified."""
    trouble: str = ""
    """Why no more of it can be read."""
    _records: list[CID] = field(default_factory=list)
    _types: list[str] = field(default_factory=list)
    _times: array[float] = field(default_factory=lambda: array("d"))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def stepped(self, step: Step, chain: Chain) -> None:
        """A record more of ``chain`` is verified."""
        with self._lock:
            self.reigns.take(step, chain)
            self._records.append(step.record.cid)
            self._types.append(step.record.body.TYPE.value)
            self._times.append(step.record.body.time)

    def take(self, exchange: Exchange) -> None:
        """An exchange is complete."""
        failed = [answer for answer in exchange.answers if answer.code is not None]
        row = Round(
            exchange.number,
            exchange.round,
            exchange.time,
            exchange.ended,
            visible("+".join(exchange.types)[:80]),
            len(exchange.asked),
            len(exchange.answers) - len(failed),
            len(failed),
            sum(answer.left_out for answer in failed),
            len(exchange.late),
            exchange.height,
            exchange.dispatch,
            {visible(name): value for name, value in kept(exchange.mean_metrics().items())},
        )
        with self._lock:
            self.rounds.append(row)
            best = self.best
            if best is not None and best.take(exchange.number, exchange.mean_metrics().get(best.by.metric)):
                self.best_round = exchange.round
            for point in measured(exchange):
                self.curves.take(point)
            self.failures += [
                Failure(
                    exchange.number,
                    exchange.round,
                    visible(answer.name),
                    visible(answer.reason.strip()[:MAX_REASON]),
                    answer.refused is not None,
                    answer.left_out,
                    answer.refused or answer.reply,
                )
                for answer in failed
            ]
            del self.failures[:-MAX_FAILURES]

    @property
    def height(self) -> int:
        """Of the newest record that is verified; -1 if none is."""
        return len(self._records) - 1

    def record_at(self, height: int) -> CID | None:
        """The record at a height; None if it is not verified yet."""
        with self._lock:
            return self._records[height] if height < len(self._records) else None

    def heads_of_leaders(self) -> Iterator[tuple[bytes, Position]]:
        """The newest record of each leader in each term, with its member id."""
        for reign in self.reigns.told:
            by, head = self.reigns.leader_of(reign.term), self.record_at(reign.until)
            if by is not None and head is not None:
                yield by, Position(self.run, head, reign.until, reign.term)

    def summary(self) -> dict[str, Any]:
        """The head of the page."""
        with self._lock:
            newest = self.rounds[-1] if self.rounds else None
            return {
                "run": str(self.run),
                "head": str(self._records[-1]) if self._records else None,
                "height": len(self._records) - 1,
                "met": self.met,
                "app": visible(self.app),
                "federation": visible(self.federation),
                "leader": visible(self.reigns.told[-1].leader) if self.reigns.told else "",
                "reigns": [self._reign(each) for each in self.reigns.told[-MAX_REIGNS:]] if self.reigns.changed else [],
                "settled": self.settled,
                "witnesses": self.witnesses,
                "closed": self.closed,
                "keep": self.keep,
                "closing": self.closing,
                "best": self._best(),
                "exchanges": len(self.rounds),
                "newest": json_value(newest),
                "trouble": self.trouble,
                "confirmed": [
                    {"who": visible(who), "height": height, "recomputed": self.recomputed[who].in_words}
                    if who in self.recomputed
                    else {"who": visible(who), "height": height, "recomputed": ""}
                    for who, height in self.confirmed.items()
                ],
                "failures": json_value(self.failures[::-1]),
            }

    def _reign(self, reign: Reign) -> dict[str, Any]:
        return {"term": reign.term, "since": reign.since, "began": reign.began, "words": reign.in_words()}

    def _best(self) -> dict[str, Any] | None:
        best = self.best
        if best is None:
            return None
        by = {"metric": visible(best.by.metric), "direction": best.by.direction.value}
        return {**by, "exchange": best.exchange, "round": self.best_round, "value": best.value}

    def rows(self, before: int | None, count: int) -> dict[str, Any]:
        """Rows of the table of rounds, the newest first: those with a number under ``before``."""
        with self._lock:
            end = len(self.rounds) if before is None else max(0, min(before - 1, len(self.rounds)))
            rows = [self._row(row) for row in self.rounds[max(0, end - count) : end][::-1]]
            recomputed = bool(self.witnesses or self.recomputed)
            return {"rows": rows, "more": end > count, "recomputed": recomputed, "changed": self.reigns.changed}

    def _row(self, row: Round) -> dict[str, Any]:
        """A row, with who led when its messages were sent, and which other servers came to the same."""
        reign = self.reigns.at(row.height)
        leader = "" if reign is None else reign.leader
        others = [(visible(name), told) for name, told in self.recomputed.items() if name != leader]
        return {
            **dict(json_value(row)),
            "leader": visible(leader),
            "term": None if reign is None else reign.term,
            "recomputed_by": [
                name for name, told in others if any(since <= row.height <= until for since, until in told.spans)
            ],
            "contradicted_by": [name for name, told in others if told.otherwise == row.height],
        }

    def records(self, before: int | None, count: int) -> dict[str, Any]:
        """Records, the newest first: those under the height ``before``."""
        with self._lock:
            end = len(self._records) if before is None else max(0, min(before, len(self._records)))
            heights = range(end - 1, max(-1, end - count - 1), -1)
            rows = [
                {"height": at, "cid": str(self._records[at]), "type": self._types[at], "time": self._times[at]}
                for at in heights
            ]
        return {"rows": rows, "more": end > count}

    def charts(self) -> dict[str, Any]:
        """The curves."""
        with self._lock:
            return {"metrics": self.curves.shown(), "left_out": self.curves.left_out}
