"""`strategy.replay.measured_environment`: what is measured of this process."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from protocol.records.environment import Numerics
from strategy.replay.measured_environment import measure_environment, named_processor

APP = Path(__file__).parents[2] / "apps" / "numpy_fedavg"


def test_the_environment_names_what_changes_bits() -> None:
    environment = measure_environment(APP, Numerics.PORTABLE)

    assert environment.numerics is Numerics.PORTABLE
    assert environment.python == sys.version.split()[0]
    assert environment.machine == platform.machine()
    assert environment.version("flwr") == metadata.version("flwr")
    assert {"numpy", "openblas of numpy"} <= {kernel.library for kernel in environment.kernels}
    assert environment.threads >= 1


def test_a_variable_of_another_architectures_libraries_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch)  # with torch, as for an app that uses it
    for variable in ("MKL_CBWR", "NVPL_BLAS_DEBUG_CPU_TYPE"):
        monkeypatch.setenv(variable, "set")

    measured = {each.library: each.chosen for each in measure_environment(APP, Numerics.PORTABLE).kernels}

    assert [name for name, chosen in measured.items() if chosen == "set"] == [
        {"x86_64": "mkl of torch", "aarch64": "nvpl of torch"}[platform.machine()]
    ]


def test_a_processor_has_its_name_or_on_aarch64_the_numbers_of_its_kinds_of_core() -> None:
    arm = "processor\t: {}\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: {}\n\n"
    big_and_little = arm.format(0, "0xd03") + arm.format(1, "0xd03") + arm.format(2, "0xd08")

    assert named_processor("processor\t: 0\nmodel name\t: Intel Xeon\nstepping\t: 7\n\n" * 2) == "Intel Xeon"
    assert named_processor(big_and_little) == "0x41 part 0xd03, 0x41 part 0xd08"
    assert named_processor("") == ""


def test_what_an_app_says_it_needs_is_named_with_what_that_needs(tmp_path: Path) -> None:
    text = (APP / "pyproject.toml").read_text(encoding="utf-8")
    needed = ["scikit-learn>=1", "not-installed", "no requirement at all!", "tomli; python_version < '3'"]
    (tmp_path / "pyproject.toml").write_text(text.replace("[project]\n", f"[project]\ndependencies = {needed}\n", 1))

    environment = measure_environment(tmp_path, Numerics.NATIVE)

    names = [package.name for package in environment.packages]
    assert names == sorted(names)
    assert {"scikit-learn", "scipy", "flwr", "numpy"} <= set(names)
    assert environment.version("scikit-learn") == metadata.version("scikit-learn")
    assert not {"not-installed", "tomli", "grpcio"} & set(names)


def test_what_an_app_imports_is_named_even_if_it_does_not_say_that_it_needs_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text((APP / "pyproject.toml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "own.py").write_text("", encoding="utf-8")
    source = tmp_path / "server_app.py"
    source.write_text("import os, msgspec as m, own\nif os:\n    from sklearn.svm import SVC\n", encoding="utf-8")

    environment = measure_environment(tmp_path, Numerics.NATIVE)

    assert environment.version("msgspec") == metadata.version("msgspec")
    assert environment.version("scikit-learn") == metadata.version("scikit-learn")
    assert not environment.version("own")


def test_what_decodes_images_for_torchvision_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text((APP / "pyproject.toml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "server_app.py").write_text("from torchvision import datasets\n", encoding="utf-8")

    assert measure_environment(tmp_path, Numerics.NATIVE).version("pillow") == metadata.version("pillow")
