"""The root of trust of an audit: whose word a verdict rests on, and whose run is not verified."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Peer
from inspected_runs import finished_run

from peer.base.errors import ExitCode
from peer.home.federations import FederationStore
from peer.home.home import Home
from protocol.blocks.car import write_car

OTHER = "bafyreibml2gfbrc3aqpqfbnyfmxwi3qf3qgbgzvtbbzuj6lkgwvg6z3jzu"


@pytest.fixture
def car(tmp_path: Path) -> Path:
    """A run in the tests' federation."""
    run = finished_run()
    path = tmp_path / "run.car"
    path.write_bytes(b"".join(write_car([run.head], run.blocks)))
    return path


@pytest.fixture
def auditor(peers: Callable[[str], Peer]) -> Peer:
    return peers("auditor")


def federation_of(car: Path, auditor: Peer) -> str:
    return str(auditor("audit", car, "--json").json["federation"]["id"])


def found(peer: Peer, name: str) -> str:
    """A federation that ``peer`` founds; its id."""
    assert peer("keys", "init", "--name", "me", "--no-passphrase").code == ExitCode.DONE
    assert peer("federation", "init", name).code == ExitCode.DONE
    return str(FederationStore(Home(peer.home)).current(name).id)


def test_without_a_root_the_first_line_says_that_the_run_vouches_for_itself(auditor: Peer, car: Path) -> None:
    outcome = auditor("audit", car)
    assert outcome.code == ExitCode.DONE
    assert outcome.out.splitlines()[0].startswith(
        "root of trust: none. Only the run itself says that it is of the federation bafy"
    )


def test_a_run_in_the_given_federation_is_verified(auditor: Peer, car: Path) -> None:
    outcome = auditor("audit", car, "--federation", federation_of(car, auditor))
    assert outcome.code == ExitCode.DONE
    assert outcome.out.splitlines()[0].endswith("as you gave it")


def test_a_run_in_another_federation_than_the_given_is_not(auditor: Peer, car: Path) -> None:
    outcome = auditor("audit", car, "--federation", OTHER, "--json")
    assert outcome.code == ExitCode.VERIFICATION_FAILED
    assert [finding["rule"] for finding in outcome.json["findings"]] == ["other-federation"]
    assert "root of trust: the federation that you gave" in auditor("audit", car, "--federation", OTHER).out


def test_a_strangers_run_of_the_same_name_is_not(peers: Callable[[str], Peer], auditor: Peer, car: Path) -> None:
    name = auditor("audit", car, "--json").json["federation"]["name"]
    assert found(auditor, name) != federation_of(car, auditor)
    outcome = auditor("audit", car, "--federation", name, "--json")
    assert outcome.code == ExitCode.VERIFICATION_FAILED
    assert outcome.json["federation"]["name"] == name


def test_the_file_of_a_federation_is_a_root(peers: Callable[[str], Peer], auditor: Peer, car: Path) -> None:
    stranger, file = peers("stranger"), car.with_name("x.federation")
    found(stranger, "theirs")
    assert stranger("federation", "export", file, "--ipfs", f"local:{car.parent / 'e'}").code == ExitCode.DONE
    assert auditor("audit", car, "--federation", file).code == ExitCode.VERIFICATION_FAILED


def test_what_names_no_federation_is_wrong_use(auditor: Peer, car: Path) -> None:
    outcome = auditor("audit", car, "--federation", "trial")
    assert outcome.code == ExitCode.WRONG_USE
    assert "peer federation show" in outcome.err


def test_a_strangers_federation_that_is_called_by_the_given_id_is_not(auditor: Peer, car: Path) -> None:
    theirs = federation_of(car, auditor)
    found(auditor, theirs)
    assert auditor("audit", car, "--federation", theirs).code == ExitCode.DONE
