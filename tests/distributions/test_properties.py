"""What holds for every mixture: scales from 1e-6 to 1e6, logits to 1e4, points anywhere. Hypothesis looks for one."""

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
    """Parameters in float32, and points."""

    logits: Tensor
    means: Tensor
    log_scales: Tensor
    slopes: Tensor | None
    points: Tensor

    def mixture(self, dtype: torch.dtype = torch.float64) -> GaussianMixture:
        slopes = None if self.slopes is None else self.slopes.to(dtype)
        return GaussianMixture(self.logits.to(dtype), self.means.to(dtype), self.log_scales.to(dtype), slopes)


def within(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high)


@st.composite
def cases(draw: st.DrawFn, full: bool = False, line: bool = False) -> Case:
    """Mixtures of hard numbers. Points are at means, a stated number of scales from them, or just anywhere.

    Hypothesis chooses the shapes, how far the numbers spread, and the seed of the numbers themselves.
    """
    batch = draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
    k, d = draw(st.integers(1, 8)), 1 if line else draw(st.integers(1, 4))
    widest = 3.0 if full else math.log(1e6)
    log_scale, logit = draw(within(0, widest)), draw(st.sampled_from([0.0, 1.0, 30.0, 1e4]))
    far = draw(st.sampled_from([0.0, 1.0, 1e3, 1e6]))
    sigmas = draw(st.sampled_from([0.0, 1.0, 40.0, 1e4]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    uniform = lambda *shape: 2 * torch.rand(*shape, generator=generator) - 1  # noqa: E731
    means, log_scales = far * uniform(*batch, k, d), log_scale * uniform(*batch, k, d)
    of = torch.randint(k, (), generator=generator)
    points = means[..., of, :] + sigmas * uniform(5, *batch, d) * log_scales[..., of, :].exp()
    slopes = 2 * uniform(*batch, k, d, d) if full else None
    return Case(logit * uniform(*batch, k), means, log_scales, slopes, points)


def examples(n: int) -> settings:
    return settings(derandomize=True, max_examples=n, deadline=None)


EITHER = st.booleans().flatmap(lambda full: cases(full=full))


@given(EITHER)
@examples(300)
def test_log_prob_is_a_number_and_no_greater_than_all_peaks_together(case: Case) -> None:
    """sum_k w_k N(x; m_k, S_k) is at most sum_k w_k N(m_k; m_k, S_k)."""
    for dtype, digits in ((torch.float32, 1e-5), (torch.float64, 1e-13)):
        ours = case.mixture(dtype)
        found = ours.log_prob(case.points.to(dtype))
        d = ours.event_shape[0]
        bound = torch.logsumexp(ours.log_weights - ours.log_scales.sum(-1) - d * HALF_LOG_TWO_PI, -1)
        assert found.isfinite().all()
        assert (found <= bound + digits * bound.abs().clamp_min(1)).all()


@given(EITHER)
@examples(300)
def test_gradients_are_numbers(case: Case) -> None:
    for dtype in (torch.float32, torch.float64):
        parts = [case.logits, case.means, case.log_scales, *([] if case.slopes is None else [case.slopes])]
        leaves = [part.to(dtype).clone().requires_grad_() for part in parts]
        points = case.points.to(dtype).clone().requires_grad_()
        slopes = None if case.slopes is None else leaves[3]
        GaussianMixture(leaves[0], leaves[1], leaves[2], slopes).log_prob(points).sum().backward()
        assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in (*leaves, points))


@given(cases())
@examples(300)
def test_single_precision_is_within_1e_4_of_double(case: Case) -> None:
    """The same numbers, in units of the result or of one nat: log_prob, and the rest in probabilities."""
    narrow, wide, points = case.mixture(torch.float32), case.mixture(), case.points
    found, expected = narrow.log_prob(points).double(), wide.log_prob(points.double())
    assert ((found - expected).abs() <= 1e-4 * expected.abs().clamp_min(1)).all()
    nats = undecided(case)
    for quantity in ("component_posterior", "pit"):
        one, other = (getattr(m, quantity)(points.to(m.means.dtype)).double() for m in (narrow, wide))
        assert ((one - other).abs().amax(-1) <= 1e-4 + 2 * nats).all()


def undecided(case: Case) -> Tensor:
    """NLL (...) that the last digits of single precision leave open between any two components' log densities, of
    all dimensions or of the first few, where both are within 30 nats of the best: others do not count."""
    log_weights, log_scales = case.mixture().log_weights.unsqueeze(-1), case.log_scales.double()
    half = 0.5 * ((case.points.unsqueeze(-2) - case.means).double() / log_scales.exp()).square()
    joint, size = log_weights - (half + log_scales).cumsum(-1), log_weights.abs() + (half + log_scales.abs()).cumsum(-1)
    matters = joint > joint.amax(-2, keepdim=True) - 30
    return 1e-6 * torch.where(matters, size, 0.0).amax((-1, -2))


@given(cases(full=True))
@examples(300)
def test_full_covariances_lose_no_more_digits_than_their_regressions_must(case: Case) -> None:
    """e_i = (d_i - sum_j c_ij d_j) / s_i cancels: rounding of its terms, 1e-7 of each, comes out divided by s_i, and
    e_i times greater in the density. Ill-conditioned covariances are those where this is much; none may lose more."""
    assert case.slopes is not None
    found = case.mixture(torch.float32).log_prob(case.points).double()
    expected = case.mixture().log_prob(case.points.double())
    slopes, log_scales = case.slopes.double().tril(-1), case.log_scales.double()
    distance = (case.points.unsqueeze(-2) - case.means).double()
    terms = distance.abs() + (slopes.abs() * distance.abs().unsqueeze(-2)).sum(-1)
    left = (distance - (slopes * distance.unsqueeze(-2)).sum(-1)).abs()
    lost = (5e-7 * terms * (left + 5e-7 * terms) / (2 * log_scales).exp()).sum(-1)
    joint = case.mixture().log_weights - (0.5 * (left / log_scales.exp()).square() + log_scales).sum(-1)
    # A component's own loss bounds that of the mixture where it is not far below the best.
    best = joint.argmax(-1, keepdim=True)
    allowed = 1e-4 * expected.abs().clamp_min(1) + lost.gather(-1, best).squeeze(-1)
    rival = torch.where(joint + lost > joint.gather(-1, best) - lost.gather(-1, best) - 1, lost, 0.0).amax(-1)
    assert ((found - expected).abs() <= allowed + rival).all()


@given(cases(line=True))
@examples(300)
def test_the_distribution_function_rises_from_zero_to_one(case: Case) -> None:
    for dtype, digits in ((torch.float32, 3e-7), (torch.float64, 1e-15)):
        ours = case.mixture(dtype)
        span = 50 * ours.log_scales.exp().amax(-2) + 2 * ours.means.abs().amax(-2)
        steps = torch.linspace(-1, 1, 101, dtype=dtype).view(-1, *(1 for _ in span.shape))
        points = torch.cat([steps * span, case.points.to(dtype), ours.means.movedim(-2, 0)]).sort(0).values
        found = ours.cdf(points)
        assert ((found >= 0) & (found <= 1 + digits)).all()
        assert (found.diff(dim=0) >= -digits).all()
        assert (found[0] <= digits).all()
        assert (found[-1] >= 1 - 2 * digits).all()


@given(cases(line=True))
@examples(200)
def test_quantiles_invert_the_distribution_function(case: Case) -> None:
    """To 1e-9, or what the last digit of the quantile decides where a needle stands far from zero."""
    ours = case.mixture()
    prob = torch.tensor([1e-6, 1e-3, 0.1, 0.25, 0.5, 0.9, 0.999, 1 - 1e-6]).double()
    prob = prob.view(-1, *(1 for _ in ours.batch_shape))
    x = ours.icdf(prob)
    assert (x.diff(dim=0) >= 0).all()
    last_digit = 2**-52 * x.abs().squeeze(-1) * ours.log_prob(x).exp()
    # Within a digit of x the density of a needle can itself change: its peak bounds it.
    near = ours.log_prob(ours.mode).exp() * 2**-52 * x.abs().squeeze(-1)
    assert ((ours.cdf(x) - prob).abs() <= 1e-9 + torch.maximum(2 * last_digit, near)).all()


@given(cases(line=True))
@examples(200)
def test_the_crps_is_no_less_than_zero_and_no_more_than_the_mean_distance(case: Case) -> None:
    """E|X - y| - E|X - X'| / 2, both of them no less than zero."""
    ours, y = case.mixture(), case.points.double()
    found = ours.crps(y)
    weights, z = torch.softmax(ours.logits, -1), (y - ours.means.squeeze(-1)) / ours.log_scales.squeeze(-1).exp()
    folded = z * torch.erf(z / math.sqrt(2)) + math.sqrt(2 / math.pi) * torch.exp(-0.5 * z**2)
    mean_distance = (weights * ours.log_scales.squeeze(-1).exp() * folded).sum(-1)
    rounding = 1e-12 * (mean_distance + ours.means.abs().amax((-1, -2)) + ours.log_scales.exp().amax((-1, -2)))
    assert (found >= -rounding).all()
    assert (found <= mean_distance + rounding).all()


@given(EITHER)
@examples(200)
def test_the_mode_is_no_lower_than_any_mean(case: Case) -> None:
    ours = case.mixture()
    top, means = ours.log_prob(ours.mode), ours.log_prob(ours.means.movedim(-2, 0))
    assert ours.mode.isfinite().all()
    assert (top >= means - 1e-9 * means.abs().clamp_min(1)).all()


@given(EITHER)
@examples(200)
def test_marginal_times_conditional_is_the_joint(case: Case) -> None:
    ours, x = case.mixture(), case.points.double()
    d = ours.event_shape[0]
    dims = list(range(d - 1, 0, -2))
    if not dims:
        return
    rest = [dim for dim in range(d) if dim not in dims]
    found = ours.marginal(dims).log_prob(x[..., dims]) + ours.condition(dims, x[..., dims]).log_prob(x[..., rest])
    expected = ours.log_prob(x)
    # The reordered factor is rounded: its own condition number, up to 1e5 here, times 1e-16, times the nats.
    assert ((found - expected).abs() <= 1e-8 * expected.abs().clamp_min(1)).all()


@given(EITHER, st.integers(0, 100))
@examples(200)
def test_samples_are_numbers_and_their_transforms_probabilities(case: Case, seed: int) -> None:
    for dtype in (torch.float32, torch.float64):
        ours = case.mixture(dtype)
        x = ours.sample((20,), generator=torch.Generator().manual_seed(seed))
        u = ours.pit(x)
        assert x.isfinite().all()
        assert ((u >= 0) & (u <= 1 + 1e-6)).all()


@given(cases())
@examples(200)
def test_per_dimension_is_a_number_too(case: Case) -> None:
    """Of the same numbers: every dimension has the weights of all."""
    logits = case.logits.unsqueeze(-2).expand(case.means.mT.shape)
    ours = PerDimensionMixture(logits, case.means.mT, case.log_scales.mT)
    found = ours.log_prob(case.points).double()
    expected = sum(
        case.mixture().marginal(d).log_prob(case.points[..., d : d + 1].double()) for d in range(case.means.shape[-1])
    )
    assert isinstance(expected, Tensor)
    assert found.isfinite().all()
    size = expected.abs().clamp_min(1) + case.log_scales.abs().sum((-1, -2))
    assert ((found - expected).abs() <= 1e-4 * size).all()


@pytest.mark.parametrize("k", [2, 3, 7, 20, 100])
@pytest.mark.parametrize("place", ["first", "last", "all but one"])
def test_a_component_of_no_weight_is_never_drawn(place: str, k: int) -> None:
    """Not even by the least and the greatest of uniform numbers, with whatever rounding."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, k, generator=generator)
    none = {"first": [0], "last": [k - 1], "all but one": [i for i in range(k) if i != k // 2]}[place]
    logits[:, none] = -math.inf
    means = torch.arange(k).float().view(1, k, 1).expand(50, k, 1)
    ours = GaussianMixture(logits, means, torch.full((50, k, 1), -math.inf))
    uniform = torch.tensor([0.0, 2**-24, 0.5, 1 - 2**-23, 1 - 2**-24]).unsqueeze(-1).repeat(1, 50)
    drawn = ours.transform(uniform, torch.zeros(5, 50, 1))
    assert not torch.isin(drawn.long(), torch.tensor(none)).any()


@pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])
def test_the_entropy_of_one_component_is_that_of_a_normal(full: bool) -> None:
    """D / 2 log(2 pi e) + sum log s: 20 estimates within 5 of their standard errors; false failure below 2e-5."""
    generator = torch.Generator().manual_seed(0)
    means, log_scales, slopes = (
        torch.randn(20, 1, 3, *shape, generator=generator, dtype=torch.float64) for shape in ((), (), (3,))
    )
    ours = GaussianMixture(torch.zeros(20, 1).double(), means, 3 * log_scales, slopes if full else None)
    expected = 1.5 * math.log(2 * math.pi * math.e) + ours.log_scales.sum((-1, -2))
    found = ours.entropy(2000, generator=generator)
    assert ((found.value - expected).abs() < 5 * found.standard_error).all()
    # 0.5 sum e^2 has a variance of D / 2: within 20% of it for 2000 samples, false failure below 1e-6.
    assert found.standard_error.tolist() == pytest.approx([math.sqrt(1.5 / 2000)] * 20, rel=0.2)


def test_the_entropy_of_far_components_is_that_of_their_choice_and_their_own() -> None:
    """H(w) + sum_k w_k H_k, within 5 standard errors: false failure below 1e-6."""
    weights = torch.tensor([0.2, 0.3, 0.5]).double()
    log_scales = torch.tensor([[-1.0], [0.0], [2.0]]).double()
    ours = GaussianMixture(weights.log(), torch.tensor([[-1e4], [0.0], [1e4]]).double(), log_scales)
    own = 0.5 * math.log(2 * math.pi * math.e) + log_scales.squeeze(-1)
    expected = float((weights * (own - weights.log())).sum())
    found = ours.entropy(20_000, generator=torch.Generator().manual_seed(0))
    assert abs(float(found.value) - expected) < 5 * float(found.standard_error)
    assert float(found.standard_error) < 0.02
