"""Where we look for the ``ipfs`` program, and which version will do."""

from pathlib import Path

import pytest

from peer.engine.interface import EngineError
from peer.engine.kubo.program import cached_ipfs, find_ipfs, why_outdated


def program(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No ``ipfs`` anywhere."""
    monkeypatch.delenv("POLLEN_KUBO", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_no_program_at_all_names_both_ways_out() -> None:
    with pytest.raises(EngineError, match="there is no ipfs program") as raised:
        find_ipfs()
    assert "peer install-kubo" in raised.value.fix
    assert "--ipfs local:DIR" in raised.value.fix


def test_what_install_kubo_keeps_in_the_cache_is_found() -> None:
    kept = program(cached_ipfs(), "echo 0.43.0")
    assert find_ipfs() == kept


def test_the_path_goes_before_the_cache(tmp_path: Path) -> None:
    program(cached_ipfs(), "echo 0.43.0")
    assert find_ipfs() == cached_ipfs()
    on_path = program(tmp_path / "bin" / "ipfs", "echo 0.43.2")
    assert find_ipfs() == on_path


def test_one_on_the_path_that_is_too_old_does_not_hide_the_one_in_the_cache(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "ipfs", "echo 0.18.1")
    kept = program(cached_ipfs(), "echo 0.43.0")
    assert find_ipfs() == kept


def test_pollen_ipfs_goes_before_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path / "bin" / "ipfs", "echo 0.43.2")
    named = program(tmp_path / "mine", "echo 0.44.0-rc1")
    monkeypatch.setenv("POLLEN_KUBO", str(named))
    assert find_ipfs() == named


def test_pollen_ipfs_that_names_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POLLEN_KUBO", str(tmp_path / "nowhere"))
    with pytest.raises(EngineError, match=r"POLLEN_KUBO names .*nowhere"):
        find_ipfs()


def test_pollen_ipfs_that_names_one_that_will_not_do_has_to_be_unset(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("POLLEN_KUBO", str(program(tmp_path / "mine", "echo 0.42.0")))
    with pytest.raises(EngineError, match=r"older than 0\.43") as raised:
        find_ipfs()
    assert raised.value.fix.startswith("unset POLLEN_KUBO")


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ("echo 0.42.1", "is Kubo 0.42.1, older than 0.43; .*CVE-2026-46679"),
        ("echo hello", "is not Kubo: .*'hello'"),
        ("echo 0.43.0; exit 1", "is not Kubo"),
    ],
)
def test_a_program_that_will_not_do_is_named(tmp_path: Path, says: str, why: str) -> None:
    program(tmp_path / "bin" / "ipfs", says)
    with pytest.raises(EngineError, match=why) as raised:
        find_ipfs()
    assert "install-kubo" in raised.value.fix


@pytest.mark.parametrize(("version", "is_outdated"), [("0.42.9", True), ("0.43.0", False), ("0.43.0-rc1", False)])
def test_a_node_of_the_users_is_outdated_below_the_version_that_fixes_its_pubsub(
    version: str, is_outdated: bool
) -> None:
    assert ("CVE-2026-46679" in why_outdated(version)) is is_outdated
