"""A step's distribution is the product of its two parts."""

import math

import pytest
import torch
from torch.nn import functional

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture, Step, StepDistribution
from mdnrnn.events import DOWN, END


def steps(batch: int = 5) -> StepDistribution:
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return StepDistribution(GaussianMixture(draw(batch, 3), draw(batch, 3, 2), draw(batch, 3, 2)), draw(batch, 3))


def test_log_prob_is_the_sum_of_both_parts() -> None:
    distribution, motion, event = steps(), torch.randn(5, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    expected = distribution.motion.log_prob(motion)
    expected = expected - functional.cross_entropy(distribution.event_logits, event, reduction="none")
    torch.testing.assert_close(distribution.log_prob(Step(motion, event)), expected)


@pytest.mark.parametrize("width", [None, torch.tensor([0.5, 0.0], dtype=torch.float64)], ids=["density", "bin_width"])
def test_nats_are_those_of_both_parts(width: torch.Tensor | None) -> None:
    distribution, value = steps(), Step(torch.randn(5, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1]))
    whole = distribution.log_prob(value) if width is None else distribution.discretized_log_prob(value, width)
    motion, event = distribution.nll(value, width)
    torch.testing.assert_close(-motion - event, whole)
    torch.testing.assert_close(event, -distribution.event_log_prob(value.event))


def test_events_come_with_their_probabilities() -> None:
    """100,000 draws each: within 5 standard errors; false failure below 1e-5."""
    distribution = steps()
    drawn = distribution.sample((100_000,), generator=torch.Generator().manual_seed(0))
    expected = distribution.mean.event
    shares = functional.one_hot(drawn.event, 3).double().mean(0)
    assert ((shares - expected).abs() < 5 * (expected * (1 - expected) / 100_000).sqrt()).all()


def test_motion_and_event_are_drawn_independently() -> None:
    """The correlation of 100,000 draws is within 5 / sqrt(n) of none; false failure below 1e-5."""
    drawn = steps(1).sample((100_000,), generator=torch.Generator().manual_seed(1))
    pair = torch.stack([drawn.motion[:, 0, 0], (drawn.event[:, 0] == 0).double()])
    assert abs(float(torch.corrcoef(pair)[0, 1])) < 5 / math.sqrt(100_000)


def test_temperature_reaches_the_events_and_bias_does_not() -> None:
    distribution = steps()
    torch.testing.assert_close(distribution.tempered(0.5).event_logits, distribution.event_logits * 2)
    assert torch.equal(distribution.biased(1.0).event_logits, distribution.event_logits)
    assert torch.equal(distribution.tempered(0).sample().event, distribution.event_logits.argmax(-1))


def test_without_events_nothing_is_scored_and_everything_goes_on() -> None:
    mixture, motion = steps().motion, torch.randn(5, 2, dtype=torch.float64)
    distribution = StepDistribution(mixture, torch.zeros(5, 0))
    torch.testing.assert_close(distribution.log_prob(Step(motion, torch.full((5,), 2))), mixture.log_prob(motion))
    for one in (distribution, distribution.tempered(0), distribution.endless()):
        assert (one.sample((100,)).event == DOWN).all()


def test_what_cannot_end_goes_on_in_the_other_shares() -> None:
    """p(event | it is not END), and the mixture as it was."""
    distribution = steps()
    endless = distribution.endless()
    shares = distribution.mean.event
    torch.testing.assert_close(endless.mean.event[:, :END], shares[:, :END] / (1 - shares[:, END:]))
    assert (endless.mean.event[:, END] == 0).all()
    assert endless.motion is distribution.motion


def test_a_mixture_for_each_dimension_is_drawn_as_it_is_scored() -> None:
    """Shares of 100,000 draws left of a point against the closed form: within 5 standard errors; false failure below
    1e-5. The dimensions are independent given the parameters, so their draws do not correlate."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    motion = PerDimensionMixture(draw(1, 2, 3), 2 * draw(1, 2, 3), draw(1, 2, 3))
    distribution = StepDistribution(motion, draw(1, 3))
    points = distribution.sample((100_000,), generator=generator).motion[:, 0]
    expected = motion.pit(torch.zeros(1, 2, dtype=torch.float64))[0]
    shares = (points < 0).double().mean(0)
    assert ((shares - expected).abs() < 5 * (expected * (1 - expected) / 100_000).sqrt()).all()
    assert abs(float(torch.corrcoef(points.T)[0, 1])) < 5 / math.sqrt(100_000)


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="event logits"):
        StepDistribution(steps(5).motion, torch.zeros(4, 3))
