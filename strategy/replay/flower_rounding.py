"""What rounding can cause in the models that Flower's own strategies make.

Each strategy's arithmetic is told once more here, on `Rounded` numbers, which carry their error: only that is used.
What an app's own code may have a part in has no bound (`strategy.replay.own_code`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from flwr.app import Array, Message
from flwr.serverapp import strategy as flower
from numpy.typing import NDArray

from strategy.contents.npy import opened
from strategy.replay.rounding import (
    DOUBLE,
    Reals,
    Rounded,
    gamma,
    total,
    unit_of_types,
    unless_too_large,
    weighted_mean,
)

_LIBRARY: Final = 16 * DOUBLE
"""The relative error of an ``exp``, ``log`` or ``pow``: 8 units in the last place. glibc's are within 1 (the manual's
"Errors in Math Functions"), numpy's own for AVX-512 within 4 (SVML)."""
_LARGEST_NOISE: Final = 13.0
"""Standard deviations. numpy draws normal numbers in double precision by Marsaglia's polar method, which gives none
larger than sqrt(4 * 53 * ln 2)."""
_ERROR_OF_NOISE: Final = 2.0**-25
"""Standard deviations. The square root of the roundoff: what remains where the method's logarithm cancels."""

_SERVER_CLIPS = (
    flower.DifferentialPrivacyServerSideFixedClipping,
    flower.DifferentialPrivacyServerSideAdaptiveClipping,
)
_ADAPTIVE = (
    flower.DifferentialPrivacyServerSideAdaptiveClipping,
    flower.DifferentialPrivacyClientSideAdaptiveClipping,
)
_CLIENT_CLIPS = (
    flower.DifferentialPrivacyClientSideFixedClipping,
    flower.DifferentialPrivacyClientSideAdaptiveClipping,
)


class NotDerived(Exception):
    """No bound can be derived; the message says why."""


@dataclass(frozen=True, slots=True)
class HeldReply:
    """What a strategy gets of a client, as it was before the strategy changed it."""

    arrays: Mapping[str, Array]
    metrics: Mapping[str, Any]

    def numbers(self, name: str) -> NDArray[Any]:
        """A tensor's numbers."""
        return opened(self.arrays[name])


def held(messages: Iterable[Message]) -> list[HeldReply]:
    """The replies with a content among ``messages``, if each has one `ArrayRecord` and one `MetricRecord`.

    Raises:
        NotDerived: if one has another number of either.
    """
    found = []
    for content in (message.content for message in messages if message.has_content()):
        arrays, metrics = list(content.array_records.values()), list(content.metric_records.values())
        if len(arrays) != 1 or len(metrics) != 1:
            raise NotDerived("replies have more than one record of a kind")
        found.append(HeldReply(dict(arrays[0].items()), dict(metrics[0].items())))
    return found


Derived = Callable[[str], Rounded]
"""The model, tensor by tensor."""


class FlowerRounding:
    """What rounding can cause in each model that one strategy makes, round by round.

    What a strategy keeps from round to round (momenta, a clipping norm) is not in any message. So its error is carried
    here in the same way.
    """

    def __init__(self, strategy: object) -> None:
        self._strategy = strategy
        self._momenta: dict[str, Rounded] = {}
        self._seconds: dict[str, Rounded] = {}
        self._clipping_error = 0.0

    @property
    def draws(self) -> bool:
        """Whether the strategy draws numbers at random for what it makes of replies."""
        return isinstance(self._strategy, (*_SERVER_CLIPS, *_CLIENT_CLIPS))

    def clipping_error(self) -> float:
        """The relative error of the clipping norm, which an adaptive strategy keeps and sends."""
        return self._clipping_error

    def clipping_norm(self) -> float:
        """What the strategy clips to."""
        return float(getattr(self._strategy, "clipping_norm", 0.0))

    def model(
        self, number: int, replies: Sequence[HeldReply], sent: Mapping[str, Array], clipping_norm: float
    ) -> Derived:
        """What the strategy made in round ``number`` of ``replies`` to the model ``sent``. ``clipping_norm`` is what it
        was before.

        Raises:
            NotDerived: if it is not known how the strategy computes.
            ValueError: if an array holds no numbers.
        """
        strategy = self._strategy
        with np.errstate(all="ignore"):
            round_ = _Round(number, replies, sent)
            if isinstance(strategy, (*_SERVER_CLIPS, *_CLIENT_CLIPS)):
                return self._private(strategy, round_, clipping_norm)
            return self._plain(strategy, round_)

    # -- private strategies -----------------------------------------------------------------------------------------

    def _private(self, strategy: Any, round_: _Round, clipping_norm: float) -> Derived:
        if isinstance(strategy, _SERVER_CLIPS):
            scales = [self._scale(round_, reply, clipping_norm) for reply in round_.replies]
            round_.clip(scales)
            if any(not scale.is_settled for scale in scales):
                self._clipping_error = math.inf  # a client more or fewer counts as clipped
        mean = self._plain(strategy.strategy, round_)
        if isinstance(strategy, _ADAPTIVE):
            clients = len(round_.replies)
            of_noise = strategy.clipped_count_stddev * (_ERROR_OF_NOISE + _LARGEST_NOISE * _LIBRARY)
            self._clipping_error += strategy.clip_norm_lr * (of_noise / clients + _LIBRARY) + 2 * _LIBRARY
        deviation = strategy.noise_multiplier * self.clipping_norm() / strategy.num_sampled_clients

        def noisy(name: str) -> Rounded:
            found = mean(name)
            most = _LARGEST_NOISE * deviation
            error = deviation * _ERROR_OF_NOISE + most * (self._clipping_error + 2 * found.unit)
            return found.wider(error + found.unit * (np.abs(found.value) + most))

        return noisy

    def _scale(self, round_: _Round, reply: HeldReply, clipping_norm: float) -> _Scale:
        squares = error = 0.0
        for name in round_.sent:
            unit = round_.unit(name)
            apart = reply.numbers(name).astype(np.float64) - round_.numbers(name)
            of_tensor = float(np.vdot(apart, apart))
            squares += of_tensor
            error += (
                float(unless_too_large(gamma(apart.size + 8, unit) * of_tensor, squares, unit)) if of_tensor else 0.0
            )
        norm = math.sqrt(squares)
        relative = error / squares / 2 + self._clipping_error + _LIBRARY if squares else 0.0
        scale = clipping_norm / norm if norm else math.inf
        is_settled = abs(scale - 1) > relative * max(scale, 1) if math.isfinite(scale) else True
        if scale >= 1 and is_settled:
            return _Scale(1.0, 0.0, is_settled=True)
        return _Scale(min(1.0, scale), min(1.0, scale) * relative / max(1 - relative, 1e-300), is_settled)

    # -- the others -------------------------------------------------------------------------------------------------

    def _plain(self, strategy: Any, round_: _Round) -> Derived:
        made_by = next(kind for kind in type(strategy).__mro__ if "aggregate_train" in vars(kind))
        weights = round_.weights(getattr(strategy, "weighted_by_key", ""))

        def mean(name: str) -> Rounded:
            return weighted_mean(round_.inputs(name), weights, round_.unit(name))

        if made_by is flower.FedAvg or (made_by is flower.FedAvgM and not strategy.server_opt):
            return mean
        if made_by is flower.FedAvgM:
            return self._with_momentum(strategy, round_, mean)
        if made_by in (flower.FedAdam, flower.FedYogi, flower.FedAdagrad):
            return self._adaptive(strategy, round_, mean)
        if made_by not in _MODELS:
            raise NotDerived(f"how {type(strategy).__name__} computes is not known")
        return _lazily(lambda: _MODELS[made_by](strategy, round_, weights))

    def _with_momentum(self, strategy: flower.FedAvgM, round_: _Round, mean: Derived) -> Derived:
        made = {}
        for name in round_.sent:
            old = round_.model(name)
            step = old - mean(name)
            if strategy.server_momentum > 0:
                if name in self._momenta:
                    step = _times(self._momenta[name], strategy.server_momentum) + step
                self._momenta[name] = step
            made[name] = old - _times(step, strategy.server_learning_rate)
        return made.__getitem__

    def _adaptive(self, strategy: Any, round_: _Round, mean: Derived) -> Derived:
        made, rate = {}, strategy.eta
        if isinstance(strategy, flower.FedAdam):
            beta_1, beta_2 = (beta ** (round_.number + 1.0) for beta in (strategy.beta_1, strategy.beta_2))
            rate = strategy.eta * math.sqrt(1 - beta_2) / (1 - beta_1)
        for name in round_.sent:
            unit = round_.unit(name)
            old = round_.model(name)
            step = mean(name) - old
            nothing = Rounded.exactly(np.zeros_like(old.value), unit)
            momentum = _times(self._momenta.get(name, nothing), strategy.beta_1) + _times(step, 1 - strategy.beta_1)
            second = self._second(strategy, self._seconds.get(name, nothing), step * step)
            self._momenta[name], self._seconds[name] = momentum, second
            rated = momentum * Rounded.relatively(rate, 8 * _LIBRARY + unit, unit)
            divisor = second.root() + Rounded.relatively(strategy.tau, unit, unit)
            made[name] = old + rated.over(divisor, strategy.tau * (1 - 4 * unit))  # no root is negative
        return made.__getitem__

    def _second(self, strategy: Any, before: Rounded, square: Rounded) -> Rounded:
        match strategy:
            case flower.FedAdam():
                return _times(before, strategy.beta_2) + _times(square, 1 - strategy.beta_2)
            case flower.FedAdagrad():
                return before + square
        apart = before - square
        turned = _times(square, 1 - strategy.beta_2)
        found = before - turned * Rounded.exactly(np.sign(apart.value), square.unit)
        # the sign of what is zero but for rounding may be another one elsewhere
        return found.wider(np.where(np.abs(apart.value) <= apart.error, 2 * turned.value, 0.0))


@dataclass(frozen=True, slots=True)
class _Scale:
    """By what an update is clipped."""

    value: float
    error: float
    is_settled: bool
    """Whether it is the same on each machine that the update is clipped, or is not."""


class _Round:
    """What goes into one aggregation."""

    def __init__(self, number: int, replies: Sequence[HeldReply], sent: Mapping[str, Array]) -> None:
        if not replies:
            raise NotDerived("there are no replies")
        self.number = number
        self.replies = replies
        self.sent = sent
        self._scales: Sequence[_Scale] = ()

    def clip(self, scales: Sequence[_Scale]) -> None:
        """Clip each reply's update."""
        self._scales = scales

    def unit(self, name: str) -> float:
        """The unit roundoff of the coarsest type that has a part in this tensor."""
        arrays = [reply.arrays[name] for reply in self.replies]
        return unit_of_types(*(opened(array).dtype for array in (arrays[0], self.sent.get(name, arrays[0]))))

    def numbers(self, name: str) -> Reals:
        """Of the model that was sent."""
        return opened(self.sent[name]).astype(np.float64)

    def model(self, name: str) -> Rounded:
        """The model that was sent."""
        return Rounded.exactly(self.numbers(name), self.unit(name))

    def as_it_came(self, name: str) -> Rounded:
        """Nothing is computed."""
        return Rounded.exactly(0.0, self.unit(name))

    def inputs(self, name: str) -> list[Rounded]:
        """What the clients sent, clipped if they are."""
        unit = self.unit(name)
        plain = [Rounded.exactly(reply.numbers(name), unit) for reply in self.replies]
        if not self._scales:
            return plain
        model = self.model(name)
        scales = [Rounded(np.asarray(each.value), np.asarray(each.error), unit) for each in self._scales]
        return [model + (reply - model) * scale for reply, scale in zip(plain, scales, strict=True)]

    def weights(self, key: str) -> list[float]:
        """The weights of the replies."""
        found = [reply.metrics.get(key) for reply in self.replies]
        if not all(isinstance(weight, int | float) for weight in found):
            raise NotDerived(f"the replies have no number {key!r}")
        return [float(weight) for weight in found if weight is not None]


def _times(numbers: Rounded, factor: float) -> Rounded:
    return numbers * Rounded.relatively(factor, numbers.unit, numbers.unit)


def _lazily(make: Callable[[], Derived]) -> Derived:
    """The same, made once it is asked for: most exchanges are equal, and nobody asks."""
    once = functools.cache(make)
    return lambda name: once()(name)


# -- order statistics ----------------------------------------------------------------------------------------------


def _stack(inputs: Sequence[Rounded]) -> tuple[Reals, Reals]:
    """The values, and for each place the largest error: no order statistic is off by more."""
    return np.stack([each.value for each in inputs]), np.max([each.error for each in inputs], axis=0)


def _median(inputs: Sequence[Rounded], unit: float) -> Rounded:
    stack, error = _stack(inputs)
    sizes = np.abs(stack).max(axis=0)
    return Rounded(np.median(stack, axis=0), unless_too_large(error + gamma(4, unit) * sizes, 2 * sizes, unit), unit)


def _trimmed(inputs: Sequence[Rounded], share: float, unit: float) -> Rounded:
    stack, error = _stack(inputs)
    cut = int(share * len(stack))
    kept = np.sort(stack, axis=0)[cut : len(stack) - cut]
    sizes = np.abs(kept).mean(axis=0)
    error = unless_too_large(error + gamma(len(kept) + 3, unit) * sizes, len(kept) * sizes, unit)
    return Rounded(kept.mean(axis=0), error, unit)


# -- selections ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Selected:
    """Which replies are selected, and which may be on another machine."""

    chosen: list[int]
    plausible: list[int]


def _selected(round_: _Round, malicious: int, count: int) -> _Selected:
    """The selection of ``flwr.serverapp.strategy.multikrum.select_multikrum``, with the errors of its scores."""
    replies, names = round_.replies, list(round_.replies[0].arrays)
    clients, size = len(replies), 0
    products, sizes = np.zeros((clients, clients)), np.zeros((clients, clients))
    for name in names:
        flat = np.stack([reply.numbers(name).astype(np.float64).ravel() for reply in replies])
        products += flat @ flat.T
        sizes += np.abs(flat) @ np.abs(flat).T
        size += flat.shape[1]
    types = [opened(replies[0].arrays[name]).dtype for name in names]
    unit = unit_of_types(np.result_type(*types))
    squares, extents = np.diag(products), np.diag(sizes)
    distances = squares[:, None] + squares[None, :] - 2 * products
    reach = extents[:, None] + extents[None, :] + 2 * sizes
    error = unless_too_large(gamma(size + 6, unit) * reach, clients * reach, unit)
    closest = max(1, clients - malicious - 2)
    near = np.sort(distances, axis=1)[:, 1 : closest + 1]
    scores = near.sum(axis=1)
    errors = 2 * closest * error.max(axis=1) + gamma(closest + 1, unit) * np.abs(near).sum(axis=1)
    chosen = [int(at) for at in np.argsort(scores)[:count]]
    most = max(scores[at] + errors[at] for at in chosen)
    plausible = [at for at in range(clients) if at in chosen or not scores[at] - errors[at] > most]
    return _Selected(chosen, plausible)


def _hull(stack: Reals) -> Reals:
    """Half of how far the numbers at each place lie apart: no mean of some is further from one of others."""
    spread: Reals = stack.max(axis=0) - stack.min(axis=0)
    return spread / 2


def _of_selected(round_: _Round, name: str, selected: _Selected, weights: Sequence[float]) -> Rounded:
    inputs = round_.inputs(name)
    mean = weighted_mean(
        [inputs[at] for at in selected.chosen], [weights[at] for at in selected.chosen], round_.unit(name)
    )
    if len(selected.plausible) == len(selected.chosen):
        return mean
    return mean.wider(_hull(np.stack([inputs[at].value for at in selected.plausible])))


def _krum(strategy: flower.MultiKrum, round_: _Round, weights: Sequence[float]) -> Derived:
    selected = _selected(round_, strategy.num_malicious_nodes, strategy.num_nodes_to_select)
    return lambda name: _of_selected(round_, name, selected, weights)


def _bulyan(strategy: flower.Bulyan, round_: _Round, _: Sequence[float]) -> Derived:
    malicious, clients = strategy.num_malicious_nodes, len(round_.replies)
    selected = _selected(round_, malicious, clients - 2 * malicious)
    count = clients - 4 * malicious

    def closest(name: str) -> Rounded:
        unit = round_.unit(name)
        stack, _ = _stack([round_.inputs(name)[at] for at in selected.plausible])
        if len(selected.plausible) > len(selected.chosen):
            return Rounded(stack.mean(axis=0), _hull(stack) + gamma(count + 8, unit) * np.abs(stack).max(axis=0), unit)
        middle = np.median(stack, axis=0)
        apart = np.abs(stack - middle)
        order = np.argsort(apart, axis=0)
        kept = np.take_along_axis(stack, order[:count], axis=0)
        sizes = np.abs(stack).max(axis=0)
        error = unless_too_large(gamma(count + 8, unit) * sizes, 2 * len(stack) * sizes, unit)
        if count < len(stack):
            last, first = (np.take_along_axis(apart, order[at : at + 1], axis=0)[0] for at in (count - 1, count))
            # two that are as close to the median as each other: which one is taken is a matter of rounding
            error = error + np.where(first - last <= 2 * error, _hull(stack), 0.0)
        return Rounded(kept.mean(axis=0), error, unit)

    return closest


# -- fair weights --------------------------------------------------------------------------------------------------


def _fair(strategy: flower.QFedAvg, round_: _Round, _: Sequence[float]) -> Derived:
    """``flwr.serverapp.strategy.qfedavg``. numpy sums pairwise (the notes to ``numpy.sum``), in blocks of 128 numbers
    with eight accumulators: no number goes through more than 32 + log2(size) additions."""
    steepness, powers, sum_of_h, error_of_h = 1.0 / strategy.client_learning_rate, [], 0.0, 0.0
    for reply in round_.replies:
        loss = float(reply.metrics[strategy.train_loss_key]) + 1e-10
        power, derivative = loss**strategy.q, strategy.q * loss ** (strategy.q - 1)
        powers.append(power)
        for name in round_.sent:
            gradient = (round_.numbers(name) - reply.numbers(name).astype(np.float64)) * steepness
            square = float(np.vdot(gradient, gradient))
            depth = 40 + math.log2(gradient.size + 1) + len(round_.sent)
            sum_of_h += derivative * square
            of_square = unless_too_large(square * gamma(depth, round_.unit(name)), square, round_.unit(name))
            error_of_h += abs(derivative) * float(of_square)
        sum_of_h += steepness * power
    relative = error_of_h / abs(sum_of_h) + 4 * _LIBRARY

    def step(name: str) -> Rounded:
        unit, old = round_.unit(name), round_.model(name)
        factor = Rounded.relatively(steepness, unit, unit)
        deltas = [
            (old - reply) * factor * Rounded.relatively(power, _LIBRARY + unit, unit)
            for reply, power in zip(round_.inputs(name), powers, strict=True)
        ]
        return old - total(deltas, unit) / Rounded.relatively(sum_of_h, relative + unit, unit)

    return step


_MODELS: Final[dict[type, Callable[[Any, _Round, Sequence[float]], Derived]]] = {
    flower.FedMedian: lambda _, round_, __: lambda name: _median(round_.inputs(name), round_.unit(name)),
    flower.FedTrimmedAvg: lambda s, round_, _: lambda name: _trimmed(round_.inputs(name), s.beta, round_.unit(name)),
    flower.MultiKrum: _krum,
    flower.Bulyan: _bulyan,
    flower.QFedAvg: _fair,
    flower.FedXgbBagging: lambda _, round_, __: round_.as_it_came,
    flower.FedXgbCyclic: lambda _, round_, __: round_.as_it_came,
}
"""The strategies that keep nothing from round to round, by the class whose ``aggregate_train`` they have."""
