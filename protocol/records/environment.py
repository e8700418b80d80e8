"""What a ServerApp ran in, as its run record says it: whatever may change the bits of a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

MAX_TEXT: Final = 200
"""Characters of each text."""
MAX_KERNELS: Final = 64
MAX_PACKAGES: Final = 128

_Text = Annotated[str, Meta(max_length=MAX_TEXT)]


class Numerics(StrEnum):
    """Which instructions of the processor the numerical libraries of a ServerApp may use."""

    PORTABLE = "portable"
    """Those that every processor of its kind has, so that each machine computes the same bits."""
    NATIVE = "native"
    """Whatever this processor has."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """What a numerical library chose for this processor."""

    library: _Text
    chosen: _Text


@dataclass(frozen=True, slots=True)
class Package:
    """An installed Python package."""

    name: _Text
    """Normalised, as in the index of packages: ``scikit-learn``."""
    version: _Text


@dataclass(frozen=True, slots=True)
class Environment:
    """What may change the bits of a result, as the app process measured it.

    A text is empty if there is no such thing.
    """

    numerics: Numerics
    python: _Text
    platform: _Text
    machine: _Text
    """The processor's architecture: ``x86_64`` or ``aarch64``."""
    cpu: _Text
    """The processor, as the operating system names it."""
    gpu: _Text
    libc: _Text
    """The C library and its version: ``glibc 2.36``. It has ``exp`` and ``pow``."""
    threads: Annotated[int, Meta(ge=1, le=2**16)]
    """For each numerical library."""
    kernels: Annotated[tuple[Kernel, ...], Meta(max_length=MAX_KERNELS)]
    """In rising order."""
    packages: Annotated[tuple[Package, ...], Meta(max_length=MAX_PACKAGES)]
    """Flower, numpy, torch if the app uses it, and what the app says it needs or imports; in rising order of name."""

    def version(self, package: str) -> str:
        """The version of a package; empty if it is not among them."""
        return next((each.version for each in self.packages if each.name == package), "")


def differing(was: Environment, now: Environment) -> Mapping[str, tuple[str, str]]:
    """What of the environment is not as it was, by name: a field's, ``torch kernel``, or a package's."""
    before, after = values_by_name(was), values_by_name(now)
    pairs = {name: (before.get(name, ""), after.get(name, "")) for name in [*before, *after]}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def differing_versions(was: Environment, now: Environment) -> Mapping[str, tuple[str, str]]:
    """Which of Python and the packages have another version than they had, by name."""
    packages = {each.name for each in [*was.packages, *now.packages]}
    return {name: pair for name, pair in differing(was, now).items() if name == "python" or name in packages}


def values_by_name(environment: Environment) -> dict[str, str]:
    """All of it as texts, by the names that `differing` uses."""
    fields = ("numerics", "python", "platform", "machine", "cpu", "gpu", "libc", "threads")
    return (
        {name: str(getattr(environment, name)) for name in fields}
        | {f"{each.library} kernel": each.chosen for each in environment.kernels}
        | {each.name: each.version for each in environment.packages}
    )


# -- as it was recorded before replay format 3 ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EarlierEnvironment:
    """What a run of replay format 1 or 2 says. Its texts have no bound but the record's."""

    python: str
    flwr: str
    numpy: str
    torch: str
    platform: str
    cpu: str
    """What torch chose, or numpy found."""
    blas: str
    gpu: str
    threads: int

    def as_now(self) -> Environment:
        """The same as today's type: what was not measured is empty."""
        versions = {"flwr": self.flwr, "numpy": self.numpy, "torch": self.torch}
        measured = {"blas": self.blas, "torch" if self.torch else "numpy": self.cpu}
        return Environment(
            numerics=Numerics.NATIVE,
            python=self.python[:MAX_TEXT],
            platform=self.platform[:MAX_TEXT],
            machine="",
            cpu="",
            gpu=self.gpu[:MAX_TEXT],
            libc="",
            threads=max(1, self.threads),
            kernels=tuple(Kernel(name, chosen[:MAX_TEXT]) for name, chosen in sorted(measured.items()) if chosen),
            packages=tuple(Package(name, version[:MAX_TEXT]) for name, version in versions.items() if version),
        )
