"""A small classifier: the model, how it is trained, and how good it is."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from .data import CLASSES, FEATURES, Batches

HIDDEN = 16


class Net(nn.Module):
    """One hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """A score for each class, (n, CLASSES)."""
        scores: torch.Tensor = self.layers(features)
        return scores


def train(net: Net, batches: Batches, epochs: int, learning_rate: float) -> float:
    """Train ``net`` in place. Returns the mean loss of the last epoch."""
    optimizer = torch.optim.SGD(net.parameters(), lr=learning_rate, momentum=0.9)
    losses: list[float] = []
    for _epoch in range(epochs):
        losses = []
        for features, labels in batches:
            optimizer.zero_grad()
            loss = cross_entropy(net(features), labels)
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
            optimizer.step()
            losses.append(loss.item())
    return sum(losses) / max(len(losses), 1)


@torch.no_grad()
def evaluate(net: Net, batches: Batches) -> tuple[float, float]:
    """The mean loss, and the share of examples that it tells right."""
    loss, right, count = 0.0, 0, 0
    for features, labels in batches:
        scores = net(features)
        loss += cross_entropy(scores, labels, reduction="sum").item()
        right += int((scores.argmax(dim=1) == labels).sum())
        count += len(labels)
    return loss / count, right / count
