"""Numbers with a bound of what rounding can have done to them: running error analysis.

For the bounds of single operations and of sums see N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd
edition, 2002, sections 2.2 (the model), 3.1 (`gamma`) and 3.3 (running errors). They hold for every order of a sum,
with and without fused multiply-add, on each machine that rounds to nearest as IEEE 754 has it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]

DOUBLE: Final = 2.0**-53
"""The unit roundoff of double precision."""


def gamma(operations: float, unit: float) -> float:
    """The largest relative error of a result of so many operations; infinite if nothing is left of it.

    ``unit`` is the unit roundoff: half the distance of 1 to the next number.
    """
    relative = operations * unit
    return relative / (1 - relative) if relative < 1 else math.inf


def unit_of_types(*types: np.dtype[Any]) -> float:
    """The unit roundoff of the coarsest of these types; whole numbers become doubles."""
    return max((float(np.finfo(each).eps) / 2 for each in types if each.kind in "fc"), default=DOUBLE)


def _type_of(unit: float) -> Any:
    """The limits of the type with this unit roundoff."""
    return np.finfo(np.float16 if unit > 2.0**-12 else np.float32 if unit > DOUBLE else np.float64)


def unless_too_large(error: Reals | float, sizes: Reals | float, unit: float) -> Reals:
    """``error``, but infinite where an intermediate result of such a size may exceed the largest number: in one order
    of a sum it does, in another it does not."""
    return np.where(np.asarray(sizes) < 0.99 * float(_type_of(unit).max), error, np.inf)


@dataclass(frozen=True, slots=True)
class Rounded:
    """Numbers as computed, and how far from the exact result each is at most, on whichever machine."""

    value: Reals
    error: Reals
    unit: float
    """The unit roundoff of the arithmetic that they are computed in."""

    @staticmethod
    def exactly(value: NDArray[Any] | float, unit: float) -> Rounded:
        """These very numbers."""
        numbers = np.asarray(value, np.float64)
        return Rounded(numbers, np.zeros_like(numbers), unit)

    @staticmethod
    def relatively(value: float, error: float, unit: float) -> Rounded:
        """A number with a relative ``error``."""
        return Rounded(np.asarray(value, np.float64), np.asarray(abs(value) * error), unit)

    def __add__(self, other: Rounded) -> Rounded:
        return self._rounded(self.value + other.value, self.error + other.error)

    def __sub__(self, other: Rounded) -> Rounded:
        return self._rounded(self.value - other.value, self.error + other.error)

    def __mul__(self, other: Rounded) -> Rounded:
        apart = np.abs(self.value) * other.error + (np.abs(other.value) + other.error) * self.error
        return self._rounded(self.value * other.value, apart)

    def __truediv__(self, other: Rounded) -> Rounded:
        return self.over(other)

    def over(self, other: Rounded, least_of_other: float = 0.0) -> Rounded:
        """The quotient. ``least_of_other`` is what the divisor's size is at least, on whichever machine."""
        value, least = self.value / other.value, np.maximum(np.abs(other.value) - other.error, least_of_other)
        apart = (self.error + np.abs(value) * other.error) / least
        return self._rounded(value, np.where(least > 0, apart, np.inf))

    def root(self) -> Rounded:
        """The square root."""
        value = np.sqrt(self.value)
        apart = np.minimum(np.sqrt(self.error), np.where(value > 0, self.error / value, np.inf))
        return self._rounded(value, apart)

    def wider(self, error: Reals | float) -> Rounded:
        """The same, with so much more error."""
        return Rounded(self.value, self.error + error, self.unit)

    def _rounded(self, value: Reals, error: Reals) -> Rounded:
        # what is lost below the smallest normal number, which some machines take for zero, is as small as that
        apart = error + self.unit * np.abs(value) + float(_type_of(self.unit).tiny)
        return Rounded(value, unless_too_large(apart, np.abs(value) + apart, self.unit), self.unit)


def total(terms: Sequence[Rounded], unit: float) -> Rounded:
    """The sum, in whichever order."""
    value = sum((term.value for term in terms[1:]), terms[0].value)
    error = sum((term.error for term in terms[1:]), terms[0].error)
    sizes = sum((np.abs(term.value) + term.error for term in terms), np.zeros_like(value))
    return Rounded(value, unless_too_large(error + gamma(len(terms), unit) * sizes, sizes, unit), unit)


def weighted_mean(terms: Sequence[Rounded], weights: Sequence[float], unit: float) -> Rounded:
    """The mean by weights, as Flower computes it: each weight is divided by their sum first."""
    sum_of_weights = sum(weights)
    # the weight's own rounding, and that of their sum
    shares = [
        Rounded.relatively(weight / sum_of_weights, gamma(len(weights) + 2, DOUBLE) + unit, unit) for weight in weights
    ]
    return total([term * share for term, share in zip(terms, shares, strict=True)], unit)
