"""Kullback-Leibler divergences of mixtures and of step distributions; registered with `torch.distributions`.

There is no closed form for mixtures. Hershey and Olsen, "Approximating the Kullback Leibler divergence between Gaussian
mixture models" (ICASSP 2007), approximate the divergence of two Gaussian mixtures p and q by

    D = sum_a w_a log [ sum_b w_b exp(-KL(p_a || p_b)) / sum_b v_b exp(-KL(p_a || q_b)) ]

with components p_a and q_b and weights w and v. The divergences on the right are those of normal distributions. The
error of D is an expectation, which is estimated by Monte Carlo:

    KL(p || q) = D + E[KL(f_a || r(x)) - KL(g_a || s(x))]

Component a of p has generated x, r and s are the responsibilities of the components of p and q, f_ab is proportional to
w_b exp(-KL(p_a || p_b)), and g_ab to v_b exp(-KL(p_a || q_b)). The result is exact if p and q have one component each,
and 0 if p and q are equal.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, kl_divergence, register_kl

from mdnrnn.distributions.categorical import select_component
from mdnrnn.distributions.density import sum_features
from mdnrnn.distributions.gaussian_mixture import GaussianMixture
from mdnrnn.distributions.monte_carlo import Estimate, estimate_mean
from mdnrnn.distributions.per_dimension import PerDimensionMixture
from mdnrnn.distributions.step import StepDistribution


def kl_estimate(
    p: Distribution, q: Distribution, samples: int = 1000, *, generator: torch.Generator | None = None
) -> Estimate:
    """Return a Monte Carlo estimate of KL(p || q) and its standard error, in nats, shape (...).

    `torch.distributions.kl_divergence(p, q)` returns the value of this estimate. The value is differentiable with
    respect to the parameters. The batch shapes of p and q are broadcast.

    Args:
        p: `GaussianMixture`, `PerDimensionMixture` or `StepDistribution`; distribution of the samples.
        q: distribution of the same class.
        samples: number of samples, at least 2.
        generator: random number generator.

    Raises:
        ValueError: if the numbers of dimensions or of events differ, or if a component is a point mass.
        NotImplementedError: if p and q are not of one of these classes.
    """
    for kind, estimate in _ESTIMATES.items():
        if isinstance(p, kind) and isinstance(q, kind):
            return estimate(p, q, samples, generator)
    raise NotImplementedError(f"received {type(p).__name__} and {type(q).__name__}, expected mixtures of one class")


def _mixture_kl(p: GaussianMixture, q: GaussianMixture, samples: int, generator: torch.Generator | None) -> Estimate:
    if p.event_shape != q.event_shape:
        raise ValueError(f"q: received {q.event_shape[0]} dimensions, expected {p.event_shape[0]}, as in p")
    p._check_density()
    q._check_density()
    shape = torch.broadcast_shapes(p.batch_shape, q.batch_shape)
    p, q = p.expand(shape), q.expand(shape)
    logits_p, logits_q = (other.log_weights.unsqueeze(-2) - _component_kl(p, other) for other in (p, q))
    log_ratio = torch.logsumexp(logits_p, -1) - torch.logsumexp(logits_q, -1)
    approximation = (p.log_weights.exp() * log_ratio).sum(-1)
    if logits_p.shape[-1] == logits_q.shape[-1] == 1:
        return Estimate(approximation, torch.zeros_like(approximation))
    f, g = torch.log_softmax(logits_p, -1), torch.log_softmax(logits_q, -1)

    def difference(component: Tensor, point: Tensor) -> Tensor:
        (log_f,), (log_g,) = select_component(component, f), select_component(component, g)
        return _categorical_kl(log_f, p._log_posterior(point)) - _categorical_kl(log_g, q._log_posterior(point))

    correction, error = estimate_mean(difference, p, samples, generator)
    return Estimate(approximation + correction, error)


def _per_dimension_kl(
    p: PerDimensionMixture, q: PerDimensionMixture, samples: int, generator: torch.Generator | None
) -> Estimate:
    if p.event_shape != q.event_shape:
        raise ValueError(f"q: received {q.event_shape[0]} dimensions, expected {p.event_shape[0]}, as in p")
    value, error = _mixture_kl(p.univariate, q.univariate, samples, generator)
    return Estimate(value.sum(-1), error.square().sum(-1).sqrt())


def _step_kl(p: StepDistribution, q: StepDistribution, samples: int, generator: torch.Generator | None) -> Estimate:
    expected, received = (steps.event_logits.shape[-1] for steps in (p, q))
    if received != expected:
        raise ValueError(f"q: received {received} events, expected {expected}, as in p")
    motion, error = kl_estimate(p.motion, q.motion, samples, generator=generator)
    if not expected:
        return Estimate(motion, error)
    events = (Categorical(logits=steps.event_logits, validate_args=False) for steps in (p, q))
    return Estimate(motion + kl_divergence(*events), error)


_ESTIMATES: dict[type, Callable[..., Estimate]] = {
    GaussianMixture: _mixture_kl,
    PerDimensionMixture: _per_dimension_kl,
    StepDistribution: _step_kl,
}
for _kind in _ESTIMATES:
    register_kl(_kind, _kind)(lambda p, q: kl_estimate(p, q).value)


def _component_kl(p: GaussianMixture, q: GaussianMixture) -> Tensor:
    """Return the divergences of each component of p from each component of q, shape (..., K, L).

    The divergence of two normal distributions is sum_d (log t_d - log s_d + E[e_d^2] / (2 t_d^2) - 1 / 2) with scales s
    of the first and t of the second distribution. e are the innovations of the second distribution (see cholesky.py)
    for a point of the first.
    """
    log_scales, other_log_scales = p.log_scales.unsqueeze(-2), q.log_scales.unsqueeze(-3)
    distance = p.means.unsqueeze(-2) - q.means.unsqueeze(-3)
    if p.slopes is None and q.slopes is None:
        variance = (2 * log_scales).exp()
    else:
        factor = p.scale_tril.unsqueeze(-3)
        if q.slopes is not None:
            # Elementwise products, because autocast would compute matrix products in half precision.
            slopes = q.slopes.unsqueeze(-4)
            distance = distance - (slopes * distance.unsqueeze(-2)).sum(-1)
            factor = factor - (slopes.unsqueeze(-1) * factor.unsqueeze(-3)).sum(-2)
        variance = factor.square().sum(-1)
    second_moment = (distance.square() + variance) * torch.exp(-2 * other_log_scales)
    return sum_features(other_log_scales - log_scales + 0.5 * second_moment - 0.5)


def _categorical_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return KL(p || q) in nats, shape (...), given normalized log probabilities, shape (..., K), which can be -inf."""
    smallest = torch.finfo(log_p.dtype).min
    return (log_p.exp() * (log_p.clamp_min(smallest) - log_q.clamp_min(smallest))).sum(-1)
