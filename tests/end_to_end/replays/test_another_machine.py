"""Whole audits on another kind of processor than the server's: an emulated one. Of runs with native numerics, because
those with portable ones are the same there."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from federation import APPS, Federation

pytestmark = [
    pytest.mark.all,  # without peers: tests/strategy/replay/test_other_processors.py
    pytest.mark.slow,
    pytest.mark.xdist_group("another-machine"),  # each run is recorded once
    pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="Debian's qemu-user is not installed"),
]
NEHALEM = ("--app-python", f"qemu-x86_64 -cpu Nehalem {sys.executable}")
CLIPPING = (
    'strategy="DifferentialPrivacyServerSideFixedClipping" num-server-rounds=5 min-nodes=3 central-evaluation=false'
)
"""It computes norms, which BLAS sums in another order on each processor."""
Recorded = Callable[..., Path]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """The CAR of a run of an app with these settings, whose server cheats as is said."""
    return cache(lambda app, config="", cheat="": ran(tmp_path_factory.mktemp("recorded"), app, config, cheat))


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    """Where an auditor is; nothing runs, and no block is here."""
    made = Federation(tmp_path, f"local:{tmp_path / 'engine'}", encrypted=False)
    yield made
    made.end()


def ran(root: Path, app: str, config: str, cheat: str) -> Path:
    federation = Federation(root, f"local:{root / 'engine'}", encrypted=False)
    federation.add("one", "two", "three")
    options = ["--numerics", "native", "--run-config", config]
    server = federation.server(APPS / app, *options, clients=3, CHEAT=cheat)
    clients = [federation.client(name, APPS / app) for name in federation.names]
    assert [peer.code() for peer in (server, *clients)] == [0] * 4, server.said
    car = federation.exported()
    federation.end()
    return car


def test_an_honest_server_is_not_accused_and_the_machine_that_would_tell_is_named(
    federation: Federation, recorded: Recorded
) -> None:
    app, home = APPS / "every_strategy", federation.root / "auditor"

    code, report = federation.replay(recorded("every_strategy", CLIPPING), app, *NEHALEM, "--home", home)

    replay = report["replay"]
    assert (code, report["verdict"]) == (3, "inconclusive"), report["findings"]
    assert (replay["repeats"], replay["reasons"]) == (True, ["machine", "server", "unrecorded"])
    assert replay["settling"].startswith("an x86_64 machine")
    assert 0 < replay["widest"]["of_bound"] < 1
    outcomes = [exchange["compared"]["outcome"] for exchange in report["exchanges"]]
    assert len(outcomes) == 10
    assert "equal" in outcomes  # at least the first: an undecided one does not make those after it differ


@pytest.mark.parametrize("machine", [(), NEHALEM], ids=["recorded", "emulated"])
@pytest.mark.parametrize(("cheat", "expected"), [("", (0, "verified")), ("scale", (1, "failed"))])
def test_on_either_machine_an_honest_server_is_verified_and_one_that_scales_has_failed(
    cheat: str, expected: tuple[int, str], machine: tuple[str, ...], federation: Federation, recorded: Recorded
) -> None:
    home = federation.root / "auditor"

    code, report = federation.replay(recorded("cheating", cheat=cheat), APPS / "cheating", *machine, "--home", home)

    assert (code, report["verdict"]) == expected, report["findings"]
    assert (report["replay"]["beyond"] is not None) == bool(cheat)
    if cheat:
        assert report["replay"]["reasons"] == ["server", "unrecorded"]
