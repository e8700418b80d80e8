"""The best model by now, at the server that leads a run: for people to see while it goes on.

What an audit finds rests on all records (`protocol.keeping.best`). This knows the answers that its process was given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from protocol.app.calls import Handed
from protocol.blocks.cid import CID
from protocol.chain.exchange import OpenMessage
from protocol.keeping.best import BestBy, BestSoFar
from protocol.replies.reply_layout import ReplyLayout
from protocol.status.measures import WEIGHT, Measures, mean_of
from protocol.status.role_status import Best

_NOTHING: Final[Measures] = ()
_METRIC: Final = "metric"
"""What the metric is called here: its own name may be too long to be shown."""


class BestSeen:
    """Takes the replies as they come, and the exchanges as the app is given their answers."""

    def __init__(self, by: BestBy | None, *, resumed: bool) -> None:
        """``by`` is None if the run marks no best model. A ``resumed`` run has exchanges that this process has not
        seen."""
        self._best = None if by is None else BestSoFar(by)
        self._resumed = resumed
        self._round: int | None = None
        self._came: dict[bytes, Measures] = {}
        """What each reply says that was not handed yet."""
        self._given: dict[CID, list[Measures]] = {}
        """What the app was given, by the dispatch of exchanges that are not complete."""
        self._exchanges = 0

    @property
    def told(self) -> Best | None:
        """What is to be seen; None if the run marks no best model."""
        best = self._best
        return None if best is None else Best(str(best.by), self._round, best.value, self._resumed)

    def arrived(self, message: bytes, layout: ReplyLayout | None) -> None:
        """A good reply came."""
        if self._best is not None:
            wanted = {WEIGHT: WEIGHT, self._best.by.metric: _METRIC}
            self._came[message] = tuple((wanted[name], value) for name, value in _numbers(layout) if name in wanted)

    def collected(
        self, handed: Iterable[Handed], open_messages: Mapping[bytes, OpenMessage], rounds: Mapping[bytes, int]
    ) -> None:
        """The app is given these answers to messages that are still open. ``rounds`` are the app's, by message."""
        if self._best is None:
            return
        answers = {each.message: each for each in handed}
        lacking = {each.dispatch for id, each in open_messages.items() if id not in answers}
        for dispatch in dict.fromkeys(open_messages[id].dispatch for id in answers):
            of_it = [id for id in answers if open_messages[id].dispatch == dispatch]
            given = self._given.setdefault(dispatch, [])
            for id in of_it:
                came = self._came.pop(id, _NOTHING)
                if answers[id].code is None:
                    given.append(came)
            if dispatch not in lacking:
                self._exchanges += 1
                mean = dict(mean_of(self._given.pop(dispatch))).get(_METRIC)
                if self._best.take(self._exchanges, mean):
                    self._round = next((rounds[id] for id in of_it if id in rounds), None)


def _numbers(layout: ReplyLayout | None) -> Iterable[tuple[str, float]]:
    """The numbers of a reply under the names that `peer history` shows: ``record.key``, or the key if it is unique."""
    records = () if layout is None or layout.masked else layout.metrics
    count = Counter(metric.key for record in records for metric in record.metrics)
    for record in records:
        for metric in record.metrics:
            if metric.length is None:
                yield metric.key if count[metric.key] == 1 else f"{record.name}.{metric.key}", metric.number
