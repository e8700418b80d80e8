"""A server goes on with its run on another machine. An auditor on the first one accuses nobody of what follows."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from federation import APPS, Federation

APP = APPS / "by_kernel"
NEHALEM = {"OPENBLAS_CORETYPE": "Nehalem"}
"""By OpenBLAS's own switch: the kernel of an older processor, which sums in another order."""


@pytest.fixture
def federation_of_two(tmp_path: Path) -> Iterator[Federation]:
    """A server and one client, in the clear: anybody may replay their runs."""
    made = Federation(tmp_path, f"local:{tmp_path / 'engine'}", encrypted=False)
    made.add("one")
    yield made
    made.end()


@pytest.mark.parametrize("there", [False, pytest.param(True, marks=pytest.mark.all)])  # the rule: `test_lying_app.py`
def test_each_exchange_is_judged_by_the_environment_that_was_in_force_at_it(
    there: bool, federation_of_two: Federation
) -> None:
    federation, gate = federation_of_two, federation_of_two.root / "gate"
    server = federation.server(APP, "--numerics", "native", clients=1)
    client = federation.client("one", APP, f'gate="{gate}"')
    client.wait_for("task-started")
    server.signal(signal.SIGINT)
    assert server.code() == 3, server.said
    server = federation.server(APP, clients=1, **NEHALEM)
    told = server.wait_for("environment-changed")
    gate.touch()
    assert [peer.code() for peer in (server, client)] == [0, 0], server.said
    assert "openblas of numpy kernel was" in told["why"]
    head, options = str(federation.head("server").head), ("--ipfs", federation.engine)

    code, report = federation.replay(
        head, APP, *options, "--home", str(federation.root / "auditor"), **(NEHALEM if there else {})
    )

    outcomes = [exchange["compared"]["outcome"] for exchange in report["exchanges"]]
    if there:
        assert (code, report["verdict"], outcomes) == (0, "verified", ["equal"] * 3)
    else:
        assert (code, report["verdict"], report["environments"]) == (3, "inconclusive", 2)
        assert outcomes == ["equal", "undecided", "equal"]
        assert "Nehalem" in report["replay"]["settling"]
