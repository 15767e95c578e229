"""Heads: modules like any other, sound starts, a floor that is smooth and holds."""

import math

import pytest
import torch
from torch import nn

from mdnrnn.distributions import GaussianMixture
from mdnrnn.nn.heads import MixtureHead, MixtureShape, StepHead


def test_a_mixture_head_works_in_anyones_sequential() -> None:
    """y is x or -x: a mixture of two learns both branches, where a mean would be 0."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), MixtureHead(32, 1, components=2))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    x = torch.rand(2000, 1) + 1
    y = torch.where(torch.rand(2000, 1) < 0.5, x, -x) + 0.05 * torch.randn(2000, 1)
    for _ in range(300):
        loss = -net(x).log_prob(y).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    entropy = math.log(2) + 0.5 * math.log(2 * math.pi * math.e * 0.05**2)
    assert float(loss.detach()) < entropy + 0.15


def test_the_scale_floor_holds_and_lets_gradients_through() -> None:
    shape = MixtureShape(features=1, components=1, log_floor=math.log(1e-3))
    raw = torch.linspace(-30, 5, 200)
    rows = torch.stack([torch.zeros(200), torch.zeros(200), raw], -1).requires_grad_()
    mixture = shape.unpack(rows)
    assert isinstance(mixture, GaussianMixture)
    log_scales = mixture.log_scales
    assert float(log_scales.min().detach()) >= math.log(1e-3) - 1e-6
    torch.testing.assert_close(log_scales[-1, 0, 0], raw[-1], rtol=1e-3, atol=1e-3)
    log_scales.sum().backward()
    assert rows.grad is not None
    assert (rows.grad[:, 2] > 0).all()
    expected = math.log(1e-3) + torch.nn.functional.softplus(raw - math.log(1e-3))
    torch.testing.assert_close(log_scales[:, 0, 0].detach(), expected)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)], ids=str)
def test_batches_of_any_shape(shape: tuple[int, ...]) -> None:
    features = torch.randn(*shape, 8)
    assert MixtureHead(8, 3, 5)(features).log_prob(torch.zeros(*shape, 3)).shape == shape
    steps = StepHead(8, 2, 5, events=3)(features)
    assert steps.batch_shape == shape
    assert steps.event_logits.shape == (*shape, 3)


def test_likelihoods_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        mixture = MixtureHead(8, 2, 3)(torch.randn(4, 8))
        assert mixture.means.dtype == torch.float32
        assert mixture.log_prob(torch.zeros(4, 2)).dtype == torch.float32
