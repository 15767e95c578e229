"""Diagonal, full, isotropic and shared covariances: densities, marginals, conditionals, bins against closed forms."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture
from mdnrnn.distributions.cholesky import from_scale_tril, scale_tril


def random_mixture(*batch: int, k: int = 3, d: int = 2, full: bool = True, seed: int = 0) -> GaussianMixture:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*batch, k, *shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return GaussianMixture(draw(), draw(d), 0.5 * draw(d) - 0.5, draw(d, d) if full else None)


def double(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def components_of(mixture: GaussianMixture) -> MultivariateNormal:
    return MultivariateNormal(mixture.means, scale_tril=mixture.scale_tril)


def random_points(*shape: int, seed: int = 9) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


COVARIANCES = pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])


@COVARIANCES
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)], ids=str)
@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_density_and_moments_equal_mixture_same_family(d: int, batch: tuple[int, ...], full: bool) -> None:
    mixture = random_mixture(*batch, d=d, full=full)
    reference = MixtureSameFamily(Categorical(logits=mixture.logits), components_of(mixture))
    x = random_points(7, *batch, d)
    torch.testing.assert_close(mixture.log_prob(x), reference.log_prob(x))
    torch.testing.assert_close(mixture.mean, reference.mean)
    torch.testing.assert_close(mixture.variance, reference.variance)


@COVARIANCES
def test_covariance_equals_second_moment_minus_squared_mean(full: bool) -> None:
    mixture = random_mixture(4, k=5, d=3, full=full)
    weights = torch.softmax(mixture.logits, -1)[..., None, None]
    second = mixture.means.unsqueeze(-1) * mixture.means.unsqueeze(-2) + components_of(mixture).covariance_matrix
    expected = (weights * second).sum(-3) - mixture.mean.unsqueeze(-1) * mixture.mean.unsqueeze(-2)
    torch.testing.assert_close(mixture.covariance, expected)
    torch.testing.assert_close(mixture.covariance.diagonal(dim1=-2, dim2=-1), mixture.variance)


@COVARIANCES
def test_samples_have_the_mean_and_covariance(full: bool) -> None:
    """200,000 samples, 27 means each within 5 standard errors: false-failure probability below 2e-5."""
    mixture = random_mixture(3, d=3, full=full, seed=2)
    centered = mixture.sample((200_000,), generator=torch.Generator().manual_seed(0)) - mixture.mean
    products = centered.unsqueeze(-1) * centered.unsqueeze(-2)
    for samples, expected in ((centered, torch.zeros(3, 3).double()), (products, mixture.covariance)):
        error = samples.std(0) / math.sqrt(len(samples))
        assert ((samples.mean(0) - expected).abs() < 5 * error).all()


def test_slopes_are_regression_coefficients_on_the_dimensions_before() -> None:
    mean, scales = double([1.0, -2.0, 3.0]), double([0.5, 2.0, 1.5])
    slopes = double([[7.0, 7, 7], [0.3, 7, 7], [-1.1, 0.7, 7]])  # the sevens must be ignored
    mixture = GaussianMixture(torch.zeros(1), mean.unsqueeze(0), scales.log().unsqueeze(0), slopes.unsqueeze(0))
    noise = random_points(6, 3)
    x = mean + torch.zeros(6, 3).double()
    for i in range(3):
        x[:, i] = mean[i] + scales[i] * noise[:, i] + sum(slopes[i, j] * (x[:, j] - mean[j]) for j in range(i))
    torch.testing.assert_close(mixture.transform(torch.rand(6).double(), noise), x)
    density = torch.distributions.Normal(0, scales).log_prob(scales * noise).sum(-1)
    torch.testing.assert_close(mixture.log_prob(x), density)


@pytest.mark.parametrize("size", [0.0, 1.0, 1e3, 1e8])
@pytest.mark.parametrize("log_scale", [-10.0, 0.0, 10.0])
def test_cholesky_factors_have_positive_diagonals_for_any_slopes(size: float, log_scale: float) -> None:
    slopes = (size * random_points(50, 4, 4)).tril(-1)
    log_scales = log_scale + random_points(50, 4)
    factor = scale_tril(log_scales, slopes)
    assert factor.isfinite().all()
    assert torch.equal(factor, factor.tril())
    torch.testing.assert_close(factor.diagonal(dim1=-2, dim2=-1), log_scales.exp(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_from_scale_tril_inverts_scale_tril(d: int) -> None:
    mixture = random_mixture(4, d=d)
    factor = mixture.scale_tril
    rebuilt = GaussianMixture.from_scale_tril(mixture.logits, mixture.means, factor)
    torch.testing.assert_close(rebuilt.scale_tril, factor)
    assert mixture.slopes is not None
    for one, expected in zip(from_scale_tril(factor), (mixture.log_scales, mixture.slopes), strict=True):
        torch.testing.assert_close(one, expected)
    reference = MixtureSameFamily(
        Categorical(logits=mixture.logits), MultivariateNormal(mixture.means, scale_tril=factor)
    )
    torch.testing.assert_close(rebuilt.log_prob(random_points(7, 4, d)), reference.log_prob(random_points(7, 4, d)))


def test_gradients_by_a_cholesky_factor_equal_difference_quotients() -> None:
    mixture = random_mixture(d=3)
    inputs = [part.detach().requires_grad_() for part in (mixture.logits, mixture.means, mixture.scale_tril)]
    x = random_points(3)
    assert torch.autograd.gradcheck(lambda *parts: GaussianMixture.from_scale_tril(*parts).log_prob(x), inputs)


QUANTITIES: dict[str, Callable[[GaussianMixture], Tensor]] = {
    "log_prob": lambda m: m.log_prob(random_points(7, 4, 3)),
    "mean": lambda m: m.mean,
    "variance": lambda m: m.variance,
    "covariance": lambda m: m.covariance,
    "mode": lambda m: m.mode,
    "pit": lambda m: m.pit(random_points(7, 4, 3)),
    "component_posterior": lambda m: m.component_posterior(random_points(7, 4, 3)),
    "sample": lambda m: m.sample((5,), generator=torch.Generator().manual_seed(1)),
    "marginal": lambda m: m.marginal([2, 0]).log_prob(random_points(7, 4, 2)),
    "condition": lambda m: m.condition([-1, 0], random_points(7, 4, 2)).log_prob(random_points(7, 4, 1)),
}


@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=QUANTITIES.keys())
def test_zero_slopes_equal_a_diagonal_covariance(quantity: Callable[[GaussianMixture], Tensor]) -> None:
    diagonal = random_mixture(4, d=3, full=False)
    full = GaussianMixture(diagonal.logits, diagonal.means, diagonal.log_scales, torch.zeros(4, 3, 3, 3).double())
    torch.testing.assert_close(quantity(full), quantity(diagonal))


@pytest.mark.parametrize("shape", [(4, 3, 1), (4, 1, 3), (4, 1, 1)], ids=["isotropic", "shared", "both"])
@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=QUANTITIES.keys())
def test_broadcast_scales_equal_expanded_scales(
    quantity: Callable[[GaussianMixture], Tensor], shape: tuple[int, ...]
) -> None:
    log_scales, other = random_points(*shape), random_mixture(4, d=3, full=False)
    expanded = log_scales.expand(4, 3, 3).contiguous()
    one, two = (GaussianMixture(other.logits, other.means, scales) for scales in (log_scales, expanded))
    assert torch.equal(quantity(one), quantity(two))


@COVARIANCES
@pytest.mark.parametrize("shape", [(4, 3, 1), (4, 1, 3)], ids=["isotropic", "shared"])
def test_gradients_by_broadcast_scales_are_sums(shape: tuple[int, ...], full: bool) -> None:
    other = random_mixture(4, d=3, full=full)
    broadcast = (0.3 * random_points(*shape)).requires_grad_()
    expanded = broadcast.detach().expand(4, 3, 3).clone().requires_grad_()
    for scales in (broadcast, expanded):
        mixture = GaussianMixture(other.logits, other.means, scales, other.slopes)
        mixture.log_prob(random_points(4, 3)).sum().backward()
    assert broadcast.grad is not None
    assert expanded.grad is not None
    assert broadcast.grad.shape == shape
    torch.testing.assert_close(broadcast.grad, expanded.grad.sum_to_size(shape))


@COVARIANCES
@pytest.mark.parametrize("dim", [0, 1])
def test_a_marginal_is_the_integral_of_the_joint(dim: int, full: bool) -> None:
    """The sum over 2001 points from -15 to 15 has an error below 1e-12 for normals of scale 0.1 and more."""
    mixture = random_mixture(full=full, seed=5)
    axis = torch.linspace(-15, 15, 2001, dtype=torch.float64)
    x = torch.linspace(-3, 3, 9, dtype=torch.float64)
    pairs = torch.stack(torch.meshgrid(axis, x, indexing="ij"), -1)
    integral = mixture.log_prob(pairs if dim == 1 else pairs.flip(-1)).exp().sum(0) * (axis[1] - axis[0])
    torch.testing.assert_close(mixture.marginal(dim).log_prob(x.unsqueeze(-1)).exp(), integral)


@COVARIANCES
@pytest.mark.parametrize("dims", [[0], [2, 0], [3, 1, 0], [-1, 1], [0, 1, 2, 3], [3, 2, 1, 0]], ids=str)
def test_a_marginal_has_the_moments_of_its_dimensions(dims: list[int], full: bool) -> None:
    mixture = random_mixture(2, d=4, full=full)
    marginal = mixture.marginal(dims)
    torch.testing.assert_close(marginal.mean, mixture.mean[..., dims])
    torch.testing.assert_close(marginal.covariance, mixture.covariance[..., dims, :][..., dims])
    torch.testing.assert_close(marginal.log_weights, mixture.log_weights)
    if len(dims) == 4:
        x = random_points(7, 2, 4)
        torch.testing.assert_close(marginal.log_prob(x[..., dims]), mixture.log_prob(x))


CONDITIONS: dict[str, int | list[int]] = {
    "first": 0,
    "last": -1,
    "middle": [1],
    "two": [0, 2],
    "two, descending": [3, 1],
    "two, one negative": [-1, 0],
    "three": [2, 0, 3],
}


@COVARIANCES
@pytest.mark.parametrize("shape", [(4,), (5, 3, 4), (2, 5, 3, 4)], ids=["one point", "a point each", "two points each"])
@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS.keys())
def test_marginal_times_conditional_is_the_joint(
    condition: int | list[int], shape: tuple[int, ...], full: bool
) -> None:
    mixture, x = random_mixture(5, 3, d=4, full=full), random_points(*shape)
    dims = [dim % 4 for dim in ([condition] if isinstance(condition, int) else condition)]
    remaining = [dim for dim in range(4) if dim not in dims]
    log_marginal = mixture.marginal(condition).log_prob(x[..., dims])
    log_conditional = mixture.condition(condition, x[..., dims]).log_prob(x[..., remaining])
    torch.testing.assert_close(log_marginal + log_conditional, mixture.log_prob(x))


def test_the_conditional_of_a_normal_is_its_regression() -> None:
    """Mean m_a + S_ab S_bb^-1 (b - m_b), covariance S_aa - S_ab S_bb^-1 S_ba."""
    mixture, b = random_mixture(k=1, d=4), random_points(6, 2)
    mean, covariance = mixture.means[0], components_of(mixture).covariance_matrix[0]
    regression = covariance[:2, 2:] @ covariance[2:, 2:].inverse()
    conditional = mixture.condition([2, 3], b)
    torch.testing.assert_close(conditional.mean, mean[:2] + (b - mean[2:]) @ regression.mT)
    expected = covariance[:2, :2] - regression @ covariance[2:, :2]
    torch.testing.assert_close(conditional.covariance, expected.expand(6, 2, 2))


@COVARIANCES
@pytest.mark.parametrize("method", ["marginal", "condition"])
def test_gradients_through_marginals_and_conditionals_equal_difference_quotients(method: str, full: bool) -> None:
    mixture, x = random_mixture(d=3, full=full), random_points(3)
    parts = [part for part in (mixture.logits, mixture.means, mixture.log_scales, mixture.slopes) if part is not None]

    def density(*parts: Tensor) -> Tensor:
        changed = GaussianMixture(parts[0], parts[1], parts[2], parts[3] if full else None)
        return (
            changed.marginal([2, 0]).log_prob(x[:2])
            if method == "marginal"
            else changed.condition(1, x[:1]).log_prob(x[1:])
        )

    inputs = [part.detach().requires_grad_() for part in parts]
    assert torch.autograd.gradcheck(density, inputs, check_undefined_grad=False)


@COVARIANCES
def test_temperature_and_bias_scale_the_covariance_of_every_component(full: bool) -> None:
    mixture = random_mixture(4, d=3, full=full)
    for changed, logits, factor in (
        (mixture.tempered(0.3), mixture.logits / 0.3, 0.3),
        (mixture.tempered(2.0, 0.5), mixture.logits / 2, 0.5),
        (mixture.biased(0.7), mixture.logits * 1.7, math.exp(-2 * 0.7)),
    ):
        torch.testing.assert_close(changed.logits, logits)
        assert torch.equal(changed.means, mixture.means)
        expected = factor * components_of(mixture).covariance_matrix
        torch.testing.assert_close(components_of(changed).covariance_matrix, expected)


@COVARIANCES
def test_temperature_zero_samples_the_mean_of_the_most_probable_component(full: bool) -> None:
    mixture = random_mixture(4, d=3, full=full)
    means = mixture.means[torch.arange(4), mixture.logits.argmax(-1)]
    assert torch.equal(mixture.tempered(0).sample((5,)), means.expand(5, 4, 3))


AFFINE: dict[str, Callable[[], GaussianMixture | PerDimensionMixture]] = {
    "diagonal": lambda: random_mixture(4, d=3, full=False),
    "full": lambda: random_mixture(4, d=3),
    "per-dimension": lambda: PerDimensionMixture(
        random_points(4, 3, 5), random_points(4, 3, 5), 0.5 * random_points(4, 3, 5)
    ),
}


@pytest.mark.parametrize("batched", [False, True], ids=["one map", "a map each"])
@pytest.mark.parametrize("make", AFFINE.values(), ids=AFFINE.keys())
def test_affine_maps_samples_and_divides_densities(
    make: Callable[[], GaussianMixture | PerDimensionMixture], batched: bool
) -> None:
    mixture = make()
    size = (4, 3) if batched else (3,)
    shift, scale = random_points(*size), random_points(*size, seed=1).exp()
    mapped, x = mixture.affine(shift, scale), random_points(7, 4, 3)
    torch.testing.assert_close(mapped.log_prob(shift + scale * x), mixture.log_prob(x) - scale.log().sum(-1))
    torch.testing.assert_close(mapped.mean, shift + scale * mixture.mean)
    torch.testing.assert_close(mapped.covariance, scale.unsqueeze(-1) * mixture.covariance * scale.unsqueeze(-2))
    samples = [m.sample((9,), generator=torch.Generator().manual_seed(3)) for m in (mixture, mapped)]
    torch.testing.assert_close(samples[1], shift + scale * samples[0])
    torch.testing.assert_close(mapped.pit(shift + scale * x), mixture.pit(x))


@COVARIANCES
def test_component_posterior_follows_bayes_rule(full: bool) -> None:
    mixture, x = random_mixture(4, d=3, full=full), random_points(7, 4, 3)
    joint = torch.softmax(mixture.logits, -1) * components_of(mixture).log_prob(x.unsqueeze(-2)).exp()
    posterior = mixture.component_posterior(x)
    torch.testing.assert_close(posterior, joint / mixture.log_prob(x).exp().unsqueeze(-1))
    torch.testing.assert_close(posterior.sum(-1), torch.ones(7, 4).double())


@COVARIANCES
def test_component_posterior_sums_to_one_where_every_density_underflows(full: bool) -> None:
    posterior = random_mixture(4, d=3, full=full).component_posterior(1e4 * random_points(7, 4, 3))
    assert ((posterior >= 0) & (posterior <= 1)).all()
    torch.testing.assert_close(posterior.sum(-1), torch.ones(7, 4).double())


def test_a_marginal_of_a_nearly_singular_covariance_is_accurate() -> None:
    """y = x + 1e-7 e: forming the covariance of (y, x) would lose e."""
    slopes = double([[[0.0, 0.0], [1.0, 0.0]]])
    log_scales = double([[1.0, 1e-7]]).log()
    mixture = GaussianMixture(torch.zeros(1).double(), torch.zeros(1, 2).double(), log_scales, slopes)
    reordered = mixture.marginal([1, 0])
    x = double([0.5, 0.5 + 2e-7])
    assert float(reordered.log_prob(x.flip(-1))) == pytest.approx(float(mixture.log_prob(x)), rel=1e-6)


def bin_centers(bin_width: float, reach: float) -> Tensor:
    """Return the multiples of the bin width that cover the interval from -reach to reach."""
    most = math.ceil(reach / bin_width)
    return torch.arange(-most, most + 1, dtype=torch.float64) * bin_width


def two_components(slope: float, scale: float = 0.5) -> GaussianMixture:
    """Return two components in the plane with slopes of opposite sign and means that are not bin centers."""
    slopes = double([[[0, 0], [slope, 0]], [[0, 0], [-0.6 * slope, 0]]])
    log_scales = (scale * double([[1.0, 1.3], [0.7, 1.6]])).log()
    return GaussianMixture(double([0.3, -0.4]), double([[0.23, -0.41], [-0.8, 0.57]]), log_scales, slopes)


@pytest.mark.parametrize("slope", [0.0, 0.5, -3.0])
@pytest.mark.parametrize("width", [0.05, 0.5, 1.7, 30.0])
def test_probabilities_of_all_bins_sum_to_one(width: float, slope: float) -> None:
    """Bins up to 8 scales from the means; the probability beyond is less than 1e-14."""
    centers = torch.cartesian_prod(bin_centers(width, 6.0), bin_centers(width, 22.0 if slope == -3 else 12.0))
    log_probs = two_components(slope).discretized_log_prob(centers, double([width, width]))
    assert float(log_probs.exp().sum()) == pytest.approx(1, abs=1e-12)


def test_probabilities_of_all_bins_in_three_dimensions_sum_to_one() -> None:
    slopes = double([[[0.0, 0, 0], [0.8, 0, 0], [-0.5, 1.2, 0]]])
    mixture = GaussianMixture(torch.zeros(1).double(), double([[0.1, -0.2, 0.3]]), torch.zeros(1, 3).double(), slopes)
    axes = [bin_centers(0.9, reach) for reach in (9.0, 16.0, 32.0)]
    log_probs = mixture.discretized_log_prob(torch.cartesian_prod(*axes), double([0.9] * 3))
    assert float(log_probs.exp().sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("width", [1e-3, 0.5, 20.0])
def test_bin_probabilities_with_zero_slopes_equal_a_diagonal_covariance(width: float) -> None:
    diagonal = random_mixture(4, d=3, full=False)
    full = GaussianMixture(diagonal.logits, diagonal.means, diagonal.log_scales, torch.zeros(4, 3, 3, 3).double())
    bin_width, x = double([width, 2 * width, width / 3]), random_points(7, 4, 3)
    torch.testing.assert_close(
        full.discretized_log_prob(x, bin_width), diagonal.discretized_log_prob(x, bin_width), rtol=1e-12, atol=1e-12
    )


def test_the_probability_of_a_narrow_bin_is_density_times_volume() -> None:
    mixture, x, bin_width = random_mixture(4, d=3), random_points(7, 4, 3), double([1e-3, 2e-3, 5e-4])
    expected = mixture.log_prob(x) + bin_width.log().sum()
    torch.testing.assert_close(mixture.discretized_log_prob(x, bin_width), expected, rtol=1e-5, atol=1e-4)


def integrate_bins(mixture: GaussianMixture, x: Tensor, width: float) -> Tensor:
    """Return the probability of squares of `width` around x (N, 2), by Gauss-Legendre quadrature with 24 x 24 nodes."""
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(24))
    offsets = torch.cartesian_prod(nodes, nodes) * width / 2
    density = mixture.log_prob(x.unsqueeze(-2) + offsets).exp()
    return (density * torch.cartesian_prod(weights, weights).prod(-1)).sum(-1) * width**2 / 4


def test_bin_probabilities_converge_to_the_integral_of_the_density_with_order_two() -> None:
    """Each dimension is conditional on the center of the bins before it: half the width divides the error by four."""
    mixture, x = two_components(0.8), random_points(40, 2) / 2
    errors = []
    for width in (0.2, 0.1, 0.05, 0.025):
        probs = mixture.discretized_log_prob(x, double([width, width])).exp()
        errors.append(float((probs / integrate_bins(mixture, x, width) - 1).abs().mean()))
    for error, next_error in itertools.pairwise(errors):
        assert next_error == pytest.approx(error / 4, rel=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_bin_probabilities_do_not_exceed_one(dtype: torch.dtype) -> None:
    """Apart from rounding; widths of 1e-3 to 1e6 scales and slopes up to 1000."""
    mixture = random_mixture(500, d=3, k=8).to(dtype)
    assert mixture.slopes is not None
    slopes = mixture.slopes * 10 ** random_points(500, 1, 1, 1).to(dtype)
    steep = GaussianMixture(mixture.logits, mixture.means, mixture.log_scales, slopes)
    for width in (1e-3, 1.0, 1e3, 1e6):
        for x in (random_points(500, 3).to(dtype), steep.means[:, 0], 1e4 * random_points(500, 3).to(dtype)):
            log_probs = steep.discretized_log_prob(x, torch.full((3,), width, dtype=dtype))
            assert not log_probs.isnan().any()
            assert float(log_probs.max()) <= 10 * torch.finfo(dtype).eps


@pytest.mark.parametrize("width", [0.01, 0.7, 6.0])
def test_gradients_of_bin_probabilities_equal_difference_quotients(width: float) -> None:
    mixture, x = random_mixture(2, d=3), random_points(2, 3)
    assert mixture.slopes is not None
    parts = (mixture.logits, mixture.means, mixture.log_scales, mixture.slopes)
    inputs = [part.detach().requires_grad_() for part in parts]
    bin_width = double([width, 2 * width, width / 2])
    assert torch.autograd.gradcheck(lambda *parts: GaussianMixture(*parts).discretized_log_prob(x, bin_width), inputs)


def test_bin_probabilities_are_invariant_under_affine_maps() -> None:
    mixture, x, bin_width = random_mixture(4, d=3), random_points(7, 4, 3), double([0.5, 1.0, 0.2])
    shift, scale = random_points(3), random_points(3, seed=1).exp()
    mapped = mixture.affine(shift, scale)
    torch.testing.assert_close(
        mapped.discretized_log_prob(shift + scale * x, scale * bin_width), mixture.discretized_log_prob(x, bin_width)
    )


def count_bins(samples: Tensor, bin_width: Tensor) -> dict[tuple[int, ...], int]:
    """Return the number of samples (N, D) by bin index; fail if a sample is not a bin center."""
    indices = samples / bin_width
    torch.testing.assert_close(indices, indices.round(), rtol=0, atol=1e-9)
    bins, counts = indices.round().long().unique(dim=0, return_counts=True)
    return {tuple(index): count for index, count in zip(bins.tolist(), counts.tolist(), strict=True)}


def chi_square_p_value(samples: Tensor, mixture: GaussianMixture, bin_width: Tensor) -> float:
    """Return the p-value of a chi-square test; all bins with an expected count below 5 are merged into one."""
    n, counts = len(samples), count_bins(samples, bin_width)
    axes = [bin_centers(float(width), 25.0) for width in bin_width]
    grid = torch.cartesian_prod(*axes)
    expected = n * mixture.discretized_log_prob(grid, bin_width).exp()
    frequent = expected >= 5
    observed = double([counts.get(tuple(index), 0) for index in (grid[frequent] / bin_width).round().long().tolist()])
    observed = torch.cat([observed, double([n - float(observed.sum())])])
    expected = torch.cat([expected[frequent], double([n - float(expected[frequent].sum())])])
    assert len(observed) > 20
    return float(chi2.sf(float(((observed - expected).square() / expected).sum()), len(observed) - 1))


@pytest.mark.parametrize("width", [0.2, 0.7], ids=["bins below the scale", "bins above the scale"])
@pytest.mark.parametrize("slope", [0.0, 0.8, -2.5])
def test_samples_on_a_grid_have_the_bin_probabilities(slope: float, width: float) -> None:
    """Chi-square test with 30,000 samples: false-failure probability 1e-6.

    The test rejects continuous samples that are rounded at the end, if the components have slopes and the bins are
    wider than the scales.
    """
    mixture, bin_width = two_components(slope), double([width, 1.5 * width])
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(30_000, generator=generator, dtype=torch.float64)
    normal = torch.randn(30_000, 2, generator=generator, dtype=torch.float64)
    assert chi_square_p_value(mixture.transform(uniform, normal, bin_width), mixture, bin_width) > 1e-6
    rounded = torch.round(mixture.transform(uniform, normal) / bin_width) * bin_width
    assert (chi_square_p_value(rounded, mixture, bin_width) > 1e-6) == (slope == 0 or width < 0.5)


@COVARIANCES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_samples_of_a_batch_lie_on_the_grid(dtype: torch.dtype, full: bool) -> None:
    """Each element of the batch is sampled as it would be without the batch."""
    mixture, bin_width = random_mixture(5, 4, d=3, full=full).to(dtype), double([0.05, 0.3, 0.11]).to(dtype)
    uniform, normal = torch.rand(6, 5, 4).to(dtype), torch.randn(6, 5, 4, 3).to(dtype)
    samples = mixture.transform(uniform, normal, bin_width)
    assert samples.shape == (6, 5, 4, 3)
    indices = samples / bin_width
    torch.testing.assert_close(indices, indices.round(), rtol=0, atol=1e-4)
    single = mixture[2, 3].transform(uniform[1, 2, 3], normal[1, 2, 3], bin_width)
    torch.testing.assert_close(single, samples[1, 2, 3])


def test_a_sample_on_a_grid_rounds_each_dimension_before_the_next() -> None:
    """At temperature 0 the first dimension, 0.4, is rounded to 0. The second is then expected at 0.6 - 0.9 x 0.4 =
    0.24, not at 0.6, and is rounded to 0 as well."""
    mixture = GaussianMixture(
        torch.zeros(1), torch.tensor([[0.4, 0.6]]), torch.zeros(1, 2), torch.tensor([[[0.0, 0], [0.9, 0]]])
    )
    samples = mixture.tempered(0).transform(torch.rand(9), torch.randn(9, 2), torch.ones(2))
    assert torch.equal(samples, torch.zeros(9, 2))
