"""Steps drawn from a head's row are those that its distribution draws from the same noise."""

import itertools

import pytest
import torch
from torch import Tensor

from mdnrnn.distributions import Noise
from mdnrnn.events import END
from mdnrnn.generation.fused_sampler import FusedSampler
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.handwriting import EndOfTextHead
from mdnrnn.nn.covariance import StepCovariance
from mdnrnn.nn.heads import StepHead

WIDTH = 6
SAMPLINGS = {
    "as it is": Sampling(),
    "cooler": Sampling(temperature=0.4),
    "the most probable": Sampling(temperature=0.0),
    "cooler scales": Sampling(scale_temperature=0.3),
    "biased": Sampling(bias=1.5),
    "endless": Sampling(endless=True),
    "all at once": Sampling(temperature=1.3, scale_temperature=0.5, bias=-0.4, endless=True),
}
GRIDS = {"no grid": None, "a grid": [0.05, 0.1, 0.2], "a grid of some": [0.05, 0.0, 0.2]}


def head_of(
    covariance: StepCovariance, components: int, events: int, features: int = 3, kind: type[StepHead] = StepHead
) -> StepHead:
    """Its rows far from its start: slopes, and scales down to the floor."""
    head = kind(WIDTH, features, components, events, covariance, 0.05).double()
    torch.nn.init.normal_(head.linear.weight)
    torch.nn.init.normal_(head.linear.bias)
    return head


def noise_of(head: StepHead, batch: int) -> tuple[Tensor, Tensor, Noise]:
    """As a draw takes it, and as a distribution does."""
    uniform = torch.rand(batch, head.component_choices + 1, 1, dtype=torch.float64)
    normal = torch.randn(batch, head.shape.features, dtype=torch.float64)
    component = uniform[:, 0, 0] if head.component_choices == 1 else uniform[:, : head.component_choices, 0]
    return uniform, normal, Noise(component, uniform[:, -1, 0], normal)


@torch.no_grad()
def check(head: StepHead, sampling: Sampling, grid: list[float] | None, batch: int, features: int = 3) -> None:
    draw = FusedSampler(head, sampling, batch)
    bin_width = None if grid is None else torch.tensor(grid[:features], dtype=torch.float64)
    whole = bin_width is not None and bool((bin_width > 0).all())
    for _ in range(3):
        given = torch.randn(batch, WIDTH, dtype=torch.float64)
        uniform, normal, noise = noise_of(head, batch)
        motion, event = draw(given, uniform[:, : draw.groups], normal, bin_width, whole)
        expected = sampling(head(given)).transform(noise, bin_width)
        assert torch.equal(event, expected.event)
        torch.testing.assert_close(motion, expected.motion)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS.keys())
@pytest.mark.parametrize("covariance", ["diagonal", "full", "per-dimension"])
def test_draws_are_those_of_the_distribution(
    covariance: StepCovariance, sampling: Sampling, grid: list[float] | None
) -> None:
    """Of few components and many, every kind of event, one sequence and several; a draw within 1e-12 of a boundary
    would differ."""
    for components, events, batch in itertools.product((1, 2, 7), (0, 2, 3), (1, 40)):
        check(head_of(covariance, components, events), sampling, grid, batch)


@pytest.mark.parametrize("covariance", ["diagonal", "full", "per-dimension"])
def test_of_one_feature(covariance: StepCovariance) -> None:
    check(head_of(covariance, 4, 3, features=1), Sampling(temperature=0.7), [0.1], 9, features=1)


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS.keys())
def test_what_a_text_shows_counts_in_the_odds_of_an_end(sampling: Sampling) -> None:
    check(head_of("full", 5, 3, kind=EndOfTextHead), sampling, None, 60)


@torch.no_grad()
def test_a_grid_of_each_sequences_own() -> None:
    """Rows of one draw with the widths of another are as if drawn with those alone."""
    head, sampling = head_of("full", 5, 3), Sampling()
    given = torch.randn(4, WIDTH, dtype=torch.float64)
    uniform, normal, noise = noise_of(head, 4)
    widths = torch.tensor([[0.05, 0.1, 0.2], [0.3, 0.0, 0.1]], dtype=torch.float64)
    motion, _ = FusedSampler(head, sampling, 4)(given, uniform, normal, widths[[0, 1, 1, 0]])
    for rows, bin_width in (([0, 3], widths[0]), ([1, 2], widths[1])):
        expected = head(given).transform(noise, bin_width)
        torch.testing.assert_close(motion[rows], expected.motion[rows])


@pytest.mark.parametrize("components", [1, 20])
def test_of_no_numbers_some_step_is_drawn(components: int) -> None:
    """Components and events that exist, so that nothing after it breaks."""
    head = head_of("diagonal", components, 3)
    uniform, normal, _ = noise_of(head, 2)
    _, event = FusedSampler(head, Sampling(), 2)(torch.full((2, WIDTH), torch.nan).double(), uniform, normal)
    assert ((event >= 0) & (event <= END)).all()
