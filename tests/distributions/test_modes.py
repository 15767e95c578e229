"""Modes: no point of a fine grid is higher, the gradient there is none, and where symmetry says, they are there."""

import math

import pytest
import torch
from scipy import optimize
from torch import Tensor

from mdnrnn.distributions import GaussianMixture

KINDS = pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])


def mixture(
    *batch: int, k: int = 3, d: int = 2, full: bool = False, spread: float = 1.0, seed: int = 0
) -> GaussianMixture:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*batch, k, *shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return GaussianMixture(draw(), spread * draw(d), 0.7 * draw(d), draw(d, d) if full else None)


def of(weights: list[float], means: list[list[float]], scales: list[list[float]]) -> GaussianMixture:
    weight, mean, scale = (torch.tensor(part, dtype=torch.float64) for part in (weights, means, scales))
    return GaussianMixture(weight.log(), mean, scale.log())


def highest_of_a_grid(ours: GaussianMixture, side: int) -> Tensor:
    """The greatest log density on a grid of `side` points a dimension, over all the means and a scale beyond."""
    beyond = ours.variance.sqrt()
    low, high = ours.means.amin(-2) - beyond, ours.means.amax(-2) + beyond
    steps = torch.linspace(0, 1, side, dtype=torch.float64)
    unit = torch.cartesian_prod(*[steps] * ours.event_shape[0]).view(-1, ours.event_shape[0])
    grid = low + (high - low) * unit.view(len(unit), *(1 for _ in ours.batch_shape), -1)
    return ours.log_prob(grid).amax(0)


@KINDS
@pytest.mark.parametrize("spread", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(("d", "batch", "side"), [(1, 50, 5001), (2, 20, 151), (3, 5, 31)], ids=["1-D", "2-D", "3-D"])
def test_no_point_of_a_fine_grid_is_higher(d: int, batch: int, side: int, spread: float, full: bool) -> None:
    for k in (2, 3, 8):
        ours = mixture(batch, k=k, d=d, full=full, spread=spread, seed=k)
        assert (ours.log_prob(ours.mode) >= highest_of_a_grid(ours, side) - 1e-12).all()


@KINDS
@pytest.mark.parametrize("d", [1, 2, 4])
def test_the_density_is_level_at_the_mode(d: int, full: bool) -> None:
    """Its gradient over the density, in units of one over the least scale."""
    ours = mixture(200, k=5, d=d, full=full)
    mode = ours.mode.requires_grad_()
    (slope,) = torch.autograd.grad(ours.log_prob(mode).sum(), mode)
    assert float((slope * ours.log_scales.exp().amin(-2)).abs().max()) < 1e-7


@KINDS
@pytest.mark.parametrize("batch", [(), (4,), (2, 3), (2, 1, 3), (0,), (2, 0)], ids=str)
def test_the_mode_of_one_component_is_its_mean_for_any_batch(batch: tuple[int, ...], full: bool) -> None:
    ours = mixture(*batch, k=1, d=3, full=full)
    assert ours.mode.shape == (*batch, 3)
    assert torch.equal(ours.mode, ours.means.squeeze(-2))


def test_modes_of_a_batch_are_those_of_each() -> None:
    ours = mixture(2, 3, k=4, full=True)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(ours.mode[i, j], ours[i, j].mode)


def test_far_apart_the_mode_is_the_mean_of_the_highest_not_of_the_heaviest() -> None:
    ours = of([0.6, 0.4], [[-50, 0], [50, 7]], [[1, 1], [0.1, 0.2]])
    torch.testing.assert_close(ours.mode, torch.tensor([50.0, 7.0]).double())
    heavier = of([0.6, 0.4], [[-50, 0], [50, 7]], [[1, 1], [1, 0.9]])
    torch.testing.assert_close(heavier.mode, torch.tensor([-50.0, 0.0]).double())


@pytest.mark.parametrize("half", [0.2, 0.9, 0.999, 1.0])
def test_two_alike_within_two_scales_have_their_mode_between(half: float) -> None:
    """At half the distance of one scale exactly, the top is flat to the third order: 1e-3 is what digits decide."""
    ours = of([0.5, 0.5], [[-half], [half]], [[1], [1]])
    assert float(ours.mode) == pytest.approx(0, abs=1e-6 if half < 1 else 1e-3)


@pytest.mark.parametrize("half", [1.05, 1.5, 3.0])
def test_two_alike_further_apart_have_two_modes_nearer_than_their_means(half: float) -> None:
    """Where x = half tanh(half x): the derivative of the log density of two normals of scale one."""
    x = half
    for _ in range(2000):
        x = half * math.tanh(half * x)
    ours = of([0.5, 0.5], [[-half], [half]], [[1], [1]])
    assert abs(float(ours.mode)) == pytest.approx(x, abs=1e-6)


@pytest.mark.parametrize("far", [1.0, 5.0, 20.0])
def test_two_ridges_that_cross_are_highest_where_they_cross(far: float) -> None:
    """A needle along each axis, its mean `far` down it: at the crossing both count, at a mean the other does not."""
    ours = of([0.5, 0.5], [[far, 0], [0, far]], [[100, 0.1], [0.1, 100]])
    torch.testing.assert_close(ours.mode, torch.zeros(2).double(), rtol=0, atol=0.01)


@KINDS
def test_a_mode_moves_with_the_points(full: bool) -> None:
    ours = mixture(20, k=4, d=2, full=full, spread=2.0)
    shift, scale = torch.tensor([1e3, -2.0]).double(), torch.tensor([1e-3, 50.0]).double()
    torch.testing.assert_close(ours.affine(shift, scale).mode, shift + scale * ours.mode, rtol=1e-9, atol=1e-9)


@KINDS
def test_components_of_no_weight_do_not_count(full: bool) -> None:
    ours = mixture(5, k=3, full=full)
    logits = torch.cat([ours.logits, torch.full((5, 1), -math.inf).double()], -1)
    slopes = None if ours.slopes is None else torch.cat([ours.slopes, ours.slopes[:, :1]], 1)
    more = GaussianMixture(
        logits,
        torch.cat([ours.means, ours.means[:, :1] + 0.3], 1),
        torch.cat([ours.log_scales, ours.log_scales[:, :1] - 9], 1),
        slopes,
    )
    torch.testing.assert_close(more.mode, ours.mode)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_modes_are_found_at_any_scale_in_single_precision(scale: float) -> None:
    ours = mixture(20, k=4)
    factor = torch.full((2,), scale).double()
    found = ours.affine(torch.zeros(2).double(), factor).to(torch.float32).mode
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double() / scale, ours.mode, rtol=1e-4, atol=1e-4)


def test_a_mode_is_a_number_without_gradients() -> None:
    ours = mixture(3)
    learned = GaussianMixture(ours.logits.requires_grad_(), ours.means.requires_grad_(), ours.log_scales)
    assert not learned.mode.requires_grad


def test_random_mixtures_in_the_plane_have_no_higher_point_than_their_mode() -> None:
    """Against ascents from every point where two components meet, by SciPy: 60 mixtures of uneven scales."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    ours = GaussianMixture(draw(60, 5), draw(60, 5, 2), draw(60, 5, 2), draw(60, 5, 2, 2))
    found = ours.log_prob(ours.mode)
    for i in range(60):
        one = ours[i]
        height = lambda x, one=one: -float(one.log_prob(torch.from_numpy(x)))  # noqa: E731
        middles = [(one.means[a] + one.means[b]).numpy() / 2 for a in range(5) for b in range(a + 1)]
        best = min(optimize.minimize(height, start, method="Nelder-Mead").fun for start in middles)
        assert -float(found[i]) <= best + 1e-6
