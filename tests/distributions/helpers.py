"""Random mixtures and step distributions in float64 for the tests of the distributions."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture, Step, StepDistribution

AnyDistribution = Any
"""A `GaussianMixture`, `PerDimensionMixture` or `StepDistribution`."""
Mixture = GaussianMixture | PerDimensionMixture


def random_joint(
    *batch: int, k: int = 3, d: int = 2, full: bool = False, validate: bool | None = None, seed: int = 0
) -> GaussianMixture:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*batch, k, *shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return GaussianMixture(draw(), draw(d), 0.5 * draw(d), draw(d, d) if full else None, validate)


def random_full(*batch: int, k: int = 3, d: int = 2, seed: int = 0) -> GaussianMixture:
    return random_joint(*batch, k=k, d=d, full=True, seed=seed)


def random_per_dimension(*batch: int, k: int = 3, d: int = 2, seed: int = 0) -> PerDimensionMixture:
    generator = torch.Generator().manual_seed(seed)
    draw = lambda: torch.randn(*batch, d, k, generator=generator, dtype=torch.float64)  # noqa: E731
    return PerDimensionMixture(draw(), draw(), 0.5 * draw())


def random_steps(
    *batch: int, events: int = 3, per_dimension: bool = False, validate: bool | None = None, seed: int = 0
) -> StepDistribution:
    make = random_per_dimension if per_dimension else random_joint
    logits = torch.randn(*batch, events, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    return StepDistribution(make(*batch, seed=seed), logits, validate)


def integrate(log_prob: Tensor, function: Tensor, spacing: float) -> Tensor:
    """Return the integral of density times function over the first dimension, a grid of equidistant points."""
    return (log_prob.exp() * function).sum(0) * spacing


MIXTURES: dict[str, Callable[..., Mixture]] = {
    "diagonal": random_joint,
    "full": random_full,
    "per-dimension": random_per_dimension,
}
STEPS: dict[str, Callable[..., StepDistribution]] = {
    **{f"steps, E = {n}": lambda *batch, n=n: random_steps(*batch, events=n) for n in (0, 2, 3, 7)},
    "steps, per-dimension": lambda *batch: random_steps(*batch, per_dimension=True),
}
EVERY_MIXTURE = pytest.mark.parametrize("make", MIXTURES.values(), ids=MIXTURES.keys())
EVERY_CLASS = pytest.mark.parametrize("make", [*MIXTURES.values(), *STEPS.values()], ids=[*MIXTURES, *STEPS])


def check_shape(result: Any, shape: tuple[int, ...], rest: tuple[int, ...]) -> None:
    """Check the shape of a tensor, or of the motion and the event of a step."""
    if isinstance(result, Step):
        assert result.motion.shape == shape + rest
        assert result.event.shape == shape
    else:
        assert result.shape == shape + rest
