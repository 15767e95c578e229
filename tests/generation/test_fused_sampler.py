"""Tests of the fused sampler: with the same noise, it gives the samples of the head's distribution."""

import itertools

import pytest
import torch
from torch import Tensor

from mdnrnn.distributions import Noise
from mdnrnn.generation.fused_sampler import FusedSampler
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.handwriting import EndOfTextHead
from mdnrnn.nn.covariance import StepCovariance
from mdnrnn.nn.heads import StepHead
from mdnrnn.pen_events import END

WIDTH = 6
SAMPLINGS = {
    "default": Sampling(),
    "temperature": Sampling(temperature=0.4),
    "temperature 0": Sampling(temperature=0.0),
    "scale temperature": Sampling(scale_temperature=0.3),
    "bias": Sampling(bias=1.5),
    "endless": Sampling(endless=True),
    "all": Sampling(temperature=1.3, scale_temperature=0.5, bias=-0.4, endless=True),
    "event temperature": Sampling(event_temperature=0.3),
    "event temperature 0": Sampling(temperature=0.8, event_temperature=0.0),
    "top-k": Sampling(top_k=2),
    "top-p": Sampling(top_p=0.6),
    "event top-k": Sampling(event_top_k=2),
    "event top-p": Sampling(event_top_p=0.7),
    "truncated": Sampling(temperature=0.7, bias=0.3, top_k=3, top_p=0.8, event_top_k=2, event_top_p=0.9, endless=True),
    "truncated and tempered": Sampling(temperature=0.7, event_temperature=1.4, top_p=0.8, event_top_p=0.9),
}
GRIDS = {"continuous": None, "grid": [0.05, 0.1, 0.2], "mixed": [0.05, 0.0, 0.2]}
EVERY_SAMPLING = pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS.keys())
EVERY_COVARIANCE = pytest.mark.parametrize("covariance", ["diagonal", "full", "per-dimension"])


def make_head(
    covariance: StepCovariance,
    components: int,
    events: int,
    features: int = 3,
    head_class: type[StepHead] = StepHead,
) -> StepHead:
    """Make a head with large random parameters: slopes are not 0, and some scales are near the floor."""
    head = head_class(WIDTH, features, components, events, covariance, 0.05).double()
    torch.nn.init.normal_(head.linear.weight)
    torch.nn.init.normal_(head.linear.bias)
    return head


def make_noise(head: StepHead, batch: int) -> tuple[Tensor, Tensor, Noise]:
    """Return uniform and normal noise for the sampler, and the same noise for the distribution."""
    choices = head.component_choices
    uniform = torch.rand(batch, choices + 1, 1, dtype=torch.float64)
    normal = torch.randn(batch, head.shape.features, dtype=torch.float64)
    component = uniform[:, 0, 0] if choices == 1 else uniform[:, :choices, 0]
    return uniform, normal, Noise(component, uniform[:, -1, 0], normal)


@torch.no_grad()
def check_samples(head: StepHead, sampling: Sampling, grid: list[float] | None, batch: int, features: int = 3) -> None:
    """Compare two batches of samples with those of the distribution."""
    sampler = FusedSampler(head, sampling, batch)
    bin_width = None if grid is None else torch.tensor(grid[:features], dtype=torch.float64)
    all_positive = bin_width is not None and bool((bin_width > 0).all())
    for _ in range(2):
        inputs = torch.randn(batch, WIDTH, dtype=torch.float64)
        uniform, normal, noise = make_noise(head, batch)
        motion, event = sampler(inputs, uniform[:, : sampler.groups], normal, bin_width, all_positive)
        expected = sampling(head(inputs)).transform(noise, bin_width)
        assert torch.equal(event, expected.event)
        torch.testing.assert_close(motion, expected.motion)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
@EVERY_SAMPLING
@EVERY_COVARIANCE
def test_samples_equal_those_of_the_distribution(
    covariance: StepCovariance, sampling: Sampling, grid: list[float] | None
) -> None:
    """For all numbers of events, batch sizes 1 and 40, and 1 to 7 components.

    Noise within 1e-12 of a boundary between classes could give different samples; the seed is fixed.
    """
    for components, events, batch in itertools.product((1, 2, 7), (0, 2, 3), (1, 40)):
        check_samples(make_head(covariance, components, events), sampling, grid, batch)


@EVERY_COVARIANCE
def test_samples_of_one_feature_equal_those_of_the_distribution(covariance: StepCovariance) -> None:
    check_samples(make_head(covariance, 4, 3, features=1), Sampling(temperature=0.7), [0.1], 9, features=1)


@EVERY_SAMPLING
def test_samples_include_the_shift_of_the_end_logit(sampling: Sampling) -> None:
    check_samples(make_head("full", 5, 3, head_class=EndOfTextHead), sampling, None, 60)


@torch.no_grad()
def test_bin_widths_may_differ_between_sequences() -> None:
    head, sampling = make_head("full", 5, 3), Sampling()
    inputs = torch.randn(4, WIDTH, dtype=torch.float64)
    uniform, normal, noise = make_noise(head, 4)
    bin_widths = torch.tensor([[0.05, 0.1, 0.2], [0.3, 0.0, 0.1]], dtype=torch.float64)
    motion, _ = FusedSampler(head, sampling, 4)(inputs, uniform, normal, bin_widths[[0, 1, 1, 0]])
    for rows, bin_width in (([0, 3], bin_widths[0]), ([1, 2], bin_widths[1])):
        expected = head(inputs).transform(noise, bin_width)
        torch.testing.assert_close(motion[rows], expected.motion[rows])


@pytest.mark.parametrize("components", [1, 20])
def test_nan_inputs_give_valid_events(components: int) -> None:
    head = make_head("diagonal", components, 3)
    uniform, normal, _ = make_noise(head, 2)
    _, event = FusedSampler(head, Sampling(), 2)(torch.full((2, WIDTH), torch.nan).double(), uniform, normal)
    assert ((event >= 0) & (event <= END)).all()
