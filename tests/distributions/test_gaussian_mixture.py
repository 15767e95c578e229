"""The mixture against closed forms, torch.distributions and numerical integrals."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from mdnrnn.distributions import GaussianMixture

INF = math.inf


def make_mixture(logits: list[float], means: list[list[float]], scales: list[list[float]]) -> GaussianMixture:
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


KNOWN_NLL = {
    "standard normal at its mean": (make_mixture([0], [[0]], [[1]]), [0.0], 0.918939),
    "standard normal at 1": (make_mixture([0], [[0]], [[1]]), [1.0], 1.418939),
    "scale 2": (make_mixture([0], [[0]], [[2]]), [0.0], 1.612086),
    "distance 2": (make_mixture([0], [[3]], [[1]]), [5.0], 2.918939),
    "two dimensions": (make_mixture([0], [[0.5, 0.5]], [[1, 2]]), [1.0, -1.0], 2.937274),
    "between two components": (make_mixture([0, 0], [[0], [4]], [[1], [1]]), [2.0], 2.918939),
    "unequal weights": (make_mixture([1, 0], [[0], [10]], [[1], [1]]), [0.0], 1.232200),
    "three equal components": (make_mixture([0, 0, 0], [[2], [2], [2]], [[1.5], [1.5], [1.5]]), [3.0], 1.546626),
}


@pytest.mark.parametrize("case", KNOWN_NLL.values(), ids=KNOWN_NLL.keys())
def test_negative_log_likelihood_equals_known_values(case: tuple[GaussianMixture, list[float], float]) -> None:
    mixture, point, expected = case
    assert -float(mixture.log_prob(torch.tensor(point))) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("logit", [-100.0, -1e4, 0.0, 100.0, 1e4])
def test_log_prob_does_not_depend_on_the_logit_of_a_single_component(logit: float) -> None:
    assert float(make_mixture([logit], [[0]], [[1]]).log_prob(torch.zeros(1))) == pytest.approx(-0.918939, abs=1e-6)


@pytest.mark.parametrize(
    ("logits", "scale", "point"),
    [([0, 0, 0], 1e-6, 0.0), ([0, 0, 0], 1e4, 0.0), ([100, -100, -100], 1.0, 0.0), ([0, 0, 0], 1.0, 1000.0)],
    ids=["tiny scale", "huge scale", "extreme weights", "large distance"],
)
def test_log_prob_and_gradients_are_finite_for_extreme_parameters(
    logits: list[float], scale: float, point: float
) -> None:
    leaves = [torch.tensor(logits, dtype=torch.float32, requires_grad=True)]
    leaves.append(torch.tensor([[0.0], [1.0], [2.0]], requires_grad=True))
    leaves.append(torch.full((3, 1), math.log(scale), requires_grad=True))
    value = GaussianMixture(leaves[0], leaves[1], leaves[2]).log_prob(torch.tensor([point]))
    value.backward()
    assert torch.isfinite(value)
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves if leaf.grad is not None)


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)], ids=str)
@pytest.mark.parametrize("features", [1, 2, 5])
def test_density_and_moments_equal_mixture_same_family(batch: tuple[int, ...], features: int) -> None:
    mixture = random_mixture(*batch, features=features)
    reference = MixtureSameFamily(
        Categorical(logits=mixture.logits), Independent(Normal(mixture.means, mixture.log_scales.exp()), 1)
    )
    points = torch.randn(7, *batch, features, dtype=torch.float64)
    torch.testing.assert_close(mixture.log_prob(points), reference.log_prob(points))
    torch.testing.assert_close(mixture.mean, reference.mean)
    torch.testing.assert_close(mixture.variance, reference.variance)


def test_density_integrates_to_one() -> None:
    mixture = random_mixture(seed=3)
    axis = torch.linspace(-12, 12, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    total = mixture.log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2
    assert float(total) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("width", [0.03, 0.5, 3.0])
def test_probabilities_of_all_bins_sum_to_one(width: float) -> None:
    mixture = random_mixture(seed=4)
    axis = torch.arange(-12, 12 + width, width, dtype=torch.float64)
    log_probs = mixture.discretized_log_prob(
        torch.cartesian_prod(axis, axis), torch.full((2,), width, dtype=torch.float64)
    )
    assert float(log_probs.exp().sum()) == pytest.approx(1, abs=1e-6)


def test_the_probability_of_a_narrow_bin_is_density_times_area() -> None:
    mixture, points = random_mixture(6, seed=5), torch.randn(6, 2, dtype=torch.float64)
    bin_width = torch.tensor([1e-3, 2e-3], dtype=torch.float64)
    expected = mixture.log_prob(points) + bin_width.log().sum()
    torch.testing.assert_close(mixture.discretized_log_prob(points, bin_width), expected, rtol=1e-5, atol=1e-5)


def test_samples_have_the_mean_and_variance() -> None:
    """200,000 samples, eight moments within 5 standard errors: false-failure probability below 1e-5."""
    mixture = random_mixture(2, seed=6)
    samples = mixture.sample((200_000,), generator=torch.Generator().manual_seed(0))
    error = mixture.variance.sqrt() / math.sqrt(len(samples))
    assert ((samples.mean(0) - mixture.mean).abs() < 5 * error).all()
    fourth = (samples - mixture.mean).pow(4).mean(0)
    error = (fourth - mixture.variance**2).clamp_min(0).sqrt() / math.sqrt(len(samples))
    assert ((samples.var(0) - mixture.variance).abs() < 5 * error).all()


def test_equal_generators_give_equal_samples() -> None:
    mixture = random_mixture(3)
    first = mixture.sample((4,), generator=torch.Generator().manual_seed(7))
    assert first.shape == (4, 3, 2)
    assert torch.equal(first, mixture.sample((4,), generator=torch.Generator().manual_seed(7)))
    assert not torch.equal(first, mixture.sample((4,), generator=torch.Generator().manual_seed(8)))


def test_every_uniform_number_selects_a_component() -> None:
    mixture = random_mixture(dtype=torch.float32)
    uniform = torch.tensor([0.0, 0.5, 1 - 2**-24])
    samples = mixture.transform(uniform, torch.zeros(3, 2))
    assert all(any(torch.equal(sample, mean) for mean in mixture.means) for sample in samples)


def test_temperature_divides_logits_and_multiplies_variances() -> None:
    cold = make_mixture([2, 0], [[0], [1]], [[2], [4]]).tempered(0.25)
    torch.testing.assert_close(cold.logits, torch.tensor([8.0, 0.0]))
    torch.testing.assert_close(cold.log_scales.exp(), torch.tensor([[1.0], [2.0]]))
    hot = make_mixture([2, 0], [[0], [1]], [[2], [4]]).tempered(2, 0.25)
    torch.testing.assert_close(hot.log_scales, cold.log_scales)


def test_temperature_one_is_the_identity_and_temperatures_multiply() -> None:
    mixture, points = random_mixture(seed=8), torch.randn(9, 2, dtype=torch.float64)
    torch.testing.assert_close(mixture.tempered(1).log_prob(points), mixture.log_prob(points))
    twice, once = mixture.tempered(0.5).tempered(0.6), mixture.tempered(0.3)
    torch.testing.assert_close(twice.log_prob(points), once.log_prob(points))


def test_temperature_zero_samples_the_mean_of_the_most_probable_component() -> None:
    mixture = make_mixture([0, 3, 1], [[0, 0], [1, 2], [3, 4]], [[1, 1], [1, 1], [1, 1]])
    assert torch.equal(mixture.tempered(0).sample((50,)), torch.tensor([1.0, 2.0]).expand(50, 2))
    samples = mixture.tempered(1e-6).sample((50,), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(samples, torch.tensor([1.0, 2.0]).expand(50, 2), rtol=0, atol=0.01)


def test_a_negative_temperature_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"temperature: received -1, expected a number >= 0"):
        random_mixture().tempered(-1)


def test_bias_follows_graves() -> None:
    biased = make_mixture([2, 0], [[0], [1]], [[2], [4]]).biased(0.5)
    torch.testing.assert_close(biased.logits, torch.tensor([3.0, 0.0]))
    torch.testing.assert_close(biased.log_scales.exp(), torch.tensor([[2.0], [4.0]]) * math.exp(-0.5))


def test_bfloat16_parameters_give_float32_log_probs() -> None:
    mixture = random_mixture(3, dtype=torch.float32)
    parts = [part.bfloat16() for part in (mixture.logits, mixture.means, mixture.log_scales)]
    assert GaussianMixture(parts[0], parts[1], parts[2]).log_prob(torch.zeros(3, 2)).dtype == torch.float32


def test_shapes_that_do_not_match_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"means: received shape \(4, 2\), expected \(3, D\)"):
        GaussianMixture(torch.zeros(3), torch.zeros(4, 2), torch.zeros(4, 2))


@pytest.mark.parametrize("name", ["rsample", "mode", "icdf", "crps"])
def test_methods_that_need_a_density_reject_a_point_mass(name: str) -> None:
    point_mass = make_mixture([0, 1], [[0], [1]], [[1], [1]]).tempered(0)
    calls = {
        "rsample": lambda: point_mass.rsample(),
        "mode": lambda: point_mass.mode,
        "icdf": lambda: point_mass.icdf(torch.tensor(0.5)),
        "crps": lambda: point_mass.crps(torch.zeros(1)),
    }
    with pytest.raises(ValueError, match=r"log_scales: received -inf at index .*a point mass can only be sampled from"):
        calls[name]()


def test_cdf_does_not_exceed_one() -> None:
    mixture = random_mixture(2000, components=100, features=1, dtype=torch.float32)
    far = torch.full((2000, 1), 50.0)
    assert float(mixture.cdf(far).max()) <= 1
    assert mixture.icdf(mixture.cdf(far)).shape == (2000, 1)


@pytest.mark.parametrize("bias", [-1.0, math.nan, INF])
def test_a_bias_that_is_not_a_finite_number_above_minus_one_is_rejected(bias: float) -> None:
    with pytest.raises(ValueError, match=r"bias: received \S+, expected a number above -1"):
        random_mixture().biased(bias)
