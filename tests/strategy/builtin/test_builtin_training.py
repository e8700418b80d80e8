"""The training loop and the evaluation."""

from __future__ import annotations

import torch
from torch import nn

from strategy.builtin.pollen_app.training import Examples, evaluate, train


def examples(count: int = 40) -> Examples:
    """Points of a plane, in two classes by the sign of the first coordinate."""
    points = torch.randn(count, 2, generator=torch.Generator().manual_seed(1))
    return points, (points[:, 0] > 0).long()


def linear() -> nn.Module:
    torch.manual_seed(2)
    return nn.Linear(2, 2)


def test_descends_as_torch_sgd_does() -> None:
    images, labels = examples(8)
    ours, theirs = linear(), linear()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    train(ours, (images, labels), lr=0.1, momentum=0.9, epochs=3, batch_size=8)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(theirs(images), labels).backward()
        optimizer.step()
    assert torch.allclose(ours.weight, theirs.weight, atol=1e-6)


def test_learns() -> None:
    model = linear()
    train(model, examples(), lr=0.1, momentum=0.9, epochs=20, batch_size=8)
    assert evaluate(model, examples())[1] >= 0.95


def test_batches_are_shuffled_by_the_global_generator() -> None:
    def trained(seed: int) -> torch.Tensor:
        model = linear()
        torch.manual_seed(seed)
        train(model, examples(), lr=0.1, momentum=0.9, epochs=1, batch_size=8)
        return model.weight.detach()

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def test_frozen_weights_stay() -> None:
    model = linear()
    model.bias.requires_grad_(False)
    before = model.bias.clone()
    train(model, examples(), lr=0.1, momentum=0.9, epochs=1, batch_size=8)
    assert torch.equal(model.bias, before)


def test_proximal_term_holds_the_weights_near_their_start() -> None:
    def moved(mu: float) -> float:
        model = linear()
        start = model.weight.detach().clone()
        train(model, examples(), lr=0.1, momentum=0.0, epochs=20, batch_size=8, proximal_mu=mu)
        return float((model.weight.detach() - start).norm())

    assert moved(5.0) < moved(0.0) / 2


def test_evaluation_counts_what_is_right() -> None:
    images, labels = examples()
    sign = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        sign.weight.copy_(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    assert evaluate(sign, (images, labels))[1] == 1.0
    assert evaluate(sign, (images, 1 - labels))[1] == 0.0
