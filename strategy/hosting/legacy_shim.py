"""Makes Flower's older ``server_fn`` apps do the same thing twice.

Flower runs them with a thread that polls for nodes and a thread for each client of a round, and sums replies in the
order of a set. So neither dispatches nor sums have a fixed order. Under this shim the app's own thread looks at the
nodes, nodes are registered in rising order, and a round is one exchange with results in the order of submission.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from strategy.flower_compat import (
    ClientManager,
    ClientProxy,
    Code,
    GridClientProxy,
    recorddict_compat,
    replace_legacy_machinery,
)

LOOK_AGAIN = 1.0
"""Seconds between two looks at the nodes while an app waits for more of them."""

Outcome = tuple[list[Any], list[Any]]
"""Results and failures, as ``flwr.server.server.fit_clients`` returns them."""


def install_legacy_shim() -> None:
    """Replace what has no order. Calling it twice does no harm."""
    replace_legacy_machinery(_update_client_manager, _fit_clients, _evaluate_clients)


def _fit_clients(
    client_instructions: list[tuple[ClientProxy, Any]],
    max_workers: int | None,  # noqa: ARG001  # Flower's signature
    timeout: float | None,
    group_id: int,
) -> Outcome:
    def result(content: RecordDict) -> Any:
        return recorddict_compat.recorddict_to_fitres(content, keep_input=False)

    def content(instruction: Any) -> RecordDict:
        return recorddict_compat.fitins_to_recorddict(instruction, keep_input=True)

    return _exchange(client_instructions, MessageType.TRAIN, timeout, group_id, content, result)


def _evaluate_clients(
    client_instructions: list[tuple[ClientProxy, Any]],
    max_workers: int | None,  # noqa: ARG001  # Flower's signature
    timeout: float | None,
    group_id: int,
) -> Outcome:
    def content(instruction: Any) -> RecordDict:
        return recorddict_compat.evaluateins_to_recorddict(instruction, keep_input=True)

    result = recorddict_compat.recorddict_to_evaluateres
    return _exchange(client_instructions, MessageType.EVALUATE, timeout, group_id, content, result)


def _exchange(
    instructions: list[tuple[Any, Any]],
    message_type: str,
    ttl: float | None,
    group_id: int,
    to_content: Callable[[Any], RecordDict],
    to_result: Callable[[RecordDict], Any],
) -> Outcome:
    results: list[Any] = []
    failures: list[Any] = []
    if not instructions:
        return results, failures
    grid: Grid = instructions[0][0].grid
    group = str(group_id) if group_id else ""
    messages = [
        Message(to_content(instruction), client.node_id, message_type, ttl=ttl, group_id=group)
        for client, instruction in instructions
    ]
    replies = {reply.metadata.reply_to_message_id: reply for reply in grid.send_and_receive(messages)}
    for message, (client, _) in zip(messages, instructions, strict=True):
        try:
            result = to_result(_content(replies.get(message.metadata.message_id)))
        except Exception as error:  # noqa: BLE001  # Flower's pool threads return any exception as a failure
            failures.append(error)
            continue
        place = results if result.status.code == Code.OK else failures
        place.append((client, result))
    return results, failures


def _content(reply: Message | None) -> RecordDict:
    if reply is None:
        raise ValueError("Expected one Message but got: 0")
    if reply.has_error():
        raise ValueError(
            f"Message contains an Error (reason: {reply.error.reason}). "
            "It originated during client-side execution of a message."
        )
    return reply.content


def _update_client_manager(
    grid: Grid,
    client_manager: ClientManager,
    f_stop: threading.Event,  # noqa: ARG001  # Flower's signature
    c_done: threading.Event,
) -> None:
    """Runs once, in the thread that Flower starts. From then on, the methods that the app calls look at the nodes."""
    nodes = _Nodes(grid, client_manager)
    for name in ("num_available", "all"):
        setattr(client_manager, name, nodes.looking_before(getattr(client_manager, name)))
    sample, wait_for = client_manager.sample, getattr(client_manager, "wait_for", None)

    @wraps(sample)
    def looking_sample(num_clients: int, min_num_clients: int | None = None, criterion: Any = None) -> Any:
        nodes.wait_for(num_clients if min_num_clients is None else min_num_clients)
        return sample(num_clients, min_num_clients, criterion)

    def looking_wait_for(num_clients: int, timeout: int = 86_400) -> bool:
        return nodes.wait_for(num_clients, timeout)

    client_manager.sample = looking_sample  # type: ignore[method-assign]
    if wait_for is not None:
        client_manager.wait_for = looking_wait_for  # type: ignore[method-assign]
    c_done.set()


class _Nodes:
    """Keeps the clients of a client manager equal to the Grid's nodes, registered in rising order."""

    def __init__(self, grid: Grid, client_manager: ClientManager) -> None:
        self._grid = grid
        self._manager = client_manager
        self._known: dict[int, GridClientProxy] = {}

    def look(self) -> None:
        nodes = sorted(self._grid.get_node_ids())
        if nodes == list(self._known):
            return
        # all are unregistered and registered again, because SimpleClientManager samples by the order of registration
        for client in self._known.values():
            self._manager.unregister(client)
        known, self._known = self._known, {}
        for node in nodes:
            client = known.get(node) or GridClientProxy(node, self._grid, self._grid.run.run_id)
            if not self._manager.register(client):
                raise RuntimeError("Could not register node.")
            self._known[node] = client

    def looking_before(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def looking(*args: Any, **kwargs: Any) -> Any:
            self.look()
            return method(*args, **kwargs)

        return looking

    def wait_for(self, count: int, timeout: float = 86_400) -> bool:
        self.look()
        left = timeout  # counted in looks, not by the clock, so that a replay looks as often
        while len(self._known) < count and left > 0:
            time.sleep(LOOK_AGAIN)
            left -= LOOK_AGAIN
            self.look()
        return len(self._known) >= count
