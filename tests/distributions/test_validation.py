"""Invalid arguments and values are rejected in one line."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution

from mdnrnn.distributions import GaussianMixture, PerDimensionMixture, StepDistribution, kl_estimate
from mdnrnn.nn.heads import MixtureHead
from tests.distributions.helpers import Mixture, random_joint, random_per_dimension, random_steps

INF, NAN = math.inf, math.nan


def zeros(*shape: int) -> Tensor:
    return torch.zeros(shape)


def zeros_except_last(value: float, *shape: int) -> Tensor:
    tensor = torch.zeros(shape)
    tensor.view(-1)[-1] = value
    return tensor


def make_head(**settings: Any) -> MixtureHead:
    return MixtureHead(**{"in_features": 3, "out_features": 2, "components": 4, **settings})


INVALID_DIMS: dict[str, Any] = {
    "too large": 2,
    "too small": -3,
    "one too large": [0, 2],
    "repeated": [1, 1],
    "repeated, one negative": [0, -2],
    "empty": [],
}

Validated = Callable[[bool | None], object]

INVALID_VALUES: dict[str, tuple[Validated, str]] = {
    "logits, NaN": (
        lambda v: GaussianMixture(zeros_except_last(NAN, 3), zeros(3, 2), zeros(3, 2), None, v),
        r"logits: received nan at index \(2,\), expected real numbers or -inf",
    ),
    "logits, inf": (
        lambda v: GaussianMixture(zeros_except_last(INF, 3), zeros(3, 2), zeros(3, 2), None, v),
        r"logits: received inf at index \(2,\), expected real numbers or -inf",
    ),
    "logits, all -inf in an element of a batch": (
        lambda v: GaussianMixture(torch.tensor([[0.0, 0.0], [-INF, -INF]]), zeros(2, 2, 1), zeros(2, 2, 1), None, v),
        r"logits: received -inf at index \(1, 0\), expected at least one above -inf",
    ),
    "means, NaN": (
        lambda v: GaussianMixture(zeros(3), zeros_except_last(NAN, 3, 2), zeros(3, 2), None, v),
        r"means: received nan at index \(2, 1\), expected real numbers",
    ),
    "means, -inf": (
        lambda v: GaussianMixture(zeros(3), zeros_except_last(-INF, 3, 2), zeros(3, 2), None, v),
        r"means: received -inf at index \(2, 1\), expected real numbers",
    ),
    "log scales, NaN": (
        lambda v: GaussianMixture(zeros(3), zeros(3, 2), zeros_except_last(NAN, 3, 2), None, v),
        r"log_scales: received nan at index \(2, 1\), expected real numbers or -inf",
    ),
    "log scales, inf": (
        lambda v: GaussianMixture(zeros(3), zeros(3, 2), zeros_except_last(INF, 3, 2), None, v),
        r"log_scales: received inf at index \(2, 1\), expected real numbers or -inf",
    ),
    "slopes, NaN": (
        lambda v: GaussianMixture(zeros(3), zeros(3, 2), zeros(3, 2), zeros_except_last(NAN, 3, 2, 2).flip(-1), v),
        r"slopes: received nan at index \(2, 1, 0\), expected real numbers",
    ),
    "cholesky factor with a negative diagonal": (
        lambda v: GaussianMixture.from_scale_tril(zeros(1), zeros(1, 2), torch.diag(torch.tensor([1.0, -1.0]))[None]),
        r"(log_scales|scale_tril): received .* at index \(0, 1",
    ),
    "means, NaN, per-dimension": (
        lambda v: PerDimensionMixture(zeros(2, 3), zeros_except_last(NAN, 2, 3), zeros(2, 3), v),
        r"means: received nan at index \(1, 2.*\), expected real numbers",
    ),
    "event logits, NaN": (
        lambda v: StepDistribution(random_joint(4), zeros_except_last(NAN, 4, 3), v),
        r"event_logits: received nan at index \(3, 2\), expected real numbers or -inf",
    ),
    "event logits, all -inf": (
        lambda v: StepDistribution(random_joint(), torch.full((3,), -INF), v),
        r"event_logits: received -inf at index \(0,\), expected at least one above -inf",
    ),
    "value, NaN": (
        lambda v: random_joint(validate=v).log_prob(zeros_except_last(NAN, 2)),
        r"value: received nan at index \(1,\), expected real numbers",
    ),
    "value, NaN, full": (
        lambda v: random_joint(full=True, validate=v).log_prob(zeros_except_last(NAN, 2)),
        r"value: received nan at index \(1,\), expected real numbers",
    ),
}  # fmt: skip

INVALID_SHAPES: dict[str, tuple[Callable[[], object], str]] = {
    "scalar logits": (
        lambda: GaussianMixture(zeros(), zeros(1), zeros(1)),
        r"logits: received shape \(\), expected \(\.\.\., K\)",
    ),
    "no component": (
        lambda: GaussianMixture(zeros(0), zeros(0, 2), zeros(0, 2)),
        r"logits: received shape \(0,\), expected \(\.\.\., K\) with K >= 1",
    ),
    "no dimension": (
        lambda: GaussianMixture(zeros(3), zeros(3, 0), zeros(3, 0)),
        r"means: received shape \(3, 0\), expected \(3, D\): the shape of logits followed by D >= 1",
    ),
    "means, other K": (
        lambda: GaussianMixture(zeros(3), zeros(4, 2), zeros(4, 2)),
        r"means: received shape \(4, 2\), expected \(3, D\)",
    ),
    "means, other batch": (
        lambda: GaussianMixture(zeros(5, 3), zeros(3, 2), zeros(3, 2)),
        r"means: received shape \(3, 2\), expected \(5, 3, D\)",
    ),
    "log scales, other D": (
        lambda: GaussianMixture(zeros(3), zeros(3, 2), zeros(3, 4)),
        r"log_scales: received shape \(3, 4\), expected \(3, 2\), or 1 in place of K or D",
    ),
    "log scales, no K": (
        lambda: GaussianMixture(zeros(3), zeros(3, 2), zeros(2)),
        r"log_scales: received shape \(2,\), expected \(3, 2\)",
    ),
    "slopes, not a matrix": (
        lambda: GaussianMixture(zeros(3), zeros(3, 2), zeros(3, 2), zeros(3, 2)),
        r"slopes: received shape \(3, 2\), expected \(3, 2, 2\)",
    ),
    "slopes, list below the diagonal": (
        lambda: GaussianMixture(zeros(3), zeros(3, 2), zeros(3, 2), zeros(3, 1)),
        r"slopes: received shape \(3, 1\), expected \(3, 2, 2\)",
    ),
    "per-dimension logits, no D": (
        lambda: PerDimensionMixture(zeros(3), zeros(3), zeros(3)),
        r"logits: received shape \(3,\), expected \(\.\.\., D, K\)",
    ),
    "per-dimension means, other K": (
        lambda: PerDimensionMixture(zeros(2, 3), zeros(2, 4), zeros(2, 3)),
        r"means: received shape \(2, 4\), expected \(2, 3\)",
    ),
    "per-dimension log scales, other K": (
        lambda: PerDimensionMixture(zeros(2, 3), zeros(2, 3), zeros(2, 4)),
        r"log_scales: received shape \(2, 4\), expected \(2, 3\)",
    ),
    "per-dimension, no dimension": (
        lambda: PerDimensionMixture(zeros(0, 3), zeros(0, 3), zeros(0, 3)),
        r"logits: received shape \(0, 3\), expected \(\.\.\., D, K\) with D, K >= 1",
    ),
    "from_univariate, two dimensions": (
        lambda: PerDimensionMixture.from_univariate(random_joint(4)),
        r"univariate: received batch shape \(4,\) and 2 dimensions, expected batch shape \(\.\.\., D\) and 1 dimension",
    ),
    "value of 3 features for 2": (
        lambda: random_joint().log_prob(zeros(3)),
        r"value: received shape \(3,\), expected \(\.\.\., 2\)",
    ),
    "value of 1 feature for 2": (
        lambda: random_joint().log_prob(zeros(5, 1)),
        r"value: received shape \(5, 1\), expected \(\.\.\., 2\)",
    ),
    "value of 1 feature for 2, full": (
        lambda: random_joint(full=True).log_prob(zeros(5, 1)),
        r"value: received shape \(5, 1\), expected \(\.\.\., 2\)",
    ),
    "value of 1 feature for 2, per-dimension": (
        lambda: random_per_dimension().log_prob(zeros(5, 1)),
        r"value: received shape \(5, 1\), expected \(\.\.\., 2\)",
    ),
    "value of 2 features for 1": (
        lambda: random_joint(d=1).log_prob(zeros(5, 2)),
        r"value: received shape \(5, 2\), expected \(\.\.\., 1\)",
    ),
    "value, no D": (
        lambda: random_joint(4, d=1).log_prob(zeros(4)),
        r"value: received shape \(4,\), expected \(\.\.\., 1\)",
    ),
    "scalar value": (
        lambda: random_joint(d=1).log_prob(torch.tensor(0.0)),
        r"value: received shape \(\), expected \(\.\.\., 1\)",
    ),
    "pit of 1 feature for 2": (
        lambda: random_joint().pit(zeros(1)),
        r"value: received shape \(1,\), expected \(\.\.\., 2\)",
    ),
    "component_posterior of 1 feature for 2": (
        lambda: random_joint().component_posterior(zeros(1)),
        r"value: received shape \(1,\), expected \(\.\.\., 2\)",
    ),
    "discretized_log_prob of 1 feature for 2": (
        lambda: random_joint().discretized_log_prob(zeros(1), zeros(2)),
        r"value: received shape \(1,\), expected \(\.\.\., 2\)",
    ),
    "value, other batch": (
        lambda: random_joint(5).log_prob(zeros(4, 2)),
        r"value: received shape \(4, 2\), expected \(\.\.\., 2\) that broadcasts with batch shape \(5,\)",
    ),
    "condition on 2 values of 1 dimension": (
        lambda: random_joint().condition(0, zeros(2)),
        r"value: received shape \(2,\), expected \(\.\.\., 1\)",
    ),
    "condition on 2 values of 1 dimension, per-dimension": (
        lambda: random_per_dimension().condition(0, zeros(2)),
        r"value: received shape \(2,\), expected \(\.\.\., 1\)",
    ),
    "targets, no N": (
        lambda: make_head().initialize(zeros(2)),
        r"targets: received shape \(2,\), expected \(N, 2\) with N >= 1",
    ),
    "targets, other D": (
        lambda: make_head().initialize(zeros(5, 3)),
        r"targets: received shape \(5, 3\), expected \(N, 2\)",
    ),
    "targets, empty": (
        lambda: make_head().initialize(zeros(0, 2)),
        r"targets: received shape \(0, 2\), expected \(N, 2\) with N >= 1",
    ),
}  # fmt: skip

INVALID_OPTIONS: dict[str, tuple[Callable[[], object], str]] = {
    "probability above 1": (
        lambda: random_joint(d=1).icdf(torch.tensor([0.2, 1.5])),
        r"value: received .*1\.5.*, expected .* from 0 to 1",
    ),
    "probability below 0": (
        lambda: random_joint(d=1).icdf(torch.tensor(-0.25)),
        r"value: received .*-0\.25.*, expected .* from 0 to 1",
    ),
    "probability NaN": (
        lambda: random_joint(d=1).icdf(torch.tensor(NAN)),
        r"value: received .*nan.*, expected .* from 0 to 1",
    ),
    "one of 1000 probabilities": (
        lambda: random_joint(d=1).icdf(torch.linspace(0, 1.001, 1000)),
        r"value: received .*1\.001.*, expected .* from 0 to 1",
    ),
    "mass 0": (lambda: random_joint(d=1).interval(0), r"mass: received 0, expected a number between 0 and 1"),
    "mass 1": (lambda: random_joint(d=1).interval(1.0), r"mass: received 1\.0, expected a number between 0 and 1"),
    "mass 90": (lambda: random_joint(d=1).interval(90), r"mass: received 90, expected a number between 0 and 1"),
    "mass NaN": (lambda: random_joint(d=1).interval(NAN), r"mass: received nan, expected a number between 0 and 1"),
    "entropy, 1 sample": (lambda: random_joint().entropy(1), r"samples: received 1, expected 2 or more"),
    "divergence, 1 sample": (
        lambda: kl_estimate(random_joint(), random_joint(), 1), r"samples: received 1, expected 2 or more"
    ),
    "entropy, 1 sample, per-dimension": (
        lambda: random_per_dimension().entropy(1), r"samples: received 1, expected 2 or more"
    ),
    "cdf in 2-D": (
        lambda: random_joint().cdf(zeros(2)), r"cdf: received a mixture of 2 dimensions, expected 1; call marginal\(i\)"
    ),
    "icdf in 2-D": (
        lambda: random_joint().icdf(torch.tensor(0.5)), r"icdf: received a mixture of 2 dimensions, expected 1"
    ),
    "interval in 2-D": (lambda: random_joint().interval(0.5), r"received a mixture of 2 dimensions, expected 1"),
    "crps in 2-D": (lambda: random_joint().crps(zeros(2)), r"crps: received a mixture of 2 dimensions, expected 1"),
    "temperature -0.5": (
        lambda: random_joint().tempered(-0.5), r"^temperature: received -0\.5, expected a number >= 0"
    ),
    "temperature NaN": (lambda: random_joint().tempered(NAN), r"^temperature: received nan, expected a number >= 0"),
    "scale temperature -0.5": (
        lambda: random_joint().tempered(1, -0.5), r"scale_temperature: received -0\.5, expected a number >= 0"
    ),
    "head, 0 input features": (
        lambda: make_head(in_features=0), r"in_features: received 0, expected a whole number of 1 or more"
    ),
    "head, 0 components": (
        lambda: make_head(components=0), r"components: received 0, expected a whole number of 1 or more"
    ),
    "head, -1 components": (lambda: make_head(components=-1), r"components: received -1, expected a whole number"),
    "head, 2.5 components": (lambda: make_head(components=2.5), r"components: received 2\.5, expected a whole number"),
    "head, 0 output features": (
        lambda: make_head(out_features=0), r"out_features: received 0, expected a whole number of 1 or more"
    ),
    "head, unknown covariance": (
        lambda: make_head(covariance="round"),
        r"covariance: received 'round', expected one of diagonal, full, isotropic, shared, per-dimension",
    ),
    "head, scale floor 0": (
        lambda: make_head(scale_floor=0), r"scale_floor: received 0, expected a positive number"
    ),
    "head, scale floor inf": (
        lambda: make_head(scale_floor=INF), r"scale_floor: received inf, expected a positive number"
    ),
    "head, noise -0.1": (
        lambda: make_head(noise=-0.1), r"noise: received -0\.1, expected a standard deviation >= 0"
    ),
    "head, noise NaN": (lambda: make_head(noise=NAN), r"noise: received nan, expected a standard deviation >= 0"),
}  # fmt: skip


def error_message(call: Callable[[], object]) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011  # callers check the message
        call()
    return str(error.value)


@pytest.mark.parametrize(
    ("call", "pattern"),
    [*INVALID_SHAPES.values(), *INVALID_OPTIONS.values()],
    ids=[*INVALID_SHAPES, *INVALID_OPTIONS],
)
def test_invalid_arguments_are_rejected_in_one_line(call: Callable[[], object], pattern: str) -> None:
    message = error_message(call)
    assert "\n" not in message
    assert len(message) < 200
    with pytest.raises(ValueError, match=pattern):
        call()


@pytest.mark.parametrize(("call", "pattern"), INVALID_VALUES.values(), ids=INVALID_VALUES.keys())
def test_invalid_values_are_rejected_in_one_line(
    call: Validated, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default, if the validation of torch.distributions is on."""
    monkeypatch.setattr(Distribution, "_validate_args", True)
    message = error_message(lambda: call(None))
    assert "\n" not in message
    assert len(message) < 200
    with pytest.raises(ValueError, match=pattern):
        call(None)


JOINT_OR_PER_DIMENSION = pytest.mark.parametrize(
    "make", [random_joint, random_per_dimension], ids=["joint", "per-dimension"]
)


@JOINT_OR_PER_DIMENSION
@pytest.mark.parametrize("dims", INVALID_DIMS.values(), ids=INVALID_DIMS.keys())
def test_invalid_dims_are_rejected(dims: Any, make: Callable[[], Mixture]) -> None:
    pattern = r"dims: received \[.*\], expected one or more different dimensions from 0 to 1$"
    with pytest.raises(ValueError, match=pattern):
        make().marginal(dims)
    with pytest.raises(ValueError, match=pattern):
        make().condition(dims, zeros(1))


@JOINT_OR_PER_DIMENSION
def test_conditioning_on_all_dimensions_is_rejected(make: Callable[[], Mixture]) -> None:
    with pytest.raises(ValueError, match=r"dims: received all 2 dimensions, expected at most 1$"):
        make().condition([0, -1], zeros(2))


WITH_VALIDATE_ARGS = {name: case for name, case in INVALID_VALUES.items() if "cholesky" not in name}


@pytest.mark.parametrize(("call", "pattern"), WITH_VALIDATE_ARGS.values(), ids=WITH_VALIDATE_ARGS.keys())
def test_validate_args_overrides_the_setting_of_torch(
    call: Validated, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Distribution, "_validate_args", False)
    with pytest.raises(ValueError, match=pattern):
        call(True)


@pytest.mark.parametrize("name", WITH_VALIDATE_ARGS)
def test_invalid_values_pass_without_validation(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With validate_args=False, or by default if the validation of torch.distributions is off."""
    call, _ = WITH_VALIDATE_ARGS[name]
    monkeypatch.setattr(Distribution, "_validate_args", False)
    for result in (call(False), call(None)):
        assert isinstance(result, Mixture | StepDistribution) or bool(torch.as_tensor(result).isnan().any())
    monkeypatch.setattr(Distribution, "_validate_args", True)
    assert isinstance(call(False), Mixture | StepDistribution | Tensor)


@pytest.mark.parametrize("validate", [True, False])
def test_derived_mixtures_validate_values_if_the_original_does(validate: bool) -> None:
    mixture, invalid = random_joint(4, d=3, validate=validate), zeros_except_last(NAN, 3)
    derived: list[GaussianMixture] = [
        mixture.tempered(0.5), mixture.biased(1), mixture.expand((2, 4)), mixture[0], mixture.to(torch.float32),
        mixture.affine(zeros(3), zeros(3) + 1), mixture.marginal([2, 1, 0]), mixture.condition(0, zeros(1)),
    ]  # fmt: skip
    for one in derived:
        value = invalid[-one.event_shape[0] :]
        if validate:
            assert "nan" in error_message(lambda one=one, value=value: one.log_prob(value))  # type: ignore[misc]
        else:
            assert one.log_prob(value).isnan().all()


INVALID_EVENTS = {
    "too large": ([0.0, 1.0, 3.0], 3.0),
    "negative": ([0.0, -1.0, 2.0], -1.0),
    "fraction": ([0.5, 1.0, 2.0], 0.5),
    "NaN": ([0.0, 1.0, NAN], NAN),
}


@pytest.mark.parametrize(("event", "invalid"), INVALID_EVENTS.values(), ids=INVALID_EVENTS.keys())
def test_invalid_events_are_rejected(event: list[float], invalid: float) -> None:
    """Also by derived distributions, if and only if the original validates events."""
    steps, value = random_steps(3, validate=True), torch.tensor(event)
    pattern = f"event: received {invalid} at index .*, expected a whole number from 0 to 2"
    for one in (steps, steps.tempered(0.5), steps.biased(1), steps.endless(), steps.expand((2, 3)), steps[:, None]):
        with pytest.raises(ValueError, match=pattern):
            one.event_log_prob(value)
    for one in (random_steps(3, validate=False), random_steps(3, validate=False).tempered(0.5)):
        assert not one._validate_args


def test_events_are_not_checked_if_there_are_none() -> None:
    steps = random_steps(3, events=0, validate=True)
    assert torch.equal(steps.event_log_prob(torch.tensor([0, 7, 2])), torch.zeros(3).double())


def test_scales_of_zero_and_weights_of_zero_are_valid() -> None:
    logits, log_scales = torch.tensor([0.0, -INF]), torch.full((2, 1), -INF)
    point_mass = GaussianMixture(logits, torch.tensor([[3.0], [7.0]]), log_scales, validate_args=True)
    assert torch.equal(point_mass.sample((100,)), torch.full((100, 1), 3.0))


def test_slopes_on_and_above_the_diagonal_are_ignored() -> None:
    slopes = torch.tensor([[[NAN, INF], [0.5, NAN]]])
    mixture = GaussianMixture(zeros(1), zeros(1, 2), zeros(1, 2), slopes, validate_args=True)
    torch.testing.assert_close(mixture.scale_tril, torch.tensor([[[1.0, 0.0], [0.5, 1.0]]]))
