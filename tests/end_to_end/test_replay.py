"""A replay shows what the server did: honest runs never differ, and each cheat is caught with its round and tensor."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from federation import APPS, Federation

APP = APPS / "cheating"


@pytest.fixture
def federation(federation_in_the_clear: Federation) -> Federation:
    return federation_in_the_clear


def recorded(federation: Federation, cheat: str, rounds: int = 3) -> Path:
    """The CAR of a run whose server cheats like this."""
    federation.add("three")
    config = f"num-server-rounds={rounds}"
    server = federation.server(APP, "--run-config", config, clients=3, CHEAT=cheat)
    clients = [federation.client(name, APP) for name in federation.names]
    assert [peer.code() for peer in (server, *clients)] == [0] * 4, server.said
    car = federation.root / "run.car"
    home = str(federation.home("server").path)
    assert federation.run("server", "export", str(federation.head("server").head), car, "--home", home).code() == 0
    return car


def found(federation: Federation, car: Path, app: Path = APP, *arguments: str) -> tuple[int, Any]:
    """A replay of the CAR alone, in a home that knows nothing."""
    return federation.replay(car, app, *arguments, "--home", str(federation.root / "auditor"))


def test_an_honest_run_is_replayed_from_a_car_alone(federation: Federation) -> None:
    car = recorded(federation, "")
    shutil.rmtree(federation.root / "engine")

    code, report = found(federation, car)

    assert (code, report["verdict"], report["findings"]) == (0, "verified", [])
    assert report["replay"] | {"seconds": 0, "import_seconds": 0} == {
        "exchanges": 3,
        "messages": 9,
        "mismatches": 0,
        "first_divergence": None,
        "not_checked": None,
        "environment": {},
        "seconds": 0,
        "import_seconds": 0,
    }


@pytest.mark.parametrize(("cheat", "tensor"), [("scale", "b"), ("drop", "w"), ("reorder", "w"), ("swap", "w")])
def test_a_cheat_shows_in_the_next_dispatch(cheat: str, tensor: str, federation: Federation) -> None:
    code, report = found(federation, recorded(federation, cheat))

    divergence = report["replay"]["first_divergence"]
    assert (code, report["verdict"]) == (1, "failed")
    assert (divergence["round"], divergence["record"], divergence["tensor"]) == (3, "arrays", tensor)
    assert divergence["largest"] > 0
    assert f"'{tensor}'" in report["findings"][0]["message"]


def test_a_cheat_in_the_last_round_shows_in_the_final_model(federation: Federation) -> None:
    code, report = found(federation, recorded(federation, "scale", rounds=2))

    assert (code, report["replay"]["first_divergence"]["tensor"]) == (1, "b")
    assert "the final model differs" in report["findings"][0]["message"]


def test_an_app_that_reads_a_clock_fails_with_what_it_may_be(federation: Federation) -> None:
    code, report = found(federation, recorded(federation, "clock"), APP, "--to-round", "1")

    assert (code, report["verdict"]) == (1, "failed")
    assert "it reads a clock" in report["findings"][0]["message"]


def test_another_app_than_the_recorded_one_fails(federation: Federation, tmp_path: Path) -> None:
    car = recorded(federation, "")
    other = shutil.copytree(APP, tmp_path / "other")
    (other / "cheating" / "more.py").write_text("more = 1\n")

    code, report = found(federation, car, other)

    assert (code, report["verdict"]) == (1, "failed")
