"""The examples, as they stand in ``examples/``: the app runs between peers, the script audits what came of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from federation import Federation
from flwr.cli.config_utils import load_and_validate

from peer import api

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_flwr_run_takes_the_example_app() -> None:
    config, warnings = load_and_validate(EXAMPLES / "digits" / "pyproject.toml")
    assert (config["project"]["name"], warnings) == ("digits", [])


def test_the_example_app_trains_and_the_example_script_audits_it(federation_in_the_clear: Federation) -> None:
    federation = federation_in_the_clear
    app = EXAMPLES / "digits"
    server = federation.server(app)
    clients = [federation.client(name, app) for name in ("one", "two")]
    assert [peer.code() for peer in (server, *clients)] == [0, 0, 0], server.said

    car = federation.exported()
    script = [sys.executable, str(EXAMPLES / "audit_a_run.py"), str(car), str(federation.stored.id)]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("verified: ")
    assert "round 3 moved the model by 0." in done.stdout

    with api.open_run(car) as run:
        report = run.replay(app)
        last = [exchange.metrics["accuracy"] for exchange in run.exchanges() if "evaluate" in exchange.types]
    assert report.verdict is api.Verdict.VERIFIED
    assert report.replay is not None
    assert last[-1] > 0.5
