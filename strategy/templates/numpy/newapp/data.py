"""One client's examples. Put your own here: nothing else knows where they come from."""

import numpy as np
from numpy.typing import NDArray

FEATURES = 2
CLASSES = 3
EXAMPLES = 200

Examples = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Features (n, FEATURES) and labels (n,)."""


def load(partition: int) -> tuple[Examples, Examples]:
    """What this client trains on, and what it evaluates on: three clouds of points, made up here."""
    random = np.random.default_rng(partition)  # another seed, other points: no two clients have the same
    centres = np.array([[0.0, 2.0], [-2.0, -1.0], [2.0, -1.0]])
    labels = random.integers(CLASSES, size=EXAMPLES)
    features = centres[labels] + random.normal(size=(EXAMPLES, FEATURES))
    held_out = EXAMPLES // 5
    return (features[held_out:], labels[held_out:]), (features[:held_out], labels[:held_out])
