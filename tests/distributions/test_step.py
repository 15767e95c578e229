"""The step distribution is the product of a mixture over the motion and a categorical distribution over the event."""

import math

import pytest
import torch
from torch.nn import functional

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture, Step, StepDistribution
from mdnrnn.pen_events import DOWN, END
from tests.distributions.helpers import random_steps


def test_log_prob_is_the_sum_of_motion_and_event() -> None:
    steps, motion, event = random_steps(5), torch.randn(5, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    expected = steps.motion.log_prob(motion)
    expected = expected - functional.cross_entropy(steps.event_logits, event, reduction="none")
    torch.testing.assert_close(steps.log_prob(Step(motion, event)), expected)


@pytest.mark.parametrize("bin_width", [None, torch.tensor([0.5, 0.0], dtype=torch.float64)], ids=["density", "bin"])
def test_nll_of_motion_and_event_sums_to_the_negative_log_prob(bin_width: torch.Tensor | None) -> None:
    steps, value = random_steps(5), Step(torch.randn(5, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1]))
    log_prob = steps.log_prob(value) if bin_width is None else steps.discretized_log_prob(value, bin_width)
    motion, event = steps.nll(value, bin_width)
    torch.testing.assert_close(-motion - event, log_prob)
    torch.testing.assert_close(event, -steps.event_log_prob(value.event))


def test_pen_log_prob_merges_up_and_end() -> None:
    steps = random_steps(5)
    probs = steps.event_probs
    torch.testing.assert_close(steps.pen_log_prob(torch.full((5,), DOWN)).exp(), probs[:, 0])
    for event in (1, 2):
        torch.testing.assert_close(steps.pen_log_prob(torch.full((5,), event)).exp(), probs[:, 1] + probs[:, 2])


def test_events_are_sampled_with_their_probabilities() -> None:
    """100,000 samples of each step, within 5 standard errors: false-failure probability below 1e-5."""
    steps = random_steps(5)
    samples = steps.sample((100_000,), generator=torch.Generator().manual_seed(0))
    expected = steps.event_probs
    shares = functional.one_hot(samples.event, 3).double().mean(0)
    assert ((shares - expected).abs() < 5 * (expected * (1 - expected) / 100_000).sqrt()).all()


def test_motion_and_event_are_sampled_independently() -> None:
    """The correlation of 100,000 samples is within 5 / sqrt(n) of zero: false-failure probability below 1e-5."""
    samples = random_steps(1).sample((100_000,), generator=torch.Generator().manual_seed(1))
    pairs = torch.stack([samples.motion[:, 0, 0], (samples.event[:, 0] == 0).double()])
    assert abs(float(torch.corrcoef(pairs)[0, 1])) < 5 / math.sqrt(100_000)


def test_temperature_applies_to_events_and_bias_does_not() -> None:
    steps = random_steps(5)
    torch.testing.assert_close(steps.tempered(0.5).event_logits, steps.event_logits * 2)
    assert torch.equal(steps.biased(1.0).event_logits, steps.event_logits)
    assert torch.equal(steps.tempered(0).sample().event, steps.event_logits.argmax(-1))


def test_without_events_only_the_motion_is_scored_and_every_event_is_down() -> None:
    mixture, motion = random_steps(5).motion, torch.randn(5, 2, dtype=torch.float64)
    steps = StepDistribution(mixture, torch.zeros(5, 0))
    torch.testing.assert_close(steps.log_prob(Step(motion, torch.full((5,), 2))), mixture.log_prob(motion))
    for one in (steps, steps.tempered(0), steps.endless(), steps.truncated(event_top_k=1, event_top_p=0.5)):
        assert (one.sample((100,)).event == DOWN).all()


def test_endless_renormalizes_the_other_events() -> None:
    """Their probabilities are conditional on not END, and the mixture is unchanged."""
    steps = random_steps(5)
    endless = steps.endless()
    probs = steps.event_probs
    torch.testing.assert_close(endless.event_probs[:, :END], probs[:, :END] / (1 - probs[:, END:]))
    assert (endless.event_probs[:, END] == 0).all()
    assert endless.motion is steps.motion


def test_event_temperature_changes_only_the_events() -> None:
    steps = random_steps(5)
    tempered = steps.tempered(0.5, 2.0, 0.25)
    torch.testing.assert_close(tempered.event_logits, steps.event_logits * 4)
    expected = steps.motion.tempered(0.5, 2.0)
    assert torch.equal(tempered.motion.logits, expected.logits)
    assert torch.equal(tempered.motion.log_scales, expected.log_scales)


def per_dimension_mixture() -> PerDimensionMixture:
    draw = lambda: torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)  # noqa: E731
    return PerDimensionMixture(draw(), draw(), draw())


@pytest.mark.parametrize("motion", [random_steps(5).motion, per_dimension_mixture()], ids=["joint", "per dimension"])
def test_truncated_distribution_renormalizes_the_largest_weights_and_probabilities(
    motion: GaussianMixture | PerDimensionMixture,
) -> None:
    """The two largest weights of each mixture and the two largest event probabilities; components are unchanged."""
    steps = StepDistribution(motion, random_steps(5).event_logits)
    truncated = steps.truncated(top_k=2, event_top_k=2)
    pairs = [(truncated.motion.logits, motion.logits), (truncated.event_logits, steps.event_logits)]
    for logits, original in pairs:
        probs = torch.softmax(original, -1)
        kept = probs >= probs.sort(-1, descending=True).values[..., 1:2]
        expected = probs * kept / (probs * kept).sum(-1, keepdim=True)
        torch.testing.assert_close(torch.softmax(logits, -1), expected)
    assert torch.equal(truncated.motion.means, motion.means)
    assert torch.equal(truncated.motion.log_scales, motion.log_scales)


def test_truncation_applies_to_the_components_or_to_the_events() -> None:
    steps = random_steps(5)
    components, events = steps.truncated(top_p=0.5), steps.truncated(event_top_p=0.5)
    assert components.event_logits is steps.event_logits
    assert events.motion is steps.motion
    assert components.motion.logits.isinf().any()
    assert events.event_logits.isinf().any()


def test_samples_of_a_per_dimension_mixture_follow_its_distribution_function() -> None:
    """Shares of 100,000 samples below 0 within 5 standard errors: false-failure probability below 1e-5.

    The dimensions are independent, so samples are not correlated.
    """
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    motion = PerDimensionMixture(draw(1, 2, 3), 2 * draw(1, 2, 3), draw(1, 2, 3))
    steps = StepDistribution(motion, draw(1, 3))
    points = steps.sample((100_000,), generator=generator).motion[:, 0]
    expected = motion.pit(torch.zeros(1, 2, dtype=torch.float64))[0]
    shares = (points < 0).double().mean(0)
    assert ((shares - expected).abs() < 5 * (expected * (1 - expected) / 100_000).sqrt()).all()
    assert abs(float(torch.corrcoef(points.T)[0, 1])) < 5 / math.sqrt(100_000)


def test_event_logits_of_another_batch_shape_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"event_logits: received shape \(4, 3\), expected \(5, E\)"):
        StepDistribution(random_steps(5).motion, torch.zeros(4, 3))


def test_moments_are_those_of_the_motion_and_events_have_none() -> None:
    """The event is NaN, as in `torch.distributions.Categorical.mean`."""
    steps = random_steps(5)
    for name in ("mean", "variance", "stddev"):
        moment = getattr(steps, name)
        torch.testing.assert_close(moment.motion, getattr(steps.motion, name))
        assert moment.event.shape == (5,)
        assert moment.event.isnan().all()


def test_the_mode_is_the_most_probable_step() -> None:
    """No other event and none of 1000 sampled motions is more probable."""
    steps = random_steps(5, events=4)
    mode = steps.mode
    highest = steps.log_prob(mode)
    for event in range(4):
        assert (steps.log_prob(mode._replace(event=torch.full((5,), event))) <= highest).all()
    motion = steps.sample((1000,)).motion
    assert (steps.log_prob(mode._replace(motion=motion)) <= highest).all()
    assert torch.equal(random_steps(5, events=0).mode.event, torch.full((5,), DOWN))


@pytest.mark.parametrize("events", [2, 3, 4, 9])
def test_any_number_of_events_is_scored_and_sampled(events: int) -> None:
    """100,000 events of a step, within 5 standard errors of the softmax: false-failure probability below 1e-5."""
    steps = random_steps(events=events)
    probs = steps.event_log_prob(torch.arange(events)).exp()
    torch.testing.assert_close(probs, torch.softmax(steps.event_logits, -1))
    torch.testing.assert_close(probs, steps.event_probs)
    sampled = steps.sample((100_000,), generator=torch.Generator().manual_seed(0)).event
    shares = torch.bincount(sampled, minlength=events) / 100_000
    assert ((shares - probs).abs() < 5 * (probs * (1 - probs) / 100_000).sqrt()).all()


@pytest.mark.parametrize("events", [4, 9])
def test_end_is_event_2_of_any_number_of_events(events: int) -> None:
    steps = random_steps(5, events=events)
    probs, expected = steps.endless().event_probs, steps.event_probs.clone()
    expected[:, END] = 0
    torch.testing.assert_close(probs, expected / expected.sum(-1, keepdim=True))


def test_events_without_end_are_endless() -> None:
    steps = random_steps(5, events=2)
    assert torch.equal(steps.endless().event_logits, steps.event_logits)


def test_events_other_than_down_up_and_end_have_no_pen_state() -> None:
    steps, event = random_steps(5, events=4), torch.zeros(5)
    with pytest.raises(ValueError, match=r"event_logits: received E = 4 events, expected at most 3: only DOWN, UP"):
        steps.pen_log_prob(event)
    two = random_steps(5, events=2)
    torch.testing.assert_close(two.pen_log_prob(event + 1).exp(), two.event_probs[:, 1])


def test_the_support_contains_steps_with_a_real_motion_and_a_whole_event() -> None:
    support = random_steps(events=4).support
    motion = torch.tensor([[0.0, 1.0], [math.nan, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    event = torch.tensor([3.0, 0.0, 4.0, -1.0, 1.5, math.nan])
    assert support.check(Step(motion, event)).tolist() == [True, False, False, False, False, False]
    assert random_steps(events=0).support.check(Step(motion[:1], event[-1:])).tolist() == [True]


def test_broadcasting_an_event_over_samples_equals_a_loop() -> None:
    steps, event = random_steps(5), torch.randint(3, (7, 5))
    for method in (steps.event_log_prob, steps.pen_log_prob):
        torch.testing.assert_close(method(event), torch.stack([method(row) for row in event]))
    torch.testing.assert_close(steps.event_log_prob(torch.tensor(1)), steps.event_probs[:, 1].log())
    assert random_steps(5, events=0).event_log_prob(torch.tensor(0)).shape == (5,)
