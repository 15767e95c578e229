"""On a line: distribution functions, quantiles, intervals, the CRPS, and the probability integral transform."""

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


def on_a_line(weights: list[float], means: list[float], scales: list[float]) -> GaussianMixture:
    return GaussianMixture(double(weights).log(), double(means).unsqueeze(-1), double(scales).log().unsqueeze(-1))


def mixture(*batch: int, k: int = 3, d: int = 2, full: bool = False, seed: int = 0) -> GaussianMixture:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*batch, k, *shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return GaussianMixture(draw(), draw(d), 0.5 * draw(d) - 0.5, draw(d, d) if full else None)


LINES = {
    "a standard normal": on_a_line([1], [0], [1]),
    "two that overlap": on_a_line([0.4, 0.6], [-0.5, 1], [1, 0.7]),
    "far apart, flat between": on_a_line([0.3, 0.7], [-1000, 1000], [1, 2]),
    "a needle in a hill": on_a_line([0.5, 0.5], [0.3, 0], [1e-5, 10]),
    "scales from 1e-6 to 1e6": on_a_line([0.2] * 5, [1, -2, 3, -4, 5], [1e-6, 1e-3, 1, 1e3, 1e6]),
    "a weight of 1e-9": on_a_line([1e-9, 1], [50, 0], [0.1, 1]),
    "a weight of zero": on_a_line([0, 0.5, 0.5], [1e6, -1, 1], [1e-6, 1, 1]),
    "far from the origin": on_a_line([0.5, 0.5], [1e6, 1e6 + 3], [1, 0.5]),
    "fifty": mixture(k=50, d=1, seed=3),
}
EVERY_LINE = pytest.mark.parametrize("line", LINES.values(), ids=LINES.keys())

TAILS = torch.logspace(-6, math.log10(0.5), 40, dtype=torch.float64)
PROBS = torch.cat([TAILS, 1 - TAILS.flip(0)[1:]])


def truth(line: GaussianMixture, x: np.ndarray) -> np.ndarray:
    """The distribution function by SciPy."""
    weights = torch.softmax(line.logits, -1).numpy()
    return (weights * stats.norm.cdf(x[..., None], line.means[:, 0].numpy(), line.log_scales[:, 0].exp().numpy())).sum(
        -1
    )


@EVERY_LINE
def test_the_distribution_function_is_the_sum_of_normal_ones_down_to_the_far_tail(line: GaussianMixture) -> None:
    spread = line.log_scales.exp()
    x = torch.cat([line.means + z * spread for z in (-35, -8, -3, -1, -0.1, 0, 0.2, 2, 5, 9, 40)])
    np.testing.assert_allclose(line.cdf(x).numpy(), truth(line, x[:, 0].numpy()), rtol=1e-10, atol=0)


def test_the_distribution_function_is_the_integral_of_the_density() -> None:
    line = LINES["two that overlap"]
    for end in (-2.0, 0.1, 3.0):
        density = lambda x: math.exp(float(line.log_prob(double([x]))))  # noqa: E731
        assert float(line.cdf(double([end]))) == pytest.approx(integrate.quad(density, -20, end)[0], abs=1e-9)


@EVERY_LINE
def test_the_distribution_function_of_the_quantile_is_the_probability(line: GaussianMixture) -> None:
    """From 1e-6 to 1 - 1e-6, to 1e-10 or what the last digit of the quantile decides."""
    x = line.icdf(PROBS)
    assert x.shape == (79, 1)
    assert (x.diff(dim=0) > 0).all()
    last_digit = 2**-52 * x.abs().squeeze(-1) * line.log_prob(x).exp()
    assert ((line.cdf(x) - PROBS).abs() < 1e-10 + 2 * last_digit).all()
    assert ((line.cdf(x) / PROBS - 1).abs() < 1e-6).all()


def test_quantiles_reach_far_into_the_lower_tail() -> None:
    line, prob = LINES["two that overlap"], torch.logspace(-100, -7, 20, dtype=torch.float64)
    np.testing.assert_allclose(truth(line, line.icdf(prob).squeeze(-1).numpy()), prob.numpy(), rtol=1e-6)


@EVERY_LINE
def test_the_quantile_of_the_distribution_function_is_the_point(line: GaussianMixture) -> None:
    """To 1e-6 of a component's scale, or what the last digits of the probability decide where the density is low."""
    x = line.sample((200,), generator=torch.Generator().manual_seed(0))
    x = x[(line.cdf(x) - 0.5).abs() < 0.5 - 1e-6]
    undecided = 1e-15 / line.log_prob(x).exp()
    allowed = 1e-6 * line.log_scales.exp().min() + 1e-15 * x.abs().squeeze(-1) + undecided
    assert ((line.icdf(line.cdf(x)) - x).squeeze(-1).abs() < 2 * allowed).all()


@EVERY_LINE
def test_the_ends_of_the_line_are_the_quantiles_of_zero_and_one(line: GaussianMixture) -> None:
    found = line.icdf(double([0.0, 0.5, 1.0])).squeeze(-1)
    assert found[0] == -INF
    assert found[1].isfinite()
    assert found[2] == INF
    assert line.cdf(double([[-INF], [INF]])).tolist() == pytest.approx([0, 1], abs=1e-15)


def test_a_probability_on_the_flat_between_far_components_has_a_quantile_there() -> None:
    line = LINES["far apart, flat between"]
    left, flat, right = line.icdf(double([0.3 - 1e-9, 0.3, 0.3 + 1e-9])).squeeze(-1).tolist()
    assert -1000 < left < -980
    assert left < flat < right
    assert 980 < right < 1000


def test_quantiles_of_a_batch_are_those_of_each() -> None:
    lines, prob = mixture(4, d=1), torch.rand(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = lines.icdf(prob)
    assert found.shape == (6, 4, 1)
    for i in range(4):
        torch.testing.assert_close(found[:, i], lines[i].icdf(prob[:, i]))


def test_gradients_of_a_quantile_are_difference_quotients() -> None:
    """Of the logits, the means, the log scales and the probability."""
    lines = mixture(4, d=1)
    prob = double([[0.01, 0.3, 0.5, 0.9], [0.2, 0.7, 0.99, 0.6]])
    inputs = [part.clone().requires_grad_() for part in (lines.logits, lines.means, lines.log_scales, prob)]

    def quantile(logits: Tensor, means: Tensor, log_scales: Tensor, prob: Tensor) -> Tensor:
        return GaussianMixture(logits, means, log_scales).icdf(prob)

    assert torch.autograd.gradcheck(quantile, inputs, eps=1e-4)


def test_an_infinite_quantile_leaves_the_gradients_of_the_others_alone() -> None:
    line = LINES["two that overlap"]
    found = []
    for probs in ([0.3], [0.0, 0.3, 1.0]):
        parts = [part.clone().requires_grad_() for part in (line.logits, line.means, line.log_scales)]
        x = GaussianMixture(parts[0], parts[1], parts[2]).icdf(double(probs))
        found.append(torch.autograd.grad(x[x.isfinite()].sum(), parts))
    for alone, beside in zip(*found, strict=True):
        torch.testing.assert_close(beside, alone)


@EVERY_LINE
@pytest.mark.parametrize("mass", [0.01, 0.5, 0.9, 0.999])
def test_an_interval_holds_its_mass_between_equal_tails(line: GaussianMixture, mass: float) -> None:
    low, high = line.interval(mass)
    last_digit = (
        2**-51 * torch.maximum(low.abs(), high.abs()) * torch.maximum(line.log_prob(low), line.log_prob(high)).exp()
    )
    assert float(line.cdf(high) - line.cdf(low)) == pytest.approx(mass, abs=1e-9 + 2 * float(last_digit))
    assert float(line.cdf(low)) == pytest.approx(1 - float(line.cdf(high)), abs=1e-9 + 2 * float(last_digit))


def test_an_interval_holds_its_share_of_samples() -> None:
    """100,000 draws: within 5 standard errors; false failure below 1e-6."""
    line = LINES["two that overlap"]
    low, high = line.interval(0.8)
    draws = line.sample((100_000,), generator=torch.Generator().manual_seed(0))
    share = float(((draws > low) & (draws < high)).double().mean())
    assert abs(share - 0.8) < 5 * math.sqrt(0.8 * 0.2 / 100_000)


@pytest.mark.parametrize("name", ["a standard normal", "two that overlap", "fifty"])
@pytest.mark.parametrize("value", [-7.0, -1.0, 0.2, 4.0])
def test_the_crps_is_the_integral_of_the_squared_difference_of_distribution_functions(name: str, value: float) -> None:
    """Over (-30, value) and (value, 30), smooth on each: Gauss-Legendre, 400 nodes."""
    line = LINES[name]
    nodes, weights = np.polynomial.legendre.leggauss(400)

    def integral(low: float, high: float, step: float) -> float:
        x = 0.5 * (high - low) * nodes + 0.5 * (high + low)
        return 0.5 * (high - low) * float((weights * (truth(line, x) - step) ** 2).sum())

    expected = integral(-30, value, 0.0) + integral(value, 30, 1.0)
    assert float(line.crps(double([value]))) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("z", [-30.0, -1.0, 0.0, 0.5, 8.0])
def test_the_crps_of_one_normal_is_the_published_formula(z: float, scale: float) -> None:
    """s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)): Gneiting and Raftery, JASA 102 (2007), eq. 21."""
    expected = scale * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / math.sqrt(math.pi))
    found = on_a_line([1], [2], [scale]).crps(double([2 + z * scale]))
    assert float(found) == pytest.approx(expected, rel=1e-8)


def test_gradients_of_the_crps_are_difference_quotients() -> None:
    lines = mixture(4, d=1)
    inputs = [part.clone().requires_grad_() for part in (lines.logits, lines.means, lines.log_scales)]
    value = double([[-1.0], [0.3], [2.0], [8.0]]).requires_grad_()
    assert torch.autograd.gradcheck(lambda *parts: GaussianMixture(*parts[:3]).crps(parts[3]), [*inputs, value])


def test_of_all_forecasts_the_true_one_has_the_least_expected_crps() -> None:
    """The expectation by 4000 equidistant quantiles of the truth."""
    truth, points = LINES["two that overlap"], (torch.arange(4000).double() + 0.5) / 4000
    y = truth.icdf(points)
    best = float(truth.crps(y).mean())
    shifted = truth.affine(double([0.05]), double([1.0]))
    for other in (
        shifted,
        truth.tempered(1, 1.1),
        truth.tempered(1, 0.9),
        truth.tempered(1.2, 1),
        truth.tempered(0.8, 1),
    ):
        assert float(other.crps(y).mean()) > best + 1e-5


PLANES: dict[str, Callable[[], GaussianMixture | PerDimensionMixture]] = {
    "diagonal": lambda: mixture(k=4, seed=1),
    "full": lambda: mixture(k=4, full=True, seed=1),
    "per dimension": lambda: PerDimensionMixture(
        mixture(2, k=4, d=1).logits, mixture(2, k=4, d=1).means[..., 0], mixture(2, k=4, d=1).log_scales[..., 0]
    ),
}
EVERY_PLANE = pytest.mark.parametrize("make", PLANES.values(), ids=PLANES.keys())


@EVERY_PLANE
def test_the_transform_of_samples_is_uniform_and_independent(
    make: Callable[[], GaussianMixture | PerDimensionMixture],
) -> None:
    """20,000 draws: two Kolmogorov-Smirnov tests and a chi-square one of 10 x 10 bin_widths, each at level 1e-5."""
    plane = make()
    u = plane.pit(plane.sample((20_000,), generator=torch.Generator().manual_seed(0))).numpy()
    assert ((u >= 0) & (u <= 1)).all()
    assert all(stats.kstest(u[:, d], "uniform").pvalue > 1e-5 for d in range(2))
    counts, _, _ = np.histogram2d(u[:, 0], u[:, 1], bins=10, range=[[0, 1], [0, 1]])
    assert stats.chisquare(counts.ravel()).pvalue > 1e-5


@EVERY_PLANE
def test_samples_of_another_distribution_are_found_out(
    make: Callable[[], GaussianMixture | PerDimensionMixture],
) -> None:
    """The same tests do see a covariance 10% too wide: what passes above could have failed."""
    plane = make()
    u = plane.pit(plane.tempered(1, 1.1).sample((20_000,), generator=torch.Generator().manual_seed(0))).numpy()
    assert stats.kstest(np.abs(2 * u[:, 1] - 1), "uniform").pvalue < 1e-5


@EVERY_LINE
def test_on_a_line_the_transform_is_the_distribution_function(line: GaussianMixture) -> None:
    x = line.sample((50,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(line.pit(x), line.cdf(x).unsqueeze(-1))


@pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])
def test_the_transform_is_that_of_each_dimension_given_those_before(full: bool) -> None:
    space, x = mixture(5, d=3, full=full), torch.randn(4, 5, 3, dtype=torch.float64)
    found = space.pit(x)
    torch.testing.assert_close(found[..., 0], space.marginal(0).cdf(x[..., :1]))
    second = space.marginal([0, 1]).condition(0, x[..., :1])
    torch.testing.assert_close(found[..., 1], second.cdf(x[..., 1:2]))
    torch.testing.assert_close(found[..., 2], space.condition([0, 1], x[..., :2]).cdf(x[..., 2:]))


def test_the_transform_keeps_its_digits_beside_a_needle() -> None:
    """A point 1e4 and more scales from one component in a dimension says nothing about the dimension itself."""
    means, scales = [[0.0, 10.0], [0.3, 0.0]], [[1.0, 1e-3], [1.0, 1.0]]
    plane = GaussianMixture(torch.zeros(2), torch.tensor(means), torch.tensor(scales).log())
    found = plane.pit(torch.zeros(2))
    share = torch.softmax(double([0.0, -0.5 * 0.3**2]), -1)
    expected = [float(stats.norm.cdf([0, -0.3]).mean()), float(share[1]) * 0.5]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert torch.isfinite(plane.pit(torch.tensor([0.0, 1e25]))).all()
