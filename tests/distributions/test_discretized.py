"""The probability of a bin_width against SciPy in float64, over widths and distances far beyond what data hold."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_ndtr

from mdnrnn.distributions.discretized import discretized_log_prob


def truth(distance: np.ndarray, scale: np.ndarray, width: np.ndarray) -> np.ndarray:
    """log(Phi(b) - Phi(a)) on the side of the lower tail, where float64 has digits to spare."""
    near, far = (np.abs(distance) - width / 2) / scale, (np.abs(distance) + width / 2) / scale
    upper, lower = log_ndtr(-near), log_ndtr(-far)
    return upper + np.log(-np.expm1(lower - upper))


def cases(seed: int = 0, n: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances (up to 40 sigma), scales and widths (1e-3 to 1e3 sigma), as float32 holds them."""
    rng = np.random.default_rng(seed)
    scale = (10 ** rng.uniform(-3, 3, n)).astype(np.float32)
    width = (scale * 10 ** rng.uniform(-3, 3, n)).astype(np.float32)
    distance = (scale * 10 ** rng.uniform(-3, 1.6, n) * rng.choice([-1, 1], n)).astype(np.float32)
    on_a_wall = rng.random(n) < 0.2
    distance[on_a_wall] += np.sign(distance[on_a_wall]) * width[on_a_wall] / 2
    return distance, scale, width


def test_value_is_that_of_the_difference_of_normal_cdfs() -> None:
    distance, scale, width = cases()
    log_scale = np.log(scale)
    got = discretized_log_prob(*(torch.from_numpy(array) for array in (distance, log_scale, width))).numpy()
    expected = truth(*(a.astype(np.float64) for a in (distance, np.exp(log_scale.astype(np.float64)), width)))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_gradient_is_that_of_the_value() -> None:
    distance, scale, width = (torch.from_numpy(array).double() for array in cases(seed=1, n=1000))
    distance.requires_grad_()
    log_scale = scale.log().requires_grad_()
    discretized_log_prob(distance, log_scale, width).sum().backward()
    step = 1e-5
    d, s, w = (t.detach().numpy() for t in (distance, scale, width))
    by_distance = (truth(d + step * s, s, w) - truth(d - step * s, s, w)) / (2 * step * s)
    by_log_scale = (truth(d, s * math.exp(step), w) - truth(d, s * math.exp(-step), w)) / (2 * step)
    assert distance.grad is not None
    assert log_scale.grad is not None
    # Digits that the difference quotient itself has lost: about 1e-11 / step, more where the value is large.
    lost = 1e-5 + 1e-10 * np.abs(truth(d, s, w)) / step
    for got, expected in ((distance.grad.numpy() * s, by_distance * s), (log_scale.grad.numpy(), by_log_scale)):
        assert (np.abs(got - expected) <= 1e-3 * np.abs(expected) + lost).all()


@pytest.mark.parametrize("width", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("distance", [0.0, 1.0, 100.0, 1e4])
def test_finite_and_never_above_zero(width: float, distance: float) -> None:
    value = discretized_log_prob(torch.tensor(distance), torch.tensor(0.0), torch.tensor(width))
    assert torch.isfinite(value)
    assert float(value) <= 0


def test_without_a_width_it_is_the_log_density() -> None:
    distance, scale, _ = (torch.from_numpy(array).double() for array in cases(seed=2, n=500))
    distance.requires_grad_()
    log_scale = scale.log().requires_grad_()
    value = discretized_log_prob(distance, log_scale, torch.zeros_like(scale))
    expected = torch.distributions.Normal(0.0, log_scale.exp()).log_prob(distance)
    torch.testing.assert_close(value, expected)
    got = torch.autograd.grad(value.sum(), (distance, log_scale))
    torch.testing.assert_close(got, torch.autograd.grad(expected.sum(), (distance, log_scale)))


def test_a_cell_that_holds_everything_is_certain_and_teaches_nothing() -> None:
    distance = torch.tensor([0.0, 3.0, -50.0], requires_grad=True)
    log_scale = torch.tensor([-7.0, 0.0, 4.0], requires_grad=True)
    value = discretized_log_prob(distance, log_scale, torch.tensor(1e4))
    value.sum().backward()
    assert value.tolist() == [0, 0, 0]
    assert distance.grad is not None
    assert distance.grad.tolist() == [0, 0, 0]
    assert log_scale.grad is not None
    assert log_scale.grad.tolist() == [0, 0, 0]
