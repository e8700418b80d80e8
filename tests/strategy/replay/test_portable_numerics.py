"""The portable baseline: whatever the processor, and whatever the auditor's own variables say, the same bits."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from flwr.serverapp import strategy as flower
from portable_recorder import KINDS

from protocol.records.environment import Numerics
from strategy.builtin.pollen_app.names import StrategyName
from strategy.replay.format import child_environment
from strategy.replay.numerics import numeric_variables

HERE, ROOT = Path(__file__).parents[1], Path(__file__).parents[3]
EVERY_RUN = [*sorted(set(flower.__all__) - {"Result", "Strategy"}), *StrategyName, *KINDS]

needs_qemu = pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="Debian's qemu-user is not installed")
EMULATED = ["Nehalem", "SandyBridge", "Haswell", "EPYC", "max"]
SWITCHED = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "OPENBLAS_CORETYPE": "Haswell",
    "MKL_CBWR": "AVX2",
    "MKL_VML_DEBUG_CPU_TYPE": "3",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "NPY_ENABLE_CPU_FEATURES": "X86_V3",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F",
    "OMP_NUM_THREADS": "2",
}
"""An auditor's own variables, which say otherwise than the baseline."""

LIBM = """
import hashlib, math, random
draw, found = random.Random(1), hashlib.sha256()
names = "exp log sin cos tan atan asin acos sinh cosh tanh exp2 expm1 log1p log2 log10 cbrt erf erfc gamma lgamma"
for name in names.split():
    for _ in range(2000):
        found.update(getattr(math, name)(draw.uniform(0.001, 0.999)).hex().encode())
for _ in range(20000):
    found.update(math.pow(draw.uniform(0.1, 10), draw.uniform(-5, 5)).hex().encode())
print(found.hexdigest())
"""
KERNELS = """
import sys
from pathlib import Path
from strategy.hosting.host import prepare
for kernel in prepare(Path(sys.argv[1])).kernels:
    print(f"{kernel.library}={kernel.chosen}")
"""


def run(words: Sequence[str], numerics: Numerics = Numerics.PORTABLE, own: Mapping[str, str] | None = None) -> str:
    """What a process says that is started as an app process is, by somebody with variables of their ``own``."""
    variables = child_environment(bytes(32), 1, numerics)
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)])}
    done = subprocess.run(
        words, env={**os.environ, **(own or {}), **variables, **path}, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def replayed(file: Path, words: Sequence[str], own: Mapping[str, str] | None = None) -> dict[str, str]:
    """By name of a run, its outcome."""
    scratch, out = file.parent / "replay", file.parent / "out.json"
    scratch.mkdir()
    run([*words, sys.executable, str(HERE / "saved_runs.py"), str(file), str(scratch), str(out)], own=own)
    return {name: f"{found['ended']} {found['outcome']}" for name, found in json.loads(out.read_text()).items()}


@pytest.fixture(scope="module")
def every_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every run, recorded on this processor."""
    folder = tmp_path_factory.mktemp("recorded")
    run([sys.executable, str(HERE / "portable_recorder.py"), str(folder / "runs"), str(folder / "app"), *EVERY_RUN])
    return folder / "runs"


@needs_qemu
def test_the_c_library_gives_the_same_bits_on_an_older_processor() -> None:
    emulated = ["qemu-x86_64", "-cpu", "Nehalem", sys.executable, "-I", "-c", LIBM]

    assert run(emulated) == run(emulated[3:])


def test_the_libraries_choose_the_baseline_whatever_an_auditors_variables_say() -> None:
    said = run([sys.executable, "-P", "-c", KERNELS, str(HERE.parent / "apps" / "torch_server")], own=SWITCHED)

    kernels = dict(line.split("=", 1) for line in said.splitlines())
    assert kernels["torch"] in ("DEFAULT", "NO AVX")
    if "x86_64" in os.uname().machine:
        assert kernels["numpy"] == "X86_V2"
        assert kernels["openblas of numpy"].endswith("Nehalem")
        assert kernels["mkl of torch"] == "COMPATIBLE"


def test_each_architecture_has_its_own_kernels() -> None:
    x86, arm = (numeric_variables(Numerics.PORTABLE, 1, machine) for machine in ("x86_64", "aarch64"))

    assert (x86["OPENBLAS_CORETYPE"], arm["OPENBLAS_CORETYPE"]) == ("Nehalem", "ARMV8")
    assert (x86["ONEDNN_MAX_CPU_ISA"], arm["ONEDNN_MAX_CPU_ISA"]) == ("SSE41", "ADVANCED_SIMD")
    assert arm["NVPL_BLAS_DEBUG_CPU_TYPE"] == "1"
    assert not {"MKL_CBWR", "GLIBC_TUNABLES"} & set(arm)
    assert "NVPL_BLAS_DEBUG_CPU_TYPE" not in x86


def test_another_machine_has_what_holds_for_any() -> None:
    variables = numeric_variables(Numerics.PORTABLE, 2, "riscv64")

    assert variables["ATEN_CPU_CAPABILITY"] == "default"
    assert variables["OMP_NUM_THREADS"] == "2"
    assert "GLIBC_TUNABLES" not in variables


def test_native_numerics_pin_nothing_but_the_threads() -> None:
    variables = numeric_variables(Numerics.NATIVE, 1, "x86_64")

    assert {name for name in variables if not name.endswith("_NUM_THREADS")} == {"POLLEN_APP_NUMERICS"}


@pytest.mark.all
@pytest.mark.slow
@pytest.mark.timeout(3600)
@needs_qemu
@pytest.mark.parametrize("processor", EMULATED)
def test_every_run_replays_on_each_processor(processor: str, every_run: Path, tmp_path: Path) -> None:
    file = shutil.copy(every_run, tmp_path / "runs")

    found = replayed(Path(file), ["qemu-x86_64", "-cpu", processor])

    assert found == dict.fromkeys(EVERY_RUN, "Finished equal")


@pytest.mark.all
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("switch", [*SWITCHED])
def test_every_run_replays_under_each_switch_of_an_auditors(switch: str, every_run: Path, tmp_path: Path) -> None:
    file = shutil.copy(every_run, tmp_path / "runs")

    found = replayed(Path(file), [], own={switch: SWITCHED[switch]})

    assert found == dict.fromkeys(EVERY_RUN, "Finished equal")
