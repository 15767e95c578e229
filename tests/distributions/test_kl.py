"""Divergences against torch.distributions for one component, and against numerical integrals in one dimension."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MultivariateNormal, Normal, kl_divergence

from mdnrnn.distributions import GaussianMixture, kl_estimate
from tests.distributions.helpers import integrate, random_full, random_joint, random_per_dimension, random_steps

SPACING = 0.01
GRID = torch.arange(-40, 40, SPACING, dtype=torch.float64).view(-1, 1, 1)


def make_mixture(parts: list[Tensor]) -> GaussianMixture:
    return GaussianMixture(parts[0], parts[1], parts[2])


def integrated_kl(p: GaussianMixture, q: GaussianMixture) -> Tensor:
    """Return the divergences (N,) of N pairs of univariate mixtures."""
    log_p = p.log_prob(GRID)
    return integrate(log_p, log_p - q.log_prob(GRID), SPACING)


@pytest.mark.parametrize("q_full", [False, True], ids=["diagonal q", "full q"])
@pytest.mark.parametrize("p_full", [False, True], ids=["diagonal p", "full p"])
def test_the_divergence_of_single_components_is_exact(p_full: bool, q_full: bool) -> None:
    p, q = random_joint(6, k=1, d=3, full=p_full), random_joint(6, k=1, d=3, full=q_full, seed=1)
    normals = [MultivariateNormal(m.means[:, 0], scale_tril=m.scale_tril[:, 0]) for m in (p, q)]
    torch.testing.assert_close(kl_divergence(p, q), kl_divergence(*normals))
    assert torch.equal(kl_estimate(p, q).standard_error, torch.zeros(6).double())


@pytest.mark.parametrize(("k", "other"), [(1, 3), (2, 2), (4, 3), (10, 10)])
def test_the_divergence_equals_the_integral(k: int, other: int) -> None:
    """50 estimates within 5 standard errors of the integral: false-failure probability below 3e-5."""
    p, q = random_joint(50, k=k, d=1), random_joint(50, k=other, d=1, seed=1)
    estimate = kl_estimate(p, q, 2000, generator=torch.Generator().manual_seed(0))
    assert ((estimate.value - integrated_kl(p, q)).abs() < 5 * estimate.standard_error + 1e-12).all()


def test_the_estimate_varies_less_than_a_mean_of_log_ratios() -> None:
    p, q = random_joint(200, k=4, d=1), random_joint(200, k=4, d=1, seed=1)
    x = p.sample((1000,), generator=torch.Generator().manual_seed(0))
    plain = (p.log_prob(x) - q.log_prob(x)).std(0) / 1000**0.5
    assert float(kl_estimate(p, q).standard_error.mean()) < 0.6 * float(plain.mean())


def test_full_covariances_equal_the_integral() -> None:
    """Eight estimates within 5 standard errors: false-failure probability below 5e-6."""
    p, q = random_full(8), random_full(8, seed=1)
    axis = torch.arange(-16, 16, 0.12, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis).unsqueeze(1)
    log_p = p.log_prob(grid)
    expected = integrate(log_p, log_p - q.log_prob(grid), 0.12**2)
    estimate = kl_estimate(p, q, 2000, generator=torch.Generator().manual_seed(0))
    assert ((estimate.value - expected).abs() < 5 * estimate.standard_error + 1e-4).all()


@pytest.mark.parametrize("make", [random_joint, random_full, random_per_dimension, random_steps])
def test_the_divergence_from_itself_is_zero(make: type) -> None:
    p = make(5)
    assert float(kl_divergence(p, p).abs().max()) < 1e-12


def test_mean_gradients_are_the_gradients_of_the_integral() -> None:
    """By the parameters of p and q; 20,000 gradients of two samples each, within 5 standard errors.

    False-failure probability below 2e-5.
    """
    n = 20_000
    mixtures = random_joint(k=3, d=1), random_joint(k=2, d=1, seed=1)
    parts = [part for m in mixtures for part in (m.logits, m.means, m.log_scales)]
    leaves = [part.unsqueeze(0).requires_grad_() for part in parts]
    exact = integrated_kl(make_mixture(leaves[:3]), make_mixture(leaves[3:]))
    expected = torch.autograd.grad(exact.sum(), leaves)
    copies = [part.expand(n, *part.shape).clone().requires_grad_() for part in parts]
    generator = torch.Generator().manual_seed(0)
    estimate = kl_estimate(make_mixture(copies[:3]), make_mixture(copies[3:]), 2, generator=generator)
    for one, other in zip(torch.autograd.grad(estimate.value.sum(), copies), expected, strict=True):
        assert ((one.mean(0) - other[0]).abs() < 5 * one.std(0) / n**0.5).all()


def test_batch_shapes_are_broadcast() -> None:
    p, q = random_joint(4, 1, k=1), random_joint(3, k=1, seed=1)
    result = kl_divergence(p, q)
    assert result.shape == (4, 3)
    for i in range(4):
        for j in range(3):
            torch.testing.assert_close(result[i, j], kl_divergence(p[i, 0], q[j]))


def test_the_divergence_of_per_dimension_mixtures_is_a_sum() -> None:
    p, q = random_per_dimension(5), random_per_dimension(5, seed=1)
    expected = sum(integrated_kl(p.univariate[:, d], q.univariate[:, d]) for d in range(2))
    estimate = kl_estimate(p, q, 4000, generator=torch.Generator().manual_seed(0))
    assert ((estimate.value - expected).abs() < 5 * estimate.standard_error).all()


@pytest.mark.parametrize("events", [0, 2, 3, 6])
def test_the_divergence_of_steps_is_that_of_motion_plus_event(events: int) -> None:
    p, q = random_steps(5, events=events), random_steps(5, events=events, seed=1)
    one = kl_estimate(p, q, generator=torch.Generator().manual_seed(0))
    other = kl_estimate(p.motion, q.motion, generator=torch.Generator().manual_seed(0))
    logits = [Categorical(logits=steps.event_logits) for steps in (p, q)] if events else None
    expected = other.value + kl_divergence(*logits) if logits else other.value
    torch.testing.assert_close(one.value, expected)
    torch.manual_seed(0)
    torch.testing.assert_close(kl_divergence(p, q), one.value, rtol=1, atol=1)


def test_components_of_weight_zero_do_not_contribute() -> None:
    p, q = random_joint(k=2, d=1), random_joint(k=2, d=1, seed=1)
    for one, other in ((p, q), (q, p)):
        wider = GaussianMixture(
            torch.cat([one.logits, torch.tensor([-math.inf]).double()]),
            torch.cat([one.means, torch.zeros(1, 1).double()]),
            torch.cat([one.log_scales, torch.zeros(1, 1).double()]),
        )
        pairs = [(wider, other), (one, other)], [(other, wider), (other, one)]
        for pair, expected in pairs:
            result = kl_estimate(*pair, generator=torch.Generator().manual_seed(0))
            torch.testing.assert_close(result, kl_estimate(*expected, generator=torch.Generator().manual_seed(0)))


def test_other_pairs_are_rejected() -> None:
    p = random_joint(4)
    with pytest.raises(ValueError, match="q: received 3 dimensions, expected 2, as in p"):
        kl_divergence(p, random_joint(4, d=3))
    with pytest.raises(ValueError, match="q: received 3 dimensions, expected 2, as in p"):
        kl_divergence(random_per_dimension(4), random_per_dimension(4, d=3))
    with pytest.raises(ValueError, match="q: received 2 events, expected 3, as in p"):
        kl_divergence(random_steps(4), random_steps(4, events=2))
    with pytest.raises(ValueError, match="log_scales: received -inf at index"):
        kl_divergence(p, p.tempered(0))
    with pytest.raises(NotImplementedError, match="received GaussianMixture and Normal, expected mixtures of one"):
        kl_estimate(p, Normal(0.0, 1.0))
    with pytest.raises(NotImplementedError):
        kl_divergence(p, random_per_dimension(4))
