"""The toy problems: their entropies against other integrals, their points against the exact densities."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import integrate
from scipy.special import entr
from scipy.stats import norm

from mdnrnn.data.static import Points
from mdnrnn.data.toys import TOYS, Problem, Scale
from mdnrnn.errors import InputError

SCALED = ["spiral", "spiral-jitter"]


def wave(t: np.ndarray) -> np.ndarray:
    return 7 * np.sin(0.75 * t) + 0.5 * t


def normal(x: np.ndarray | float, mean: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    return np.exp(-0.5 * ((x - mean) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))


def gauss(low: float, high: float, panels: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes, ten in each panel, and weights that sum to 1."""
    node, weight = np.polynomial.legendre.leggauss(10)
    start = np.arange(panels)[:, None]
    return low + (high - low) * (start + (node + 1) / 2).ravel() / panels, np.tile(weight / 2 / panels, panels)


def spiral(problem: Problem) -> tuple[np.ndarray, float, np.ndarray]:
    """The noisy spiral in its scale: points of the curve (M, 2), the noise and the weights (M,)."""
    t, weight = gauss(0, 4 * np.pi, 100)
    low, high = problem.scale.low[0, 0], problem.scale.high[0, 0]
    curve = t[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1)
    return 5 * (curve - low) / (high - low), 5 * 0.2 / (high - low), weight


def boxes(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corners (M, 2) of the boxes that make up the jittered spirals."""
    u = np.arange(1000) / 1000
    steps = 5 * u[:, None] * np.stack([np.cos(4 * np.pi * u), np.sin(4 * np.pi * u)], axis=1)
    spans = zip(problem.scale.low, problem.scale.high, strict=True)
    corners = np.array([[steps - 0.1 - low, steps + 0.1 - low] / (high - low) for low, high in spans])
    low, high = 10 * corners.swapaxes(0, 1).reshape(2, -1, 2) - 5
    return low, high


def log_density(problem: Problem, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """log p(y|x) of points x (N, 1) and y (N, D), shape (N,), from the problem's definition."""
    match problem.toy.name:
        case "forward-sine":
            return norm.logpdf(y[:, 0], wave(x[:, 0]))
        case "spiral-2d":
            curve = np.concatenate([wave(x), 6.5 * np.cos(0.8 * x) + 0.5 * x], axis=1)
            return norm.logpdf(y, curve).sum(axis=1)
        case "sine" | "arcsine":
            t, weight = gauss(-10.5, 10.5, 30)
            return norm.logpdf(x, wave(y))[:, 0] - np.log(21 * (normal(x, wave(t)) * weight).sum(axis=1))
        case "spiral":
            curve, sigma, weight = spiral(problem)
            along = normal(x, curve[:, 0], sigma) * weight
            both = along * normal(y, curve[:, 1], sigma)
            return np.log(both.sum(axis=1)) - np.log(along.sum(axis=1))
    low, high = boxes(problem)
    inside = ((low[:, 0] < x) & (x < high[:, 0])) / (high - low)[:, 0]
    both = inside * ((low[:, 1] < y) & (y < high[:, 1])) / (high - low)[:, 1]
    return np.log(both.sum(axis=1)) - np.log(inside.sum(axis=1))


@pytest.mark.parametrize(
    ("name", "floor"), [("sine", 1.2880), ("arcsine", 1.2880), ("forward-sine", 1.4189), ("spiral-2d", 2.8379)]
)
def test_the_floor_is_the_known_one(name: str, floor: float) -> None:
    assert TOYS[name].problem(n=1, seed=5).entropy() == pytest.approx(floor, abs=1e-4)


@pytest.mark.parametrize(("name", "floor"), [("spiral", -0.387), ("spiral-jitter", 0.207)])
def test_the_known_floor_of_a_scaled_problem_is_one_that_is_drawn(name: str, floor: float) -> None:
    drawn = [TOYS[name].problem(seed=seed).entropy() for seed in range(6)]
    assert min(drawn) < floor < max(drawn)
    assert drawn == pytest.approx([floor] * 6, abs=0.03)


@pytest.mark.parametrize("name", ["sine", *SCALED])
def test_a_finer_grid_changes_no_entropy(name: str) -> None:
    problem = TOYS[name].problem(n=3000)
    assert problem.toy._floor(problem.scale, 3) == pytest.approx(problem.entropy(), abs=2e-4)


def test_the_inverse_sine_agrees_with_adaptive_integration() -> None:
    t, weight = gauss(-10.5, 10.5, 30)

    def surprise(x: float) -> float:
        density = float(normal(x, wave(t)) @ weight)
        return -density * float(np.log(density))

    entropy_of_x = integrate.quad(surprise, -20, 20, limit=500)[0]
    expected = np.log(21) + norm.entropy() - entropy_of_x
    assert TOYS["sine"].problem(1).entropy() == pytest.approx(expected, abs=1e-5)


def test_the_noisy_spiral_agrees_with_the_chain_rule() -> None:
    problem = TOYS["spiral"].problem()
    curve, sigma, weight = spiral(problem)
    axis = np.linspace(-0.5, 5.5, 501)
    a, b = (normal(axis[:, None], curve[:, i], sigma) for i in (0, 1))
    of_both = integrate.simpson(integrate.simpson(entr((a * weight) @ b.T), x=axis), x=axis)
    of_x = integrate.simpson(entr(a @ weight), x=axis)
    assert problem.entropy() == pytest.approx(of_both - of_x, abs=1e-4)


def test_one_jittered_spiral_agrees_with_the_exact_arrangement_of_its_boxes() -> None:
    """The edges of all boxes cut the plane into cells of constant density: the sum over them has no error."""
    problem = TOYS["spiral-jitter"].problem(1000, seed=2)
    low, high = boxes(problem)
    edges = [np.unique([low[:, i], high[:, i]]) for i in (0, 1)]
    a, b = (
        ((low[:, i] <= edges[i][:-1, None]) & (edges[i][:-1, None] < high[:, i])).astype(np.float32) for i in (0, 1)
    )
    box = (high - low)[0]  # one scale: all boxes are equal
    of_both = np.diff(edges[0]) @ entr(a @ b.T / len(low) / box.prod()) @ np.diff(edges[1])
    of_x = np.diff(edges[0]) @ entr(a.mean(axis=1) / box[0])
    assert problem.entropy() == pytest.approx(of_both - of_x, abs=4e-4)


@pytest.mark.parametrize("which", ["the training points", "fresh points"])
@pytest.mark.parametrize("name", TOYS)
def test_the_exact_density_scores_the_entropy_on(name: str, which: str) -> None:
    """Within 4.5 standard errors, 0.005 to 0.02 each: seven in a million draws of each case fail by chance."""
    problem = TOYS[name].problem(1500, seed=3)
    points = problem.points if which == "the training points" else problem.fresh(4000 if name in SCALED else 20_000)
    x, y = (column.double().numpy() for column in points)
    score = np.concatenate(
        [-log_density(problem, x[i : i + 500], y[i : i + 500]) for i in range(0, len(x), 500)]  # little memory
    )
    assert abs(score.mean() - problem.entropy()) < 4.5 * score.std() / np.sqrt(len(score))


@pytest.mark.parametrize("name", SCALED)
def test_a_target_half_as_large_has_log_2_less_and_an_input_half_as_large_no_less(name: str) -> None:
    problem = TOYS[name].problem(2000)
    for stretch, shift in (([1, 2], -np.log(2)), ([2, 1], 0)):
        low, high = problem.scale
        halved = replace(problem, scale=Scale(low, low + (high - low) * stretch))
        assert halved.entropy() == pytest.approx(problem.entropy() + shift, abs=1e-4)


def test_the_noisy_spiral_fills_its_box_over_both_columns() -> None:
    x, y = TOYS["spiral"].problem().points
    assert x.max() == 5
    assert y.min() == 0
    assert x.min() > 0
    assert y.max() < 5


def test_each_jittered_spiral_fills_its_box_in_each_column() -> None:
    for column in TOYS["spiral-jitter"].problem().points:
        assert column.abs().max() == 5
        assert (column == -5).sum() == (column == 5).sum() == 10


def test_jittered_points_lie_evenly_along_their_spirals() -> None:
    """The mean of u, uniform on 0 to 0.999, within 4.5 standard errors: seven in a million draws fail by chance."""
    problem = TOYS["spiral-jitter"].problem(1500)
    low, high = (np.mean(side, axis=0) for side in problem.scale)
    for points in (problem.points, problem.fresh(8000)):
        u = np.hypot(*((torch.cat(points, dim=1).numpy() + 5) / 10 * (high - low) + low).T) / 5
        assert abs(u.mean() - 0.4995) < 4.5 * np.sqrt(1 / 12 / len(u))


@pytest.mark.parametrize("name", SCALED)
def test_fresh_points_are_not_scaled_anew(name: str) -> None:
    problem = TOYS[name].problem()
    low, high = (-5, 5) if name == "spiral-jitter" else (0, 5)
    both = torch.cat(problem.fresh(40), dim=1)
    assert both.min() != low
    assert both.max() != high


@pytest.mark.parametrize("name", TOYS)
def test_a_seed_decides_all_points_and_no_two_seeds_share_one(name: str) -> None:
    def drawn(seed: int) -> tuple[Points, Points]:
        problem = TOYS[name].problem(500, seed)
        return problem.points, problem.fresh(500, seed)

    once, again, other = drawn(1), drawn(1), drawn(2)
    for first, second in zip(once, again, strict=True):
        assert first.x.equal(second.x)
        assert first.y.equal(second.y)
    sets = [points.y[:, 0].tolist() for points in (*once, *other)]
    assert len(set().union(*sets)) > 1950  # of 2000; a few agree by the grid of float32


@pytest.mark.parametrize(("name", "size"), [(toy.name, toy.size) for toy in TOYS.values()])
def test_as_many_points_as_published_or_asked_for(name: str, size: int) -> None:
    targets = 2 if name == "spiral-2d" else 1
    problem = TOYS[name].problem()
    for points, n in ((problem.points, size), (TOYS[name].problem(1234).points, 1234), (problem.fresh(7), 7)):
        assert points.x.shape == (n, 1)
        assert points.y.shape == (n, targets)


def test_bad_numbers_are_refused() -> None:
    for n in (0, -3):
        with pytest.raises(InputError, match=f"{n} points were asked for; expected 1 or more"):
            TOYS["sine"].problem(n)
        with pytest.raises(InputError, match=f"{n} points were asked for; expected 1 or more"):
            TOYS["sine"].problem().fresh(n)
    with pytest.raises(InputError, match="the seed is -1; expected 0 or more"):
        TOYS["sine"].problem(seed=-1)
