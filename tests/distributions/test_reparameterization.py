"""Gradients of samples: a sample keeps its probability integral transform while the parameters change."""

import math

import pytest
import torch
from torch import Tensor

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture

NAMES = ("logits", "means", "log_scales", "slopes")


def random_parameters(k: int = 3, d: int = 2, full: bool = False, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(k, *shape, generator=generator, dtype=torch.float64)  # noqa: E731
    parameters = {"logits": draw(), "means": draw(d), "log_scales": 0.5 * draw(d) - 0.5}
    return parameters | ({"slopes": draw(d, d).tril(-1)} if full else {})


def make_mixture(parameters: dict[str, Tensor]) -> GaussianMixture:
    return GaussianMixture(
        parameters["logits"], parameters["means"], parameters["log_scales"], parameters.get("slopes")
    )


def overlapping_parameters(d: int, full: bool) -> dict[str, Tensor]:
    """Return parameters of overlapping components.

    If components are far apart, few samples between them carry very large gradients of the weights: the mean gradient
    is still correct but has no finite standard error.
    """
    parameters = random_parameters(d=d, full=full)
    return {name: (0.1 if name == "slopes" else 0.3) * value for name, value in parameters.items()}


def new_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def invert_pit(mixture: GaussianMixture, u: Tensor, guess: Tensor) -> Tensor:
    """Return the points (..., D) whose probability integral transform is u (D,), within 0.5 of the guess (D,).

    They are found by bisection, to the rounding error.
    """
    low, high = (torch.zeros(*mixture.batch_shape, *u.shape, dtype=u.dtype) + guess + side for side in (-0.5, 0.5))
    x = low.clone()
    for d in range(len(u)):
        for _ in range(55):
            x[..., d] = 0.5 * (low[..., d] + high[..., d])
            below = mixture.pit(x)[..., d] < u[d]
            low[..., d] = torch.where(below, x[..., d], low[..., d])
            high[..., d] = torch.where(below, high[..., d], x[..., d])
    return x


CASES = {"1-D": (1, False), "2-D, diagonal": (2, False), "2-D, full": (2, True), "3-D, full": (3, True)}


@pytest.mark.parametrize(("d", "full"), CASES.values(), ids=CASES.keys())
def test_sample_gradients_equal_difference_quotients_at_a_constant_transform(d: int, full: bool) -> None:
    """With a step h of 1e-4 the error of a difference quotient is of the order of h^2 and 1e-13 / h."""
    leaves = {name: value.requires_grad_() for name, value in random_parameters(d=d, full=full).items()}
    samples = make_mixture(leaves).rsample((3,), generator=new_generator())
    h = 1e-4
    for x in samples:
        gradients = [torch.autograd.grad(x[i], list(leaves.values()), retain_graph=True) for i in range(d)]
        with torch.no_grad():
            u = make_mixture(leaves).pit(x)
            torch.testing.assert_close(invert_pit(make_mixture(leaves), u, x + 0.1), x, rtol=1e-9, atol=1e-9)
            expected = {}
            for name, leaf in leaves.items():
                # Slopes on and above the diagonal are 0 and are not changed.
                changes = h * torch.eye(leaf.numel(), dtype=torch.float64).view(-1, *leaf.shape) * (leaf != 0)
                copies = {other: value.expand(len(changes), *value.shape) for other, value in leaves.items()}
                up, down = (invert_pit(make_mixture(copies | {name: leaf + c}), u, x) for c in (changes, -changes))
                expected[name] = ((up - down) / (2 * h)).mT.reshape(d, *leaf.shape)
            columns = zip(*gradients, strict=True)
            results = {name: torch.stack(column) for name, column in zip(leaves, columns, strict=True)}
            torch.testing.assert_close(results, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("d", "full"), CASES.values(), ids=CASES.keys())
def test_mean_sample_gradients_equal_the_gradients_of_second_moments(d: int, full: bool) -> None:
    """E[x_i x_j] by 10,000 samples: at most 216 non-zero gradients per case, each within 5 standard errors.

    False-failure probability below 1e-3 per case.
    """
    n = 10_000
    leaves = {name: value.requires_grad_() for name, value in overlapping_parameters(d, full).items()}
    exact = make_mixture(leaves)
    second = exact.covariance + exact.mean.unsqueeze(-1) * exact.mean.unsqueeze(-2)
    # One copy of the parameters per sample, so that every sample has its own gradient.
    copies = {name: leaf.detach().expand(n, *leaf.shape).clone().requires_grad_() for name, leaf in leaves.items()}
    x = make_mixture(copies).rsample(generator=new_generator(1))
    for i in range(d):
        for j in range(i + 1):
            expected = torch.autograd.grad(second[i, j], list(leaves.values()), retain_graph=True)
            gradients = torch.autograd.grad((x[:, i] * x[:, j]).sum(), list(copies.values()), retain_graph=True)
            for one, other in zip(gradients, expected, strict=True):
                error = one.std(0) / math.sqrt(n)
                assert ((one.mean(0) - other).abs() <= 5 * error + 1e-9).all()


def test_mean_sample_gradients_by_the_logits_are_unbiased() -> None:
    """d E[x] / d logits = w (means - E[x]).

    100,000 samples, six gradients within 5 standard errors: false-failure probability below 1e-5.
    """
    parameters = overlapping_parameters(2, full=False)
    mixture = make_mixture(parameters)
    copies = {name: value.expand(100_000, *value.shape).clone().requires_grad_() for name, value in parameters.items()}
    x = make_mixture(copies).rsample(generator=new_generator(2))
    for d in range(2):
        (gradients,) = torch.autograd.grad(x[:, d].sum(), copies["logits"], retain_graph=True)
        expected = torch.softmax(parameters["logits"], -1) * (mixture.means[:, d] - mixture.mean[d])
        assert ((gradients.mean(0) - expected).abs() < 5 * gradients.std(0) / math.sqrt(100_000)).all()


@pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])
def test_sample_gradients_of_one_component_equal_those_of_a_normal(full: bool) -> None:
    """x_0 = m_0 + s_0 e_0, x_1 = m_1 + c (x_0 - m_0) + s_1 e_1."""
    leaves = {name: value.requires_grad_() for name, value in random_parameters(k=1, full=full).items()}
    samples = make_mixture(leaves).rsample((20,), generator=new_generator())
    slope = leaves["slopes"][0, 1, 0].detach() if full else torch.zeros(()).double()
    for x in samples:
        first, second = (
            dict(zip(leaves, torch.autograd.grad(x[i], list(leaves.values()), retain_graph=True), strict=True))
            for i in (0, 1)
        )
        distance = (x - leaves["means"][0]).detach()
        innovation = torch.stack([distance[0], distance[1] - slope * distance[0]])
        zero = torch.zeros_like(slope)
        pairs = [
            (first["logits"][0], zero), (second["logits"][0], zero),
            (first["means"][0], torch.stack([zero + 1, zero])), (second["means"][0], torch.stack([zero, zero + 1])),
            (first["log_scales"][0], torch.stack([innovation[0], zero])),
            (second["log_scales"][0], torch.stack([slope * innovation[0], innovation[1]])),
        ]  # fmt: skip
        if full:
            pairs += [(first["slopes"][0, 1, 0], zero), (second["slopes"][0, 1, 0], distance[0])]
        for gradient, expected in pairs:
            torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])
@pytest.mark.parametrize("shape", [(), (7,), (2, 3)], ids=str)
def test_rsample_returns_the_samples_of_sample(shape: tuple[int, ...], full: bool) -> None:
    leaves = {name: value.requires_grad_() for name, value in random_parameters(full=full).items()}
    mixture = make_mixture(leaves).expand((4,))
    expected = mixture.sample(shape, generator=new_generator(5))
    assert expected.shape == (*shape, 4, 2)
    assert not expected.requires_grad
    samples = mixture.rsample(shape, generator=new_generator(5))
    assert samples.requires_grad
    assert torch.equal(samples, expected)
    with torch.no_grad():
        samples = mixture.rsample(shape, generator=new_generator(5))
    assert not samples.requires_grad
    assert torch.equal(samples, expected)


def test_gradients_of_a_batch_equal_the_gradients_of_its_elements() -> None:
    parameters = [random_parameters(full=True, seed=seed) for seed in range(3)]
    batch = {name: torch.stack([element[name] for element in parameters]).requires_grad_() for name in NAMES}
    mixture = make_mixture(batch)
    x = mixture.rsample((5,), generator=new_generator())
    gradients = torch.autograd.grad(x.sin().sum(), list(batch.values()))
    for i in range(3):
        leaves = {name: value.requires_grad_() for name, value in parameters[i].items()}
        # The same points, as quantiles of their transforms, the second dimension conditional on the first.
        u = mixture[i].pit(x[:, i]).detach()
        first = GaussianMixture(leaves["logits"], leaves["means"][:, :1], leaves["log_scales"][:, :1]).icdf(u[:, 0])
        second = condition_on_first(make_mixture(leaves), first).icdf(u[:, 1])
        torch.testing.assert_close(torch.cat([first, second], -1), x[:, i])
        expected = torch.autograd.grad((first.sin() + second.sin()).sum(), list(leaves.values()))
        for one, other in zip(gradients, expected, strict=True):
            torch.testing.assert_close(one[i], other, rtol=1e-6, atol=1e-7)


def condition_on_first(mixture: GaussianMixture, first: Tensor) -> GaussianMixture:
    """Return the distribution of the second dimension given `first` (N, 1): K components, each a regression."""
    assert mixture.slopes is not None
    distance = first - mixture.means[:, 0]
    scales = mixture.log_scales[:, 0].exp()
    logits = mixture.logits - 0.5 * (distance / scales).square() - mixture.log_scales[:, 0]
    means = mixture.means[:, 1] + mixture.slopes[:, 1, 0] * distance
    return GaussianMixture(logits, means.unsqueeze(-1), mixture.log_scales[:, 1:].expand(*means.shape, 1))


def test_a_loss_of_samples_fits_a_mixture_to_a_target() -> None:
    """Gradient descent on E[(x - 3)^2] by samples moves the mean to 3 and shrinks the variance."""
    logits, means = torch.zeros(2).requires_grad_(), torch.tensor([[-1.0], [1.0]]).requires_grad_()
    log_scales = torch.zeros(2, 1).requires_grad_()
    optimizer, generator = torch.optim.Adam([logits, means, log_scales], 0.05), new_generator()
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
def test_sample_gradients_in_float32_are_finite_at_any_scale(log_scale: float) -> None:
    """Components with scales from 1e-6 to 1e6 in one mixture; 2000 samples."""
    parameters = {name: value.float() for name, value in random_parameters(full=True).items()}
    parameters["log_scales"] = parameters["log_scales"] + log_scale * torch.tensor([[1.0], [0.0], [-1.0]])
    leaves = [value.requires_grad_() for value in parameters.values()]
    make_mixture(parameters).rsample((2000,), generator=new_generator()).sum().backward()
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in leaves)


def test_per_dimension_samples_depend_on_the_parameters_of_their_dimension_only() -> None:
    generator = new_generator(3)
    logits, means, log_scales = (
        torch.randn(2, 3, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(3)
    )
    x = PerDimensionMixture(logits, means, log_scales).rsample((10,), generator=new_generator())
    for d in range(2):
        leaves = [part[d].detach().requires_grad_() for part in (logits, means, log_scales)]
        dimension = GaussianMixture(leaves[0], leaves[1].unsqueeze(-1), leaves[2].unsqueeze(-1))
        u = dimension.cdf(x[:, d : d + 1].detach()).detach()
        expected = torch.autograd.grad(dimension.icdf(u).sum(), leaves)
        gradients = torch.autograd.grad(x[:, d].sum(), (logits, means, log_scales), retain_graph=True)
        for one, other in zip(gradients, expected, strict=True):
            torch.testing.assert_close(one[d], other, rtol=1e-6, atol=1e-8)
            assert torch.equal(one[1 - d], torch.zeros(3).double())
