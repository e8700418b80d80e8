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


class Duty(StrEnum):
    """What a server does."""

    STARTING = "starting"
    LEADING = "leading"
    STANDING_BY = "standing by"
    ASKING = "asking for votes"
    KILLED = "killed"


@dataclass(slots=True)
class ServerProgress:
    """One server."""

    duty: Duty = Duty.STARTING
    term: int = 0
    """The last in which it led; 0 if it never did."""
    follows: bool = False
    """Whether it is in the run as a standby."""
    recomputed: int = 0
    """How many exchanges it has computed anew as a standby."""


@dataclass(slots=True)
class DemoTakeover:
    """How another server came to lead after the leader was killed. Times are in seconds since 1970."""

    killed: float
    leader: str = ""
    """Who leads now; empty before it does."""
    term: int = 0
    height: int = 0
    """Of the newest record that it has taken over."""
    led: float = 0.0
    """When its takeover was on disk."""
    replied: float = 0.0
    """When it had a client's next reply; 0 before it has."""

    @property
    def is_over(self) -> bool:
        """Whether the run goes on."""
        return bool(self.replied)

    def in_words(self) -> str:
        """Who leads since when, and how long nobody did."""
        return (
            f"{self.leader} leads in term {self.term}, from the record after height {self.height} on: its takeover was "
            f"on disk {self.led - self.killed:.1f} s after the kill, and the next reply in its hands "
            f"{self.replied - self.killed:.1f} s after it"
        )


@dataclass(slots=True)
class Progress:
    """How far all are."""

    clients: dict[str, ClientProgress]
    rounds: int
    servers: dict[str, ServerProgress] = field(default_factory=dict)
    leader: str = "server"
    """Who leads, or led last."""
    takeover: DemoTakeover | None = None
    """Of the leader that the demo has killed."""
    head: str = ""
    """The newest record that the leader has reported."""
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
        if event.peer in self.servers:
            self._take_of_server(self.servers[event.peer], event)
        if event.peer != self.leader:
            return
        match event.what:
            case What.DISPATCHED | What.COLLECTED:
                self.head = event.text("head")
            case What.RUN_CLOSED:
                self.head, self.closed = event.text("head"), True
            case What.REPLY_ARRIVED if self.takeover is not None and self.takeover.led and not self.takeover.is_over:
                self.takeover.replied = event.time

    def killed(self, now: float) -> None:
        """The demo has killed the server that leads. ``now`` is in seconds since 1970."""
        self.servers[self.leader].duty = Duty.KILLED
        self.takeover = DemoTakeover(now)

    def take_exchange(self, exchange: Exchange) -> None:
        """Take in an exchange that the chain shows as done. One that a takeover has changed comes again."""
        self.exchanges = [each for each in self.exchanges if each.number < exchange.number] + [exchange]
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

    def _take_of_server(self, server: ServerProgress, event: LogEvent) -> None:
        match event.what:
            case What.RUN_OPENED:
                server.duty, server.term = Duty.LEADING, 1
            case What.RUN_FOLLOWED:
                server.duty, server.follows = Duty.STANDING_BY, True
            case What.RECOMPUTED:
                server.duty, server.recomputed = Duty.STANDING_BY, server.recomputed + 1
            case What.STANDS_NO_MORE:
                server.duty = Duty.STANDING_BY
            case What.STANDS:
                server.duty = Duty.ASKING
            case What.TOOK_OVER:
                server.duty, server.term = Duty.LEADING, int(event.text("term"))
                self._took_over(server, event)

    def _took_over(self, server: ServerProgress, event: LogEvent) -> None:
        self.leader = event.peer
        if (takeover := self.takeover) is not None and not takeover.led:
            takeover.leader, takeover.term = event.peer, server.term
            takeover.height, takeover.led = int(event.text("height")), event.time


_ACTIVITIES = {"train": Activity.TRAINING, "evaluate": Activity.EVALUATING}
