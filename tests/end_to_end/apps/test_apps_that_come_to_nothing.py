"""Runs that no client's odd reply ended, but all of them, or the app itself: exit code 4, the round and the cause."""

from __future__ import annotations

import pytest
from federation import APPS, Federation, PeerProcess

from peer.base.errors import ExitCode

APP = APPS / "losing"


def came_to_nothing(federation: Federation, config: str) -> list[PeerProcess]:
    """The server and its clients, of a run that has ended."""
    peers = [federation.server(APP, "--run-config", config), *(federation.client(name, APP) for name in ("one", "two"))]
    assert peers[0].code() == ExitCode.APP_FAILED, peers[0].said
    assert [peer.code() for peer in peers[1:]] == [0, 0]
    return peers


@pytest.mark.all
def test_a_run_whose_weights_always_add_up_to_0_names_the_round_and_the_cause(federation: Federation) -> None:
    server, *clients = came_to_nothing(federation, "rounds=2 after=9 weight=0")

    said = server.json["reason"]
    assert (
        "no training reply was ever valid, of 4 that were asked for; the last one, of round 2: refused (weight)" in said
    )
    assert "add up to 0" in said
    assert all(client.events("run-closed")[0]["why"] == said for client in clients)
    assert server.json["model"] is None


def test_a_run_whose_model_is_lost_names_the_round_and_the_cause(federation: Federation) -> None:
    server, *clients = came_to_nothing(federation, "rounds=3 after=1")

    said = server.json["reason"]
    assert said.startswith("round 2: the model that the app was about to send out is lost: 1 of the 4 numbers")
    assert len(server.events("dispatched")) == 1
    assert all(client.events("run-closed")[0]["why"] == said for client in clients)
    assert server.json["model"] is None
