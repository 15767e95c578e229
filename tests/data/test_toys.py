"""Tests of toy datasets: entropies against other integrals, points against the exact densities."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import integrate
from scipy.special import entr
from scipy.stats import norm

from mdnrnn.data.static import Points
from mdnrnn.data.toys import TOYS, Scale, ToyDataset
from mdnrnn.errors import InputError

SCALED = ["spiral", "spiral-jitter"]


def wave(t: np.ndarray) -> np.ndarray:
    return 7 * np.sin(0.75 * t) + 0.5 * t


def normal(x: np.ndarray | float, mean: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    return np.exp(-0.5 * ((x - mean) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))


def gauss_legendre(low: float, high: float, panels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return Gauss-Legendre nodes, ten per panel, and weights with the sum 1."""
    node, weight = np.polynomial.legendre.leggauss(10)
    start = np.arange(panels)[:, None]
    return low + (high - low) * (start + (node + 1) / 2).ravel() / panels, np.tile(weight / 2 / panels, panels)


def spiral(dataset: ToyDataset) -> tuple[np.ndarray, float, np.ndarray]:
    """Return the noisy spiral in its scale: points of the curve (M, 2), the noise and the weights (M,)."""
    t, weight = gauss_legendre(0, 4 * np.pi, 100)
    low, high = dataset.scale.low[0, 0], dataset.scale.high[0, 0]
    curve = t[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1)
    return 5 * (curve - low) / (high - low), 5 * 0.2 / (high - low), weight


def boxes(dataset: ToyDataset) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper corners (M, 2) of the boxes of the jittered spirals."""
    u = np.arange(1000) / 1000
    steps = 5 * u[:, None] * np.stack([np.cos(4 * np.pi * u), np.sin(4 * np.pi * u)], axis=1)
    spans = zip(dataset.scale.low, dataset.scale.high, strict=True)
    corners = np.array([[steps - 0.1 - low, steps + 0.1 - low] / (high - low) for low, high in spans])
    low, high = 10 * corners.swapaxes(0, 1).reshape(2, -1, 2) - 5
    return low, high


def log_density(dataset: ToyDataset, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return log p(y|x) of points x (N, 1) and y (N, D), shape (N,), from the definition of the problem."""
    match dataset.toy.name:
        case "forward-sine":
            return norm.logpdf(y[:, 0], wave(x[:, 0]))
        case "spiral-2d":
            curve = np.concatenate([wave(x), 6.5 * np.cos(0.8 * x) + 0.5 * x], axis=1)
            return norm.logpdf(y, curve).sum(axis=1)
        case "sine" | "arcsine":
            t, weight = gauss_legendre(-10.5, 10.5, 30)
            return norm.logpdf(x, wave(y))[:, 0] - np.log(21 * (normal(x, wave(t)) * weight).sum(axis=1))
        case "spiral":
            curve, sigma, weight = spiral(dataset)
            marginal = normal(x, curve[:, 0], sigma) * weight
            joint = marginal * normal(y, curve[:, 1], sigma)
            return np.log(joint.sum(axis=1)) - np.log(marginal.sum(axis=1))
    low, high = boxes(dataset)
    inside = ((low[:, 0] < x) & (x < high[:, 0])) / (high - low)[:, 0]
    joint = inside * ((low[:, 1] < y) & (y < high[:, 1])) / (high - low)[:, 1]
    return np.log(joint.sum(axis=1)) - np.log(inside.sum(axis=1))


@pytest.mark.parametrize(
    ("name", "entropy"), [("sine", 1.2880), ("arcsine", 1.2880), ("forward-sine", 1.4189), ("spiral-2d", 2.8379)]
)
def test_entropy_has_the_known_value(name: str, entropy: float) -> None:
    assert TOYS[name].make_dataset(n=1, seed=5).entropy() == pytest.approx(entropy, abs=1e-4)


@pytest.mark.parametrize(("name", "entropy"), [("spiral", -0.387), ("spiral-jitter", 0.207)])
def test_entropies_of_scaled_datasets_vary_around_the_known_value(name: str, entropy: float) -> None:
    entropies = [TOYS[name].make_dataset(seed=seed).entropy() for seed in (0, 3, 4)]
    assert min(entropies) < entropy < max(entropies)
    assert entropies == pytest.approx([entropy] * 3, abs=0.03)


@pytest.mark.parametrize("name", ["sine", *SCALED])
def test_entropy_does_not_depend_on_the_grid(name: str) -> None:
    dataset = TOYS[name].make_dataset(n=2000)
    assert dataset.toy._entropy(dataset.scale, 2) == pytest.approx(dataset.entropy(), abs=2e-4)


def test_entropy_of_the_inverse_sine_equals_an_adaptive_integral() -> None:
    t, weight = gauss_legendre(-10.5, 10.5, 30)

    def integrand(x: float) -> float:
        density = float(normal(x, wave(t)) @ weight)
        return -density * float(np.log(density))

    entropy_of_x = integrate.quad(integrand, -20, 20, limit=500)[0]
    expected = np.log(21) + norm.entropy() - entropy_of_x
    assert TOYS["sine"].make_dataset(1).entropy() == pytest.approx(expected, abs=1e-5)


def test_entropy_of_the_noisy_spiral_follows_the_chain_rule() -> None:
    dataset = TOYS["spiral"].make_dataset()
    curve, sigma, weight = spiral(dataset)
    axis = np.linspace(-0.5, 5.5, 501)
    a, b = (normal(axis[:, None], curve[:, i], sigma) for i in (0, 1))
    joint_entropy = integrate.simpson(integrate.simpson(entr((a * weight) @ b.T), x=axis), x=axis)
    x_entropy = integrate.simpson(entr(a @ weight), x=axis)
    assert dataset.entropy() == pytest.approx(joint_entropy - x_entropy, abs=1e-4)


def test_entropy_of_a_jittered_spiral_equals_the_exact_sum_over_its_boxes() -> None:
    """The edges of all boxes divide the plane into rectangles of constant density, so that the sum is exact."""
    dataset = TOYS["spiral-jitter"].make_dataset(1000, seed=2)
    low, high = boxes(dataset)
    edges = [np.unique([low[:, i], high[:, i]]) for i in (0, 1)]
    a, b = (
        ((low[:, i] <= edges[i][:-1, None]) & (edges[i][:-1, None] < high[:, i])).astype(np.float32) for i in (0, 1)
    )
    box = (high - low)[0]  # one scale: all boxes are equal
    joint_entropy = np.diff(edges[0]) @ entr(a @ b.T / len(low) / box.prod()) @ np.diff(edges[1])
    x_entropy = np.diff(edges[0]) @ entr(a.mean(axis=1) / box[0])
    assert dataset.entropy() == pytest.approx(joint_entropy - x_entropy, abs=4e-4)


@pytest.mark.parametrize("points", ["training", "new"])
@pytest.mark.parametrize("name", TOYS)
def test_mean_nll_of_the_exact_density_equals_the_entropy(name: str, points: str) -> None:
    """Within 4.5 standard errors of 0.005 to 0.02: false-failure probability 7e-6 per case (fixed seed)."""
    dataset = TOYS[name].make_dataset(1500, seed=3)
    sample = dataset.points if points == "training" else dataset.sample(4000 if name in SCALED else 20_000)
    x, y = (column.double().numpy() for column in sample)
    blocks = [slice(i, i + 500) for i in range(0, len(x), 500)]  # limits the memory
    nll = np.concatenate([-log_density(dataset, x[block], y[block]) for block in blocks])
    assert abs(nll.mean() - dataset.entropy()) < 4.5 * nll.std() / np.sqrt(len(nll))


@pytest.mark.parametrize("name", SCALED)
def test_halving_the_target_lowers_the_entropy_by_log_2_and_halving_the_input_does_not(name: str) -> None:
    dataset = TOYS[name].make_dataset(2000)
    entropy = dataset.entropy()
    for stretch, shift in (([1, 2], -np.log(2)), ([2, 1], 0)):
        low, high = dataset.scale
        halved = replace(dataset, scale=Scale(low, low + (high - low) * stretch))
        assert halved.entropy() == pytest.approx(entropy + shift, abs=1e-4)


def test_noisy_spiral_fills_its_box_over_both_columns() -> None:
    x, y = TOYS["spiral"].make_dataset().points
    assert x.max() == 5
    assert y.min() == 0
    assert x.min() > 0
    assert y.max() < 5


def test_jittered_spirals_fill_their_box_in_each_column() -> None:
    for column in TOYS["spiral-jitter"].make_dataset().points:
        assert column.abs().max() == 5
        assert (column == -5).sum() == (column == 5).sum() == 10


def test_jittered_points_are_uniform_along_their_spirals() -> None:
    """Mean of u, uniform on 0 to 0.999, within 4.5 standard errors: false-failure probability 7e-6 (fixed seed)."""
    dataset = TOYS["spiral-jitter"].make_dataset(1500)
    low, high = (np.mean(side, axis=0) for side in dataset.scale)
    for points in (dataset.points, dataset.sample(8000)):
        u = np.hypot(*((torch.cat(points, dim=1).numpy() + 5) / 10 * (high - low) + low).T) / 5
        assert abs(u.mean() - 0.4995) < 4.5 * np.sqrt(1 / 12 / len(u))


@pytest.mark.parametrize("name", SCALED)
def test_new_points_have_the_scale_of_the_training_points(name: str) -> None:
    dataset = TOYS[name].make_dataset()
    low, high = (-5, 5) if name == "spiral-jitter" else (0, 5)
    columns = torch.cat(dataset.sample(40), dim=1)
    assert columns.min() != low
    assert columns.max() != high


@pytest.mark.parametrize("name", TOYS)
def test_points_depend_on_the_seed_and_differ_between_seeds(name: str) -> None:
    def draw(seed: int) -> tuple[Points, Points]:
        dataset = TOYS[name].make_dataset(500, seed)
        return dataset.points, dataset.sample(500, seed)

    first, again, other = draw(1), draw(1), draw(2)
    for expected, actual in zip(first, again, strict=True):
        assert expected.x.equal(actual.x)
        assert expected.y.equal(actual.y)
    sets = [points.y[:, 0].tolist() for points in (*first, *other)]
    assert len(set().union(*sets)) > 1950  # of 2000; some values coincide in float32


@pytest.mark.parametrize(("name", "size"), [(toy.name, toy.size) for toy in TOYS.values()])
def test_number_of_points_is_the_published_or_given_one(name: str, size: int) -> None:
    targets = 2 if name == "spiral-2d" else 1
    dataset = TOYS[name].make_dataset()
    for points, n in ((dataset.points, size), (TOYS[name].make_dataset(1234).points, 1234), (dataset.sample(7), 7)):
        assert points.x.shape == (n, 1)
        assert points.y.shape == (n, targets)


def test_invalid_sizes_and_seeds_raise() -> None:
    for n in (0, -3):
        with pytest.raises(InputError, match=f"n: received {n} points, expected 1 or more"):
            TOYS["sine"].make_dataset(n)
        with pytest.raises(InputError, match=f"n: received {n} points, expected 1 or more"):
            TOYS["sine"].make_dataset().sample(n)
    with pytest.raises(InputError, match="seed: received -1, expected 0 or more"):
        TOYS["sine"].make_dataset(seed=-1)
