"""``peer doctor``: what it finds, and the fix it names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Outcome, Peer

from peer.base import installed_versions
from peer.base.errors import ExitCode
from peer.confinement.means import INSTALL, Tried
from peer.doctor import checks
from peer.engine.kubo.node import KuboNode
from peer.engine.kubo.pubsub import KuboPublisher


@pytest.fixture
def ready(peers: Callable[[str], Peer]) -> Peer:
    """A home with all that a peer needs except a node."""
    peer = peers("ready").named("a")
    assert peer("federation", "init", "trial").code == 0
    return peer


def found(outcome: Outcome, name: str) -> tuple[str, str]:
    """How a check went, and the fix it names."""
    (check,) = (check for check in outcome.json["checks"] if check["name"] == name)
    return check["state"], check["fix"]


def local(tmp_path: Path) -> tuple[str, str, str]:
    return ("--ipfs", f"local:{tmp_path / 'engine'}", "--json")


def test_a_home_that_has_all_is_well(ready: Peer, tmp_path: Path) -> None:
    outcome = ready("doctor", *local(tmp_path))
    assert outcome.code == ExitCode.DONE
    assert outcome.json["ok"] is True
    assert {check["state"] for check in outcome.json["checks"]} <= {"ok", "warn"}


def test_each_check_is_one_line_for_people(ready: Peer, tmp_path: Path) -> None:
    lines = ready("doctor", *local(tmp_path)[:2]).out.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "warn", "fix:"}


def test_an_empty_home_is_told_what_to_do(peers: Callable[[str], Peer], tmp_path: Path) -> None:
    outcome = peers("empty")("doctor", *local(tmp_path))
    assert outcome.code == ExitCode.UNFINISHED
    assert found(outcome, "keys") == ("fail", "peer keys init --name NAME")
    assert found(outcome, "federation")[0] == "fail"


def test_a_machine_that_can_confine_no_app_is_a_warning(
    ready: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "tried", lambda: Tried(None, ("bwrap is not installed",)))
    assert found(ready("doctor", *local(tmp_path)), "confinement") == ("warn", INSTALL)


def test_unlocked_keys_are_a_warning(ready: Peer, tmp_path: Path) -> None:
    assert found(ready("doctor", *local(tmp_path)), "keys") == ("warn", "peer keys passwd a")


def test_a_home_that_others_may_open_is_a_warning(ready: Peer, tmp_path: Path) -> None:
    ready.home.chmod(0o755)
    assert found(ready("doctor", *local(tmp_path)), "home") == ("warn", f"chmod 700 {ready.home}")


def test_a_damaged_key_file_is_found(ready: Peer, tmp_path: Path) -> None:
    (key,) = (ready.home / "keys").glob("*.key")
    key.write_bytes(key.read_bytes()[:-5])
    state, fix = found(ready("doctor", *local(tmp_path)), "keys")
    assert (state, "peer keys restore" in fix) == ("fail", True)


def test_a_damaged_federation_file_is_found(ready: Peer, tmp_path: Path) -> None:
    (file,) = (ready.home / "federations").glob("*.car")
    file.write_bytes(file.read_bytes()[:-5])
    assert found(ready("doctor", *local(tmp_path)), "federation")[0] == "fail"


def test_a_home_whose_identity_is_no_member_is_warned(
    ready: Peer, peers: Callable[[str], Peer], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    ready("federation", "export", file, "--address", "local:/engine")
    other = peers("other").named("b")
    other("federation", "join", file)
    assert found(other("doctor", *local(tmp_path)), "federation")[0] == "warn"


def test_no_ipfs_program_names_both_ways_out(ready: Peer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("POLLEN_KUBO", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    state, fix = found(ready("doctor", "--ipfs", "kubo", "--json"), "ipfs program")
    assert state == "fail"
    assert "install-kubo" in fix
    assert "--ipfs local:DIR" in fix
    assert found(ready("doctor", *local(tmp_path)), "ipfs program")[0] == "ok"  # it needs none


def test_a_node_that_does_not_answer_is_found(ready: Peer, tmp_path: Path) -> None:
    outcome = ready("doctor", "--ipfs", "http://127.0.0.1:1", "--json")
    assert outcome.code == ExitCode.UNFINISHED
    assert found(outcome, "engine")[0] == "fail"


@pytest.mark.parametrize("engine", ["nonsense:x", "local:", "http://", "unix:relative", ""])
def test_what_names_no_engine_is_told_after_the_other_checks(ready: Peer, engine: str) -> None:
    outcome = ready("doctor", "--ipfs", engine, "--json")
    assert outcome.code == ExitCode.UNFINISHED
    assert found(outcome, "federation")[0] == "ok"
    assert found(outcome, "engine")[0] == "fail"


def test_a_damaged_journal_is_told_after_the_other_checks(ready: Peer) -> None:
    (ready.home / "journal.db").write_bytes(b"no database" * 1000)
    outcome = ready("doctor", "--json")
    assert outcome.code == ExitCode.UNFINISHED
    assert found(outcome, "federation")[0] == "ok"
    state, fix = found(outcome, "engine")
    assert state == "fail"
    assert fix


def test_little_space_is_a_warning_and_none_a_failure(
    ready: Peer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for free, state in ((checks.LITTLE_SPACE - 1, "warn"), (checks.NO_SPACE - 1, "fail")):
        monkeypatch.setattr("shutil.disk_usage", lambda _path, free=free: Usage(free))
        assert found(ready("doctor", *local(tmp_path)), "disk")[0] == state


class Usage:
    """What `shutil.disk_usage` gives."""

    def __init__(self, free: int) -> None:
        self.free = free


def test_another_flower_is_a_failure(ready: Peer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = installed_versions.installed
    monkeypatch.setattr(installed_versions, "installed", lambda name: "2.0.0" if name == "flwr" else real(name))
    state, fix = found(ready("doctor", *local(tmp_path)), "packages")
    assert state == "fail"
    assert "pip install 'flwr" in fix


@pytest.mark.kubo
def test_a_node_of_the_users_that_lets_none_of_its_words_out_is_a_failure(
    ready: Peer, monkeypatch: pytest.MonkeyPatch, kubo_nodes: tuple[KuboNode, KuboNode]
) -> None:
    def refuse(self: KuboPublisher, topic: str, data: bytes) -> bool:
        return False

    assert found(ready("doctor", "--ipfs", kubo_nodes[0].api, "--json"), "pubsub") == ("ok", "")
    monkeypatch.setattr(KuboPublisher, "_passes", refuse)
    outcome = ready("doctor", "--ipfs", kubo_nodes[0].api, "--json")
    state, fix = found(outcome, "pubsub")
    assert (outcome.code, state) == (ExitCode.UNFINISHED, "fail")
    assert "ipfs pubsub reset --peer" in fix
