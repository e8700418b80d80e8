"""How far a demo is, by the logs of its processes and the chain. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from peer.demo.processes import LogEvent
from protocol.roles.effects import What

if TYPE_CHECKING:  # it imports flwr, which is slow
    from peer.history.rounds import Exchange


class Activity(StrEnum):
    """What a client does."""

    STARTING = "starting"
    READY = "ready"
    TRAINING = "training"
    EVALUATING = "evaluating"
    WORKING = "working"
    ANSWERED = "answered"
    DONE = "done"


@dataclass(slots=True)
class ClientProgress:
    """One client."""

    activity: Activity = Activity.STARTING
    answered: int = 0
    trained: int = 0
    """How many train messages it has begun to work on: the round it is in."""
    bytes: int = 0
    """The size of its replies in the chain."""
    accuracy: float | None = None
    """The last that it measured."""


@dataclass(slots=True)
class Progress:
    """How far all are."""

    clients: dict[str, ClientProgress]
    rounds: int
    head: str = ""
    """The newest record that the server has reported."""
    closed: bool = False
    exchanges: list[Exchange] = field(default_factory=list)

    @property
    def round(self) -> int:
        """The round that the clients are in; 0 before the first."""
        return max((client.trained for client in self.clients.values()), default=0)

    @property
    def failures(self) -> list[str]:
        """The reasons in the answers that are errors."""
        return [each.reason for exchange in self.exchanges for each in exchange.answers if each.code is not None]

    @property
    def accuracy(self) -> float | None:
        """The clients' last accuracy, weighted by their numbers of examples."""
        measured = [exchange.mean_metrics().get("accuracy") for exchange in self.exchanges]
        return next((accuracy for accuracy in reversed(measured) if accuracy is not None), None)

    def take(self, event: LogEvent) -> None:
        """Take in a report."""
        if event.peer in self.clients:
            self._take_of_client(self.clients[event.peer], event)
            return
        match event.what:
            case What.DISPATCHED | What.COLLECTED:
                self.head = event.text("head")
            case What.RUN_CLOSED:
                self.head, self.closed = event.text("head"), True

    def take_exchange(self, exchange: Exchange) -> None:
        """Take in an exchange that the chain shows as done."""
        self.exchanges.append(exchange)
        for answer in exchange.answers:
            if answer.name in self.clients:
                client = self.clients[answer.name]
                client.bytes += answer.bytes or 0
                measured = answer.metrics.get("accuracy")
                client.accuracy = measured if isinstance(measured, float) else client.accuracy

    def _take_of_client(self, client: ClientProgress, event: LogEvent) -> None:
        match event.what:
            case What.RUN_FOLLOWED:
                client.activity = Activity.READY
            case What.TASK_STARTED:
                client.trained += event.text("type") == "train"
                client.activity = _ACTIVITIES.get(event.text("type"), Activity.WORKING)
            case What.TASK_ANSWERED | What.TASK_FAILED:
                client.answered += 1
                client.activity = Activity.ANSWERED
            case What.RUN_CLOSED:
                client.activity = Activity.DONE


_ACTIVITIES = {"train": Activity.TRAINING, "evaluate": Activity.EVALUATING}
