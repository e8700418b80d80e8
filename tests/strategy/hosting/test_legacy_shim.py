"""`strategy.hosting.legacy_shim`: what Flower's older machinery does under it, in order."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from flwr.app import Error, Message, RecordDict
from flwr.server import SimpleClientManager
from flwr.server import server as flower_server
from flwr.server.compat.app_utils import start_update_client_manager_thread

from strategy.flower_compat import server_run, set_message_id, take_identity
from strategy.hosting import legacy_shim


class Nodes:
    """A Grid that knows more nodes at each look, and answers messages backwards."""

    run = server_run(7)

    def __init__(self, *looks: list[int]) -> None:
        self.looks = list(looks)
        self.exchanges: list[list[int]] = []

    def get_node_ids(self) -> list[int]:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        messages = list(messages)
        self.exchanges.append([message.metadata.dst_node_id for message in messages])
        for number, message in enumerate(messages):
            set_message_id(message, str(number))
        return [Message(Error(5, "away"), reply_to=message) for message in reversed(messages)]


def managed(grid: Nodes, monkeypatch: pytest.MonkeyPatch) -> SimpleClientManager:
    monkeypatch.setattr(legacy_shim, "LOOK_AGAIN", 0)
    legacy_shim.install_legacy_shim()
    take_identity(7, 1)
    manager = SimpleClientManager()
    thread, _, done = start_update_client_manager_thread(grid, manager)  # type: ignore[arg-type]
    assert done.wait(10)
    thread.join()
    return manager


def test_the_thread_does_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Nodes([1], [2])

    managed(grid, monkeypatch)

    assert grid.looks == [[1], [2]]


def test_nodes_are_registered_in_rising_order_whenever_they_join(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = managed(Nodes([9, 5], [7, 5, 9], [9]), monkeypatch)

    assert manager.num_available() == 2
    assert list(manager.all()) == ["5", "7", "9"]
    assert list(manager.all()) == ["9"]


def test_a_sample_waits_for_as_many_nodes_as_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = managed(Nodes([5], [5], [5, 7], [5, 7, 9]), monkeypatch)

    assert len(manager.sample(2, min_num_clients=3)) == 2


def test_waiting_for_nodes_ends_with_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = managed(Nodes([5]), monkeypatch)

    assert manager.wait_for(1) is True
    assert manager.wait_for(2, timeout=0) is False


def test_waiting_for_nodes_looks_as_often_when_no_sleep_takes_time(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Nodes([5], [5], [5], [5], [5, 7])
    manager = managed(grid, monkeypatch)
    monkeypatch.setattr(legacy_shim, "LOOK_AGAIN", 1.0)
    monkeypatch.setattr(legacy_shim.time, "sleep", lambda _: None)  # as in a replay

    assert manager.wait_for(2, timeout=3) is False
    assert grid.looks == [[5, 7]]


def test_a_round_is_one_exchange_and_failures_come_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Nodes([5, 7, 9])
    manager = managed(grid, monkeypatch)
    clients = list(manager.all().values())
    instructions = [(client, flower_server.FitIns(flower_server.Parameters([], ""), {})) for client in clients]

    results, failures = flower_server.fit_clients(instructions, None, 30.0, 1)

    assert grid.exchanges == [[5, 7, 9]]
    assert (results, len(failures)) == ([], 3)
    assert flower_server.fit_clients([], None, 30.0, 1) == ([], [])


def test_content_is_that_of_the_reply() -> None:
    with pytest.raises(ValueError, match="Expected one Message"):
        legacy_shim._content(None)
    take_identity(7, 1)
    message = Message(RecordDict(), 5, "train")
    assert legacy_shim._content(message) is message.content
