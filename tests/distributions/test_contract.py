"""The contract of torch.distributions: shapes, support, expand, indexing and moments of every class and batch shape."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch.distributions import (
    AffineTransform,
    Categorical,
    Independent,
    MixtureSameFamily,
    TransformedDistribution,
    kl_divergence,
)

from mdnrnn.distributions import GaussianMixture, Step, StepDistribution, kl_estimate
from tests.distributions.helpers import (
    EVERY_CLASS,
    EVERY_MIXTURE,
    AnyDistribution,
    Mixture,
    check_shape,
    random_full,
    random_joint,
)


class Shapes(NamedTuple):
    """Expected shape of a result: the sample shape (if `sampled`), the batch shape and `rest`."""

    sampled: bool
    rest: tuple[int, ...] = ()


POINT, NUMBER = Shapes(False, (2,)), Shapes(False)
WIDTH = torch.tensor([0.5, 0.0], dtype=torch.float64)

METHODS: dict[str, tuple[Callable[[AnyDistribution, Any], Any], Shapes]] = {
    "log_prob": (lambda m, x: m.log_prob(x), Shapes(True)),
    "discretized_log_prob": (lambda m, x: m.discretized_log_prob(x, WIDTH), Shapes(True)),
    "mean": (lambda m, x: m.mean, POINT),
    "variance": (lambda m, x: m.variance, POINT),
    "stddev": (lambda m, x: m.stddev, POINT),
    "mode": (lambda m, x: m.mode, POINT),
    "entropy": (lambda m, x: m.entropy(10), NUMBER),
    "entropy_estimate": (lambda m, x: m.entropy_estimate(10).standard_error, NUMBER),
    "perplexity": (lambda m, x: m.perplexity(), NUMBER),
    "kl_divergence": (lambda m, x: kl_divergence(m, m.tempered(0.5)), NUMBER),
    "kl_estimate": (lambda m, x: kl_estimate(m, m.tempered(0.5), 10).standard_error, NUMBER),
    "tempered": (lambda m, x: m.tempered(0.5, 2).log_prob(x), Shapes(True)),
    "biased": (lambda m, x: m.biased(0.5).log_prob(x), Shapes(True)),
    "truncated": (lambda m, x: m.truncated(2).mean, POINT),
    "to": (lambda m, x: m.to(torch.float32).mean, POINT),
}
MIXTURE_METHODS: dict[str, tuple[Callable[[Any, Any], Any], Shapes]] = {
    "rsample": (lambda m, x: m.rsample(x.shape[: x.ndim - 1 - len(m.batch_shape)]), Shapes(True, (2,))),
    "pit": (lambda m, x: m.pit(x), Shapes(True, (2,))),
    "covariance": (lambda m, x: m.covariance, Shapes(False, (2, 2))),
    "marginal": (lambda m, x: m.marginal(1).log_prob(x[..., 1:]), Shapes(True)),
    "condition": (lambda m, x: m.condition(1, x[..., 1:]).log_prob(x[..., :1]), Shapes(True)),
    "affine": (lambda m, x: m.affine(m.mean, m.stddev).mean, POINT),
}
STEP_METHODS: dict[str, tuple[Callable[[StepDistribution, Step], Any], Shapes]] = {
    "event_log_prob": (lambda m, x: m.event_log_prob(x.event), Shapes(True)),
    "nll": (lambda m, x: m.nll(x, WIDTH)[0] + m.nll(x)[1], Shapes(True)),
    "event_probs": (lambda m, x: m.event_probs.sum(-1), NUMBER),
    "endless": (lambda m, x: m.endless().mean, POINT),
}


@pytest.mark.parametrize("name", [*METHODS, *MIXTURE_METHODS, *STEP_METHODS])
@EVERY_CLASS
def test_results_have_sample_and_batch_shape(name: str, make: Callable[..., AnyDistribution]) -> None:
    """Every method of every class, for 5 batch shapes and 4 sample shapes."""
    is_step = isinstance(make(), StepDistribution)
    if name in (MIXTURE_METHODS if is_step else STEP_METHODS):
        return
    call, expected = (METHODS | MIXTURE_METHODS | STEP_METHODS)[name]
    for batch in [(), (5,), (2, 3), (0,), (2, 0)]:
        distribution = make(*batch)
        for sample_shape in [(), (4,), (0,), (3, 2)]:
            value = distribution.sample(sample_shape)
            check_shape(value, sample_shape + batch, (2,))
            check_shape(call(distribution, value), sample_shape * expected.sampled + batch, expected.rest)


@EVERY_CLASS
@pytest.mark.parametrize("batch", [(), (5,), (2, 3)], ids=str)
def test_shapes_constraints_and_flags(batch: tuple[int, ...], make: Callable[..., AnyDistribution]) -> None:
    """Parameters and samples satisfy their constraints; `rsample` exists if and only if `has_rsample`."""
    distribution = make(*batch)
    assert distribution.batch_shape == batch
    assert distribution.event_shape == (() if isinstance(distribution, StepDistribution) else (2,))
    for name, constraint in distribution.arg_constraints.items():
        valid = constraint.check(getattr(distribution, name))
        assert valid.shape == batch
        assert valid.all()
    valid = distribution.support.check(distribution.sample((7,)))
    assert valid.shape == (7, *batch)
    assert valid.all()
    if not distribution.has_rsample:
        with pytest.raises(NotImplementedError):
            distribution.rsample()
    assert type(distribution).__name__ in repr(distribution)


@EVERY_CLASS
def test_log_prob_broadcasts_over_samples_and_batch(make: Callable[..., AnyDistribution]) -> None:
    """The log probabilities of 4 x 2 x 3 values equal those of single values and single distributions."""
    distribution = make(2, 3)
    value = distribution.sample((4,))
    steps = isinstance(value, Step)
    log_prob = distribution.log_prob(value)
    for s in range(4):
        for i in range(2):
            for j in range(3):
                one = Step(value.motion[s, i, j], value.event[s, i, j]) if steps else value[s, i, j]
                torch.testing.assert_close(distribution[i, j].log_prob(one), log_prob[s, i, j])
    one = Step(value.motion[0, 0, 0], value.event[0, 0, 0]) if steps else value[0, 0, 0]
    expected = torch.stack([torch.stack([distribution[i, j].log_prob(one) for j in range(3)]) for i in range(2)])
    torch.testing.assert_close(distribution.log_prob(one), expected)


@pytest.mark.parametrize("batch", [(), (5,), (2, 3), (0,), (2, 0)], ids=str)
@pytest.mark.parametrize("sample_shape", [(), (4,)], ids=str)
def test_univariate_results_have_sample_and_batch_shape(sample_shape: tuple[int, ...], batch: tuple[int, ...]) -> None:
    mixture, shape = random_joint(*batch, d=1), (*sample_shape, *batch)
    x, prob = mixture.sample(sample_shape), torch.rand(shape, dtype=torch.float64)
    assert mixture.cdf(x).shape == shape
    assert mixture.crps(x).shape == shape
    assert mixture.icdf(prob).shape == (*shape, 1)
    assert mixture.icdf(torch.tensor(0.5)).shape == (*batch, 1)
    assert all(end.shape == (*batch, 1) for end in mixture.interval(0.9))


def test_transform_accepts_expanded_noise() -> None:
    """As in common random numbers; PyTorch would warn about the memory layout once per process."""
    mixture, generator = random_joint(4), torch.Generator().manual_seed(0)
    uniform = torch.rand(5, 1, generator=generator, dtype=torch.float64)
    normal = torch.randn(5, 1, 2, generator=generator, dtype=torch.float64)
    warn_always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        samples = mixture.transform(uniform.expand(5, 4), normal.expand(5, 4, 2))
    finally:
        torch.set_warn_always(warn_always)
    assert torch.equal(samples, mixture.transform(uniform.repeat(1, 4), normal.repeat(1, 4, 1)))


@EVERY_MIXTURE
def test_gradients_of_an_empty_batch_are_zero(make: Callable[..., Mixture]) -> None:
    leaf = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    mixture = make(0, 3).affine(leaf, torch.ones(2).double())
    mixture.log_prob(torch.zeros(0, 3, 2).double()).sum().backward()
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, torch.zeros(2).double())


@EVERY_MIXTURE
def test_independent_sums_over_the_batch(make: Callable[..., Mixture]) -> None:
    """`torch.distributions.Independent` uses `log_prob`, `entropy`, `sample`, `rsample`, `mean` and `variance`."""
    mixture = make(5, 4)
    joint = Independent(mixture, 1)
    x = joint.sample((3,))
    torch.testing.assert_close(joint.log_prob(x), mixture.log_prob(x).sum(-1))
    torch.manual_seed(0)
    entropy = joint.entropy()
    torch.manual_seed(0)
    torch.testing.assert_close(entropy, mixture.entropy().sum(-1))
    assert joint.expand((2, 5)).rsample().shape == (2, 5, 4, 2)
    assert torch.equal(joint.mean, mixture.mean)
    assert torch.equal(joint.variance, mixture.variance)


@EVERY_MIXTURE
def test_transformed_distribution_equals_affine(make: Callable[..., Mixture]) -> None:
    mixture, shift, scale = make(5), torch.tensor([1.0, -2.0]).double(), torch.tensor([3.0, 0.1]).double()
    transformed = TransformedDistribution(mixture, [AffineTransform(shift, scale, event_dim=1)])
    x = transformed.rsample((7,))
    torch.testing.assert_close(transformed.log_prob(x), mixture.affine(shift, scale).log_prob(x))


def test_a_mixture_of_mixtures_is_a_mixture() -> None:
    """As the components of `MixtureSameFamily`: M mixtures of K components have M K components."""
    mixture, logits = random_full(5, 4), torch.randn(5, 4, dtype=torch.float64)
    nested = MixtureSameFamily(Categorical(logits=logits), mixture)
    flat = GaussianMixture(
        (torch.log_softmax(logits, -1).unsqueeze(-1) + mixture.log_weights).flatten(1),
        mixture.means.flatten(1, 2),
        mixture.log_scales.flatten(1, 2),
        None if mixture.slopes is None else mixture.slopes.flatten(1, 2),
    )
    x = nested.sample((3,))
    torch.testing.assert_close(nested.log_prob(x), flat.log_prob(x))
    torch.testing.assert_close(nested.mean, flat.mean)
    torch.testing.assert_close(nested.variance, flat.variance)
