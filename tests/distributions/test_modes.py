"""Modes: they are the highest points of fine grids, the gradient there is zero, and they respect symmetry."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import Tensor

from mdnrnn.distributions import GaussianMixture

COVARIANCES = pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])


def random_mixture(
    *batch: int, k: int = 3, d: int = 2, full: bool = False, spread: float = 1.0, seed: int = 0
) -> GaussianMixture:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*batch, k, *shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return GaussianMixture(draw(), spread * draw(d), 0.7 * draw(d), draw(d, d) if full else None)


def make_mixture(weights: list[float], means: list[list[float]], scales: list[list[float]]) -> GaussianMixture:
    weight, mean, scale = (torch.tensor(part, dtype=torch.float64) for part in (weights, means, scales))
    return GaussianMixture(weight.log(), mean, scale.log())


def highest_log_prob_on_a_grid(mixture: GaussianMixture, side: int) -> Tensor:
    """Return the maximum on a grid of `side` points per dimension, from the means to one standard deviation beyond."""
    margin = mixture.variance.sqrt()
    low, high = mixture.means.amin(-2) - margin, mixture.means.amax(-2) + margin
    steps = torch.linspace(0, 1, side, dtype=torch.float64)
    unit = torch.cartesian_prod(*[steps] * mixture.event_shape[0]).view(-1, mixture.event_shape[0])
    grid = low + (high - low) * unit.view(len(unit), *(1 for _ in mixture.batch_shape), -1)
    return mixture.log_prob(grid).amax(0)


@COVARIANCES
@pytest.mark.parametrize("spread", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(("d", "batch", "side"), [(1, 20, 2001), (2, 8, 101), (3, 3, 25)], ids=["1-D", "2-D", "3-D"])
def test_no_point_of_a_fine_grid_is_higher_than_the_mode(
    d: int, batch: int, side: int, spread: float, full: bool
) -> None:
    for k in (2, 3, 8):
        mixture = random_mixture(batch, k=k, d=d, full=full, spread=spread, seed=k)
        assert (mixture.log_prob(mixture.mode) >= highest_log_prob_on_a_grid(mixture, side) - 1e-12).all()


@COVARIANCES
@pytest.mark.parametrize("d", [1, 2, 4])
def test_the_gradient_of_the_log_density_is_zero_at_the_mode(d: int, full: bool) -> None:
    """In units of the reciprocal of the smallest scale."""
    mixture = random_mixture(200, k=5, d=d, full=full)
    mode = mixture.mode.requires_grad_()
    (gradient,) = torch.autograd.grad(mixture.log_prob(mode).sum(), mode)
    assert float((gradient * mixture.log_scales.exp().amin(-2)).abs().max()) < 1e-7


@COVARIANCES
@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (2, 1, 3), (0,), (2, 0)], ids=str)
def test_the_mode_of_one_component_is_its_mean(batch: tuple[int, ...], full: bool) -> None:
    mixture = random_mixture(*batch, k=1, d=3, full=full)
    assert mixture.mode.shape == (*batch, 3)
    assert torch.equal(mixture.mode, mixture.means.squeeze(-2))


def test_modes_of_a_batch_equal_the_modes_of_its_elements() -> None:
    mixture = random_mixture(2, 3, k=4, full=True)
    modes = mixture.mode
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(modes[i, j], mixture[i, j].mode)


def test_the_mode_of_distant_components_is_the_mean_of_the_highest_density() -> None:
    """It is not the mean of the largest weight."""
    narrow = make_mixture([0.6, 0.4], [[-50, 0], [50, 7]], [[1, 1], [0.1, 0.2]])
    torch.testing.assert_close(narrow.mode, torch.tensor([50.0, 7.0]).double())
    wide = make_mixture([0.6, 0.4], [[-50, 0], [50, 7]], [[1, 1], [1, 0.9]])
    torch.testing.assert_close(wide.mode, torch.tensor([-50.0, 0.0]).double())


@pytest.mark.parametrize("half_distance", [0.2, 0.9, 0.999, 1.0])
def test_two_equal_components_at_most_two_scales_apart_have_one_mode_between(half_distance: float) -> None:
    """At a half distance of exactly one scale the maximum is flat to the third order: rounding allows 1e-3."""
    mixture = make_mixture([0.5, 0.5], [[-half_distance], [half_distance]], [[1], [1]])
    assert float(mixture.mode) == pytest.approx(0, abs=1e-6 if half_distance < 1 else 1e-3)


@pytest.mark.parametrize("half_distance", [1.05, 1.5, 3.0])
def test_two_equal_components_farther_apart_have_two_modes_between_their_means(half_distance: float) -> None:
    """At x = h tanh(h x), where the derivative of the log density of two normals of scale one is zero."""
    x = half_distance
    for _ in range(2000):
        x = half_distance * math.tanh(half_distance * x)
    mixture = make_mixture([0.5, 0.5], [[-half_distance], [half_distance]], [[1], [1]])
    assert abs(float(mixture.mode)) == pytest.approx(x, abs=1e-6)


@pytest.mark.parametrize("distance", [1.0, 5.0, 20.0])
def test_the_mode_of_two_crossing_elongated_components_is_their_crossing(distance: float) -> None:
    """One component along each axis, its mean at `distance`: both densities are high at the crossing only."""
    mixture = make_mixture([0.5, 0.5], [[distance, 0], [0, distance]], [[100, 0.1], [0.1, 100]])
    torch.testing.assert_close(mixture.mode, torch.zeros(2).double(), rtol=0, atol=0.01)


@COVARIANCES
def test_the_mode_of_an_affine_map_is_the_mapped_mode(full: bool) -> None:
    mixture = random_mixture(20, k=4, d=2, full=full, spread=2.0)
    shift, scale = torch.tensor([1e3, -2.0]).double(), torch.tensor([1e-3, 50.0]).double()
    torch.testing.assert_close(mixture.affine(shift, scale).mode, shift + scale * mixture.mode, rtol=1e-9, atol=1e-9)


@COVARIANCES
def test_components_of_weight_zero_do_not_change_the_mode(full: bool) -> None:
    mixture = random_mixture(5, k=3, full=full)
    logits = torch.cat([mixture.logits, torch.full((5, 1), -math.inf).double()], -1)
    slopes = None if mixture.slopes is None else torch.cat([mixture.slopes, mixture.slopes[:, :1]], 1)
    extended = GaussianMixture(
        logits,
        torch.cat([mixture.means, mixture.means[:, :1] + 0.3], 1),
        torch.cat([mixture.log_scales, mixture.log_scales[:, :1] - 9], 1),
        slopes,
    )
    torch.testing.assert_close(extended.mode, mixture.mode)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_modes_in_float32_are_accurate_at_any_scale(scale: float) -> None:
    mixture = random_mixture(20, k=4)
    factor = torch.full((2,), scale).double()
    mode = mixture.affine(torch.zeros(2).double(), factor).to(torch.float32).mode
    assert mode.dtype == torch.float32
    torch.testing.assert_close(mode.double() / scale, mixture.mode, rtol=1e-4, atol=1e-4)


def test_modes_have_no_gradient() -> None:
    mixture = random_mixture(3)
    leaves = GaussianMixture(mixture.logits.requires_grad_(), mixture.means.requires_grad_(), mixture.log_scales)
    assert not leaves.mode.requires_grad


def test_no_ascent_of_scipy_finds_a_higher_point() -> None:
    """From the midpoints of all pairs of means, for 20 mixtures in the plane with full covariances, in NumPy."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    mixture = GaussianMixture(draw(20, 5), draw(20, 5, 2), draw(20, 5, 2), draw(20, 5, 2, 2))
    log_prob = mixture.log_prob(mixture.mode)
    for i in range(20):
        weights, means = torch.softmax(mixture.logits[i], -1).numpy(), mixture.means[i].numpy()
        factor = mixture.scale_tril[i].numpy()
        whitening = np.linalg.inv(factor)
        peaks = weights / (2 * math.pi * np.abs(np.linalg.det(factor)))

        def negative_density(
            x: np.ndarray, peaks: np.ndarray = peaks, means: np.ndarray = means, whitening: np.ndarray = whitening
        ) -> float:
            z = np.einsum("kij,kj->ki", whitening, x - means)
            return -float(peaks @ np.exp(-0.5 * (z * z).sum(-1)))

        starts = [(means[a] + means[b]) / 2 for a in range(5) for b in range(a + 1)]
        best = min(optimize.minimize(negative_density, start, method="Nelder-Mead").fun for start in starts)
        assert float(log_prob[i]) >= math.log(-best) - 1e-6
