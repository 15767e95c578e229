"""The mixture against closed forms, PyTorch's own, SciPy and numerical integrals."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from mdnrnn.distributions import GaussianMixture

INF = math.inf


def mixture(logits: list[float], means: list[list[float]], scales: list[list[float]]) -> GaussianMixture:
    return GaussianMixture(
        torch.tensor(logits, dtype=torch.float32),
        torch.tensor(means, dtype=torch.float32),
        torch.log(torch.tensor(scales, dtype=torch.float64)).float(),
    )


def random_mixture(
    *batch: int, components: int = 4, features: int = 2, seed: int = 0, dtype: torch.dtype = torch.float64
) -> GaussianMixture:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=dtype)  # noqa: E731
    return GaussianMixture(
        draw(*batch, components),
        draw(*batch, components, features),
        0.5 * draw(*batch, components, features) - 0.5,
    )


PUBLISHED = {
    "standard normal at its mean": (mixture([0], [[0]], [[1]]), [0.0], 0.918939),
    "one sigma away": (mixture([0], [[0]], [[1]]), [1.0], 1.418939),
    "sigma 2": (mixture([0], [[0]], [[2]]), [0.0], 1.612086),
    "two away": (mixture([0], [[3]], [[1]]), [5.0], 2.918939),
    "two dimensions": (mixture([0], [[0.5, 0.5]], [[1, 2]]), [1.0, -1.0], 2.937274),
    "midway between two": (mixture([0, 0], [[0], [4]], [[1], [1]]), [2.0], 2.918939),
    "unequal weights": (mixture([1, 0], [[0], [10]], [[1], [1]]), [0.0], 1.232200),
    "three identical are one": (mixture([0, 0, 0], [[2], [2], [2]], [[1.5], [1.5], [1.5]]), [3.0], 1.546626),
}


@pytest.mark.parametrize("case", PUBLISHED.values(), ids=PUBLISHED.keys())
def test_the_known_values_come_out(case: tuple[GaussianMixture, list[float], float]) -> None:
    distribution, point, expected = case
    assert -float(distribution.log_prob(torch.tensor(point))) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("logit", [-100.0, -1e4, 0.0, 100.0, 1e4])
def test_the_logit_of_a_single_component_does_not_matter(logit: float) -> None:
    assert float(mixture([logit], [[0]], [[1]]).log_prob(torch.zeros(1))) == pytest.approx(-0.918939, abs=1e-6)


@pytest.mark.parametrize(
    ("logits", "scale", "point"),
    [([0, 0, 0], 1e-6, 0.0), ([0, 0, 0], 1e4, 0.0), ([100, -100, -100], 1.0, 0.0), ([0, 0, 0], 1.0, 1000.0)],
    ids=["tiny sigma", "huge sigma", "extreme weights", "1000 off"],
)
def test_likelihood_and_gradient_are_finite_at_the_corners(logits: list[float], scale: float, point: float) -> None:
    raw = [torch.tensor(logits, dtype=torch.float32, requires_grad=True)]
    raw.append(torch.tensor([[0.0], [1.0], [2.0]], requires_grad=True))
    raw.append(torch.full((3, 1), math.log(scale), requires_grad=True))
    value = GaussianMixture(raw[0], raw[1], raw[2]).log_prob(torch.tensor([point]))
    value.backward()
    assert torch.isfinite(value)
    assert all(torch.isfinite(part.grad).all() for part in raw if part.grad is not None)


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)], ids=str)
@pytest.mark.parametrize("features", [1, 2, 5])
def test_density_is_that_of_mixture_same_family(batch: tuple[int, ...], features: int) -> None:
    ours = random_mixture(*batch, features=features)
    theirs = MixtureSameFamily(
        Categorical(logits=ours.logits), Independent(Normal(ours.means, ours.log_scales.exp()), 1)
    )
    points = torch.randn(7, *batch, features, dtype=torch.float64)
    torch.testing.assert_close(ours.log_prob(points), theirs.log_prob(points))
    torch.testing.assert_close(ours.mean, theirs.mean)
    torch.testing.assert_close(ours.variance, theirs.variance)


def test_density_integrates_to_one() -> None:
    distribution = random_mixture(seed=3)
    axis = torch.linspace(-12, 12, 1601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    total = distribution.log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2
    assert float(total) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("width", [0.03, 0.5, 3.0])
def test_cells_that_tile_the_plane_share_a_probability_of_one(width: float) -> None:
    distribution = random_mixture(seed=4)
    axis = torch.arange(-12, 12 + width, width, dtype=torch.float64)
    bin_widths = distribution.discretized_log_prob(
        torch.cartesian_prod(axis, axis), torch.full((2,), width, dtype=torch.float64)
    )
    assert float(bin_widths.exp().sum()) == pytest.approx(1, abs=1e-6)


def test_narrow_cells_are_density_times_area() -> None:
    distribution, points = random_mixture(6, seed=5), torch.randn(6, 2, dtype=torch.float64)
    width = torch.tensor([1e-3, 2e-3], dtype=torch.float64)
    expected = distribution.log_prob(points) + width.log().sum()
    torch.testing.assert_close(distribution.discretized_log_prob(points, width), expected, rtol=1e-5, atol=1e-5)


def test_sample_moments_match() -> None:
    """200,000 draws: bounds of 5 standard errors, all eight pass wrongly failing with probability below 1e-5."""
    distribution = random_mixture(2, seed=6)
    draws = distribution.sample((200_000,), generator=torch.Generator().manual_seed(0))
    error = distribution.variance.sqrt() / math.sqrt(len(draws))
    assert ((draws.mean(0) - distribution.mean).abs() < 5 * error).all()
    fourth = (draws - distribution.mean).pow(4).mean(0)
    error = (fourth - distribution.variance**2).clamp_min(0).sqrt() / math.sqrt(len(draws))
    assert ((draws.var(0) - distribution.variance).abs() < 5 * error).all()


def test_samples_are_the_same_for_the_same_generator() -> None:
    distribution = random_mixture(3)
    first = distribution.sample((4,), generator=torch.Generator().manual_seed(7))
    assert first.shape == (4, 3, 2)
    assert torch.equal(first, distribution.sample((4,), generator=torch.Generator().manual_seed(7)))
    assert not torch.equal(first, distribution.sample((4,), generator=torch.Generator().manual_seed(8)))


def test_every_uniform_number_picks_a_component() -> None:
    distribution = random_mixture(dtype=torch.float32)
    uniform = torch.tensor([0.0, 0.5, 1 - 2**-24])
    picked = distribution.transform(uniform, torch.zeros(3, 2))
    assert all(any(torch.equal(point, mean) for mean in distribution.means) for point in picked)


def test_temperature_divides_logits_and_multiplies_variances() -> None:
    cold = mixture([2, 0], [[0], [1]], [[2], [4]]).tempered(0.25)
    torch.testing.assert_close(cold.logits, torch.tensor([8.0, 0.0]))
    torch.testing.assert_close(cold.log_scales.exp(), torch.tensor([[1.0], [2.0]]))
    torch.testing.assert_close(mixture([2, 0], [[0], [1]], [[2], [4]]).tempered(2, 0.25).log_scales, cold.log_scales)


def test_temperature_one_changes_nothing_and_temperatures_compose() -> None:
    distribution, points = random_mixture(seed=8), torch.randn(9, 2, dtype=torch.float64)
    torch.testing.assert_close(distribution.tempered(1).log_prob(points), distribution.log_prob(points))
    twice, once = distribution.tempered(0.5).tempered(0.6), distribution.tempered(0.3)
    torch.testing.assert_close(twice.log_prob(points), once.log_prob(points))


def test_temperature_zero_is_the_mean_of_the_most_probable_component() -> None:
    distribution = mixture([0, 3, 1], [[0, 0], [1, 2], [3, 4]], [[1, 1], [1, 1], [1, 1]])
    assert torch.equal(distribution.tempered(0).sample((50,)), torch.tensor([1.0, 2.0]).expand(50, 2))
    nearly = distribution.tempered(1e-6).sample((50,), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(nearly, torch.tensor([1.0, 2.0]).expand(50, 2), rtol=0, atol=0.01)


def test_a_temperature_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"temperature of -1 was received; expected 0 or more"):
        random_mixture().tempered(-1)


def test_bias_is_that_of_graves() -> None:
    biased = mixture([2, 0], [[0], [1]], [[2], [4]]).biased(0.5)
    torch.testing.assert_close(biased.logits, torch.tensor([3.0, 0.0]))
    torch.testing.assert_close(biased.log_scales.exp(), torch.tensor([[2.0], [4.0]]) * math.exp(-0.5))


def test_half_precision_parameters_give_a_float32_likelihood() -> None:
    wide = random_mixture(3, dtype=torch.float32)
    parts = [part.bfloat16() for part in (wide.logits, wide.means, wide.log_scales)]
    assert GaussianMixture(parts[0], parts[1], parts[2]).log_prob(torch.zeros(3, 2)).dtype == torch.float32


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"means: received shape \(4, 2\), expected \(3, D\)"):
        GaussianMixture(torch.zeros(3), torch.zeros(4, 2), torch.zeros(4, 2))


@pytest.mark.parametrize("ask", ["rsample", "mode", "icdf", "crps"])
def test_a_point_mass_is_to_sample_from_and_says_so(ask: str) -> None:
    frozen = mixture([0, 1], [[0], [1]], [[1], [1]]).tempered(0)
    calls = {
        "rsample": lambda: frozen.rsample(),
        "mode": lambda: frozen.mode,
        "icdf": lambda: frozen.icdf(torch.tensor(0.5)),
        "crps": lambda: frozen.crps(torch.zeros(1)),
    }
    with pytest.raises(ValueError, match=r"log_scales: received -inf at index .*a point mass is to sample from"):
        calls[ask]()


def test_probabilities_never_exceed_one() -> None:
    lines = random_mixture(2000, components=100, features=1, dtype=torch.float32)
    far = torch.full((2000, 1), 50.0)
    assert float(lines.cdf(far).max()) <= 1
    assert lines.icdf(lines.cdf(far)).shape == (2000, 1)


@pytest.mark.parametrize("bias", [-1.0, math.nan, INF])
def test_a_bias_that_would_turn_weights_around_is_refused(bias: float) -> None:
    with pytest.raises(ValueError, match=r"bias: received \S+, expected a number above -1"):
        random_mixture().biased(bias)
