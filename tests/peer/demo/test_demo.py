"""``peer demo``, as a newcomer meets it. Real processes; those of a demo that trains are marked slow."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from demo_process import ROOT, RunningDemo

from peer.demo.plan import DemoPlan
from peer.engine.local.engine import LocalEngine
from protocol.blocks.cid import CID

SMALL = ("--clients", "2", "--rounds", "2", "--model", "mlp")


@pytest.mark.slow
def test_a_demo_whose_leader_is_killed_ends_with_a_good_model_a_verdict_and_commands_that_work(tmp_path: Path) -> None:
    demo = RunningDemo(tmp_path / "a demo", *SMALL, "--servers", "2", "--kill-leader")
    code, out, err = demo.finish()
    assert code == 0, err
    assert "killed server (kill -9) in round 2" in out
    assert "standby-1 leads in term 2" in out
    assert "standby-1 took over from server at height" in out
    assert "came to the same model bit for bit" in out
    facts = dict(line.split(maxsplit=1) for line in out.splitlines() if len(line.split(maxsplit=1)) == 2)
    assert (float(facts["accuracy"]) > 0.9, facts["audit"]) == (True, "verified")
    assert demo.processes() == []
    *commands, last = out.partition("next:\n")[2].splitlines()
    page = Path(last.removeprefix("report: ")).read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "no ack of a member" not in page  # its audit has all that the server's home has beside the chain
    for command in commands:
        words = shlex.split(command)
        subprocess.run(
            words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True
        )


@pytest.mark.all
@pytest.mark.slow
def test_two_demos_in_one_folder_are_two_runs_of_one_federation(tmp_path: Path) -> None:
    first = RunningDemo(tmp_path, *SMALL, "--rounds", "1", "--json").result()
    second = RunningDemo(tmp_path, *SMALL, "--rounds", "1", "--clients", "3", "--json").result()
    assert first["homes"].items() < second["homes"].items()
    assert first["run"] != second["run"]
    assert [each["types"] for each in second["rounds"]] == [["train"], ["evaluate"]]
    assert {answer["name"] for answer in second["rounds"][0]["answers"]} == {
        "client-1",
        "client-2",
        "client-3",
    }
    assert second["seconds"].keys() == {"setup", "imports", "training", "audit"}
    engine = LocalEngine(tmp_path / "engine")
    assert engine.has(CID.parse(first["head"]))
    engine.close()


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.all)])
def test_a_demo_that_is_stopped_leaves_no_process_behind(tmp_path: Path, number: int) -> None:
    demo = RunningDemo(tmp_path, *SMALL)
    demo.wait_for("peer.apps.app_main", "client-2")
    demo.send(number)
    code, _, err = demo.finish()
    assert (code, demo.processes()) == (3, [])
    assert f"stopped; all processes have ended, and their homes are in {tmp_path}" in err


@pytest.mark.all
def test_a_demo_tells_which_process_died_and_stops_the_others(tmp_path: Path) -> None:
    demo = RunningDemo(tmp_path, *SMALL)
    [client] = demo.wait_for("start", "client-2")
    os.kill(client, signal.SIGKILL)
    code, _, err = demo.finish()
    assert (code, demo.processes()) == (3, [])
    assert "client-2 was killed by signal 9" in err
    assert str(tmp_path / "logs" / "client-2.log") in err


@pytest.mark.all
def test_a_model_that_cannot_be_imported_fails_the_demo_with_the_apps_own_words(tmp_path: Path) -> None:
    demo = RunningDemo(tmp_path, *SMALL, "--model", "nowhere:Model")
    code, _, err = demo.finish()
    assert (code, demo.processes()) == (4, [])
    assert "cannot import nowhere" in err
    assert str(tmp_path / "server" / "logs" / "app-server.log") in err


def test_whoever_kills_the_leader_needs_another_server(tmp_path: Path) -> None:
    code, _, err = RunningDemo(tmp_path, "--kill-leader").finish()
    assert (code, "give --servers 2" in err) == (2, True)


def test_the_address_of_an_engine_is_on_no_command_line(tmp_path: Path) -> None:
    """It may have a password in it."""
    plan = DemoPlan(tmp_path, "digits", None, "mlp", 2, 1, "http://alice:secret@127.0.0.1:5001")
    for peer in plan.peers:
        assert not any("secret" in word for word in plan.command(peer))


@pytest.mark.all
@pytest.mark.kubo
@pytest.mark.slow
def test_with_kubo_each_peer_has_a_node_of_its_own(tmp_path: Path, ipfs_program: Path) -> None:
    demo = RunningDemo(tmp_path, *SMALL, "--ipfs", "kubo", "--json")
    result = demo.result()
    assert (result["verdict"], demo.processes()) == ("verified", [])
    assert {name for name, home in result["homes"].items() if (Path(home) / "ipfs" / "config").is_file()} == {
        "server",
        "client-1",
        "client-2",
    }
