"""Train and evaluate a model: plain torch, deterministic under torch's global generator."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Examples = tuple[Tensor, Tensor]
"""Images (n, channels, height, width), float32, and their classes (n), int64."""

_EVALUATION_BATCH = 512
"""Examples at a time; bounds memory, changes no result that matters."""


def train(
    model: nn.Module,
    examples: Examples,
    *,
    lr: float,
    momentum: float,
    epochs: int,
    batch_size: int,
    proximal_mu: float = 0.0,
) -> float:
    """Train in place by stochastic gradient descent. Returns the mean loss over all examples seen, without the proximal
    term.

    ``proximal_mu`` pulls the weights back to where they started (FedProx, https://arxiv.org/abs/1812.06127, eq. 2).
    """
    images, labels = examples
    parameters = [p for p in model.parameters() if p.requires_grad]
    anchors = [p.detach().clone() for p in parameters]
    velocities = [torch.zeros_like(p) for p in parameters]
    total = 0.0
    model.train()
    for _ in range(epochs):
        for batch in torch.split(torch.randperm(len(labels)), batch_size):
            loss = cross_entropy(model(images[batch]), labels[batch])
            total += loss.item() * len(batch)
            if proximal_mu:
                loss = loss + proximal_mu / 2 * _squared_distance(parameters, anchors)
            model.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            _descend(parameters, velocities, lr, momentum)
    return total / (epochs * len(labels))


def evaluate(model: nn.Module, examples: Examples) -> tuple[float, float]:
    """The mean loss, and the accuracy from 0 to 1."""
    images, labels = examples
    loss, right = 0.0, 0
    model.eval()
    with torch.inference_mode():
        for some_images, some in zip(
            torch.split(images, _EVALUATION_BATCH), torch.split(labels, _EVALUATION_BATCH), strict=True
        ):
            scores = model(some_images)
            loss += cross_entropy(scores, some, reduction="sum").item()
            right += int((scores.argmax(dim=1) == some).sum().item())
    return loss / len(labels), right / len(labels)


@torch.no_grad()
def _descend(parameters: list[nn.Parameter], velocities: list[Tensor], lr: float, momentum: float) -> None:
    """One step of SGD with momentum, as torch.optim.SGD does it.

    By hand, because the first optimizer of torch.optim imports torch._dynamo: 2.5 s in each process, longer than the
    whole training of the demo.
    """
    for parameter, velocity in zip(parameters, velocities, strict=True):
        if parameter.grad is not None:
            velocity.mul_(momentum).add_(parameter.grad)
            parameter.sub_(velocity, alpha=lr)


def _squared_distance(parameters: list[nn.Parameter], anchors: list[Tensor]) -> Tensor:
    return torch.stack([(p - a).square().sum() for p, a in zip(parameters, anchors, strict=True)]).sum()
