"""Softmax regression: the model, one step of training, and how good it is."""

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray

from .data import CLASSES, FEATURES, Examples

Model = dict[str, NDArray[np.float64]]


def first() -> Model:
    """The model that a run begins with."""
    return {"weight": np.zeros((FEATURES, CLASSES)), "bias": np.zeros(CLASSES)}


def train(model: Model, examples: Examples, learning_rate: float) -> Model:
    """The model after one step of gradient descent over all examples."""
    features, labels = examples
    slope = (_probabilities(model, features) - np.eye(CLASSES)[labels]) / len(labels)
    return {
        "weight": model["weight"] - learning_rate * features.T @ slope,
        "bias": model["bias"] - learning_rate * slope.sum(axis=0),
    }


def evaluate(model: Model, examples: Examples) -> tuple[float, float]:
    """The mean loss, and the share of examples that it tells right."""
    features, labels = examples
    probabilities = _probabilities(model, features)
    loss = -np.log(probabilities[np.arange(len(labels)), labels])
    return float(loss.mean()), float((probabilities.argmax(axis=1) == labels).mean())


def to_record(model: Model) -> ArrayRecord:
    """The model as Flower sends it."""
    return ArrayRecord({name: Array(array) for name, array in model.items()})


def from_record(record: ArrayRecord) -> Model:
    """The model that Flower brought."""
    return {name: array.numpy() for name, array in record.items()}


def _probabilities(model: Model, features: NDArray[np.float64]) -> NDArray[np.float64]:
    scores = features @ model["weight"] + model["bias"]
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities
