"""Univariate mixtures (distribution function, quantiles, intervals, CRPS) and the probability integral transform."""

import functools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture

INF = math.inf


def double(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def make_univariate(weights: list[float], means: list[float], scales: list[float]) -> GaussianMixture:
    return GaussianMixture(double(weights).log(), double(means).unsqueeze(-1), double(scales).log().unsqueeze(-1))


def random_mixture(*batch: int, k: int = 3, d: int = 2, full: bool = False, seed: int = 0) -> GaussianMixture:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*batch, k, *shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return GaussianMixture(draw(), draw(d), 0.5 * draw(d) - 0.5, draw(d, d) if full else None)


MIXTURES = {
    "standard normal": make_univariate([1], [0], [1]),
    "overlapping components": make_univariate([0.4, 0.6], [-0.5, 1], [1, 0.7]),
    "distant components": make_univariate([0.3, 0.7], [-1000, 1000], [1, 2]),
    "very narrow component": make_univariate([0.5, 0.5], [0.3, 0], [1e-5, 10]),
    "scales from 1e-6 to 1e6": make_univariate([0.2] * 5, [1, -2, 3, -4, 5], [1e-6, 1e-3, 1, 1e3, 1e6]),
    "weight 1e-9": make_univariate([1e-9, 1], [50, 0], [0.1, 1]),
    "weight zero": make_univariate([0, 0.5, 0.5], [1e6, -1, 1], [1e-6, 1, 1]),
    "large means": make_univariate([0.5, 0.5], [1e6, 1e6 + 3], [1, 0.5]),
    "50 components": random_mixture(k=50, d=1, seed=3),
}
EVERY_MIXTURE = pytest.mark.parametrize("mixture", MIXTURES.values(), ids=MIXTURES.keys())

TAILS = torch.logspace(-6, math.log10(0.5), 40, dtype=torch.float64)
PROBS = torch.cat([TAILS, 1 - TAILS.flip(0)[1:]])


def scipy_cdf(mixture: GaussianMixture, x: np.ndarray) -> np.ndarray:
    weights, scales = torch.softmax(mixture.logits, -1).numpy(), mixture.log_scales[:, 0].exp().numpy()
    return (weights * stats.norm.cdf(x[..., None], mixture.means[:, 0].numpy(), scales)).sum(-1)


@EVERY_MIXTURE
def test_cdf_equals_scipy_far_into_the_tails(mixture: GaussianMixture) -> None:
    scales = mixture.log_scales.exp()
    x = torch.cat([mixture.means + z * scales for z in (-35, -8, -3, -1, -0.1, 0, 0.2, 2, 5, 9, 40)])
    np.testing.assert_allclose(mixture.cdf(x).numpy(), scipy_cdf(mixture, x[:, 0].numpy()), rtol=1e-10, atol=0)


def test_cdf_is_the_integral_of_the_density() -> None:
    mixture = MIXTURES["overlapping components"]
    for end in (-2.0, 0.1, 3.0):
        density = lambda x: math.exp(float(mixture.log_prob(double([x]))))  # noqa: E731
        assert float(mixture.cdf(double([end]))) == pytest.approx(integrate.quad(density, -20, end)[0], abs=1e-9)


@EVERY_MIXTURE
def test_cdf_inverts_icdf(mixture: GaussianMixture) -> None:
    """From 1e-6 to 1 - 1e-6, within 1e-10 or the rounding of the quantile."""
    x = mixture.icdf(PROBS)
    assert x.shape == (79, 1)
    assert (x.diff(dim=0) > 0).all()
    rounding = 2**-52 * x.abs().squeeze(-1) * mixture.log_prob(x).exp()
    assert ((mixture.cdf(x) - PROBS).abs() < 1e-10 + 2 * rounding).all()
    assert ((mixture.cdf(x) / PROBS - 1).abs() < 1e-6).all()


def test_icdf_is_accurate_far_into_the_lower_tail() -> None:
    mixture, prob = MIXTURES["overlapping components"], torch.logspace(-100, -7, 20, dtype=torch.float64)
    np.testing.assert_allclose(scipy_cdf(mixture, mixture.icdf(prob).squeeze(-1).numpy()), prob.numpy(), rtol=1e-6)


@EVERY_MIXTURE
def test_icdf_inverts_cdf(mixture: GaussianMixture) -> None:
    """Within 1e-6 of the smallest scale, or the rounding of the probability where the density is low."""
    x = mixture.sample((200,), generator=torch.Generator().manual_seed(0))
    x = x[(mixture.cdf(x) - 0.5).abs() < 0.5 - 1e-6]
    rounding = 1e-15 / mixture.log_prob(x).exp()
    tolerance = 1e-6 * mixture.log_scales.exp().min() + 1e-15 * x.abs().squeeze(-1) + rounding
    assert ((mixture.icdf(mixture.cdf(x)) - x).squeeze(-1).abs() < 2 * tolerance).all()


@EVERY_MIXTURE
def test_quantiles_of_zero_and_one_are_infinite(mixture: GaussianMixture) -> None:
    x = mixture.icdf(double([0.0, 0.5, 1.0])).squeeze(-1)
    assert x[0] == -INF
    assert x[1].isfinite()
    assert x[2] == INF
    assert mixture.cdf(double([[-INF], [INF]])).tolist() == pytest.approx([0, 1], abs=1e-15)


def test_quantiles_where_the_cdf_is_flat_lie_between_the_components() -> None:
    mixture = MIXTURES["distant components"]
    left, middle, right = mixture.icdf(double([0.3 - 1e-9, 0.3, 0.3 + 1e-9])).squeeze(-1).tolist()
    assert -1000 < left < -980
    assert left < middle < right
    assert 980 < right < 1000


def test_quantiles_of_a_batch_equal_the_quantiles_of_its_elements() -> None:
    batch = random_mixture(4, d=1)
    prob = torch.rand(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = batch.icdf(prob)
    assert x.shape == (6, 4, 1)
    for i in range(4):
        torch.testing.assert_close(x[:, i], batch[i].icdf(prob[:, i]))


def test_quantile_gradients_equal_difference_quotients() -> None:
    """By the logits, the means, the log scales and the probability."""
    batch = random_mixture(4, d=1)
    prob = double([[0.01, 0.3, 0.5, 0.9], [0.2, 0.7, 0.99, 0.6]])
    inputs = [part.clone().requires_grad_() for part in (batch.logits, batch.means, batch.log_scales, prob)]

    def quantile(logits: Tensor, means: Tensor, log_scales: Tensor, prob: Tensor) -> Tensor:
        return GaussianMixture(logits, means, log_scales).icdf(prob)

    assert torch.autograd.gradcheck(quantile, inputs, eps=1e-4)


def test_infinite_quantiles_do_not_change_the_gradients_of_finite_ones() -> None:
    mixture = MIXTURES["overlapping components"]
    gradients = []
    for probs in ([0.3], [0.0, 0.3, 1.0]):
        leaves = [part.clone().requires_grad_() for part in (mixture.logits, mixture.means, mixture.log_scales)]
        x = GaussianMixture(leaves[0], leaves[1], leaves[2]).icdf(double(probs))
        gradients.append(torch.autograd.grad(x[x.isfinite()].sum(), leaves))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(other, one)


@EVERY_MIXTURE
@pytest.mark.parametrize("mass", [0.01, 0.5, 0.9, 0.999])
def test_an_interval_has_its_mass_and_equal_tails(mixture: GaussianMixture, mass: float) -> None:
    low, high = mixture.interval(mass)
    density = torch.maximum(mixture.log_prob(low), mixture.log_prob(high)).exp()
    tolerance = 1e-9 + 2 * float(2**-51 * torch.maximum(low.abs(), high.abs()) * density)
    assert float(mixture.cdf(high) - mixture.cdf(low)) == pytest.approx(mass, abs=tolerance)
    assert float(mixture.cdf(low)) == pytest.approx(1 - float(mixture.cdf(high)), abs=tolerance)


def test_an_interval_contains_its_share_of_samples() -> None:
    """100,000 samples, within 5 standard errors: false-failure probability below 1e-6."""
    mixture = MIXTURES["overlapping components"]
    low, high = mixture.interval(0.8)
    samples = mixture.sample((100_000,), generator=torch.Generator().manual_seed(0))
    share = float(((samples > low) & (samples < high)).double().mean())
    assert abs(share - 0.8) < 5 * math.sqrt(0.8 * 0.2 / 100_000)


@functools.cache
def legendre_nodes_and_weights() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(400)


@pytest.mark.parametrize("name", ["standard normal", "overlapping components", "50 components"])
@pytest.mark.parametrize("value", [-7.0, -1.0, 0.2, 4.0])
def test_crps_is_the_integral_of_the_squared_difference_of_distribution_functions(name: str, value: float) -> None:
    """Over (-30, value) and (value, 30), where the integrand is smooth: Gauss-Legendre quadrature with 400 nodes."""
    mixture = MIXTURES[name]
    nodes, weights = legendre_nodes_and_weights()

    def integral(low: float, high: float, step: float) -> float:
        x = 0.5 * (high - low) * nodes + 0.5 * (high + low)
        return 0.5 * (high - low) * float((weights * (scipy_cdf(mixture, x) - step) ** 2).sum())

    expected = integral(-30, value, 0.0) + integral(value, 30, 1.0)
    assert float(mixture.crps(double([value]))) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("z", [-30.0, -1.0, 0.0, 0.5, 8.0])
def test_crps_of_a_normal_equals_the_published_formula(z: float, scale: float) -> None:
    """s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)): Gneiting and Raftery, JASA 102 (2007), eq. 21."""
    expected = scale * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / math.sqrt(math.pi))
    crps = make_univariate([1], [2], [scale]).crps(double([2 + z * scale]))
    assert float(crps) == pytest.approx(expected, rel=1e-8)


def test_crps_gradients_equal_difference_quotients() -> None:
    batch = random_mixture(4, d=1)
    inputs = [part.clone().requires_grad_() for part in (batch.logits, batch.means, batch.log_scales)]
    value = double([[-1.0], [0.3], [2.0], [8.0]]).requires_grad_()
    assert torch.autograd.gradcheck(lambda *parts: GaussianMixture(*parts[:3]).crps(parts[3]), [*inputs, value])


def test_the_true_distribution_has_the_lowest_expected_crps() -> None:
    """The expectation is a mean over 4000 equidistant quantiles of the true distribution."""
    mixture, prob = MIXTURES["overlapping components"], (torch.arange(4000).double() + 0.5) / 4000
    y = mixture.icdf(prob)
    lowest = float(mixture.crps(y).mean())
    for other in (
        mixture.affine(double([0.05]), double([1.0])),
        mixture.tempered(1, 1.1),
        mixture.tempered(1, 0.9),
        mixture.tempered(1.2, 1),
        mixture.tempered(0.8, 1),
    ):
        assert float(other.crps(y).mean()) > lowest + 1e-5


BIVARIATE: dict[str, Callable[[], GaussianMixture | PerDimensionMixture]] = {
    "diagonal": lambda: random_mixture(k=4, seed=1),
    "full": lambda: random_mixture(k=4, full=True, seed=1),
    "per-dimension": lambda: PerDimensionMixture.from_univariate(random_mixture(2, k=4, d=1)),
}
EVERY_BIVARIATE = pytest.mark.parametrize("make", BIVARIATE.values(), ids=BIVARIATE.keys())


@EVERY_BIVARIATE
def test_the_pit_of_samples_is_uniform_and_independent(
    make: Callable[[], GaussianMixture | PerDimensionMixture],
) -> None:
    """20,000 samples: two Kolmogorov-Smirnov tests and a chi-square test of 10 x 10 bins.

    False-failure probability 1e-5 each.
    """
    mixture = make()
    u = mixture.pit(mixture.sample((20_000,), generator=torch.Generator().manual_seed(0))).numpy()
    assert ((u >= 0) & (u <= 1)).all()
    assert all(stats.kstest(u[:, d], "uniform").pvalue > 1e-5 for d in range(2))
    counts, _, _ = np.histogram2d(u[:, 0], u[:, 1], bins=10, range=[[0, 1], [0, 1]])
    assert stats.chisquare(counts.ravel()).pvalue > 1e-5


@EVERY_BIVARIATE
def test_the_pit_of_samples_of_another_distribution_is_not_uniform(
    make: Callable[[], GaussianMixture | PerDimensionMixture],
) -> None:
    """20,000 samples detect variances that are 10% too large."""
    mixture = make()
    u = mixture.pit(mixture.tempered(1, 1.1).sample((20_000,), generator=torch.Generator().manual_seed(0))).numpy()
    assert stats.kstest(np.abs(2 * u[:, 1] - 1), "uniform").pvalue < 1e-5


@EVERY_MIXTURE
def test_the_univariate_pit_is_the_cdf(mixture: GaussianMixture) -> None:
    x = mixture.sample((50,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(mixture.pit(x), mixture.cdf(x).unsqueeze(-1))


@pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])
def test_the_pit_is_the_conditional_cdf_given_the_dimensions_before(full: bool) -> None:
    mixture, x = random_mixture(5, d=3, full=full), torch.randn(4, 5, 3, dtype=torch.float64)
    u = mixture.pit(x)
    torch.testing.assert_close(u[..., 0], mixture.marginal(0).cdf(x[..., :1]))
    second = mixture.marginal([0, 1]).condition(0, x[..., :1])
    torch.testing.assert_close(u[..., 1], second.cdf(x[..., 1:2]))
    torch.testing.assert_close(u[..., 2], mixture.condition([0, 1], x[..., :2]).cdf(x[..., 2:]))


def test_the_pit_of_a_dimension_does_not_depend_on_later_dimensions() -> None:
    """Even if the point is 1e4 or more scales from a very narrow component in a later dimension."""
    means, scales = [[0.0, 10.0], [0.3, 0.0]], [[1.0, 1e-3], [1.0, 1.0]]
    mixture = GaussianMixture(torch.zeros(2), torch.tensor(means), torch.tensor(scales).log())
    u = mixture.pit(torch.zeros(2))
    weights = torch.softmax(double([0.0, -0.5 * 0.3**2]), -1)
    expected = [float(stats.norm.cdf([0, -0.3]).mean()), float(weights[1]) * 0.5]
    assert u.tolist() == pytest.approx(expected, abs=1e-6)
    assert torch.isfinite(mixture.pit(torch.tensor([0.0, 1e25]))).all()
