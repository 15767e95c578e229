"""Arguments that cannot be are refused in one line; batches of any shape, expanded and indexed, are as tensors are."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture
from mdnrnn.nn.heads import MixtureHead

INF, NAN = math.inf, math.nan


def mixture(*batch: int, k: int = 3, d: int = 2, full: bool = False, validate: bool | None = None) -> GaussianMixture:
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*batch, k, *shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return GaussianMixture(draw(), draw(d), 0.5 * draw(d), draw(d, d) if full else None, validate)


def per_dimension(*batch: int, k: int = 3, d: int = 2) -> PerDimensionMixture:
    generator = torch.Generator().manual_seed(0)
    draw = lambda: torch.randn(*batch, d, k, generator=generator, dtype=torch.float64)  # noqa: E731
    return PerDimensionMixture(draw(), draw(), 0.5 * draw())


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape)


def with_one(wrong: float, *shape: int) -> Tensor:
    """Zeros, but the last one."""
    tensor = torch.zeros(shape)
    tensor.view(-1)[-1] = wrong
    return tensor


def head(**settings: Any) -> MixtureHead:
    return MixtureHead(**{"in_features": 3, "out_features": 2, "components": 4, **settings})


DIMS: dict[str, Any] = {
    "beyond the last": 2,
    "before the first": -3,
    "one of them beyond": [0, 2],
    "twice": [1, 1],
    "twice, once from the end": [0, -2],
    "none": [],
}

Numbers = Callable[[bool | None], object]

NUMBERS: dict[str, tuple[Numbers, str]] = {
    "logits of nan": (
        lambda v: GaussianMixture(with_one(NAN, 3), zeros(3, 2), zeros(3, 2), None, v),
        r"logits: received nan at index \(2,\), expected real numbers or -inf",
    ),
    "logits of inf": (
        lambda v: GaussianMixture(with_one(INF, 3), zeros(3, 2), zeros(3, 2), None, v),
        r"logits: received inf at index \(2,\), expected real numbers or -inf",
    ),
    "logits all of -inf in one of the batch": (
        lambda v: GaussianMixture(torch.tensor([[0.0, 0.0], [-INF, -INF]]), zeros(2, 2, 1), zeros(2, 2, 1), None, v),
        r"logits: received -inf at index \(1, 0\), expected one above -inf",
    ),
    "means of nan": (
        lambda v: GaussianMixture(zeros(3), with_one(NAN, 3, 2), zeros(3, 2), None, v),
        r"means: received nan at index \(2, 1\), expected real numbers",
    ),
    "means of -inf": (
        lambda v: GaussianMixture(zeros(3), with_one(-INF, 3, 2), zeros(3, 2), None, v),
        r"means: received -inf at index \(2, 1\), expected real numbers",
    ),
    "log scales of nan": (
        lambda v: GaussianMixture(zeros(3), zeros(3, 2), with_one(NAN, 3, 2), None, v),
        r"log_scales: received nan at index \(2, 1\), expected real numbers or -inf",
    ),
    "log scales of inf": (
        lambda v: GaussianMixture(zeros(3), zeros(3, 2), with_one(INF, 3, 2), None, v),
        r"log_scales: received inf at index \(2, 1\), expected real numbers or -inf",
    ),
    "slopes of nan": (
        lambda v: GaussianMixture(zeros(3), zeros(3, 2), zeros(3, 2), with_one(NAN, 3, 2, 2).flip(-1), v),
        r"slopes: received nan at index \(2, 1, 0\), expected real numbers",
    ),
    "a scale of a cholesky factor below zero": (
        lambda v: GaussianMixture.from_scale_tril(zeros(1), zeros(1, 2), torch.diag(torch.tensor([1.0, -1.0]))[None]),
        r"(log_scales|scale_tril): received .* at index \(0, 1",
    ),
    "means of nan, per dimension": (
        lambda v: PerDimensionMixture(zeros(2, 3), with_one(NAN, 2, 3), zeros(2, 3), v),
        r"means: received nan at index \(1, 2.*\), expected real numbers",
    ),
    "a value of nan": (
        lambda v: mixture(validate=v).log_prob(with_one(NAN, 2)),
        r"value: received nan at index \(1,\), expected real numbers",
    ),
    "a value of nan, full": (
        lambda v: mixture(full=True, validate=v).log_prob(with_one(NAN, 2)),
        r"value: received nan at index \(1,\), expected real numbers",
    ),
}  # fmt: skip

SHAPES: dict[str, tuple[Callable[[], object], str]] = {
    "logits of no dimension": (
        lambda: GaussianMixture(zeros(), zeros(1), zeros(1)),
        r"logits: received shape \(\), expected \(\.\.\., K\)",
    ),
    "no component": (
        lambda: GaussianMixture(zeros(0), zeros(0, 2), zeros(0, 2)),
        r"logits: received shape \(0,\), expected \(\.\.\., K\) with K of 1 or more",
    ),
    "no dimension": (
        lambda: GaussianMixture(zeros(3), zeros(3, 0), zeros(3, 0)),
        r"means: received shape \(3, 0\), expected \(3, D\), as logits are, D 1 or more",
    ),
    "means of other components": (
        lambda: GaussianMixture(zeros(3), zeros(4, 2), zeros(4, 2)),
        r"means: received shape \(4, 2\), expected \(3, D\)",
    ),
    "means of another batch": (
        lambda: GaussianMixture(zeros(5, 3), zeros(3, 2), zeros(3, 2)),
        r"means: received shape \(3, 2\), expected \(5, 3, D\)",
    ),
    "log scales of other dimensions": (
        lambda: GaussianMixture(zeros(3), zeros(3, 2), zeros(3, 4)),
        r"log_scales: received shape \(3, 4\), expected \(3, 2\), or 1 in place of K or D",
    ),
    "log scales without their components": (
        lambda: GaussianMixture(zeros(3), zeros(3, 2), zeros(2)),
        r"log_scales: received shape \(2,\), expected \(3, 2\)",
    ),
    "slopes that are no matrix": (
        lambda: GaussianMixture(zeros(3), zeros(3, 2), zeros(3, 2), zeros(3, 2)),
        r"slopes: received shape \(3, 2\), expected \(3, 2, 2\)",
    ),
    "slopes in a list below the diagonal": (
        lambda: GaussianMixture(zeros(3), zeros(3, 2), zeros(3, 2), zeros(3, 1)),
        r"slopes: received shape \(3, 1\), expected \(3, 2, 2\)",
    ),
    "logits per dimension without dimensions": (
        lambda: PerDimensionMixture(zeros(3), zeros(3), zeros(3)),
        r"logits: received shape \(3,\), expected \(\.\.\., D, K\)",
    ),
    "means per dimension of other components": (
        lambda: PerDimensionMixture(zeros(2, 3), zeros(2, 4), zeros(2, 3)),
        r"means: received shape \(2, 4\), expected \(2, 3\)",
    ),
    "log scales per dimension of other components": (
        lambda: PerDimensionMixture(zeros(2, 3), zeros(2, 3), zeros(2, 4)),
        r"log_scales: received shape \(2, 4\), expected \(2, 3\)",
    ),
    "per dimension, of none": (
        lambda: PerDimensionMixture(zeros(0, 3), zeros(0, 3), zeros(0, 3)),
        r"logits: received shape \(0, 3\), expected \(\.\.\., D, K\)",
    ),
    "parts that are not on a line": (
        lambda: PerDimensionMixture.from_univariate(mixture(4)),
        r"parts: received batch shape \(4,\) and 2 dimensions, expected \(\.\.\., D\) and 1",
    ),
    "a value of three dimensions for two": (
        lambda: mixture().log_prob(zeros(3)),
        r"value: received shape \(3,\), expected \(\.\.\., 2\)",
    ),
    "a value of one dimension for two": (
        lambda: mixture().log_prob(zeros(5, 1)),
        r"value: received shape \(5, 1\), expected \(\.\.\., 2\)",
    ),
    "a value of one dimension for two, full": (
        lambda: mixture(full=True).log_prob(zeros(5, 1)),
        r"value: received shape \(5, 1\), expected \(\.\.\., 2\)",
    ),
    "a value of one dimension for two, per dimension": (
        lambda: per_dimension().log_prob(zeros(5, 1)),
        r"value: received shape \(5, 1\), expected \(\.\.\., 2\)",
    ),
    "a value of two dimensions for one": (
        lambda: mixture(d=1).log_prob(zeros(5, 2)),
        r"value: received shape \(5, 2\), expected \(\.\.\., 1\)",
    ),
    "a value without its dimension": (
        lambda: mixture(4, d=1).log_prob(zeros(4)),
        r"value: received shape \(4,\), expected \(\.\.\., 1\)",
    ),
    "a number for a value": (
        lambda: mixture(d=1).log_prob(torch.tensor(0.0)),
        r"value: received shape \(\), expected \(\.\.\., 1\)",
    ),
    "a value of one dimension for a transform of two": (
        lambda: mixture().pit(zeros(1)),
        r"value: received shape \(1,\), expected \(\.\.\., 2\)",
    ),
    "a value of one dimension for responsibilities of two": (
        lambda: mixture().component_posterior(zeros(1)),
        r"value: received shape \(1,\), expected \(\.\.\., 2\)",
    ),
    "a value of one dimension for a bin_width of two": (
        lambda: mixture().discretized_log_prob(zeros(1), zeros(2)),
        r"value: received shape \(1,\), expected \(\.\.\., 2\)",
    ),
    "a value of another batch": (
        lambda: mixture(5).log_prob(zeros(4, 2)),
        r"value: received shape \(4, 2\), expected",
    ),
    "a condition of two values for one dimension": (
        lambda: mixture().condition(0, zeros(2)),
        r"value: received shape \(2,\), expected \(\.\.\., 1\)",
    ),
    "a condition of two values for one dimension, per dimension": (
        lambda: per_dimension().condition(0, zeros(2)),
        r"value: received shape \(2,\), expected \(\.\.\., 1\)",
    ),
    "targets of no batch": (
        lambda: head().initialize(zeros(2)),
        r"targets: received shape \(2,\), expected \(N, 2\), N 1 or more",
    ),
    "targets of other dimensions": (
        lambda: head().initialize(zeros(5, 3)),
        r"targets: received shape \(5, 3\), expected \(N, 2\)",
    ),
    "no targets": (
        lambda: head().initialize(zeros(0, 2)),
        r"targets: received shape \(0, 2\), expected \(N, 2\), N 1 or more",
    ),
}  # fmt: skip

OTHERS: dict[str, tuple[Callable[[], object], str]] = {
    "a probability above one": (
        lambda: mixture(d=1).icdf(torch.tensor([0.2, 1.5])),
        r"value: received .*1\.5.*, expected .* from 0 to 1",
    ),
    "a probability below zero": (
        lambda: mixture(d=1).icdf(torch.tensor(-0.25)),
        r"value: received .*-0\.25.*, expected .* from 0 to 1",
    ),
    "a probability of nan": (
        lambda: mixture(d=1).icdf(torch.tensor(NAN)),
        r"value: received .*nan.*, expected .* from 0 to 1",
    ),
    "one of a thousand probabilities": (
        lambda: mixture(d=1).icdf(torch.linspace(0, 1.001, 1000)),
        r"value: received .*1\.001.*, expected .* from 0 to 1",
    ),
    "a mass of zero": (lambda: mixture(d=1).interval(0), r"mass: received 0, expected a number between 0 and 1"),
    "a mass of one": (lambda: mixture(d=1).interval(1.0), r"mass: received 1\.0, expected a number between 0 and 1"),
    "a mass of 90": (lambda: mixture(d=1).interval(90), r"mass: received 90, expected a number between 0 and 1"),
    "a mass of nan": (lambda: mixture(d=1).interval(NAN), r"mass: received nan, expected a number between 0 and 1"),
    "one sample for an entropy": (lambda: mixture().entropy(1), r"samples: received 1, expected 2 or more"),
    "one sample for an entropy, per dimension": (
        lambda: per_dimension().entropy(1), r"samples: received 1, expected 2 or more"
    ),
    "a cdf in the plane": (lambda: mixture().cdf(zeros(2)), r"cdf was asked of 2 dimensions, expected 1: take margi"),
    "an icdf in the plane": (
        lambda: mixture().icdf(torch.tensor(0.5)), r"icdf was asked of 2 dimensions, expected 1: take marginal"
    ),
    "an interval in the plane": (lambda: mixture().interval(0.5), r"of 2 dimensions, expected 1: take marginal"),
    "a crps in the plane": (
        lambda: mixture().crps(zeros(2)), r"crps was asked of 2 dimensions, expected 1: take marginal"
    ),
    "a temperature below zero": (lambda: mixture().tempered(-0.5), r"temperature of -0\.5 was received; expected 0"),
    "a temperature of nan": (lambda: mixture().tempered(NAN), r"temperature of nan was received; expected 0"),
    "a temperature of scales below zero": (lambda: mixture().tempered(1, -0.5), r"temperature.*-0\.5.*expected 0"),
    "a head without features": (lambda: head(in_features=0), r"in_features: received 0, expected a whole number of 1"),
    "a head without components": (lambda: head(components=0), r"components: received 0, expected a whole number of 1"),
    "a head of minus one component": (lambda: head(components=-1), r"components: received -1, expected a whole number"),
    "a head of two and a half components": (
        lambda: head(components=2.5), r"components: received 2\.5, expected a whole number"
    ),
    "a head without dimensions": (lambda: head(out_features=0), r"out_features: received 0, expected a whole number"),
    "a covariance that is none": (
        lambda: head(covariance="round"),
        r"covariance: received 'round', expected one of diagonal, full, isotropic, shared, per-dimension",
    ),
    "a scale floor of zero": (lambda: head(scale_floor=0), r"scale_floor: received 0, expected a positive number"),
    "a scale floor of inf": (lambda: head(scale_floor=INF), r"scale_floor: received inf, expected a positive number"),
    "noise below zero": (lambda: head(noise=-0.1), r"noise: received -0\.1, expected a standard deviation of 0"),
    "noise of nan": (lambda: head(noise=NAN), r"noise: received nan, expected a standard deviation of 0 or more"),
}  # fmt: skip


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its words are checked by who calls this
        call()
    return str(caught.value)


@pytest.mark.parametrize(("call", "words"), [*SHAPES.values(), *OTHERS.values()], ids=[*SHAPES, *OTHERS])
def test_what_cannot_be_is_refused_in_one_line(call: Callable[[], object], words: str) -> None:
    message = refusal(call)
    assert "\n" not in message
    assert len(message) < 200
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize(("call", "words"), NUMBERS.values(), ids=NUMBERS.keys())
def test_numbers_that_are_none_are_refused_in_one_line(
    call: Numbers, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default, where torch.distributions is set to check."""
    monkeypatch.setattr(Distribution, "_validate_args", True)
    message = refusal(lambda: call(None))
    assert "\n" not in message
    assert len(message) < 200
    with pytest.raises(ValueError, match=words):
        call(None)


@pytest.mark.parametrize("make", [mixture, per_dimension], ids=["jointly", "per dimension"])
@pytest.mark.parametrize("dims", DIMS.values(), ids=DIMS.keys())
def test_dimensions_that_are_not_there_are_refused(
    dims: Any, make: Callable[[], GaussianMixture | PerDimensionMixture]
) -> None:
    words = r"dims: received \[.*\], expected different dimensions from 0 to 1, one at least$"
    with pytest.raises(ValueError, match=words):
        make().marginal(dims)
    with pytest.raises(ValueError, match=words):
        make().condition(dims, zeros(1))


@pytest.mark.parametrize("make", [mixture, per_dimension], ids=["jointly", "per dimension"])
def test_a_condition_on_all_dimensions_is_refused(make: Callable[[], GaussianMixture | PerDimensionMixture]) -> None:
    with pytest.raises(ValueError, match=r"dims: received all 2 dimensions, expected to leave one at least$"):
        make().condition([0, -1], zeros(2))


CHECKED = {name: call for name, (call, _) in NUMBERS.items() if "cholesky" not in name}
"""Those that take validate_args."""


@pytest.mark.parametrize("name", CHECKED)
def test_numbers_are_checked_where_asked_though_torch_is_set_not_to(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Distribution, "_validate_args", False)
    call, words = NUMBERS[name]
    with pytest.raises(ValueError, match=words):
        call(True)


@pytest.mark.parametrize("call", CHECKED.values(), ids=CHECKED.keys())
def test_unchecked_numbers_pass(call: Numbers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where asked not to check, or by default where torch.distributions is set not to."""
    monkeypatch.setattr(Distribution, "_validate_args", False)
    for passed in (call(False), call(None)):
        assert isinstance(passed, GaussianMixture | PerDimensionMixture) or bool(torch.as_tensor(passed).isnan().any())
    monkeypatch.setattr(Distribution, "_validate_args", True)
    assert isinstance(call(False), GaussianMixture | PerDimensionMixture | Tensor)


@pytest.mark.parametrize("validate", [True, False])
def test_a_mixture_made_of_another_checks_values_if_that_does(validate: bool) -> None:
    ours, wrong = mixture(4, d=3, validate=validate), with_one(NAN, 3)
    made: list[GaussianMixture] = [
        ours.tempered(0.5), ours.biased(1), ours.expand((2, 4)), ours[0], ours.to(torch.float32),
        ours.affine(zeros(3), zeros(3) + 1), ours.marginal([2, 1, 0]), ours.condition(0, zeros(1)),
    ]  # fmt: skip
    for one in made:
        value = wrong[-one.event_shape[0] :]
        if validate:
            assert "nan" in refusal(lambda one=one, value=value: one.log_prob(value))  # type: ignore[misc]
        else:
            assert one.log_prob(value).isnan().all()


def test_scales_of_zero_and_weights_of_zero_are_no_error() -> None:
    logits, log_scales = torch.tensor([0.0, -INF]), torch.full((2, 1), -INF)
    point = GaussianMixture(logits, torch.tensor([[3.0], [7.0]]), log_scales, validate_args=True)
    assert torch.equal(point.sample((100,)), torch.full((100, 1), 3.0))


def test_what_lies_above_the_diagonal_of_the_slopes_does_not_count() -> None:
    slopes = torch.tensor([[[NAN, INF], [0.5, NAN]]])
    ours = GaussianMixture(zeros(1), zeros(1, 2), zeros(1, 2), slopes, validate_args=True)
    torch.testing.assert_close(ours.scale_tril, torch.tensor([[[1.0, 0.0], [0.5, 1.0]]]))


BATCHES = pytest.mark.parametrize("batch", [(), (5,), (2, 3), (0,), (2, 0)], ids=str)
MAKES: dict[str, Callable[..., GaussianMixture | PerDimensionMixture]] = {
    "diagonal": mixture,
    "full": lambda *batch, **settings: mixture(*batch, full=True, **settings),
    "per dimension": per_dimension,
}
EVERY_KIND = pytest.mark.parametrize("make", MAKES.values(), ids=MAKES.keys())


@EVERY_KIND
@BATCHES
@pytest.mark.parametrize("sample", [(), (4,), (0,), (3, 2)], ids=str)
def test_shapes_are_those_of_the_sample_and_the_batch(
    sample: tuple[int, ...], batch: tuple[int, ...], make: Callable[..., GaussianMixture | PerDimensionMixture]
) -> None:
    ours = make(*batch)
    assert ours.batch_shape == batch
    assert ours.event_shape == (2,)
    x = ours.sample(sample)
    assert x.shape == (*sample, *batch, 2)
    assert ours.rsample(sample).shape == x.shape
    assert ours.log_prob(x).shape == (*sample, *batch)
    assert ours.pit(x).shape == x.shape
    assert ours.component_posterior(x).shape[: len(sample) + len(batch)] == (*sample, *batch)
    assert ours.marginal(1).log_prob(x[..., 1:]).shape == (*sample, *batch)
    assert ours.condition(1, x[..., 1:]).log_prob(x[..., :1]).shape == (*sample, *batch)
    for moment in (ours.mean, ours.variance, ours.mode):
        assert moment.shape == (*batch, 2)
    assert ours.covariance.shape == (*batch, 2, 2)
    assert all(part.shape == batch for part in ours.entropy(3))


@BATCHES
@pytest.mark.parametrize("sample", [(), (4,)], ids=str)
def test_shapes_on_a_line_are_those_of_the_sample_and_the_batch(
    sample: tuple[int, ...], batch: tuple[int, ...]
) -> None:
    ours = mixture(*batch, d=1)
    x, prob = ours.sample(sample), torch.rand((*sample, *batch), dtype=torch.float64)
    assert ours.cdf(x).shape == (*sample, *batch)
    assert ours.crps(x).shape == (*sample, *batch)
    assert ours.icdf(prob).shape == (*sample, *batch, 1)
    assert ours.icdf(torch.tensor(0.5)).shape == (*batch, 1)
    assert all(end.shape == (*batch, 1) for end in ours.interval(0.9))


def test_noise_may_be_one_tensor_for_all() -> None:
    """Common random numbers: expanded, not copied, and no warning of it, which PyTorch would give once a program."""
    ours, generator = mixture(4), torch.Generator().manual_seed(0)
    uniform = torch.rand(5, 1, generator=generator, dtype=torch.float64)
    normal = torch.randn(5, 1, 2, generator=generator, dtype=torch.float64)
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        found = ours.transform(uniform.expand(5, 4), normal.expand(5, 4, 2))
    finally:
        torch.set_warn_always(always)
    assert torch.equal(found, ours.transform(uniform.repeat(1, 4), normal.repeat(1, 4, 1)))


@pytest.mark.parametrize("make", [mixture, per_dimension], ids=["diagonal", "per dimension"])
@BATCHES
def test_cells_of_any_batch_have_a_probability(
    batch: tuple[int, ...], make: Callable[..., GaussianMixture | PerDimensionMixture]
) -> None:
    ours = make(*batch)
    assert ours.discretized_log_prob(ours.sample((4,)), torch.ones(2).double()).shape == (4, *batch)


@pytest.mark.parametrize("make", [*MAKES.values()], ids=[*MAKES])
def test_gradients_of_an_empty_batch_are_zero(make: Callable[..., GaussianMixture | PerDimensionMixture]) -> None:
    """A batch without points adds nothing to a loss."""
    leaf = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    ours = make(0, 3).affine(leaf, torch.ones(2).double())
    ours.log_prob(torch.zeros(0, 3, 2).double()).sum().backward()
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, torch.zeros(2).double())


def parameters(ours: GaussianMixture | PerDimensionMixture) -> list[tuple[Tensor, int]]:
    """Its tensors, each with the number of dimensions that are not the batch's."""
    if isinstance(ours, PerDimensionMixture):
        return [(ours.logits, 2), (ours.univariate.means.squeeze(-1), 2), (ours.univariate.log_scales.squeeze(-1), 2)]
    found = [(ours.logits, 1), (ours.means, 2), (ours.log_scales, 2)]
    return found if ours.slopes is None else [*found, (ours.slopes, 3)]


MASK = torch.tensor([[True, False, True], [False, False, True], [True, True, True], [False, False, False]])
INDICES: dict[str, Any] = {
    "a number": 0,
    "a number from the end": -1,
    "two numbers": (1, 2),
    "a range": slice(1, 3),
    "an empty range": slice(2, 2),
    "a range and a number": (slice(None), 0),
    "the last dimension": (..., 0),
    "the first before all others": (0, ...),
    "everything": ...,
    "nothing at all": (),
    "a new dimension": None,
    "a new last dimension": (..., None),
    "a mask": MASK,
    "a mask of the first dimension": torch.tensor([True, False, True, True]),
    "a list": [2, 0],
    "a tensor of numbers": torch.tensor([[0, 3], [1, 1]]),
    "two tensors": (torch.tensor([0, 1]), torch.tensor([2, 2])),
    "steps": (slice(None, None, 2), slice(None, None, 2)),
}


@EVERY_KIND
@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
def test_an_index_is_that_of_a_tensor_of_the_batch(
    index: Any, make: Callable[..., GaussianMixture | PerDimensionMixture]
) -> None:
    ours = make(4, 3)
    chosen = torch.arange(12).view(4, 3)[index]
    found = ours[index]
    assert found.batch_shape == chosen.shape
    for (part, own), (whole, _) in zip(parameters(found), parameters(ours), strict=True):
        assert torch.equal(part, whole.reshape(12, *whole.shape[-own:])[chosen])
    x = torch.randn(*chosen.shape, 2, dtype=torch.float64)
    everywhere = ours.log_prob(x.unsqueeze(-2).unsqueeze(-2).expand(*chosen.shape, 4, 3, 2)).flatten(-2)
    torch.testing.assert_close(found.log_prob(x), everywhere.gather(-1, chosen.unsqueeze(-1)).squeeze(-1))


@EVERY_KIND
@pytest.mark.parametrize(
    ("batch", "index"),
    [((4, 3), (0, 0, 0)), ((4,), (0, 0)), ((), 0), ((4, 3), 4), ((4, 3), (0, 3)), ((4, 3), (..., 0, 0, 0))],
    ids=["three of two", "two of one", "one of none", "beyond the first", "beyond the second", "three from the end"],
)
def test_an_index_of_more_than_the_batch_is_an_error(
    batch: tuple[int, ...], index: Any, make: Callable[..., GaussianMixture | PerDimensionMixture]
) -> None:
    with pytest.raises(IndexError):
        make(*batch)[index]


@EVERY_KIND
def test_iteration_goes_over_the_first_dimension_of_the_batch(
    make: Callable[..., GaussianMixture | PerDimensionMixture],
) -> None:
    ours = make(4, 3)
    each = list(ours)  # type: ignore[call-overload]  # by __getitem__ until an IndexError
    assert [one.batch_shape for one in each] == [(3,)] * 4
    assert all(torch.equal(one.logits, logits) for one, logits in zip(each, ours.logits, strict=True))


@EVERY_KIND
@pytest.mark.parametrize(("batch", "wider"), [((), (3,)), ((4,), (2, 4)), ((4, 1), (5, 4, 3)), ((1,), (0,))], ids=str)
def test_expanded_it_is_the_same_everywhere(
    batch: tuple[int, ...], wider: tuple[int, ...], make: Callable[..., GaussianMixture | PerDimensionMixture]
) -> None:
    ours = make(*batch)
    found = ours.expand(wider)
    assert found.batch_shape == wider
    for (part, own), (whole, _) in zip(parameters(found), parameters(ours), strict=True):
        assert torch.equal(part, whole.expand(*wider, *whole.shape[-own:]))
    x = torch.randn(*wider, 2, dtype=torch.float64)
    assert torch.equal(found.log_prob(x), ours.log_prob(x))
    assert found.sample().shape == (*wider, 2)


@EVERY_KIND
def test_in_another_precision_it_is_the_same_distribution(
    make: Callable[..., GaussianMixture | PerDimensionMixture],
) -> None:
    ours, x = make(4), torch.randn(4, 2, dtype=torch.float64)
    narrow = ours.to(torch.float32)
    assert all(part.dtype == torch.float32 for part, _ in parameters(narrow))
    torch.testing.assert_close(narrow.log_prob(x.float()).double(), ours.log_prob(x), rtol=1e-4, atol=1e-4)
    assert all(part.dtype == torch.float32 for part, _ in parameters(ours.to(torch.bfloat16)))
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(parameters(ours.to("cpu")), parameters(ours), strict=True))


def test_a_repr_tells_the_shapes() -> None:
    assert "logits: torch.Size([4, 3]), means: torch.Size([4, 3, 2])" in repr(mixture(4))
    assert "GaussianMixture" in repr(mixture(4, full=True))
    assert "PerDimensionMixture" in repr(per_dimension(4))
