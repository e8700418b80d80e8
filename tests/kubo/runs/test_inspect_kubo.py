"""Auditing, exporting and importing runs over real Kubo nodes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Peer
from inspected_runs import WrittenRun, finished_run

from peer.base.errors import ExitCode
from peer.cli import told_waits
from peer.engine import open_engine
from peer.engine.kubo.config import environment
from peer.engine.kubo.node import KuboNode
from protocol.blocks.cid import raw_block

pytestmark = pytest.mark.kubo
SWARM_KEY = bytes(32)


@pytest.fixture(scope="module")
def written() -> WrittenRun:
    return finished_run()


@pytest.fixture(scope="module")
def nodes(kubo_nodes: tuple[KuboNode, KuboNode], written: WrittenRun) -> tuple[KuboNode, KuboNode]:
    """Two nodes that know each other; the run is on the first."""
    one, other = (open_engine(node.api) for node in kubo_nodes)
    other.connect(one.addresses())
    one.put(written.blocks)
    one.close()
    other.close()
    return kubo_nodes


@pytest.fixture
def auditor(peers: Callable[[str], Peer]) -> Peer:
    return peers("auditor")


def test_a_run_on_the_node_is_verified(nodes: tuple[KuboNode, KuboNode], written: WrittenRun, auditor: Peer) -> None:
    assert auditor("audit", str(written.head), "--ipfs", nodes[0].api).code == ExitCode.DONE


def test_a_run_on_another_node_is_fetched_and_verified(
    nodes: tuple[KuboNode, KuboNode], written: WrittenRun, auditor: Peer
) -> None:
    outcome = auditor("audit", str(written.head), "--ipfs", nodes[1].api, "--json")
    assert (outcome.code, outcome.json["records"]) == (ExitCode.DONE, 6)


def test_a_block_that_no_node_has_makes_it_incomplete(nodes: tuple[KuboNode, KuboNode], auditor: Peer) -> None:
    begun = WrittenRun()
    lost = begun.answer(loss=0.25, examples=77)
    begun.scribe.add(begun.scribe.close(model=lost))
    engine = open_engine(nodes[0].api)
    engine.put(block for block in begun.blocks if block.cid != lost)
    engine.close()
    outcome = auditor("audit", str(begun.head), "--ipfs", nodes[0].api, "--timeout", "0.5", "--json")
    assert (outcome.code, outcome.json["verdict"]) == (ExitCode.UNFINISHED, "incomplete")
    assert outcome.json["findings"][0]["cid"] == str(lost)


@pytest.mark.parametrize("command", ["audit RUN", "history RUN", "export RUN run.car", "show RUN"])
def test_who_waits_for_others_is_told_so_and_the_result_stays_as_it_was(
    nodes: tuple[KuboNode, KuboNode], auditor: Peer, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told_waits, "AFTER", 0.0)
    monkeypatch.chdir(tmp_path)
    nowhere = str(raw_block(command.encode()).cid)
    words = command.replace("RUN", nowhere).split()
    outcome = auditor(*words, "--ipfs", nodes[0].api, "--timeout", "0.5", "--json")
    assert f"looking for {nowhere[:14]}" in outcome.err
    assert "which is not here, at the 1 node that this one is connected to" in outcome.err
    assert json.loads(outcome.out)["schema"]  # one object, as ever


def test_what_is_here_is_read_without_a_word(
    nodes: tuple[KuboNode, KuboNode], written: WrittenRun, auditor: Peer
) -> None:
    assert auditor("audit", str(written.head), "--ipfs", nodes[0].api).err == ""


def test_a_bit_in_a_record_on_the_nodes_disk_fails_at_its_height(
    nodes: tuple[KuboNode, KuboNode], auditor: Peer
) -> None:
    begun = WrittenRun()
    begun.scribe.add(begun.scribe.close(model=begun.answer(loss=0.25, examples=78)))  # a record of this test's own
    engine = open_engine(nodes[0].api)
    engine.put(begun.blocks)
    engine.close()
    data = begun.scribe.source[begun.head]
    blocks = (nodes[0].repository / "blocks").rglob("*.data")
    (file,) = (path for path in blocks if path.read_bytes() == data)
    file.chmod(0o600)
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    outcome = auditor("audit", str(begun.head), "--ipfs", nodes[0].api, "--json")
    assert outcome.code == ExitCode.VERIFICATION_FAILED
    (finding,) = outcome.json["findings"]
    assert (finding["height"], finding["rule"]) == (1, "block-hash")


def test_an_export_is_what_ipfs_itself_takes_and_gives(
    nodes: tuple[KuboNode, KuboNode], written: WrittenRun, auditor: Peer, ipfs_program: Path, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours.car", tmp_path / "theirs.car"
    assert auditor("export", str(written.head), ours, "--ipfs", nodes[0].api).code == ExitCode.DONE
    with theirs.open("wb") as stream:
        command = [str(ipfs_program), "dag", "export", str(written.head)]
        subprocess.run(command, stdout=stream, env=environment(nodes[0].repository), check=True)
    assert ours.stat().st_size == theirs.stat().st_size
    for file in (ours, theirs):
        assert auditor("audit", file).code == ExitCode.DONE


def test_an_import_makes_the_run_whole_on_the_node(
    ipfs_program: Path, nodes: tuple[KuboNode, KuboNode], written: WrittenRun, auditor: Peer, tmp_path: Path
) -> None:
    file = tmp_path / "run.car"
    auditor("export", str(written.head), file, "--ipfs", nodes[0].api)
    with KuboNode(tmp_path / "third", SWARM_KEY) as third:
        assert auditor("import", file, "--ipfs", third.api).code == ExitCode.DONE
        assert auditor("audit", str(written.run), "--ipfs", third.api).code == ExitCode.DONE  # it is in the journal


def test_the_doctor_starts_a_node_that_goes_on(
    ipfs_program: Path, peers: Callable[[str], Peer], capsys: pytest.CaptureFixture[str]
) -> None:
    peer = peers("patient").named("a")
    peer("federation", "init", "trial")
    outcome = peer("doctor", "--start-daemon", "--json")
    assert outcome.code == ExitCode.DONE
    again = peer("doctor", "--ipfs", "kubo", "--json").json
    assert {check["name"]: check["state"] for check in again["checks"]}["engine"] == "ok"
    os.kill(outcome.json["daemon"], signal.SIGTERM)


def test_the_node_in_the_home_is_started_for_a_command_and_stopped_again(
    ipfs_program: Path, peers: Callable[[str], Peer], tmp_path: Path
) -> None:
    peer = peers("visitor").named("a")
    peer("federation", "init", "trial")
    shown = peer("federation", "export", tmp_path / "file", "--json").json
    assert any(address.startswith("/ip4/127.0.0.1/tcp/") for address in shown["addresses"])
    again = peer("federation", "export", tmp_path / "file", "--json").json
    assert again["addresses"] == shown["addresses"]  # a node keeps its port
    engine = {check["name"]: check for check in peer("doctor", "--ipfs", "kubo", "--json").json["checks"]}["engine"]
    assert engine["what"].endswith("is not running")
