"""A replay shows what the server did: honest runs never differ, and each cheat is caught with its round and tensor."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from federation import APPS, Federation

APP = APPS / "cheating"

pytestmark = pytest.mark.xdist_group("replay")  # each run is recorded once

Recorded = Callable[..., Path]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """The CAR of a run of three rounds, or another number, whose server cheats in the given way."""
    return cache(lambda cheat, rounds=3: ran(tmp_path_factory.mktemp("recorded"), cheat, rounds))


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    """The home of an auditor: nothing runs, and it has no block."""
    made = Federation(tmp_path, f"local:{tmp_path / 'engine'}", encrypted=False)
    yield made
    made.end()


def ran(root: Path, cheat: str, rounds: int) -> Path:
    federation = Federation(root, f"local:{root / 'engine'}", encrypted=False)
    count = {"scale": 1, "reorder": 3}.get(cheat, 2)  # in either order, two add up to the same
    federation.add(*("one", "two", "three")[:count])
    config = f"num-server-rounds={rounds} min-nodes={count}"
    server = federation.server(APP, "--run-config", config, clients=count, CHEAT=cheat)
    clients = [federation.client(name, APP) for name in federation.names]
    codes = [peer.code() for peer in (server, *clients)]
    assert codes == [4 if cheat == "raise" else 0, *[0] * len(clients)], server.said
    car = federation.exported()
    federation.end()
    shutil.rmtree(root / "engine")
    return car


def found(federation: Federation, car: Path, app: Path = APP, *arguments: str, **variables: str) -> tuple[int, Any]:
    """A replay of the CAR alone, in a home that knows nothing."""
    return federation.replay(car, app, *arguments, "--home", str(federation.root / "auditor"), **variables)


def test_an_honest_run_is_replayed_from_a_car_alone(federation: Federation, recorded: Recorded) -> None:
    code, report = found(federation, recorded(""))

    assert (code, report["verdict"], report["findings"]) == (0, "verified", [])
    assert report["replay"] | {"seconds": 0, "import_seconds": 0} == {
        "outcome": "equal",
        "exchanges": 3,
        "messages": 6,
        "mismatches": 0,
        "undecided": 0,
        "not_kept": 0,
        "first_divergence": None,
        "widest": None,
        "at_end": None,
        "beyond": None,
        "repeats": None,
        "reasons": [],
        "settling": None,
        "not_checked": None,
        "environment": {},
        "environments": [{"height": 0, "environment": {}, "settling": None}],
        "seconds": 0,
        "import_seconds": 0,
    }


@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="Debian's qemu-user is not installed")
def test_an_honest_run_is_verified_on_another_processor(federation: Federation, recorded: Recorded) -> None:
    python = f"qemu-x86_64 -cpu Nehalem {sys.executable}"

    code, report = found(federation, recorded(""), APP, "--app-python", python)

    assert (code, report["verdict"], report["findings"]) == (0, "verified", [])
    assert report["replay"]["exchanges"] == 3


@pytest.mark.parametrize(
    ("cheat", "tensor"),
    [
        ("scale", "b"),
        *(pytest.param(cheat, "w", marks=pytest.mark.all) for cheat in ("drop", "reorder", "swap")),
    ],
)
def test_a_cheat_shows_in_the_next_dispatch(
    cheat: str, tensor: str, federation: Federation, recorded: Recorded
) -> None:
    code, report = found(federation, recorded(cheat))

    divergence = report["replay"]["first_divergence"]
    assert (code, report["verdict"]) == (1, "failed")
    assert (divergence["round"], divergence["record"], divergence["tensor"]) == (3, "arrays", tensor)
    assert divergence["largest"] > 0
    assert (report["replay"]["repeats"], report["replay"]["reasons"][0]) == (True, "server")
    assert report["replay"]["not_checked"] == f"what follows height {divergence['height']}: the replay ended there"
    assert f"'{tensor}'" in report["findings"][0]["message"]


@dataclass(frozen=True)
class Attested:
    """The replay of a run whose server cheats in the last round, and what an auditor signed of it."""

    code: int
    report: Any
    file: Path
    by: str


@pytest.fixture(scope="module")
def attested(tmp_path_factory: pytest.TempPathFactory, recorded: Recorded) -> Attested:
    root = tmp_path_factory.mktemp("attested")
    federation = Federation(root, f"local:{root / 'engine'}", encrypted=False)
    did = federation.identity("auditor").public.signing.did
    code, report = found(federation, recorded("scale", 2), APP, "--attest", str(root / "a.json"))
    return Attested(code, report, root / "a.json", did)


def test_a_cheat_in_the_last_round_shows_in_the_final_model(attested: Attested) -> None:
    code, report = attested.code, attested.report

    assert (code, report["replay"]["first_divergence"]["tensor"]) == (1, "b")
    assert "the final model differs" in report["findings"][0]["message"]
    assert report["replay"]["at_end"]["tensor"] == "b"
    assert report["replay"]["not_checked"] is None


def test_a_failed_replay_is_attested_and_checked_in_a_third_home(federation: Federation, attested: Attested) -> None:
    checked = federation.done("third", "attest", "verify", attested.file, "--by", attested.by, "--json", code=1)

    said = json.loads(checked)["statement"]["predicate"]
    assert (said["verdict"], said["compared"]["replay"]["outcome"]) == ("failed", "beyond")
    assert said["environment"]["recorded"] == said["environment"]["here"]


@pytest.mark.all
@pytest.mark.parametrize("reads", ["clock", "licensed"])
def test_an_app_that_reads_a_clock_or_a_name_accuses_nobody(
    reads: str, federation: Federation, recorded: Recorded
) -> None:
    code, report = found(federation, recorded(""), APP, "--to-round", "1", CHEAT=reads)

    assert (code, report["verdict"]) == (3, "inconclusive")
    assert (report["replay"]["repeats"], report["replay"]["reasons"]) == (False, ["app"])
    assert "it reads a clock" in report["findings"][0]["message"]


def test_another_app_than_the_recorded_one_fails(federation: Federation, recorded: Recorded, tmp_path: Path) -> None:
    other = shutil.copytree(APP, tmp_path / "other")
    (other / "cheating" / "more.py").write_text("more = 1\n")

    code, report = found(federation, recorded(""), other)

    assert (code, report["verdict"]) == (1, "failed")


def test_a_replay_to_a_round_ends_with_that_round(federation: Federation, recorded: Recorded) -> None:
    code, report = found(federation, recorded("scale"), APP, "--to-round", "2")  # the cheat shows in round 3

    assert (code, report["verdict"]) == (0, "verified")
    assert report["replay"]["exchanges"] == 2
    assert "--to-round 2 stops" in report["replay"]["not_checked"]


@pytest.mark.parametrize(
    ("cheat", "expected", "says"),
    [("raise", 4, "ValueError"), ("crash", 3, "killed by signal"), ("hang", 1, "round 3")],
)
def test_a_replay_whose_app_breaks_is_no_accusation_and_one_that_hangs_ends(
    cheat: str, expected: int, says: str, federation: Federation, recorded: Recorded
) -> None:
    code, report = found(federation, recorded(""), APP, CHEAT=cheat)

    assert (code, report["verdict"]) == (expected, "failed" if expected == 1 else "incomplete")
    assert says in report["findings"][0]["message"]


@pytest.mark.all
def test_a_server_whose_app_raised_for_a_reason_of_its_machine_is_not_accused(
    federation: Federation, recorded: Recorded
) -> None:
    code, report = found(federation, recorded("raise"))

    assert (code, report["verdict"]) == (3, "incomplete"), report["findings"]
    assert "the app raised there, and here it does not" in report["findings"][0]["message"]


def test_an_app_under_audit_reads_what_the_auditor_allows(
    federation: Federation, recorded: Recorded, tmp_path: Path
) -> None:
    (secret := tmp_path / "secret").write_text("secret")

    code, report = found(federation, recorded(""), APP, CHEAT=str(secret))
    assert (code, report["verdict"]) == (4, "incomplete")
    said = report["findings"][0]["message"]
    assert "FileNotFoundError" in said
    assert "it ran confined: --allow-read DIR" in said

    assert found(federation, recorded(""), APP, "--allow-read", str(secret), CHEAT=str(secret))[0] == 0


@pytest.mark.all
def test_an_app_that_is_not_confined_reads_what_the_auditor_reads(
    federation: Federation, recorded: Recorded, tmp_path: Path
) -> None:
    (secret := tmp_path / "secret").write_text("secret")

    car = str(recorded(""))
    audit = ("audit", car, "--replay", "--app", APP, "--unconfined", "--json", "--home", federation.root / "auditor")
    assert federation.run("auditor", *audit, CHEAT=str(secret)).code() == 0


def test_an_app_that_goes_on_with_nothing_is_ended(federation: Federation, recorded: Recorded) -> None:
    code, report = found(federation, recorded(""), APP, "--patience", "3", CHEAT="wait")

    assert (code, report["verdict"]) == (3, "incomplete")
    assert "--patience SECONDS" in report["findings"][0]["message"]


@pytest.mark.all
@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="there is no qemu-x86_64")
def test_an_app_on_an_emulated_processor_is_confined_too(federation: Federation, recorded: Recorded) -> None:
    python = ("--app-python", f"qemu-x86_64 -cpu Nehalem {sys.executable}")

    assert found(federation, recorded(""), APP, *python, CHEAT="/etc/shadow")[0] == 4
    assert found(federation, recorded(""), APP, *python)[0] == 0
