"""Measuring what in this process and machine may change the bits of a result."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import re
import struct
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import threadpoolctl
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from protocol.records.environment import (
    MAX_KERNELS,
    MAX_PACKAGES,
    MAX_TEXT,
    Environment,
    Kernel,
    Numerics,
    Package,
)
from strategy.apps.config import AppError, read_app

ALWAYS: Final = ("flwr", "numpy")
"""Packages that every ServerApp runs on."""
NOT_FOLLOWED: Final = ("flwr", "torch")
"""Packages whose own requirements are not listed: they pin those that matter themselves, and have many."""

_IMPORT: Final = re.compile(r"^[ \t]*(?:from[ \t]+(\w+)|import[ \t]+(\w[^\n#;]*))", re.MULTILINE)

_ONEDNN: Final = ("onednn of torch", "ONEDNN_MAX_CPU_ISA")
_SETTINGS: Final = MappingProxyType(
    {
        "x86_64": (("mkl of torch", "MKL_CBWR"), _ONEDNN),
        "aarch64": (("nvpl of torch", "NVPL_BLAS_DEBUG_CPU_TYPE"), _ONEDNN),
    }
)
"""By architecture: libraries inside torch that tell nobody what they chose, and the variables that say it to them. A
variable that is for another architecture says nothing: it may be set, and an auditor's need not be."""


def measure_environment(app_dir: Path, numerics: Numerics) -> Environment:
    """What in this process and machine may change the bits of a result of the app in ``app_dir``.

    What the app will import has to be imported already: a library that is not loaded has chosen nothing yet.
    """
    torch = sys.modules.get("torch")
    return Environment(
        numerics=numerics,
        python=platform.python_version(),
        platform=platform.platform()[:MAX_TEXT],
        machine=platform.machine()[:MAX_TEXT],
        cpu=_processor()[:MAX_TEXT],
        gpu=torch.cuda.get_device_name()[:MAX_TEXT] if torch is not None and torch.cuda.is_available() else "",
        libc=" ".join(platform.libc_ver()).strip()[:MAX_TEXT],
        threads=int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1),
        kernels=_kernels(),
        packages=_packages(app_dir),
    )


def _processor() -> str:
    """The processor as the operating system names it: Linux in ``/proc``, others in ``platform``."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    return named_processor(text) or platform.processor()


def named_processor(cpuinfo: str) -> str:
    """The processor that ``/proc/cpuinfo`` tells of, empty if it names none.

    On aarch64 Linux gives no name, only who made each core and its part number (Arm's Main ID Register), and cores may
    be of several kinds.
    """
    fields = [
        (name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in cpuinfo.splitlines())
    ]
    models = [value for name, value in fields if name == "model name"]
    if models:
        return models[0]
    makers = [value for name, value in fields if name == "CPU implementer"]
    parts = [value for name, value in fields if name == "CPU part"]
    return ", ".join(dict.fromkeys(f"{maker} part {part}" for maker, part in zip(makers, parts, strict=False)))


# -- kernels -------------------------------------------------------------------------------------------------------


def _kernels() -> tuple[Kernel, ...]:
    """What the libraries of this process chose for the processor."""
    found = {*_chosen()}
    return tuple(sorted((Kernel(name[:MAX_TEXT], chosen[:MAX_TEXT]) for name, chosen in found), key=_by_name))[
        :MAX_KERNELS
    ]


def _by_name(kernel: Kernel) -> tuple[str, str]:
    return kernel.library, kernel.chosen


def _chosen() -> Iterator[tuple[str, str]]:
    core = np._core._multiarray_umath  # type: ignore[attr-defined]  # not in numpy's stubs
    dispatched = [name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]]
    yield "numpy", " ".join([*core.__cpu_baseline__, *dispatched])
    for library in threadpoolctl.threadpool_info():
        if library["user_api"] == "blas":
            owner = Path(library["filepath"]).parent.name.partition(".")[0]
            version, architecture = library.get("version") or "", library.get("architecture") or ""
            yield f"{library['internal_api']} of {owner}", f"{version} {architecture}".strip()
    torch = sys.modules.get("torch")
    if torch is not None:
        yield "torch", torch.backends.cpu.get_cpu_capability()
        settings = _SETTINGS.get(platform.machine(), ())
        yield from ((name, os.environ[variable]) for name, variable in settings if os.environ.get(variable))
    yield "libm", _libm()


def _libm() -> str:
    """Which variants the C library's functions are: nothing tells, so it is a hash of what they give."""
    at = [step / 997 for step in range(1, 997)]  # few differ between variants
    given = [function(9 * x) for function in (math.exp, math.sin, math.cos, math.sinh, math.erfc) for x in at]
    powers = [math.pow(1 + x, 7 * y) for x, y in zip(at, reversed(at), strict=True)]
    return hashlib.sha256(struct.pack(f"{len(given + powers)}d", *given, *powers)).hexdigest()[:16]


# -- packages ------------------------------------------------------------------------------------------------------


def _packages(app_dir: Path) -> tuple[Package, ...]:
    """Flower, numpy, torch if it is in use, what the app says it needs or imports, and what those packages need; as
    installed."""
    versions: dict[str, str] = {}
    needed = [
        *ALWAYS,
        *(["torch"] if "torch" in sys.modules else []),
        *_names(_dependencies(app_dir)),
        *_imported(app_dir),
    ]
    while needed and len(versions) < MAX_PACKAGES:
        name = needed.pop(0)
        if name in versions:
            continue
        try:
            found = metadata.distribution(name)
        except (metadata.PackageNotFoundError, ValueError):
            continue
        versions[name] = found.version
        if name not in NOT_FOLLOWED:
            needed += _names(found.requires or [])
    return tuple(Package(name[:MAX_TEXT], version[:MAX_TEXT]) for name, version in sorted(versions.items()) if version)


def _dependencies(app_dir: Path) -> tuple[str, ...]:
    try:
        return read_app(app_dir).dependencies
    except AppError:
        return ()  # running the app will report that


def _imported(app_dir: Path) -> list[str]:
    """The packages that the app's sources import: many an app does not say that it needs them."""
    sources = sorted(app_dir.rglob("*.py"))
    found = (_IMPORT.finditer(source.read_text(encoding="utf-8", errors="replace")) for source in sources)
    texts = (each[1] or each[2] for matches in found for each in matches)
    modules = {name.split()[0].partition(".")[0] for text in texts for name in text.split(",") if name.strip()}
    own = {part for source in sources for part in source.relative_to(app_dir).with_suffix("").parts}
    foreign = sorted(modules - own - sys.stdlib_module_names)
    if all(_is_installed(name) for name in foreign):
        return [canonicalize_name(name) for name in foreign]
    packages = metadata.packages_distributions()  # slow, and only if a module is not called as its package is
    return [canonicalize_name(package) for name in foreign for package in packages.get(name, [])]


def _is_installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except (metadata.PackageNotFoundError, ValueError):
        return False
    return True


def _names(requirements: Iterator[str] | list[str] | tuple[str, ...]) -> list[str]:
    """The packages that are required here, without optional ones."""
    names: list[str] = []
    for text in requirements:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue
        if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
            names.append(canonicalize_name(wanted.name))
    return names
