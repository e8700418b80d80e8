"""The portable baseline of aarch64, on emulated processors from ARMv8.0 to SVE2. It needs a Python for aarch64, which
`scripts/install-aarch64-python DIR` makes: ``POLLEN_AARCH64=DIR`` names it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from protocol.records.environment import Numerics
from strategy.replay.format import child_environment

HERE, ROOT = Path(__file__).parents[1], Path(__file__).parents[3]
FOLDER = Path(os.environ.get("POLLEN_AARCH64", ""))
PYTHON = FOLDER / "bin" / "python3.11"

pytestmark = [
    pytest.mark.all,
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.xdist_group("aarch64"),  # the runs are recorded once
    pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="Debian's qemu-user is not installed"),
    pytest.mark.skipif(
        not PYTHON.is_file(),
        reason="there is no Python for aarch64: scripts/install-aarch64-python DIR, and POLLEN_AARCH64=DIR",
    ),
]
RECORDED_ON = "neoverse-n1"
OTHERS = ["cortex-a57", "cortex-a72", "cortex-a76", "a64fx", "max"]
"""ARMv8.0 twice, ARMv8.2, its first SVE (of 512 bits), and all that qemu emulates."""
RUNS = [
    *("FedAvg", "FedAdam", "FedYogi", "MultiKrum", "QFedAvg", "DifferentialPrivacyServerSideFixedClipping"),
    *("torch server", "torch", "numpy"),
]


def run(processor: str, program: str, *arguments: object) -> None:
    """Run one of the programs beside these tests as an app process of the baseline is run."""
    variables = child_environment(bytes(32), 1, Numerics.PORTABLE, "aarch64")
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)])}
    words: Sequence[object] = ["qemu-aarch64", "-cpu", processor, "-L", FOLDER, PYTHON, HERE / program, *arguments]
    subprocess.run([*map(str, words)], env={**os.environ, **variables, **path}, check=True, capture_output=True)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    run(RECORDED_ON, "portable_recorder.py", folder / "runs", folder / "app", *RUNS)
    return folder / "runs"


@pytest.mark.parametrize("processor", OTHERS)
def test_a_run_of_one_aarch64_processor_replays_on_each_other(processor: str, recorded: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"

    run(processor, "saved_runs.py", recorded, tmp_path, out)

    found = {name: f"{each['ended']} {each['outcome']}" for name, each in json.loads(out.read_text()).items()}
    assert found == dict.fromkeys(RUNS, "Finished equal")
