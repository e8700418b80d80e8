"""Run a ServerApp against ClientApps in this process: a Grid that calls them at once, in node order."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.config import get_fused_config_from_dir
from flwr.serverapp import ServerApp
from flwr.supercore.task_identity import TaskIdentity

from strategy.apps.builtin_app import builtin_app_folder

UserConfig = dict[str, bool | int | float | str]


@dataclass
class Outcome:
    """What went over the Grid."""

    models: list[ArrayRecord] = field(default_factory=list)
    """As sent in each exchange; the last is the final one, sent to be evaluated."""
    evaluations: list[list[dict[str, float]]] = field(default_factory=list)
    """Each client's metrics, for each round."""
    errors: list[str] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        """Of the last round, over all clients' held-out examples."""
        total = sum(m["num-examples"] for m in self.evaluations[-1])
        return sum(m["accuracy"] * m["num-examples"] for m in self.evaluations[-1]) / total


class InMemoryGrid:
    """As much of a Grid as Flower's strategies use. Nodes 0, 1, ... are ClientApps with contexts; an exception becomes
    an error reply, as in Flower."""

    def __init__(self, app: ClientApp, contexts: list[Context]) -> None:
        self.app, self.contexts, self.outcome = app, contexts, Outcome()

    def get_node_ids(self) -> list[int]:
        return list(range(len(self.contexts)))

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        messages = sorted(messages, key=lambda message: message.metadata.dst_node_id)
        self.outcome.models.append(messages[0].content.array_records["arrays"].copy())
        replies = [self._answer(message) for message in messages]
        if messages[0].metadata.message_type == "evaluate":
            good = [reply.content["metrics"] for reply in replies if reply.has_content()]
            self.outcome.evaluations.append([dict(metrics) for metrics in good])
        return replies

    def _answer(self, message: Message) -> Message:
        try:
            return self.app(message, self.contexts[message.metadata.dst_node_id])
        except Exception as error:  # noqa: BLE001  # as Flower's own client loop
            self.outcome.errors.append(str(error))
            return Message(Error(code=2, reason=str(error)), reply_to=message)


def run_federation(
    server: ServerApp,
    client: ClientApp,
    *,
    clients: int = 3,
    seed: int = 1,
    node: UserConfig | None = None,
    folder: Path | None = None,
    **config,
) -> Outcome:
    """Run the app in ``folder`` (the built-in one) with its defaults but for ``config`` (``num_server_rounds=2``)."""
    run = run_config(folder, **config)
    contexts = [
        Context(1, n, {"partition-id": n, "num-partitions": clients, **(node or {})}, RecordDict(), run)
        for n in range(clients)
    ]
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    grid = InMemoryGrid(client, contexts)
    server(grid, Context(1, 1, {}, RecordDict(), run))
    return grid.outcome


def run_config(folder: Path | None = None, **config: bool | int | float | str) -> UserConfig:
    """The run config of an app (the built-in one), as Flower makes it from pyproject.toml and ``--run-config``."""
    return get_fused_config_from_dir(
        folder or builtin_app_folder(), {key.replace("_", "-"): value for key, value in config.items()}
    )


def bits(model: ArrayRecord) -> dict[str, bytes]:
    """A model's exact bytes."""
    return {name: array.data for name, array in model.items()}
