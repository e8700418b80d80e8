"""Apps in a process of their own, with the real order of imports and seeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_leader import APPS, SEED

import protocol
from protocol.records.environment import Numerics
from strategy.replay.format import child_environment

ROOT = Path(protocol.__file__).parent.parent


def host(app: str, scratch: Path) -> dict[str, object]:
    environment = {**os.environ, **child_environment(SEED, 1, Numerics.NATIVE), "PYTHONPATH": str(ROOT)}
    script = Path(__file__).parents[1] / "host_process.py"
    done = subprocess.run(
        [sys.executable, str(script), str(APPS / app), str(scratch)],
        env=environment,
        capture_output=True,
        check=True,
        text=True,
        cwd=scratch,
    )
    said: dict[str, object] = json.loads(done.stdout)
    return said


def test_an_app_with_modules_named_like_pollens_packages_sees_its_own(tmp_path: Path) -> None:
    said = host("own_modules", tmp_path)

    assert (said["error"], said["torch"]) == ("", "")
    assert said["answered"] == said["sent"][0]  # type: ignore[index]


@pytest.mark.all  # torch in two processes: tests/peer/demo/test_demo.py replays a run of the built-in app
@pytest.mark.slow
def test_a_torch_app_sends_the_same_model_from_two_processes(tmp_path: Path) -> None:
    first, second = host("tiny_torch", tmp_path), host("tiny_torch", tmp_path)

    assert first["error"] == ""
    assert first["torch"]
    assert first["sent"] == second["sent"]
