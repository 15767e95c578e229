"""Entropies against closed forms and numerical integrals; gradients against those of the integrals."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MultivariateNormal

from mdnrnn.distributions import GaussianMixture, StepDistribution, monte_carlo
from tests.distributions.helpers import integrate, random_full, random_joint, random_per_dimension, random_steps

SPACING = 0.01
GRID = torch.arange(-30, 30, SPACING, dtype=torch.float64).view(-1, 1, 1)


def make_mixture(parts: list[Tensor]) -> GaussianMixture:
    return GaussianMixture(parts[0], parts[1], parts[2])


def integrated_entropy(mixture: GaussianMixture) -> Tensor:
    """Return the entropies (N,) of N univariate mixtures."""
    log_prob = mixture.log_prob(GRID)
    return -integrate(log_prob, log_prob, SPACING)


@pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])
def test_the_entropy_of_one_component_is_exact(full: bool) -> None:
    mixture = random_joint(5, k=1, d=3, full=full)
    expected = MultivariateNormal(mixture.means[:, 0], scale_tril=mixture.scale_tril[:, 0]).entropy()
    state = torch.get_rng_state()
    torch.testing.assert_close(mixture.entropy(), expected)
    assert torch.equal(mixture.entropy_estimate().standard_error, torch.zeros(5).double())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_entropy_of_distant_components_is_exact() -> None:
    """H(w) + sum_k w_k H_k: the components do not overlap. A weight of zero contributes nothing."""
    weights = torch.tensor([0.2, 0.3, 0.5, 0.0]).double()
    log_scales = torch.tensor([[-1.0], [0.0], [2.0], [5.0]]).double()
    means = torch.tensor([[-1e4], [0.0], [1e4], [0.0]]).double()
    mixture = GaussianMixture(weights.log(), means, log_scales)
    component_entropy = 0.5 * math.log(2 * math.pi * math.e) + log_scales.squeeze(-1)
    expected = (weights * component_entropy).sum() + Categorical(weights).entropy()
    estimate = mixture.entropy_estimate(generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(estimate.value, expected)
    assert float(estimate.standard_error) < 1e-12


@pytest.mark.parametrize("k", [2, 3, 10])
def test_the_entropy_equals_the_integral(k: int) -> None:
    """50 estimates within 5 standard errors of the integral: false-failure probability below 3e-5."""
    mixture = random_joint(50, k=k, d=1)
    estimate = mixture.entropy_estimate(2000, generator=torch.Generator().manual_seed(0))
    assert ((estimate.value - integrated_entropy(mixture)).abs() < 5 * estimate.standard_error + 1e-12).all()
    assert float(estimate.standard_error.max()) < 0.02


def test_the_entropy_of_full_covariances_equals_the_integral() -> None:
    """Eight estimates within 5 standard errors: false-failure probability below 5e-6."""
    mixture = random_full(8)
    axis = torch.arange(-16, 16, 0.12, dtype=torch.float64)
    log_prob = mixture.log_prob(torch.cartesian_prod(axis, axis).unsqueeze(1))
    expected = -integrate(log_prob, log_prob, 0.12**2)
    estimate = mixture.entropy_estimate(2000, generator=torch.Generator().manual_seed(0))
    assert ((estimate.value - expected).abs() < 5 * estimate.standard_error + 1e-4).all()


def test_the_standard_error_is_the_deviation_of_repeated_estimates() -> None:
    """The deviation of 400 estimates is within 20% of the mean standard error: false-failure probability below 1e-6."""
    estimate = random_joint(k=3).expand((400,)).entropy_estimate(500, generator=torch.Generator().manual_seed(0))
    assert float(estimate.value.std()) == pytest.approx(float(estimate.standard_error.mean()), rel=0.2)


def test_samples_in_chunks_are_independent_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """1005 samples in chunks of 10: 50 estimates within 5 standard errors, false-failure probability below 3e-5."""
    mixture = random_joint(50, k=4, d=1)
    monkeypatch.setattr(monte_carlo, "_MAX_ELEMENTS", 10 * mixture.means.numel())
    estimate = mixture.entropy_estimate(1005, generator=torch.Generator().manual_seed(0))
    assert ((estimate.value - integrated_entropy(mixture)).abs() < 5 * estimate.standard_error).all()


def test_mean_gradients_are_the_gradients_of_the_integral() -> None:
    """Means of 20,000 gradients of two samples each, within 5 standard errors: false-failure probability below 1e-5."""
    mixture, n = random_joint(k=3, d=1), 20_000
    parts = [mixture.logits, mixture.means, mixture.log_scales]
    leaves = [part.clone().requires_grad_() for part in parts]
    exact = integrated_entropy(make_mixture([leaf.unsqueeze(0) for leaf in leaves]))
    expected = torch.autograd.grad(exact.sum(), leaves)
    copies = [part.expand(n, *part.shape).clone().requires_grad_() for part in parts]
    entropies = make_mixture(copies).entropy(2, generator=torch.Generator().manual_seed(0))
    for one, other in zip(torch.autograd.grad(entropies.sum(), copies), expected, strict=True):
        assert ((one.mean(0) - other).abs() < 5 * one.std(0) / n**0.5).all()


def test_the_entropy_of_a_step_is_that_of_motion_plus_event() -> None:
    for events in (0, 2, 3, 6):
        steps = random_steps(5, events=events)
        one = steps.entropy_estimate(generator=torch.Generator().manual_seed(0))
        other = steps.motion.entropy_estimate(generator=torch.Generator().manual_seed(0))
        expected = Categorical(logits=steps.event_logits).entropy() if events else 0
        torch.testing.assert_close(one.value, other.value + expected)
        assert torch.equal(one.standard_error, other.standard_error)


def test_an_impossible_event_has_no_entropy() -> None:
    logits = torch.tensor([0.0, -math.inf, 0.0], dtype=torch.float64).requires_grad_()
    steps = StepDistribution(random_joint(k=1), logits)
    entropy = steps.entropy() - steps.motion.entropy()
    assert float(entropy.detach()) == pytest.approx(math.log(2))
    entropy.backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_the_entropy_of_per_dimension_mixtures_is_a_sum() -> None:
    mixture = random_per_dimension(5, d=3)
    expected = sum(integrated_entropy(mixture.marginal(d).univariate[:, 0]) for d in range(3))
    estimate = mixture.entropy_estimate(4000, generator=torch.Generator().manual_seed(0))
    assert ((estimate.value - expected).abs() < 5 * estimate.standard_error).all()
