"""Runs that were recorded on this processor, replayed on others: emulated ones, and this one with its libraries'
kernels switched. An honest one is never judged a cheat, and a cheat always.

qemu 7.2 emulates no AVX-512, which this processor may have; it does AVX2, with a Haswell. Another architecture is not
tried here: `test_aarch64_numerics.py` does that.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cheating_server import CHEATS, a_server_that_cheats, untouched
from flwr.serverapp import strategy as flower
from recorded_app import RecordedApp, recorded_app, run_of
from saved_runs import save

STRATEGIES = sorted(set(flower.__all__) - {"Result", "Strategy"})
WEIGHTED = ["FedAvg", "FedAdam", "QFedAvg"]

needs_qemu = pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="Debian's qemu-user is not installed")
BASELINE = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Nehalem",
    "ATEN_CPU_CAPABILITY": "default",
}
AVX2 = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
    "ATEN_CPU_CAPABILITY": "avx2",
}
PROCESSORS = [
    pytest.param(["qemu-x86_64", "-cpu", "Nehalem"], {}, id="emulated-Nehalem", marks=[needs_qemu, pytest.mark.all]),
    pytest.param(["qemu-x86_64", "-cpu", "Haswell"], {}, id="emulated-Haswell", marks=[needs_qemu, pytest.mark.all]),
    pytest.param([], BASELINE, id="kernels-of-all"),
    pytest.param([], AVX2, id="kernels-of-AVX2", marks=pytest.mark.all),
]


def cheated(strategy: str, cheat: str, scratch: Path) -> RecordedApp:
    """A run whose server cheats in round 2."""
    factor = 1.001 if cheat == "scaled" else 1.0
    with a_server_that_cheats(strategy, CHEATS.get(cheat, untouched), factor):
        return run_of(strategy, scratch)


def honest(*, whole: bool, scratch: Path) -> dict[str, RecordedApp]:
    """A few honest runs; the ``whole`` has 54 of Flower's strategies, with 540 exchanges, and others."""
    if not whole:
        return {name: run_of(name, scratch, 2) for name in ("QFedAvg", "DifferentialPrivacyServerSideFixedClipping")}
    runs = {
        f"{name} {seed}": run_of(name, scratch, 5, bytes([seed]) * 32) for name in STRATEGIES for seed in range(1, 4)
    }
    others = {"torch_server": "", "legacy_fedavg": "", "secagg": "num-server-rounds=2"}
    return runs | {name: recorded_app(name, scratch, config, 3) for name, config in others.items()}


def replays(runs: dict[str, RecordedApp], command: Sequence[str], switches: dict[str, str], folder: Path) -> Any:
    """Each run replayed by a process on another processor."""
    program, saved, out = Path(__file__).parents[1] / "saved_runs.py", folder / "runs", folder / "out.json"
    save(runs, saved)
    (folder / "scratch").mkdir(exist_ok=True)
    subprocess.run(
        [*command, sys.executable, str(program), str(saved), str(folder / "scratch"), str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **switches},
        check=True,
        capture_output=True,
    )
    return json.loads(out.read_text())


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("command", "switches"), PROCESSORS)
def test_an_honest_run_is_never_accused_and_a_cheat_is(
    command: list[str], switches: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    whole = bool(request.config.getoption("--all"))
    scratch = tmp_path / "recording"
    scratch.mkdir()
    cheats = [(name, cheat) for name in WEIGHTED for cheat in ("scaled", *CHEATS)]
    chosen = cheats if whole else cheats[:2]
    runs = honest(whole=whole, scratch=scratch)
    of_cheats = {f"{name} {cheat}": cheated(name, cheat, scratch) for name, cheat in chosen}

    found = replays(runs | of_cheats, command, switches, tmp_path)

    assert {name: found[name]["outcome"] for name in of_cheats} == dict.fromkeys(of_cheats, "beyond")
    assert {name for name in runs if found[name]["ended"] != "Finished"} == set(), found
    assert {name for name in runs if found[name]["outcome"] == "beyond"} == set(), found
