"""Gradients of samples: a sample keeps its probability integral transform while the parameters move."""

import math

import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture

NAMES = ("logits", "means", "log_scales", "slopes")


def parameters(k: int = 3, d: int = 2, full: bool = False, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(k, *shape, generator=generator, dtype=torch.float64)  # noqa: E731
    parts = {"logits": draw(), "means": draw(d), "log_scales": 0.5 * draw(d) - 0.5}
    return parts | ({"slopes": draw(d, d).tril(-1)} if full else {})


def of(parts: dict[str, Tensor]) -> GaussianMixture:
    return GaussianMixture(parts["logits"], parts["means"], parts["log_scales"], parts.get("slopes"))


def overlapping(d: int, full: bool) -> dict[str, Tensor]:
    """Where components lie apart, weights move mass over the gap by few samples with enormous gradients: the mean of
    them is right all the same, but has no standard error to test it by."""
    return {name: (0.1 if name == "slopes" else 0.3) * part for name, part in parameters(d=d, full=full).items()}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def at_the_same_transform(distribution: GaussianMixture, u: Tensor) -> Tensor:
    """The point (D,) whose transform is u (D,): SciPy finds one root a dimension, each given those before."""
    x = torch.zeros_like(u)

    def excess(value: float, d: int) -> float:
        x[d] = value
        return float(distribution.pit(x)[d] - u[d])

    for d in range(len(u)):
        x[d] = brentq(excess, -40, 40, args=(d,), xtol=1e-13, rtol=1e-14)
    return x


CASES = {"one dimension": (1, False), "two, diagonal": (2, False), "two, full": (2, True), "three, full": (3, True)}


@pytest.mark.parametrize(("d", "full"), CASES.values(), ids=CASES.keys())
def test_the_gradient_of_a_sample_is_how_the_point_of_the_same_transform_moves(d: int, full: bool) -> None:
    """Difference quotients of a step of 1e-4: their error is of the order of its square, and 1e-13 / 1e-4."""
    parts = {name: part.requires_grad_() for name, part in parameters(d=d, full=full).items()}
    samples = of(parts).rsample((3,), generator=seeded())
    step = 1e-4
    for x in samples:
        gradients = [torch.autograd.grad(x[i], list(parts.values()), retain_graph=True) for i in range(d)]
        with torch.no_grad():
            u = of(parts).pit(x)
            torch.testing.assert_close(at_the_same_transform(of(parts), u), x, rtol=1e-9, atol=1e-9)
            quotients = {name: torch.zeros(d, *part.shape, dtype=torch.float64) for name, part in parts.items()}
            for name, part in parts.items():
                for index in range(part.numel()):
                    change = torch.zeros_like(part)
                    change.view(-1)[index] = step
                    up, down = (at_the_same_transform(of(parts | {name: part + c}), u) for c in (change, -change))
                    quotients[name].view(d, -1)[:, index] = (up - down) / (2 * step)
            found = {name: torch.stack(each) for name, each in zip(parts, zip(*gradients, strict=True), strict=True)}
            torch.testing.assert_close(found, quotients, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("d", "full"), CASES.values(), ids=CASES.keys())
def test_the_gradient_of_an_expectation_is_that_of_its_closed_form(d: int, full: bool) -> None:
    """E[x_i x_j] by 40,000 samples: at most 216 gradients that are not zero a case, each within 5 of its standard
    errors: false failure below 1e-3 a case.
    """
    n = 40_000
    leaves = {name: part.requires_grad_() for name, part in overlapping(d, full).items()}
    exact = of(leaves)
    second = exact.covariance + exact.mean.unsqueeze(-1) * exact.mean.unsqueeze(-2)
    # One leaf a sample: then every sample has its own gradient, and the mean of them a standard error.
    each = {name: part.detach().expand(n, *part.shape).clone().requires_grad_() for name, part in leaves.items()}
    x = of(each).rsample(generator=seeded(1))
    for i in range(d):
        for j in range(i + 1):
            expected = torch.autograd.grad(second[i, j], list(leaves.values()), retain_graph=True)
            own = torch.autograd.grad((x[:, i] * x[:, j]).sum(), list(each.values()), retain_graph=True)
            for one, other in zip(own, expected, strict=True):
                error = one.std(0) / math.sqrt(n)
                assert ((one.mean(0) - other).abs() <= 5 * error + 1e-9).all()


def test_the_gradient_of_the_mean_of_samples_is_unbiased_for_the_weights_too() -> None:
    """d E[x] / d logits = w (means - E[x]).

    100,000 samples, six gradients within 5 standard errors: false failure below 1e-5.
    """
    parts = overlapping(2, full=False)
    mixture = of(parts)
    each = {name: part.expand(100_000, *part.shape).clone().requires_grad_() for name, part in parts.items()}
    x = of(each).rsample(generator=seeded(2))
    for d in range(2):
        (own,) = torch.autograd.grad(x[:, d].sum(), each["logits"], retain_graph=True)
        expected = torch.softmax(parts["logits"], -1) * (mixture.means[:, d] - mixture.mean[d])
        assert ((own.mean(0) - expected).abs() < 5 * own.std(0) / math.sqrt(100_000)).all()


@pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])
def test_one_component_moves_as_a_normal_does(full: bool) -> None:
    """x_0 = m_0 + s_0 e_0, x_1 = m_1 + c (x_0 - m_0) + s_1 e_1."""
    parts = {name: part.requires_grad_() for name, part in parameters(k=1, full=full).items()}
    samples = of(parts).rsample((20,), generator=seeded())
    slope = parts["slopes"][0, 1, 0].detach() if full else torch.zeros(()).double()
    for x in samples:
        first, second = (
            dict(zip(parts, torch.autograd.grad(x[i], list(parts.values()), retain_graph=True), strict=True))
            for i in (0, 1)
        )
        distance = (x - parts["means"][0]).detach()
        own = torch.stack([distance[0], distance[1] - slope * distance[0]])
        zero = torch.zeros_like(slope)
        expected = [
            (first["logits"][0], zero), (second["logits"][0], zero),
            (first["means"][0], torch.stack([zero + 1, zero])), (second["means"][0], torch.stack([zero, zero + 1])),
            (first["log_scales"][0], torch.stack([own[0], zero])),
            (second["log_scales"][0], torch.stack([slope * own[0], own[1]])),
        ]  # fmt: skip
        if full:
            expected += [(first["slopes"][0, 1, 0], zero), (second["slopes"][0, 1, 0], distance[0])]
        for found, value in expected:
            torch.testing.assert_close(found, value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])
@pytest.mark.parametrize("shape", [(), (7,), (2, 3)], ids=str)
def test_the_points_are_those_of_sample(shape: tuple[int, ...], full: bool) -> None:
    parts = {name: part.requires_grad_() for name, part in parameters(full=full).items()}
    mixture = of(parts).expand((4,))
    expected = mixture.sample(shape, generator=seeded(5))
    assert expected.shape == (*shape, 4, 2)
    assert not expected.requires_grad
    attached = mixture.rsample(shape, generator=seeded(5))
    assert attached.requires_grad
    assert torch.equal(attached, expected)
    with torch.no_grad():
        alone = mixture.rsample(shape, generator=seeded(5))
    assert not alone.requires_grad
    assert torch.equal(alone, expected)


def test_gradients_of_a_batch_are_those_of_each() -> None:
    parts = [parameters(full=True, seed=seed) for seed in range(3)]
    batch = {name: torch.stack([part[name] for part in parts]).requires_grad_() for name in NAMES}
    mixture = of(batch)
    x = mixture.rsample((5,), generator=seeded())
    found = torch.autograd.grad(x.sin().sum(), list(batch.values()))
    for i in range(3):
        own = {name: part.requires_grad_() for name, part in parts[i].items()}
        alone = of(own)
        # The same points: quantiles of their transforms, one dimension given the one before.
        u = mixture[i].pit(x[:, i]).detach()
        first = GaussianMixture(own["logits"], own["means"][:, :1], own["log_scales"][:, :1]).icdf(u[:, 0])
        second = _conditional(alone, first).icdf(u[:, 1])
        torch.testing.assert_close(torch.cat([first, second], -1), x[:, i])
        expected = torch.autograd.grad((first.sin() + second.sin()).sum(), list(own.values()))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one[i], other, rtol=1e-6, atol=1e-7)


def _conditional(mixture: GaussianMixture, first: Tensor) -> GaussianMixture:
    """Of the second dimension given `first` (N, 1), written out: (K,) components, each a regression."""
    assert mixture.slopes is not None
    distance = first - mixture.means[:, 0]
    scales = mixture.log_scales[:, 0].exp()
    logits = mixture.logits - 0.5 * (distance / scales).square() - mixture.log_scales[:, 0]
    means = mixture.means[:, 1] + mixture.slopes[:, 1, 0] * distance
    return GaussianMixture(logits, means.unsqueeze(-1), mixture.log_scales[:, 1:].expand(*means.shape, 1))


def test_a_loss_on_samples_fits_a_mixture_to_a_target() -> None:
    """E[(x - 3)^2] falls to its floor, the variance that the scales' floor leaves: samples learn by gradients alone."""
    logits, means = torch.zeros(2).requires_grad_(), torch.tensor([[-1.0], [1.0]]).requires_grad_()
    log_scales = torch.zeros(2, 1).requires_grad_()
    optimizer, generator = torch.optim.Adam([logits, means, log_scales], 0.05), seeded()
    for _ in range(150):
        x = GaussianMixture(logits, means, log_scales).rsample((64,), generator=generator)
        loss = (x - 3).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    final = GaussianMixture(logits.detach(), means.detach(), log_scales.detach())
    assert abs(float(final.mean) - 3) < 0.15
    assert float(final.variance) < 0.15


@pytest.mark.parametrize("log_scale", [-13.8, 0.0, 13.8])
def test_gradients_are_finite_at_any_scale_in_single_precision(log_scale: float) -> None:
    """Scales from 1e-6 to 1e6 side by side; 2000 points."""
    parts = {name: part.float() for name, part in parameters(full=True).items()}
    parts["log_scales"] = parts["log_scales"] + log_scale * torch.tensor([[1.0], [0.0], [-1.0]])
    leaves = [part.requires_grad_() for part in parts.values()]
    of(parts).rsample((2000,), generator=seeded()).sum().backward()
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in leaves)


def test_samples_per_dimension_move_with_their_own_parameters_alone() -> None:
    generator = seeded(3)
    logits, means, log_scales = (
        torch.randn(2, 3, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(3)
    )
    x = PerDimensionMixture(logits, means, log_scales).rsample((10,), generator=seeded())
    for d in range(2):
        alone = [part[d].detach().requires_grad_() for part in (logits, means, log_scales)]
        line = GaussianMixture(alone[0], alone[1].unsqueeze(-1), alone[2].unsqueeze(-1))
        expected = torch.autograd.grad(line.icdf(line.cdf(x[:, d : d + 1].detach()).detach()).sum(), alone)
        found = torch.autograd.grad(x[:, d].sum(), (logits, means, log_scales), retain_graph=True)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one[d], other, rtol=1e-6, atol=1e-8)
            assert torch.equal(one[1 - d], torch.zeros(3).double())
