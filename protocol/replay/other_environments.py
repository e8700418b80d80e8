"""What another environment than the recorded one can do to what an app sends, and which machine would tell."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from protocol.records.environment import MAX_PACKAGES, Environment, Numerics, differing, differing_versions
from protocol.replay.differences import Cause

_NO_PART_OF_A_RESULT: Final = frozenset({"platform"})
"""The system's kernel computes nothing."""

_NOT_TRIED: Final = frozenset(
    {
        "bitsandbytes",
        "blis",
        "catboost",
        "ctranslate2",
        "cupy",
        "daal4py",
        "faiss-cpu",
        "intel-extension-for-pytorch",
        "jax",
        "jaxlib",
        "keras",
        "lightgbm",
        "llama-cpp-python",
        "mlx",
        "mxnet",
        "numba",
        "onnxruntime",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
        "opencv-python",
        "opencv-python-headless",
        "openvino",
        "paddlepaddle",
        "polars",
        "pytensor",
        "scikit-learn-intelex",
        "tensorflow",
        "tensorflow-cpu",
        "torchao",
    }
)
"""Libraries that choose kernels of their own by the processor, and that no test of ours has replayed on another one:
portable numerics may not hold them to one (docs/decisions/0021-portable-numbers.md)."""

_NOT_TRIED_ON: Final = MappingProxyType(
    {"x86_64": _NOT_TRIED, "aarch64": _NOT_TRIED | {"numexpr", "xgboost", "xgboost-cpu"}},
)
"""The same by architecture. For one that is not here, portable numerics name no kernels, so nothing was tried."""


def cause_of(was: Environment, now: Environment) -> Cause:
    """The most that ``now``, not being ``was``, can do to a result.

    Under portable numerics the processor's name says nothing: all of its architecture compute alike, if the libraries
    did choose the same kernels. An app may need a library of which that is not known.
    """
    if differing_versions(was, now) or _names_not_all(was):
        return Cause.ANYTHING
    return Cause.ROUNDING if _that_round(was, now) else Cause.NOTHING


def settling(was: Environment, now: Environment) -> str:
    """With what a difference could be settled, for people: what here is not as recorded; empty if that is nothing."""
    return ", ".join(_wanted(was, now))


def _wanted(was: Environment, now: Environment) -> Iterator[str]:
    that_round = _that_round(was, now)
    if that_round:
        told = ", ".join(value for name, value in (("cpu", was.cpu), ("gpu", was.gpu)) if name in that_round and value)
        yield f"an {was.machine or 'unknown'} machine{f' ({told})' if told else ''}"
    said = {"machine", "cpu", "gpu"}
    if "machine" in that_round and _computes_alike(was):
        said |= {f"{kernel.library} kernel" for kernel in (*was.kernels, *now.kernels)}  # they follow from the machine
    for name, (before, _) in differing(was, now).items():
        if name in that_round - said:
            yield before if name == "libc" and before else f"{name} {before or 'none'}"
    for name, (before, _) in differing_versions(was, now).items():
        yield f"{name} {before or 'not installed'}"
    if _names_not_all(was):
        yield f"the versions of the packages that it does not name, beyond {MAX_PACKAGES}"


def _that_round(was: Environment, now: Environment) -> frozenset[str]:
    """What is not as recorded, and may round in another way."""
    names = differing(was, now).keys() - differing_versions(was, now).keys() - _NO_PART_OF_A_RESULT
    return frozenset(names - ({"cpu"} if _computes_alike(was) else set()))


def _names_not_all(was: Environment) -> bool:
    """Whether there may have been packages that it does not name: of those nobody knows if they are the same here."""
    return len(was.packages) >= MAX_PACKAGES


def _computes_alike(was: Environment) -> bool:
    """Whether all processors of its architecture compute the same."""
    not_tried = _NOT_TRIED_ON.get(was.machine)
    if was.numerics is not Numerics.PORTABLE or not_tried is None:
        return False
    return not any(each.name in not_tried for each in was.packages)
