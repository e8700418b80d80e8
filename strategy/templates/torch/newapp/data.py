"""One client's examples. Put your own here: nothing else knows where they come from."""

import torch
from torch.utils.data import DataLoader, TensorDataset

FEATURES = 2
CLASSES = 3
EXAMPLES = 200
BATCH = 20

Batches = DataLoader[tuple[torch.Tensor, ...]]
"""Batches of features (n, FEATURES) and labels (n,)."""


def load(partition: int) -> tuple[Batches, Batches]:
    """What this client trains on, and what it evaluates on: three clouds of points, made up here."""
    random = torch.Generator().manual_seed(partition)  # another seed, other points: no two clients have the same
    centres = torch.tensor([[0.0, 2.0], [-2.0, -1.0], [2.0, -1.0]])
    labels = torch.randint(CLASSES, (EXAMPLES,), generator=random)
    features = centres[labels] + torch.randn((EXAMPLES, FEATURES), generator=random)
    held_out = EXAMPLES // 5
    return _batches(features[held_out:], labels[held_out:]), _batches(features[:held_out], labels[:held_out])


def _batches(features: torch.Tensor, labels: torch.Tensor) -> Batches:
    return DataLoader(TensorDataset(features, labels), batch_size=BATCH)
