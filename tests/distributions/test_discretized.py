"""The log probability of a bin against SciPy in float64, for bin widths and distances beyond those of real data."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_ndtr
from torch import Tensor
from torch.func import grad, hessian, vmap

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


def second_derivatives(distance: Tensor, log_scale: Tensor, width: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the second derivatives by the distance, by both arguments and by the log scale, by double backward."""
    distance, log_scale = distance.clone().requires_grad_(), log_scale.clone().requires_grad_()
    total = discretized_log_prob(distance, log_scale, width).sum()
    first = torch.autograd.grad(total, (distance, log_scale), create_graph=True)
    by_distance, by_both = torch.autograd.grad(first[0].sum(), (distance, log_scale), retain_graph=True)
    return by_distance, by_both, torch.autograd.grad(first[1].sum(), log_scale)[0]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 2e-5), (torch.float32, 5e-4)], ids=str)
def test_second_derivatives_equal_second_difference_quotients(dtype: torch.dtype, tolerance: float) -> None:
    """With a step h of 1e-3 scales, the error of SciPy's difference quotients is of the order of 1e-5."""
    arrays = random_cases(seed=3)
    d, s, w = (array.astype(np.float64) for array in arrays)
    distance, log_scale, width = (torch.from_numpy(array).to(dtype) for array in (d, np.log(s), w))
    h = 1e-3

    def shifted(i: int, j: int) -> np.ndarray:
        return exact_log_prob(d + i * h * s, s * math.exp(j * h), w)

    twice = 2 * shifted(0, 0)
    expected = (
        (shifted(1, 0) - twice + shifted(-1, 0)) / h**2,
        (shifted(1, 1) - shifted(1, -1) - shifted(-1, 1) + shifted(-1, -1)) / (4 * h**2),
        (shifted(0, 1) - twice + shifted(0, -1)) / h**2,
    )
    scaled = zip(second_derivatives(distance, log_scale, width), (s**2, s, 1), strict=True)
    for result, reference in zip((tensor.numpy() * factor for tensor, factor in scaled), expected, strict=True):
        assert (np.abs(result - reference) <= tolerance * (1 + np.abs(reference))).all()


@pytest.mark.parametrize("width", [0.0, 1e-3, 0.5, 3.0])
def test_second_derivatives_at_distance_zero_are_those_nearby(width: float) -> None:
    """The log probability is an even, smooth function of the distance."""
    at = [torch.tensor(x, dtype=torch.float64) for x in (0.0, 1e-7)]
    results = [second_derivatives(x, torch.tensor(0.0).double(), torch.tensor(width).double()) for x in at]
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-5)
    assert float(results[0][0]) < 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_values_and_gradients_under_transforms_equal_the_eager_ones(dtype: torch.dtype) -> None:
    distance, scale, width = (torch.from_numpy(array).to(dtype) for array in random_cases(seed=4))
    arguments = (distance, scale.log(), width)
    torch.testing.assert_close(vmap(discretized_log_prob)(*arguments), discretized_log_prob(*arguments))
    gradients = vmap(grad(discretized_log_prob, argnums=(0, 1)))(*arguments)
    leaves = (distance.clone().requires_grad_(), scale.log().requires_grad_())
    expected = torch.autograd.grad(discretized_log_prob(*leaves, width).sum(), leaves)
    torch.testing.assert_close(gradients[0] * scale, expected[0] * scale, rtol=2e-3, atol=2e-4)
    torch.testing.assert_close(gradients[1], expected[1], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("width", [0.0, 1e-30, 1e-6, 1.0, 1e6, 1e30])
@pytest.mark.parametrize("log_scale", [-30.0, 0.0, 30.0])
def test_derivatives_under_transforms_are_finite_at_any_scale(log_scale: float, width: float) -> None:
    """The formulas that are not selected do not contribute NaN. The derivatives themselves fit into float64."""
    distance = torch.tensor([0.0, 1e-20, 1.0, -1e4, 1e6], dtype=torch.float64)

    def log_prob(inputs: Tensor) -> Tensor:
        return discretized_log_prob(inputs[0], inputs[1], torch.tensor(width, dtype=torch.float64))

    inputs = torch.stack([distance, torch.full_like(distance, log_scale)], -1)
    assert vmap(grad(log_prob))(inputs).isfinite().all()
    assert vmap(hessian(log_prob))(inputs).isfinite().all()


def test_batched_gradients_equal_a_loop() -> None:
    distance, scale, width = (torch.from_numpy(array).double() for array in random_cases(seed=5, n=6))
    leaves = (distance.requires_grad_(), scale.log().requires_grad_())
    log_prob = discretized_log_prob(*leaves, width)
    results = torch.autograd.grad(log_prob, leaves, torch.eye(6).double(), is_grads_batched=True, retain_graph=True)
    rows = [torch.autograd.grad(value, leaves, retain_graph=True) for value in log_prob]
    for one, column in zip(results, zip(*rows, strict=True), strict=True):
        torch.testing.assert_close(one, torch.stack(column))


@pytest.mark.parametrize("argument", [0, 1], ids=["distance", "log scale"])
def test_second_derivatives_by_one_argument_do_not_need_the_other(argument: int) -> None:
    distance, log_scale = torch.randn(5, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    leaf = (distance, log_scale)[argument].requires_grad_()
    total = discretized_log_prob(distance, log_scale, torch.tensor(0.5)).sum()
    (first,) = torch.autograd.grad(total, leaf, create_graph=True)
    assert first.shape == leaf.shape
    (second,) = torch.autograd.grad(first.sum(), leaf)
    expected = second_derivatives(distance.detach(), log_scale.detach(), torch.tensor(0.5))
    torch.testing.assert_close(second, expected[2 * argument])
