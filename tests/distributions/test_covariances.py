"""Diagonal, full, isotropic and shared covariances, their marginals and conditionals, against closed forms."""

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


def mixture(*batch: int, k: int = 3, d: int = 2, full: bool = True, seed: int = 0) -> GaussianMixture:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*batch, k, *shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return GaussianMixture(draw(), draw(d), 0.5 * draw(d) - 0.5, draw(d, d) if full else None)


def double(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def components(ours: GaussianMixture) -> MultivariateNormal:
    return MultivariateNormal(ours.means, scale_tril=ours.scale_tril)


def points(*shape: int, seed: int = 9) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


KINDS = pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])


@KINDS
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)], ids=str)
@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_density_and_moments_are_those_of_mixture_same_family(d: int, batch: tuple[int, ...], full: bool) -> None:
    ours = mixture(*batch, d=d, full=full)
    theirs = MixtureSameFamily(Categorical(logits=ours.logits), components(ours))
    x = points(7, *batch, d)
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x))
    torch.testing.assert_close(ours.mean, theirs.mean)
    torch.testing.assert_close(ours.variance, theirs.variance)


@KINDS
def test_covariance_is_the_mean_of_the_components_own_and_of_their_means(full: bool) -> None:
    ours = mixture(4, k=5, d=3, full=full)
    weights = torch.softmax(ours.logits, -1)[..., None, None]
    second = ours.means.unsqueeze(-1) * ours.means.unsqueeze(-2) + components(ours).covariance_matrix
    expected = (weights * second).sum(-3) - ours.mean.unsqueeze(-1) * ours.mean.unsqueeze(-2)
    torch.testing.assert_close(ours.covariance, expected)
    torch.testing.assert_close(ours.covariance.diagonal(dim1=-2, dim2=-1), ours.variance)


@KINDS
def test_samples_have_the_mean_and_the_covariance(full: bool) -> None:
    """200,000 draws, 27 numbers each within 5 of its standard errors: false failure below 2e-5."""
    ours = mixture(3, d=3, full=full, seed=2)
    centered = ours.sample((200_000,), generator=torch.Generator().manual_seed(0)) - ours.mean
    products = centered.unsqueeze(-1) * centered.unsqueeze(-2)
    for draws, expected in ((centered, torch.zeros(3, 3).double()), (products, ours.covariance)):
        error = draws.std(0) / math.sqrt(len(draws))
        assert ((draws.mean(0) - expected).abs() < 5 * error).all()


def test_slopes_are_the_regressions_of_a_dimension_on_those_before_it() -> None:
    mean, scales = double([1.0, -2.0, 3.0]), double([0.5, 2.0, 1.5])
    slopes = double([[7.0, 7, 7], [0.3, 7, 7], [-1.1, 0.7, 7]])  # the sevens do not count
    ours = GaussianMixture(torch.zeros(1), mean.unsqueeze(0), scales.log().unsqueeze(0), slopes.unsqueeze(0))
    noise = points(6, 3)
    x = mean + torch.zeros(6, 3).double()
    for i in range(3):
        x[:, i] = mean[i] + scales[i] * noise[:, i] + sum(slopes[i, j] * (x[:, j] - mean[j]) for j in range(i))
    torch.testing.assert_close(ours.transform(torch.rand(6).double(), noise), x)
    density = torch.distributions.Normal(0, scales).log_prob(scales * noise).sum(-1)
    torch.testing.assert_close(ours.log_prob(x), density)


@pytest.mark.parametrize("size", [0.0, 1.0, 1e3, 1e8])
@pytest.mark.parametrize("log_scale", [-10.0, 0.0, 10.0])
def test_cholesky_factors_have_positive_diagonals_however_steep_the_slopes(size: float, log_scale: float) -> None:
    slopes = (size * points(50, 4, 4)).tril(-1)
    log_scales = log_scale + points(50, 4)
    factor = scale_tril(log_scales, slopes)
    assert factor.isfinite().all()
    assert torch.equal(factor, factor.tril())
    torch.testing.assert_close(factor.diagonal(dim1=-2, dim2=-1), log_scales.exp(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_cholesky_factors_go_in_and_come_out(d: int) -> None:
    ours = mixture(4, d=d)
    factor = ours.scale_tril
    again = GaussianMixture.from_scale_tril(ours.logits, ours.means, factor)
    torch.testing.assert_close(again.scale_tril, factor)
    assert ours.slopes is not None
    for got, expected in zip(from_scale_tril(factor), (ours.log_scales, ours.slopes), strict=True):
        torch.testing.assert_close(got, expected)
    theirs = MixtureSameFamily(Categorical(logits=ours.logits), MultivariateNormal(ours.means, scale_tril=factor))
    torch.testing.assert_close(again.log_prob(points(7, 4, d)), theirs.log_prob(points(7, 4, d)))


def test_gradients_to_a_cholesky_factor_are_difference_quotients() -> None:
    ours = mixture(d=3)
    inputs = [part.detach().requires_grad_() for part in (ours.logits, ours.means, ours.scale_tril)]
    x = points(3)
    assert torch.autograd.gradcheck(lambda *parts: GaussianMixture.from_scale_tril(*parts).log_prob(x), inputs)


QUANTITIES: dict[str, Callable[[GaussianMixture], Tensor]] = {
    "density": lambda m: m.log_prob(points(7, 4, 3)),
    "mean": lambda m: m.mean,
    "variance": lambda m: m.variance,
    "covariance": lambda m: m.covariance,
    "mode": lambda m: m.mode,
    "probability integral transform": lambda m: m.pit(points(7, 4, 3)),
    "responsibilities": lambda m: m.component_posterior(points(7, 4, 3)),
    "samples": lambda m: m.sample((5,), generator=torch.Generator().manual_seed(1)),
    "marginals": lambda m: m.marginal([2, 0]).log_prob(points(7, 4, 2)),
    "conditionals": lambda m: m.condition([-1, 0], points(7, 4, 2)).log_prob(points(7, 4, 1)),
}


@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=QUANTITIES.keys())
def test_slopes_of_zero_are_a_diagonal_covariance(quantity: Callable[[GaussianMixture], Tensor]) -> None:
    diagonal = mixture(4, d=3, full=False)
    flat = GaussianMixture(diagonal.logits, diagonal.means, diagonal.log_scales, torch.zeros(4, 3, 3, 3).double())
    torch.testing.assert_close(quantity(flat), quantity(diagonal))


@pytest.mark.parametrize("shape", [(4, 3, 1), (4, 1, 3), (4, 1, 1)], ids=["isotropic", "shared", "both"])
@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=QUANTITIES.keys())
def test_fewer_scales_are_the_diagonal_they_stand_for(
    quantity: Callable[[GaussianMixture], Tensor], shape: tuple[int, ...]
) -> None:
    log_scales, like = points(*shape), mixture(4, d=3, full=False)
    written_out = log_scales.expand(4, 3, 3).contiguous()
    few, many = (GaussianMixture(like.logits, like.means, scales) for scales in (log_scales, written_out))
    assert torch.equal(quantity(few), quantity(many))


@KINDS
@pytest.mark.parametrize("shape", [(4, 3, 1), (4, 1, 3)], ids=["isotropic", "shared"])
def test_the_gradient_of_a_scale_is_the_sum_over_what_it_stands_for(shape: tuple[int, ...], full: bool) -> None:
    like = mixture(4, d=3, full=full)
    few = (0.3 * points(*shape)).requires_grad_()
    many = few.detach().expand(4, 3, 3).clone().requires_grad_()
    for scales in (few, many):
        GaussianMixture(like.logits, like.means, scales, like.slopes).log_prob(points(4, 3)).sum().backward()
    assert few.grad is not None
    assert many.grad is not None
    assert few.grad.shape == shape
    torch.testing.assert_close(few.grad, many.grad.sum_to_size(shape))


@KINDS
@pytest.mark.parametrize("kept", [0, 1])
def test_a_marginal_is_the_integral_of_the_joint(kept: int, full: bool) -> None:
    """A sum over a grid of 2001 from -15 to 15: for normals of scale 0.1 and more its error is below 1e-12."""
    ours = mixture(full=full, seed=5)
    axis = torch.linspace(-15, 15, 2001, dtype=torch.float64)
    at = torch.linspace(-3, 3, 9, dtype=torch.float64)
    pair = torch.stack(torch.meshgrid(axis, at, indexing="ij"), -1)
    integral = ours.log_prob(pair if kept == 1 else pair.flip(-1)).exp().sum(0) * (axis[1] - axis[0])
    torch.testing.assert_close(ours.marginal(kept).log_prob(at.unsqueeze(-1)).exp(), integral)


@KINDS
@pytest.mark.parametrize("kept", [[0], [2, 0], [3, 1, 0], [-1, 1], [0, 1, 2, 3], [3, 2, 1, 0]], ids=str)
def test_a_marginal_has_the_moments_of_its_dimensions(kept: list[int], full: bool) -> None:
    ours = mixture(2, d=4, full=full)
    found = ours.marginal(kept)
    torch.testing.assert_close(found.mean, ours.mean[..., kept])
    torch.testing.assert_close(found.covariance, ours.covariance[..., kept, :][..., kept])
    torch.testing.assert_close(found.log_weights, ours.log_weights)
    if len(kept) == 4:
        x = points(7, 2, 4)
        torch.testing.assert_close(found.log_prob(x[..., kept]), ours.log_prob(x))


GIVEN: dict[str, int | list[int]] = {
    "the first": 0,
    "the last": -1,
    "one in the middle": [1],
    "two": [0, 2],
    "two, not in order": [3, 1],
    "two, one from the end": [-1, 0],
    "all but one": [2, 0, 3],
}


@KINDS
@pytest.mark.parametrize("shape", [(4,), (5, 3, 4), (2, 5, 3, 4)], ids=["one point for all", "one each", "two each"])
@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN.keys())
def test_marginal_times_conditional_is_the_joint(given: int | list[int], shape: tuple[int, ...], full: bool) -> None:
    ours, x = mixture(5, 3, d=4, full=full), points(*shape)
    dims = [dim % 4 for dim in ([given] if isinstance(given, int) else given)]
    rest = [dim for dim in range(4) if dim not in dims]
    known, left = x[..., dims], x[..., rest]
    found = ours.marginal(given).log_prob(known) + ours.condition(given, known).log_prob(left)
    torch.testing.assert_close(found, ours.log_prob(x))


def test_a_conditional_of_one_normal_is_its_regression() -> None:
    """Mean m_a + S_ab S_bb^-1 (b - m_b), covariance S_aa - S_ab S_bb^-1 S_ba."""
    ours, b = mixture(k=1, d=4), points(6, 2)
    mean, covariance = ours.means[0], components(ours).covariance_matrix[0]
    regression = covariance[:2, 2:] @ covariance[2:, 2:].inverse()
    found = ours.condition([2, 3], b)
    torch.testing.assert_close(found.mean, mean[:2] + (b - mean[2:]) @ regression.mT)
    expected = covariance[:2, :2] - regression @ covariance[2:, :2]
    torch.testing.assert_close(found.covariance, expected.expand(6, 2, 2))


@KINDS
@pytest.mark.parametrize("how", ["marginal", "conditional"])
def test_gradients_through_marginals_and_conditionals_are_difference_quotients(how: str, full: bool) -> None:
    ours, x = mixture(d=3, full=full), points(3)
    parts = [part for part in (ours.logits, ours.means, ours.log_scales, ours.slopes) if part is not None]

    def density(*parts: Tensor) -> Tensor:
        changed = GaussianMixture(parts[0], parts[1], parts[2], parts[3] if full else None)
        return (
            changed.marginal([2, 0]).log_prob(x[:2])
            if how == "marginal"
            else changed.condition(1, x[:1]).log_prob(x[1:])
        )

    inputs = [part.detach().requires_grad_() for part in parts]
    assert torch.autograd.gradcheck(density, inputs, check_undefined_grad=False)


@KINDS
def test_temperature_multiplies_the_covariance_of_every_component(full: bool) -> None:
    ours = mixture(4, d=3, full=full)
    for changed, logits, factor in (
        (ours.tempered(0.3), ours.logits / 0.3, 0.3),
        (ours.tempered(2.0, 0.5), ours.logits / 2, 0.5),
        (ours.biased(0.7), ours.logits * 1.7, math.exp(-2 * 0.7)),
    ):
        torch.testing.assert_close(changed.logits, logits)
        assert torch.equal(changed.means, ours.means)
        expected = factor * components(ours).covariance_matrix
        torch.testing.assert_close(components(changed).covariance_matrix, expected)


@KINDS
def test_temperature_zero_is_a_mean_whatever_the_covariance(full: bool) -> None:
    ours = mixture(4, d=3, full=full)
    best = ours.means[torch.arange(4), ours.logits.argmax(-1)]
    assert torch.equal(ours.tempered(0).sample((5,)), best.expand(5, 4, 3))


AFFINE: dict[str, Callable[[], GaussianMixture | PerDimensionMixture]] = {
    "diagonal": lambda: mixture(4, d=3, full=False),
    "full": lambda: mixture(4, d=3),
    "per dimension": lambda: PerDimensionMixture(points(4, 3, 5), points(4, 3, 5), 0.5 * points(4, 3, 5)),
}


@pytest.mark.parametrize("each", [False, True], ids=["one map", "a map for each of the batch"])
@pytest.mark.parametrize("make", AFFINE.values(), ids=AFFINE.keys())
def test_an_affine_map_moves_samples_and_divides_densities(
    make: Callable[[], GaussianMixture | PerDimensionMixture], each: bool
) -> None:
    ours = make()
    shift, scale = (points(4, 3), points(4, 3, seed=1).exp()) if each else (points(3), points(3, seed=1).exp())
    mapped, x = ours.affine(shift, scale), points(7, 4, 3)
    torch.testing.assert_close(mapped.log_prob(shift + scale * x), ours.log_prob(x) - scale.log().sum(-1))
    torch.testing.assert_close(mapped.mean, shift + scale * ours.mean)
    torch.testing.assert_close(mapped.covariance, scale.unsqueeze(-1) * ours.covariance * scale.unsqueeze(-2))
    draws = [m.sample((9,), generator=torch.Generator().manual_seed(3)) for m in (ours, mapped)]
    torch.testing.assert_close(draws[1], shift + scale * draws[0])
    torch.testing.assert_close(mapped.pit(shift + scale * x), ours.pit(x))


@KINDS
def test_responsibilities_are_bayes_rule(full: bool) -> None:
    ours, x = mixture(4, d=3, full=full), points(7, 4, 3)
    joint = torch.softmax(ours.logits, -1) * components(ours).log_prob(x.unsqueeze(-2)).exp()
    found = ours.component_posterior(x)
    torch.testing.assert_close(found, joint / ours.log_prob(x).exp().unsqueeze(-1))
    torch.testing.assert_close(found.sum(-1), torch.ones(7, 4).double())


@KINDS
def test_responsibilities_sum_to_one_where_every_density_underflows(full: bool) -> None:
    found = mixture(4, d=3, full=full).component_posterior(1e4 * points(7, 4, 3))
    assert ((found >= 0) & (found <= 1)).all()
    torch.testing.assert_close(found.sum(-1), torch.ones(7, 4).double())


def test_a_marginal_has_no_digit_less_for_a_covariance_close_to_singular() -> None:
    """y = x + 1e-7 e: formed, the covariance of (y, x) would have lost the e."""
    slopes = double([[[0.0, 0.0], [1.0, 0.0]]])
    log_scales = double([[1.0, 1e-7]]).log()
    ours = GaussianMixture(torch.zeros(1).double(), torch.zeros(1, 2).double(), log_scales, slopes)
    turned = ours.marginal([1, 0])
    x = double([0.5, 0.5 + 2e-7])
    assert float(turned.log_prob(x.flip(-1))) == pytest.approx(float(ours.log_prob(x)), rel=1e-6)


def axis_of(width: float, reach: float) -> Tensor:
    """Centres of the bin_widths of `width` from -reach to reach, multiples of it."""
    most = math.ceil(reach / width)
    return torch.arange(-most, most + 1, dtype=torch.float64) * width


def sloped(slope: float, scale: float = 0.5) -> GaussianMixture:
    """Two components in the plane, off the grid's centers, the second of them sloped the other way."""
    slopes = double([[[0, 0], [slope, 0]], [[0, 0], [-0.6 * slope, 0]]])
    log_scales = (scale * double([[1.0, 1.3], [0.7, 1.6]])).log()
    return GaussianMixture(double([0.3, -0.4]), double([[0.23, -0.41], [-0.8, 0.57]]), log_scales, slopes)


@pytest.mark.parametrize("slope", [0.0, 0.5, -3.0])
@pytest.mark.parametrize("width", [0.05, 0.5, 1.7, 30.0], ids=["far below", "as the scale", "above", "far above"])
def test_cells_share_a_probability_of_one_whatever_the_slopes(width: float, slope: float) -> None:
    """Cells up to 8 scales from the means: what is beyond them is less than 1e-14."""
    pair = torch.cartesian_prod(axis_of(width, 6.0), axis_of(width, 22.0 if slope == -3 else 12.0))
    bin_widths = sloped(slope).discretized_log_prob(pair, double([width, width]))
    assert float(bin_widths.exp().sum()) == pytest.approx(1, abs=1e-12)


def test_cells_of_three_dimensions_share_a_probability_of_one() -> None:
    slopes = double([[[0.0, 0, 0], [0.8, 0, 0], [-0.5, 1.2, 0]]])
    ours = GaussianMixture(torch.zeros(1).double(), double([[0.1, -0.2, 0.3]]), torch.zeros(1, 3).double(), slopes)
    axes = [axis_of(0.9, reach) for reach in (9.0, 16.0, 32.0)]
    bin_widths = ours.discretized_log_prob(torch.cartesian_prod(*axes), double([0.9] * 3))
    assert float(bin_widths.exp().sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("width", [1e-3, 0.5, 20.0])
def test_cells_with_slopes_of_zero_are_those_of_a_diagonal_covariance(width: float) -> None:
    diagonal = mixture(4, d=3, full=False)
    flat = GaussianMixture(diagonal.logits, diagonal.means, diagonal.log_scales, torch.zeros(4, 3, 3, 3).double())
    bin_width, x = double([width, 2 * width, width / 3]), points(7, 4, 3)
    torch.testing.assert_close(
        flat.discretized_log_prob(x, bin_width), diagonal.discretized_log_prob(x, bin_width), rtol=1e-12, atol=1e-12
    )


def test_narrow_cells_are_density_times_volume_whatever_the_slopes() -> None:
    ours, x, bin_width = mixture(4, d=3), points(7, 4, 3), double([1e-3, 2e-3, 5e-4])
    expected = ours.log_prob(x) + bin_width.log().sum()
    torch.testing.assert_close(ours.discretized_log_prob(x, bin_width), expected, rtol=1e-5, atol=1e-4)


def box(ours: GaussianMixture, x: Tensor, width: float) -> Tensor:
    """Probabilities of squares of `width` around x (n, 2), by Gauss-Legendre quadrature of 24 x 24 points."""
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(24))
    offsets = torch.cartesian_prod(nodes, nodes) * width / 2
    density = ours.log_prob(x.unsqueeze(-2) + offsets).exp()
    return (density * torch.cartesian_prod(weights, weights).prod(-1)).sum(-1) * width**2 / 4


def test_cells_come_near_the_integral_of_the_density_as_the_square_of_their_width() -> None:
    """They are exact dimension after dimension, given the center of the bin_width before: the error of that falls to a
    quarter with half the width."""
    ours, x = sloped(0.8), points(40, 2) / 2
    errors = []
    for width in (0.2, 0.1, 0.05, 0.025):
        chained = ours.discretized_log_prob(x, double([width, width])).exp()
        errors.append(float((chained / box(ours, x, width) - 1).abs().mean()))
    for one, half in itertools.pairwise(errors):
        assert half == pytest.approx(one / 4, rel=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_probabilities_of_cells_never_exceed_one(dtype: torch.dtype) -> None:
    """Widths from a thousandth of the scale to a million of it, slopes up to 1000; but for rounding."""
    ours = mixture(500, d=3, k=8).to(dtype)
    assert ours.slopes is not None
    slopes = ours.slopes * 10 ** points(500, 1, 1, 1).to(dtype)
    steep = GaussianMixture(ours.logits, ours.means, ours.log_scales, slopes)
    for width in (1e-3, 1.0, 1e3, 1e6):
        for x in (points(500, 3).to(dtype), steep.means[:, 0], 1e4 * points(500, 3).to(dtype)):
            nats = steep.discretized_log_prob(x, torch.full((3,), width, dtype=dtype))
            assert not nats.isnan().any()
            assert float(nats.max()) <= 10 * torch.finfo(dtype).eps


@pytest.mark.parametrize("width", [0.01, 0.7, 6.0])
def test_gradients_of_cell_probabilities_are_difference_quotients(width: float) -> None:
    ours, x = mixture(2, d=3), points(2, 3)
    assert ours.slopes is not None
    inputs = [part.detach().requires_grad_() for part in (ours.logits, ours.means, ours.log_scales, ours.slopes)]
    bin_width = double([width, 2 * width, width / 2])
    assert torch.autograd.gradcheck(lambda *parts: GaussianMixture(*parts).discretized_log_prob(x, bin_width), inputs)


def test_cell_probabilities_do_not_depend_on_the_units() -> None:
    ours, x, bin_width = mixture(4, d=3), points(7, 4, 3), double([0.5, 1.0, 0.2])
    shift, scale = points(3), points(3, seed=1).exp()
    mapped = ours.affine(shift, scale)
    torch.testing.assert_close(
        mapped.discretized_log_prob(shift + scale * x, scale * bin_width), ours.discretized_log_prob(x, bin_width)
    )


def shares(draws: Tensor, bin_width: Tensor) -> dict[tuple[int, ...], int]:
    """How many of the draws (n, D) lie in each bin_width, by its place on the grid; an error where one is off it."""
    places = draws / bin_width
    torch.testing.assert_close(places, places.round(), rtol=0, atol=1e-9)
    found, counts = places.round().long().unique(dim=0, return_counts=True)
    return {tuple(place): count for place, count in zip(found.tolist(), counts.tolist(), strict=True)}


def surprise(draws: Tensor, ours: GaussianMixture, bin_width: Tensor) -> float:
    """The chi-square test's probability of as uneven counts of draws; bin_widths of less than 5 draws expected are one."""
    n, counts = len(draws), shares(draws, bin_width)
    axes = [axis_of(float(width), 25.0) for width in bin_width]
    grid = torch.cartesian_prod(*axes)
    expected = n * ours.discretized_log_prob(grid, bin_width).exp()
    often = expected >= 5
    observed = double([counts.get(tuple(place), 0) for place in (grid[often] / bin_width).round().long().tolist()])
    observed = torch.cat([observed, double([n - float(observed.sum())])])
    expected = torch.cat([expected[often], double([n - float(expected[often].sum())])])
    assert len(observed) > 20
    return float(chi2.sf(float(((observed - expected).square() / expected).sum()), len(observed) - 1))


@pytest.mark.parametrize("width", [0.2, 0.7], ids=["bin_widths below the scale", "bin_widths above the scale"])
@pytest.mark.parametrize("slope", [0.0, 0.8, -2.5])
def test_draws_on_a_grid_have_the_probabilities_of_its_cells(slope: float, width: float) -> None:
    """100,000 draws, a chi-square test at 1e-6. It tells them from draws that are rounded at the end, where bin_widths are
    above the scale."""
    ours, bin_width = sloped(slope), double([width, 1.5 * width])
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(100_000, generator=generator, dtype=torch.float64)
    normal = torch.randn(100_000, 2, generator=generator, dtype=torch.float64)
    assert surprise(ours.transform(uniform, normal, bin_width), ours, bin_width) > 1e-6
    rounded = torch.round(ours.transform(uniform, normal) / bin_width) * bin_width
    assert (surprise(rounded, ours, bin_width) > 1e-6) == (slope == 0 or width < 0.5)


@pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_draws_lie_on_the_grid_in_batches_of_any_shape(dtype: torch.dtype, full: bool) -> None:
    """And each of a batch is the draw that it would be alone."""
    ours, bin_width = mixture(5, 4, d=3, full=full).to(dtype), double([0.05, 0.3, 0.11]).to(dtype)
    uniform, normal = torch.rand(6, 5, 4).to(dtype), torch.randn(6, 5, 4, 3).to(dtype)
    drawn = ours.transform(uniform, normal, bin_width)
    assert drawn.shape == (6, 5, 4, 3)
    steps = drawn / bin_width
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-4)
    alone = ours[2, 3].transform(uniform[1, 2, 3], normal[1, 2, 3], bin_width)
    torch.testing.assert_close(alone, drawn[1, 2, 3])


def test_at_temperature_zero_a_draw_on_a_grid_is_chained_from_the_mean() -> None:
    """The first, 0.4, is rounded to 0; so the second is expected at 0.6 - 0.9 x 0.4 = 0.24, not at 0.6, and rounded
    to 0 as well."""
    ours = GaussianMixture(
        torch.zeros(1), torch.tensor([[0.4, 0.6]]), torch.zeros(1, 2), torch.tensor([[[0.0, 0], [0.9, 0]]])
    )
    drawn = ours.tempered(0).transform(torch.rand(9), torch.randn(9, 2), torch.ones(2))
    assert torch.equal(drawn, torch.zeros(9, 2))
