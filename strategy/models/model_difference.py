"""How two models differ, tensor by tensor; one pair of tensors is in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from strategy.models.model_files import Tensor, Tensors

_WIDE: Final = {"f": np.float64, "i": np.float64, "u": np.float64, "b": np.float64, "c": np.complex128}
"""The type in which numbers of each kind are subtracted."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A tensor, without its bytes."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class TensorDifference:
    """One tensor in two models, ``a`` and ``b``. The numbers are None if there is nothing to compare."""

    name: str
    a: Layout | None
    """``a`` or ``b`` is None if that model lacks the tensor."""
    b: Layout | None
    equal: bool
    """The same layout and the same bits."""
    largest: float | None = None
    """The largest absolute difference. This and the next two skip elements that are not finite in both models."""
    mean: float | None = None
    """The mean of the absolute differences."""
    relative: float | None = None
    """The L2 norm of a - b, divided by that of a; None too if a is all zeros and b is not."""
    not_finite: int = 0
    """Elements that are NaN or infinite in either model."""


def tensor_differences(a: Tensors, b: Tensors) -> Iterator[TensorDifference]:
    """Every tensor, in the order of ``a``, then those that only ``b`` has.

    Raises:
        strategy.models.model_files.NoModel, protocol.blocks.content.ContentError, protocol.blocks.cid.MissingBlock:
        from a tensor.
    """
    for name, read in a.items():
        yield compare(name, read(), b[name]() if name in b else None)
    for name, read in b.items():
        if name not in a:
            yield compare(name, None, read())


def same_tensors(a: Tensors, b: Tensors) -> bool:
    """Whether both have the same tensors, name by name and bit by bit. Stops at the first that differs. Raises as
    `tensor_differences` does."""
    return a.keys() == b.keys() and all(_identical(read(), b[name]()) for name, read in a.items())


def _identical(a: Tensor, b: Tensor) -> bool:
    return _layout(a) == _layout(b) and _same_bits(a, b)


def compare(name: str, a: Tensor | None, b: Tensor | None) -> TensorDifference:
    """One tensor in two models; None if a model lacks it."""
    if a is None or b is None:
        return TensorDifference(name, _layout(a), _layout(b), equal=False)
    was, now = _layout(a), _layout(b)
    if was == now and _same_bits(a, b):
        is_number = a.dtype.kind in _WIDE
        zero = 0.0 if is_number and a.size else None
        not_finite = int(np.count_nonzero(~np.isfinite(a))) if is_number else 0
        return TensorDifference(
            name, was, now, equal=True, largest=zero, mean=zero, relative=zero, not_finite=not_finite
        )
    if a.shape != b.shape or not a.size or not {a.dtype.kind, b.dtype.kind} <= _WIDE.keys():
        return TensorDifference(name, was, now, equal=False)
    return _measured(name, a, b)


def _measured(name: str, a: Tensor, b: Tensor) -> TensorDifference:
    wide = np.result_type(_WIDE[a.dtype.kind], _WIDE[b.dtype.kind])
    finite = np.isfinite(a) & np.isfinite(b)
    x, y = a.astype(wide)[finite], b.astype(wide)[finite]
    layouts, left_out = (_layout(a), _layout(b)), int(a.size - x.size)
    if not x.size:
        return TensorDifference(name, *layouts, equal=False, not_finite=left_out)
    with np.errstate(over="ignore", invalid="ignore"):  # float64's own ends: inf says so
        apart = np.abs(x - y)
        norm, norm_apart = float(np.linalg.norm(x)), float(np.linalg.norm(apart))
        return TensorDifference(
            name,
            *layouts,
            equal=False,
            largest=float(apart.max()),
            mean=float(apart.mean()),
            relative=norm_apart / norm if norm else None if norm_apart else 0.0,
            not_finite=left_out,
        )


def _layout(tensor: Tensor | None) -> Layout | None:
    return None if tensor is None else Layout(str(tensor.dtype), tensor.shape)


def _same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one layout have the same bits: a NaN equals the same NaN, and 0 does not equal -0."""
    return not a.size or np.array_equal(_bytes(a), _bytes(b))


def _bytes(tensor: Tensor) -> Tensor:
    return np.ascontiguousarray(tensor).reshape(-1).view(np.uint8)
