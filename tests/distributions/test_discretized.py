"""The log probability of a bin against SciPy in float64, for bin widths and distances beyond those of real data."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_ndtr

from mdnrnn.distributions.discretized import discretized_log_prob


def exact_log_prob(distance: np.ndarray, scale: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Return log(Phi(b) - Phi(a)), computed in the lower tail, where float64 is accurate."""
    near, far = (np.abs(distance) - width / 2) / scale, (np.abs(distance) + width / 2) / scale
    upper, lower = log_ndtr(-near), log_ndtr(-far)
    return upper + np.log(-np.expm1(lower - upper))


def random_cases(seed: int = 0, n: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return distances (up to 40 scales), scales and widths (1e-3 to 1e3 scales) in float32."""
    rng = np.random.default_rng(seed)
    scale = (10 ** rng.uniform(-3, 3, n)).astype(np.float32)
    width = (scale * 10 ** rng.uniform(-3, 3, n)).astype(np.float32)
    distance = (scale * 10 ** rng.uniform(-3, 1.6, n) * rng.choice([-1, 1], n)).astype(np.float32)
    near_edge = rng.random(n) < 0.2
    distance[near_edge] += np.sign(distance[near_edge]) * width[near_edge] / 2
    return distance, scale, width


def test_log_prob_equals_a_difference_of_normal_cdfs() -> None:
    distance, scale, width = random_cases()
    log_scale = np.log(scale)
    result = discretized_log_prob(*(torch.from_numpy(array) for array in (distance, log_scale, width))).numpy()
    arguments = (a.astype(np.float64) for a in (distance, np.exp(log_scale.astype(np.float64)), width))
    np.testing.assert_allclose(result, exact_log_prob(*arguments), rtol=1e-5, atol=1e-5)


def test_gradients_equal_difference_quotients() -> None:
    distance, scale, width = (torch.from_numpy(array).double() for array in random_cases(seed=1, n=1000))
    distance.requires_grad_()
    log_scale = scale.log().requires_grad_()
    discretized_log_prob(distance, log_scale, width).sum().backward()
    h = 1e-5
    d, s, w = (t.detach().numpy() for t in (distance, scale, width))
    by_distance = (exact_log_prob(d + h * s, s, w) - exact_log_prob(d - h * s, s, w)) / (2 * h * s)
    by_log_scale = (exact_log_prob(d, s * math.exp(h), w) - exact_log_prob(d, s * math.exp(-h), w)) / (2 * h)
    assert distance.grad is not None
    assert log_scale.grad is not None
    # The difference quotient has a rounding error of about 1e-11 / h, and more if the value is large.
    rounding = 1e-5 + 1e-10 * np.abs(exact_log_prob(d, s, w)) / h
    for result, expected in ((distance.grad.numpy() * s, by_distance * s), (log_scale.grad.numpy(), by_log_scale)):
        assert (np.abs(result - expected) <= 1e-3 * np.abs(expected) + rounding).all()


@pytest.mark.parametrize("width", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("distance", [0.0, 1.0, 100.0, 1e4])
def test_log_prob_is_finite_and_at_most_zero(width: float, distance: float) -> None:
    value = discretized_log_prob(torch.tensor(distance), torch.tensor(0.0), torch.tensor(width))
    assert torch.isfinite(value)
    assert float(value) <= 0


def test_bin_width_zero_gives_the_log_density() -> None:
    distance, scale, _ = (torch.from_numpy(array).double() for array in random_cases(seed=2, n=500))
    distance.requires_grad_()
    log_scale = scale.log().requires_grad_()
    value = discretized_log_prob(distance, log_scale, torch.zeros_like(scale))
    expected = torch.distributions.Normal(0.0, log_scale.exp()).log_prob(distance)
    torch.testing.assert_close(value, expected)
    gradients = torch.autograd.grad(value.sum(), (distance, log_scale))
    torch.testing.assert_close(gradients, torch.autograd.grad(expected.sum(), (distance, log_scale)))


def test_a_bin_that_contains_everything_has_probability_one_and_no_gradient() -> None:
    distance = torch.tensor([0.0, 3.0, -50.0], requires_grad=True)
    log_scale = torch.tensor([-7.0, 0.0, 4.0], requires_grad=True)
    value = discretized_log_prob(distance, log_scale, torch.tensor(1e4))
    value.sum().backward()
    assert value.tolist() == [0, 0, 0]
    assert distance.grad is not None
    assert distance.grad.tolist() == [0, 0, 0]
    assert log_scale.grad is not None
    assert log_scale.grad.tolist() == [0, 0, 0]
