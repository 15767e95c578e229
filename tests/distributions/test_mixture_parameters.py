"""Batches of distributions of any shape are expanded, indexed and converted as tensors are."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture, Step, StepDistribution
from tests.distributions.helpers import (
    EVERY_CLASS,
    EVERY_MIXTURE,
    AnyDistribution,
    Mixture,
    check_shape,
    random_full,
    random_joint,
    random_per_dimension,
    random_steps,
)


def parameters_of(mixture: AnyDistribution) -> list[tuple[Tensor, int]]:
    """Return the parameters, each with its number of non-batch dimensions."""
    if isinstance(mixture, StepDistribution):
        return [*parameters_of(mixture.motion), (mixture.event_logits, 1)]
    if isinstance(mixture, PerDimensionMixture):
        return [(mixture.logits, 2), (mixture.means, 2), (mixture.log_scales, 2)]
    parameters = [(mixture.logits, 1), (mixture.means, 2), (mixture.log_scales, 2)]
    return parameters if mixture.slopes is None else [*parameters, (mixture.slopes, 3)]


MASK = torch.tensor([[True, False, True], [False, False, True], [True, True, True], [False, False, False]])
INDICES: dict[str, Any] = {
    "integer": 0,
    "negative integer": -1,
    "two integers": (1, 2),
    "slice": slice(1, 3),
    "empty slice": slice(2, 2),
    "slice and integer": (slice(None), 0),
    "ellipsis and integer": (..., 0),
    "integer and ellipsis": (0, ...),
    "ellipsis": ...,
    "empty tuple": (),
    "None": None,
    "ellipsis and None": (..., None),
    "mask": MASK,
    "mask of the first dimension": torch.tensor([True, False, True, True]),
    "list": [2, 0],
    "integer tensor": torch.tensor([[0, 3], [1, 1]]),
    "two integer tensors": (torch.tensor([0, 1]), torch.tensor([2, 2])),
    "slices with steps": (slice(None, None, 2), slice(None, None, 2)),
}


@EVERY_CLASS
@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
def test_indexing_a_distribution_indexes_its_batch(index: Any, make: Callable[..., AnyDistribution]) -> None:
    distribution = make(4, 3)
    selected = torch.arange(12).view(4, 3)[index]
    result = distribution[index]
    assert type(result) is type(distribution)
    assert result.batch_shape == selected.shape
    for (part, n), (whole, _) in zip(parameters_of(result), parameters_of(distribution), strict=True):
        assert torch.equal(part, whole.reshape(12, *whole.shape[whole.ndim - n :])[selected])
    value = distribution.sample((5,))
    chosen = (
        Step(value.motion.flatten(1, 2)[:, selected], value.event.flatten(1, 2)[:, selected])
        if isinstance(value, Step)
        else value.flatten(1, 2)[:, selected]
    )
    expected = distribution.log_prob(value).flatten(1)[:, selected]
    torch.testing.assert_close(result.log_prob(chosen), expected)


@EVERY_MIXTURE
@pytest.mark.parametrize(
    ("batch", "index"),
    [((4, 3), (0, 0, 0)), ((4,), (0, 0)), ((), 0), ((4, 3), 4), ((4, 3), (0, 3)), ((4, 3), (..., 0, 0, 0))],
    ids=["3 of 2 dimensions", "2 of 1", "1 of 0", "first too large", "second too large", "3 of 2 after an ellipsis"],
)
def test_an_index_outside_the_batch_raises_index_error(
    batch: tuple[int, ...], index: Any, make: Callable[..., Mixture]
) -> None:
    with pytest.raises(IndexError):
        make(*batch)[index]


@EVERY_MIXTURE
def test_iteration_is_over_the_first_batch_dimension(make: Callable[..., Mixture]) -> None:
    mixture = make(4, 3)
    elements = list(mixture)  # type: ignore[call-overload]  # by __getitem__ until an IndexError
    assert [element.batch_shape for element in elements] == [(3,)] * 4
    pairs = zip(elements, mixture.logits, strict=True)
    assert all(torch.equal(element.logits, logits) for element, logits in pairs)


@EVERY_CLASS
@pytest.mark.parametrize(("batch", "wider"), [((), (3,)), ((4,), (2, 4)), ((4, 1), (5, 4, 3)), ((1,), (0,))], ids=str)
def test_expand_expands_the_parameters(
    batch: tuple[int, ...], wider: tuple[int, ...], make: Callable[..., AnyDistribution]
) -> None:
    distribution = make(*batch)
    result = distribution.expand(wider)
    assert result.batch_shape == wider
    for (part, n), (whole, _) in zip(parameters_of(result), parameters_of(distribution), strict=True):
        assert torch.equal(part, whole.expand(*wider, *whole.shape[whole.ndim - n :]))
    value = result.sample()
    check_shape(value, wider, (2,))
    assert torch.equal(result.log_prob(value), distribution.log_prob(value))


@EVERY_MIXTURE
def test_to_converts_precision_and_device(make: Callable[..., Mixture]) -> None:
    """Parameters stay in float32 if half precision is requested."""
    mixture, x = make(4), torch.randn(4, 2, dtype=torch.float64)
    single = mixture.to(torch.float32)
    assert all(part.dtype == torch.float32 for part, _ in parameters_of(single))
    torch.testing.assert_close(single.log_prob(x.float()).double(), mixture.log_prob(x), rtol=1e-4, atol=1e-4)
    assert all(part.dtype == torch.float32 for part, _ in parameters_of(mixture.to(torch.bfloat16)))
    pairs = zip(parameters_of(mixture.to("cpu")), parameters_of(mixture), strict=True)
    assert all(torch.equal(a, b) for (a, _), (b, _) in pairs)


def test_repr_contains_class_shapes_covariance_and_device() -> None:
    expected = "GaussianMixture(batch_shape=(4,), K=3, D=2, covariance='diagonal', dtype=float64, device='cpu')"
    assert repr(random_joint(4)) == expected
    assert repr(random_full(4)) == expected.replace("diagonal", "full")
    expected = "PerDimensionMixture(batch_shape=(4,), K=3, D=2, dtype=float64, device='cpu')"
    assert repr(random_per_dimension(4)) == expected
    steps = random_steps(4, events=5, per_dimension=True)
    assert repr(steps) == f"StepDistribution(batch_shape=(4,), E=5, motion={expected})"


def test_a_subclass_stays_a_subclass() -> None:
    class Doubled(GaussianMixture):
        def log_prob(self, value: Tensor) -> Tensor:
            return 2 * super().log_prob(value)

    mixture = random_joint(4)
    doubled, x = Doubled(mixture.logits, mixture.means, mixture.log_scales), mixture.sample()
    for change in (lambda m: m.expand((3, 4)), lambda m: m[..., None][..., 0], lambda m: m.tempered(0.5)):
        torch.testing.assert_close(change(doubled).log_prob(x), 2 * change(mixture).log_prob(x))
