"""`protocol.replay.other_environments`: what one can do to a result, and with what that would be settled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.records.environment import MAX_PACKAGES, Environment, Kernel, Numerics, Package
from protocol.replay.differences import Cause
from protocol.replay.other_environments import cause_of, settling

NATIVE = Environment(
    numerics=Numerics.NATIVE,
    python="3.11.7",
    platform="Linux-6.1-x86_64-with-glibc2.36",
    machine="x86_64",
    cpu="Intel Xeon",
    gpu="",
    libc="glibc 2.36",
    threads=1,
    kernels=(Kernel("numpy", "X86_V4"), Kernel("torch", "AVX512")),
    packages=(Package("flwr", "1.41.0"), Package("numpy", "2.4.6")),
)
PORTABLE = replace(NATIVE, numerics=Numerics.PORTABLE, kernels=(Kernel("numpy", "X86_V2"), Kernel("torch", "DEFAULT")))
OTHER_KERNELS = (Kernel("numpy", "X86_V3"), Kernel("torch", "AVX2"))
ARM = {"machine": "aarch64", "cpu": "Neoverse-N1"}


@pytest.mark.parametrize("recorded", [NATIVE, PORTABLE])
def test_the_recorded_environment_causes_nothing(recorded: Environment) -> None:
    assert cause_of(recorded, recorded) is Cause.NOTHING
    assert settling(recorded, recorded) == ""


def test_another_kernel_of_the_operating_system_causes_nothing() -> None:
    assert cause_of(NATIVE, replace(NATIVE, platform="Linux-6.12-x86_64-with-glibc2.36")) is Cause.NOTHING


def test_another_processor_rounds_unless_the_numbers_are_portable() -> None:
    assert cause_of(NATIVE, replace(NATIVE, cpu="AMD EPYC")) is Cause.ROUNDING
    assert cause_of(PORTABLE, replace(PORTABLE, cpu="AMD EPYC")) is Cause.NOTHING


@pytest.mark.parametrize(
    ("machine", "package", "expected"),
    [
        ("x86_64", "jax", Cause.ROUNDING),
        ("x86_64", "faiss-cpu", Cause.ROUNDING),
        ("x86_64", "xgboost", Cause.NOTHING),
        ("aarch64", "xgboost", Cause.ROUNDING),
        ("aarch64", "scikit-learn", Cause.NOTHING),
        ("riscv64", "scikit-learn", Cause.ROUNDING),
    ],
)
def test_another_processor_rounds_if_the_app_needs_a_library_that_was_never_tried_on_one(
    machine: str, package: str, expected: Cause
) -> None:
    recorded = replace(PORTABLE, machine=machine, packages=(*PORTABLE.packages, Package(package, "1.0")))

    assert cause_of(recorded, recorded) is Cause.NOTHING
    assert cause_of(recorded, replace(recorded, cpu="another one")) is expected


@pytest.mark.parametrize(
    "change",
    [
        {"machine": "aarch64"},
        {"libc": "glibc 2.41"},
        {"gpu": "NVIDIA H100"},
        {"threads": 4},
        {"kernels": OTHER_KERNELS},
    ],
)
@pytest.mark.parametrize("recorded", [NATIVE, PORTABLE])
def test_what_else_computes_rounds(recorded: Environment, change: dict[str, object]) -> None:
    assert cause_of(recorded, replace(recorded, **change)) is Cause.ROUNDING  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"python": "3.12.1"},
        {"packages": (Package("flwr", "1.41.0"), Package("numpy", "2.5.0"))},
        {"packages": (Package("flwr", "1.41.0"),)},
    ],
)
def test_other_versions_may_compute_anything(change: dict[str, object]) -> None:
    assert cause_of(PORTABLE, replace(PORTABLE, **change, **ARM)) is Cause.ANYTHING  # type: ignore[arg-type]


def test_packages_that_no_record_has_room_for_may_compute_anything() -> None:
    named = tuple(Package(f"package-{at:03}", "1.0") for at in range(MAX_PACKAGES))
    full, fits = (replace(PORTABLE, packages=packages) for packages in (named, named[1:]))

    assert (cause_of(full, full), cause_of(fits, fits)) == (Cause.ANYTHING, Cause.NOTHING)
    assert settling(full, full) == f"the versions of the packages that it does not name, beyond {MAX_PACKAGES}"


def test_it_says_on_which_machine_it_would_be_settled() -> None:
    here = replace(NATIVE, **ARM, libc="glibc 2.41", kernels=OTHER_KERNELS, packages=(Package("flwr", "1.41.0"),))  # type: ignore[arg-type]

    assert settling(NATIVE, here) == (
        "an x86_64 machine (Intel Xeon), glibc 2.36, numpy kernel X86_V4, torch kernel AVX512, numpy 2.4.6"
    )


def test_portable_numbers_are_settled_by_any_processor_of_the_architecture() -> None:
    kernels = (Kernel("numpy", "ASIMD"), Kernel("nvpl of torch", "1"), Kernel("torch", "DEFAULT"))

    assert settling(PORTABLE, replace(PORTABLE, **ARM, kernels=kernels)) == "an x86_64 machine"  # type: ignore[arg-type]


def test_libraries_that_are_not_held_to_the_recorded_numerics_round() -> None:
    assert cause_of(PORTABLE, replace(PORTABLE, numerics=Numerics.NATIVE)) is Cause.ROUNDING


def test_it_names_a_gpu_and_says_what_is_unknown_or_to_be_absent() -> None:
    unknown = replace(NATIVE, gpu="NVIDIA H100", machine="", libc="", kernels=(), packages=())

    assert settling(unknown, NATIVE) == (
        "an unknown machine (NVIDIA H100), libc none, numpy kernel none, torch kernel none, "
        "flwr not installed, numpy not installed"
    )
