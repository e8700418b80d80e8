"""Rounds that do not wait for the slowest: real peers, whose clients answer when the test says so."""

from __future__ import annotations

from pathlib import Path

from federation import GATED, Federation, Gate, PeerProcess


def started(federation: Federation, gate: Gate) -> PeerProcess:
    """The server, which closes a round with the first of two replies."""
    config = f'gate="{gate.folder}" rounds=2'
    return federation.server(GATED, "--run-config", config, "--min-replies", "1")


def test_a_slow_client_is_left_out_is_late_and_takes_part_in_the_next_round(
    federation: Federation, gate: Gate, tmp_path: Path
) -> None:
    gates = {name: Gate(tmp_path / f"gate-{name}") for name in federation.names}
    server = started(federation, gate)
    for each in gates.values():
        each.open()
    one, two = (federation.client(name, GATED, f'gate="{gates[name].folder}" tells=true') for name in federation.names)
    gate.open("round-1")
    gates["two"].reached("train-1")
    gates["one"].open("train-1")
    assert server.wait_for("left-out")["whom"] == "two"

    gates["two"].open("train-1")
    server.wait_for("reply-late", name="two")
    server.kill()  # before a record tells of the late reply
    server = started(federation, gate)
    server.wait_for("reply-late", name="two")
    gate.open("round-2")
    one.wait_for("task-started", count=2)
    gates["two"].open("train-2")
    assert server.wait_for("left-out")["whom"] == "one"
    assert [server.code(), two.code()] == [0, 0], server.said
    assert two.events("task-late")

    report = federation.audit()  # the server has replayed the first round, to go on
    assert (report["verdict"], report["closing"]) == ("verified", "replies=1 deadline=0")
    told = {
        name: (of["asked"], of["answered"], of["left_out"], of["late"]) for name, of in report["participants"].items()
    }
    assert told == {"one": (2, 1, 1, 0), "two": (2, 1, 1, 1)}
    assert [late["exchange"] for late in report["exchanges"][1]["late"]] == [1]
