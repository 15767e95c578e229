"""Properties of every mixture, with scales from 1e-6 to 1e6, logits up to 1e4 and points at any distance."""

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Case:
    """Parameters of a mixture, and points, in float32."""

    logits: Tensor
    means: Tensor
    log_scales: Tensor
    slopes: Tensor | None
    points: Tensor

    def mixture(self, dtype: torch.dtype = torch.float64) -> GaussianMixture:
        slopes = None if self.slopes is None else self.slopes.to(dtype)
        return GaussianMixture(self.logits.to(dtype), self.means.to(dtype), self.log_scales.to(dtype), slopes)


@st.composite
def cases(draw: st.DrawFn, full: bool = False, univariate: bool = False) -> Case:
    """Generate mixtures and 5 points each, at random distances from a mean, in units of its scales.

    Hypothesis chooses the shapes, the ranges of the values and the seed of the values.
    """
    batch = draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
    k, d = draw(st.integers(1, 8)), 1 if univariate else draw(st.integers(1, 4))
    max_log_scale = 3.0 if full else math.log(1e6)
    log_scale, logit = draw(st.floats(0, max_log_scale)), draw(st.sampled_from([0.0, 1.0, 30.0, 1e4]))
    spread = draw(st.sampled_from([0.0, 1.0, 1e3, 1e6]))
    sigmas = draw(st.sampled_from([0.0, 1.0, 40.0, 1e4]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    uniform = lambda *shape: 2 * torch.rand(*shape, generator=generator) - 1  # noqa: E731
    means, log_scales = spread * uniform(*batch, k, d), log_scale * uniform(*batch, k, d)
    component = torch.randint(k, (), generator=generator)
    points = means[..., component, :] + sigmas * uniform(5, *batch, d) * log_scales[..., component, :].exp()
    slopes = 2 * uniform(*batch, k, d, d) if full else None
    return Case(logit * uniform(*batch, k), means, log_scales, slopes, points)


EXAMPLES = settings(max_examples=40)
DIAGONAL_OR_FULL = st.booleans().flatmap(lambda full: cases(full=full))


@given(DIAGONAL_OR_FULL)
@EXAMPLES
def test_log_prob_is_finite_and_at_most_the_sum_of_all_peaks(case: Case) -> None:
    """sum_k w_k N(x; m_k, S_k) is at most sum_k w_k N(m_k; m_k, S_k)."""
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-13)):
        mixture = case.mixture(dtype)
        log_prob = mixture.log_prob(case.points.to(dtype))
        d = mixture.event_shape[0]
        bound = torch.logsumexp(mixture.log_weights - mixture.log_scales.sum(-1) - d * HALF_LOG_TWO_PI, -1)
        assert log_prob.isfinite().all()
        assert (log_prob <= bound + tolerance * bound.abs().clamp_min(1)).all()


@given(DIAGONAL_OR_FULL)
@EXAMPLES
def test_gradients_are_finite(case: Case) -> None:
    for dtype in (torch.float32, torch.float64):
        parts = [case.logits, case.means, case.log_scales, *([] if case.slopes is None else [case.slopes])]
        leaves = [part.to(dtype).clone().requires_grad_() for part in parts]
        points = case.points.to(dtype).clone().requires_grad_()
        slopes = None if case.slopes is None else leaves[3]
        GaussianMixture(leaves[0], leaves[1], leaves[2], slopes).log_prob(points).sum().backward()
        assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in (*leaves, points))


@given(cases())
@EXAMPLES
def test_float32_results_are_within_1e_4_of_float64(case: Case) -> None:
    """Relative to the larger of the log density and 1 nat; probabilities within 1e-4 and their rounding error."""
    single, double, points = case.mixture(torch.float32), case.mixture(), case.points
    log_prob, expected = single.log_prob(points).double(), double.log_prob(points.double())
    assert ((log_prob - expected).abs() <= 1e-4 * expected.abs().clamp_min(1)).all()
    rounding = float32_rounding(case)
    for quantity in ("component_posterior", "pit"):
        one, other = (getattr(m, quantity)(points.to(m.means.dtype)).double() for m in (single, double))
        assert ((one - other).abs().amax(-1) <= 1e-4 + 2 * rounding).all()


def float32_rounding(case: Case) -> Tensor:
    """Return the rounding error (...) in float32 of the difference of two components' joint log densities, in nats.

    It is the maximum over components within 30 nats of the best, and over leading dimensions.
    """
    log_weights, log_scales = case.mixture().log_weights.unsqueeze(-1), case.log_scales.double()
    half = 0.5 * ((case.points.unsqueeze(-2) - case.means).double() / log_scales.exp()).square()
    joint, size = log_weights - (half + log_scales).cumsum(-1), log_weights.abs() + (half + log_scales.abs()).cumsum(-1)
    relevant = joint > joint.amax(-2, keepdim=True) - 30
    return 1e-6 * torch.where(relevant, size, 0.0).amax((-1, -2))


@given(cases(full=True))
@EXAMPLES
def test_full_covariances_lose_only_the_digits_that_their_regressions_cancel(case: Case) -> None:
    """e_i = (d_i - sum_j c_ij d_j) / s_i cancels: the rounding error of its terms, 1e-7 of each, is divided by s_i and
    multiplied by e_i in the density. It is large for ill-conditioned covariances; no case may lose more."""
    assert case.slopes is not None
    log_prob = case.mixture(torch.float32).log_prob(case.points).double()
    expected = case.mixture().log_prob(case.points.double())
    slopes, log_scales = case.slopes.double().tril(-1), case.log_scales.double()
    distance = (case.points.unsqueeze(-2) - case.means).double()
    terms = distance.abs() + (slopes.abs() * distance.abs().unsqueeze(-2)).sum(-1)
    innovation = (distance - (slopes * distance.unsqueeze(-2)).sum(-1)).abs()
    rounding = (5e-7 * terms * (innovation + 5e-7 * terms) / (2 * log_scales).exp()).sum(-1)
    joint = case.mixture().log_weights - (0.5 * (innovation / log_scales.exp()).square() + log_scales).sum(-1)
    # The rounding error of a component bounds that of the mixture, unless its density is far below the highest.
    best = joint.argmax(-1, keepdim=True)
    best_rounding = rounding.gather(-1, best)
    allowed = 1e-4 * expected.abs().clamp_min(1) + best_rounding.squeeze(-1)
    is_close = joint + rounding > joint.gather(-1, best) - best_rounding - 1
    allowed = allowed + torch.where(is_close, rounding, 0.0).amax(-1)
    assert ((log_prob - expected).abs() <= allowed).all()


@given(cases(univariate=True))
@EXAMPLES
def test_the_cdf_increases_from_zero_to_one(case: Case) -> None:
    for dtype, tolerance in ((torch.float32, 3e-7), (torch.float64, 1e-15)):
        mixture = case.mixture(dtype)
        span = 50 * mixture.log_scales.exp().amax(-2) + 2 * mixture.means.abs().amax(-2)
        steps = torch.linspace(-1, 1, 101, dtype=dtype).view(-1, *(1 for _ in span.shape))
        points = torch.cat([steps * span, case.points.to(dtype), mixture.means.movedim(-2, 0)]).sort(0).values
        cdf = mixture.cdf(points)
        assert ((cdf >= 0) & (cdf <= 1 + tolerance)).all()
        assert (cdf.diff(dim=0) >= -tolerance).all()
        assert (cdf[0] <= tolerance).all()
        assert (cdf[-1] >= 1 - 2 * tolerance).all()


@given(cases(univariate=True))
@EXAMPLES
def test_the_cdf_inverts_quantiles(case: Case) -> None:
    """Within 1e-9, or the rounding of the quantile at a narrow component far from zero."""
    mixture = case.mixture()
    prob = torch.tensor([1e-6, 1e-3, 0.1, 0.25, 0.5, 0.9, 0.999, 1 - 1e-6]).double()
    prob = prob.view(-1, *(1 for _ in mixture.batch_shape))
    x = mixture.icdf(prob)
    assert (x.diff(dim=0) >= 0).all()
    rounding = 2**-52 * x.abs().squeeze(-1)
    # The density of a very narrow component changes within the rounding of x: its peak is a bound.
    tolerance = torch.maximum(2 * rounding * mixture.log_prob(x).exp(), rounding * mixture.log_prob(mixture.mode).exp())
    assert ((mixture.cdf(x) - prob).abs() <= 1e-9 + tolerance).all()


@given(cases(univariate=True))
@EXAMPLES
def test_the_crps_is_between_zero_and_the_mean_distance(case: Case) -> None:
    """It is E|X - y| - E|X - X'| / 2, and both terms are at least zero."""
    mixture, y = case.mixture(), case.points.double()
    crps = mixture.crps(y)
    weights, scales = torch.softmax(mixture.logits, -1), mixture.log_scales.squeeze(-1).exp()
    z = (y - mixture.means.squeeze(-1)) / scales
    mean_absolute = z * torch.erf(z / math.sqrt(2)) + math.sqrt(2 / math.pi) * torch.exp(-0.5 * z**2)
    mean_distance = (weights * scales * mean_absolute).sum(-1)
    rounding = 1e-12 * (mean_distance + mixture.means.abs().amax((-1, -2)) + mixture.log_scales.exp().amax((-1, -2)))
    assert (crps >= -rounding).all()
    assert (crps <= mean_distance + rounding).all()


@given(DIAGONAL_OR_FULL)
@EXAMPLES
def test_the_density_at_the_mode_is_at_least_that_at_every_mean(case: Case) -> None:
    mixture = case.mixture()
    at_mode, at_means = mixture.log_prob(mixture.mode), mixture.log_prob(mixture.means.movedim(-2, 0))
    assert mixture.mode.isfinite().all()
    assert (at_mode >= at_means - 1e-9 * at_means.abs().clamp_min(1)).all()


@given(DIAGONAL_OR_FULL)
@EXAMPLES
def test_marginal_times_conditional_is_the_joint(case: Case) -> None:
    mixture, x = case.mixture(), case.points.double()
    d = mixture.event_shape[0]
    dims = list(range(d - 1, 0, -2))
    if not dims:
        return
    remaining = [dim for dim in range(d) if dim not in dims]
    log_marginal = mixture.marginal(dims).log_prob(x[..., dims])
    log_conditional = mixture.condition(dims, x[..., dims]).log_prob(x[..., remaining])
    expected = mixture.log_prob(x)
    # Rounding of the reordered factor: its condition number (up to 1e5 here) times 1e-16 times the log density.
    assert ((log_marginal + log_conditional - expected).abs() <= 1e-8 * expected.abs().clamp_min(1)).all()


@given(DIAGONAL_OR_FULL, st.integers(0, 100))
@EXAMPLES
def test_samples_are_finite_and_their_transforms_are_probabilities(case: Case, seed: int) -> None:
    for dtype in (torch.float32, torch.float64):
        mixture = case.mixture(dtype)
        x = mixture.sample((20,), generator=torch.Generator().manual_seed(seed))
        u = mixture.pit(x)
        assert x.isfinite().all()
        assert ((u >= 0) & (u <= 1 + 1e-6)).all()


@given(cases())
@EXAMPLES
def test_per_dimension_log_prob_is_finite_and_the_sum_of_marginals(case: Case) -> None:
    """Every dimension has the same weights."""
    logits = case.logits.unsqueeze(-2).expand(case.means.mT.shape)
    mixture = PerDimensionMixture(logits, case.means.mT, case.log_scales.mT)
    log_prob = mixture.log_prob(case.points).double()
    expected = sum(
        case.mixture().marginal(d).log_prob(case.points[..., d : d + 1].double()) for d in range(case.means.shape[-1])
    )
    assert isinstance(expected, Tensor)
    assert log_prob.isfinite().all()
    size = expected.abs().clamp_min(1) + case.log_scales.abs().sum((-1, -2))
    assert ((log_prob - expected).abs() <= 1e-4 * size).all()


@pytest.mark.parametrize("k", [2, 3, 7, 20, 100])
@pytest.mark.parametrize("impossible", ["first", "last", "all but one"])
def test_a_component_of_weight_zero_is_never_sampled(impossible: str, k: int) -> None:
    """Not even with the smallest and the largest uniform number, with any rounding."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, k, generator=generator)
    components = {"first": [0], "last": [k - 1], "all but one": [i for i in range(k) if i != k // 2]}[impossible]
    logits[:, components] = -math.inf
    means = torch.arange(k).float().view(1, k, 1).expand(50, k, 1)
    mixture = GaussianMixture(logits, means, torch.full((50, k, 1), -math.inf))
    uniform = torch.tensor([0.0, 2**-24, 0.5, 1 - 2**-23, 1 - 2**-24]).unsqueeze(-1).repeat(1, 50)
    samples = mixture.transform(uniform, torch.zeros(5, 50, 1))
    assert not torch.isin(samples.long(), torch.tensor(components)).any()
