"""Distributions under torch.func, forward-mode differentiation and torch.compile, against loops and eager autograd."""

import shutil
from collections.abc import Callable, Iterator
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.distributions import Distribution, Normal, kl_divergence
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap

from mdnrnn.distributions import GaussianMixture, Step
from mdnrnn.nn.covariance import Covariance, StepCovariance
from mdnrnn.nn.heads import MixtureHead, StepHead
from mdnrnn.nn.parameters import MixtureShape
from tests.distributions.helpers import Mixture, random_joint

BIN_WIDTH = torch.tensor([0.5, 0.3], dtype=torch.float64)
EVERY_COVARIANCE = pytest.mark.parametrize("covariance", get_args(Covariance))
STRUCTURES = pytest.mark.parametrize("covariance", ["diagonal", "full", "per-dimension"])

Method = Callable[[Mixture, Tensor], Tensor]
SMOOTH: dict[str, Method] = {
    "log_prob": lambda m, y: m.log_prob(y),
    "discretized_log_prob": lambda m, y: m.discretized_log_prob(y, BIN_WIDTH),
    "component_posterior": lambda m, y: m.component_posterior(y).square().sum(),
    "pit": lambda m, y: m.pit(y).prod(-1),
    "variance": lambda m, y: m.variance.log().sum(-1),
    "covariance": lambda m, y: m.covariance.sum((-1, -2)),
    "marginal": lambda m, y: m.marginal(1).log_prob(y[..., 1:]),
    "condition": lambda m, y: m.condition(1, y[..., 1:]).log_prob(y[..., :1]),
    "affine": lambda m, y: m.affine(y, y.exp()).log_prob(y),
    "tempered": lambda m, y: m.tempered(0.5).biased(0.2).log_prob(y),
    "truncated": lambda m, y: m.truncated(2, 0.9).log_prob(y),
    "crps": lambda m, y: m.marginal(0).crps(y[..., :1]).sum(),
    "transform": lambda m, y: m.transform(y.sigmoid()[0] if isinstance(m, GaussianMixture) else y.sigmoid(), y).sum(-1),
}
FIRST_DERIVATIVE: dict[str, Method] = {
    "icdf": lambda m, y: m.marginal(0).icdf(y[0].sigmoid().expand(m.logits.shape[:-1][:1])).sum(),
    "rsample": lambda m, y: m.rsample((3,)).sin().sum(),
    "entropy": lambda m, y: m.entropy(20),
    "kl_divergence": lambda m, y: kl_divergence(m, m.tempered(0.5)),
}
"""Methods with random numbers, or whose second derivatives are not defined."""
WITHOUT_DERIVATIVE: dict[str, Method] = {
    "mode": lambda m, y: m.mode.sum(-1),
    "sample": lambda m, y: m.sample((3,)).sum((0, -1)),
}


def make_function(
    method: Method, covariance: Covariance
) -> tuple[Callable[[dict[str, Tensor], Tensor, Tensor], Tensor], dict[str, Tensor], Tensor, Tensor]:
    """Return a function of the weights of a head, its input and a target; the weights; 4 inputs and targets."""
    head = MixtureHead(3, 2, 3, covariance).double()
    torch.nn.init.normal_(head.linear.weight, std=0.5)
    weights = {name: weight.detach() for name, weight in head.named_parameters()}

    def function(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        torch.manual_seed(0)
        return method(functional_call(head, weights, (x,)), y)

    return function, weights, torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)


DETERMINISTIC: dict[str, Method] = {
    **SMOOTH,
    "icdf": FIRST_DERIVATIVE["icdf"],
    "mode": WITHOUT_DERIVATIVE["mode"],
    "transform to a grid": lambda m, y: m.transform(
        y.sigmoid()[0] if isinstance(m, GaussianMixture) else y.sigmoid(), y, BIN_WIDTH
    ).sum(-1),
}


@STRUCTURES
@pytest.mark.parametrize("method", DETERMINISTIC.values(), ids=DETERMINISTIC.keys())
def test_vmap_equals_a_loop(method: Method, covariance: Covariance) -> None:
    function, weights, x, y = make_function(method, covariance)
    expected = torch.stack([function(weights, x[i], y[i]) for i in range(4)])
    torch.testing.assert_close(vmap(function, (None, 0, 0))(weights, x, y), expected)
    expected = torch.stack([function(weights, x[0], y[i]) for i in range(4)])
    torch.testing.assert_close(vmap(function, (None, None, 0))(weights, x[0], y), expected)


DIFFERENTIABLE = SMOOTH | FIRST_DERIVATIVE


@STRUCTURES
@pytest.mark.parametrize("method", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE.keys())
def test_first_derivatives_equal_eager_autograd(method: Method, covariance: Covariance) -> None:
    """`grad`, `jvp`, also without gradients, `jacfwd` and forward-mode differentiation."""
    function, weights, x, y = make_function(method, covariance)
    point, direction = x[0].clone().requires_grad_(), x[1]
    (expected,) = torch.autograd.grad(function(weights, point, y[0]), point)
    torch.testing.assert_close(grad(function, argnums=1)(weights, x[0], y[0]), expected)
    along = (expected * direction).sum()
    by_x = lambda x: function(weights, x, y[0])  # noqa: E731
    for enabled in (True, False):
        with torch.set_grad_enabled(enabled):
            torch.testing.assert_close(jvp(by_x, (x[0],), (direction,))[1], along)
            torch.testing.assert_close(jacfwd(by_x, randomness="same")(x[0]), expected)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(by_x(forward_ad.make_dual(x[0], direction))).tangent
    torch.testing.assert_close(tangent, along)


@STRUCTURES
@pytest.mark.parametrize("method", WITHOUT_DERIVATIVE.values(), ids=WITHOUT_DERIVATIVE.keys())
def test_methods_without_derivative_have_derivative_zero(method: Method, covariance: Covariance) -> None:
    function, weights, x, y = make_function(method, covariance)
    result = jvp(lambda x: function(weights, x, y[0]).sum() + 0 * x.sum(), (x[0],), (x[1],))
    torch.testing.assert_close(result[0], function(weights, x[0], y[0]).sum())
    assert float(result[1]) == 0


@STRUCTURES
@pytest.mark.parametrize("method", SMOOTH.values(), ids=SMOOTH.keys())
def test_hessians_equal_eager_double_backward(method: Method, covariance: Covariance) -> None:
    """Forward over reverse, forward over forward and reverse over reverse."""
    function, weights, x, y = make_function(method, covariance)
    by_x = lambda x: function(weights, x, y[0])  # noqa: E731
    expected = torch.autograd.functional.hessian(by_x, x[0])
    for transform in (hessian, lambda f: jacfwd(jacfwd(f)), lambda f: jacrev(jacrev(f))):
        torch.testing.assert_close(transform(by_x)(x[0]), expected)


def reference_nll(shape: MixtureShape, parameters: Tensor, y: Tensor, bin_width: Tensor | None) -> Tensor:
    """Return the negative log-likelihood of y (2,), given parameters (P,) of 3 components, from the definitions."""
    k, d = shape.components, shape.features
    logits, means, raw, below = parameters.split(shape.sizes)
    scales = raw.exp() + torch.as_tensor(shape.log_floor).exp()

    def log_components(distance: Tensor, scales: Tensor) -> Tensor:
        if bin_width is None:
            return Normal(0.0, scales, validate_args=False).log_prob(distance)
        below_mean = -distance.abs()
        high, low = (torch.special.log_ndtr((below_mean + side * bin_width) / scales) for side in (0.5, -0.5))
        return high + torch.log(-torch.expm1(low - high))

    if shape.covariance == "per-dimension":
        weights = torch.log_softmax(logits.view(d, k), -1).mT
        joint = weights + log_components(y - means.view(d, k).mT, scales.view(d, k).mT)
        return -torch.logsumexp(joint, 0).sum()
    scales = scales.view({"isotropic": (k, 1), "shared": (1, d)}.get(shape.covariance, (k, d)))
    distance = y - means.view(k, d)
    if shape.covariance == "full":
        distance = torch.stack([distance[:, 0], distance[:, 1] - below * distance[:, 0]], -1)
    return -torch.logsumexp(torch.log_softmax(logits, -1) + log_components(distance, scales).sum(-1), -1)


@EVERY_COVARIANCE
@pytest.mark.parametrize("bin_width", [None, BIN_WIDTH], ids=["density", "bins"])
def test_hessians_of_the_nll_of_a_head_equal_the_definition(covariance: Covariance, bin_width: Tensor | None) -> None:
    """By the input and by all parameters of the head."""
    head = MixtureHead(3, 2, 3, covariance).double()
    torch.nn.init.normal_(head.linear.weight, std=0.5)
    weight, bias = (part.detach() for part in (head.linear.weight, head.linear.bias))
    x, y = torch.randn(3, dtype=torch.float64), torch.randn(2, dtype=torch.float64)

    def nll(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
        mixture = functional_call(head, {"linear.weight": weight, "linear.bias": bias}, (x,))
        return -(mixture.log_prob(y) if bin_width is None else mixture.discretized_log_prob(y, bin_width))

    def reference(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
        return reference_nll(head.shape, weight @ x + bias, y, bin_width)

    result = hessian(nll, argnums=(0, 1, 2))(weight, bias, x)
    expected = torch.autograd.functional.hessian(reference, (weight, bias, x))
    for row, expected_row in zip(result, expected, strict=True):
        for one, other in zip(row, expected_row, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("events", [0, 2, 3, 6])
@pytest.mark.parametrize("covariance", get_args(StepCovariance))
def test_hessians_of_the_nll_of_a_step_head_equal_eager_double_backward(
    covariance: StepCovariance, events: int
) -> None:
    head = StepHead(3, 2, 3, events, covariance).double()
    torch.nn.init.normal_(head.linear.weight, std=0.5)
    value = Step(torch.randn(2, dtype=torch.float64), torch.tensor(0))

    def nll(x: Tensor) -> Tensor:
        steps = head(x)
        return sum(steps.nll(value)) + sum(steps.nll(value, BIN_WIDTH)) - steps.event_log_prob(value.event)

    x = torch.randn(3, dtype=torch.float64)
    torch.testing.assert_close(hessian(nll)(x), torch.autograd.functional.hessian(nll, x))


def test_vmap_samples_every_element_independently() -> None:
    """20,000 samples: mean and correlation of neighbors within 5 standard errors, false-failure probability < 1e-5."""
    mixture = random_joint(d=1)
    draw = lambda shift: mixture.affine(shift, torch.ones_like(shift)).rsample()  # noqa: E731
    x = vmap(draw, randomness="different")(torch.zeros(20_000, 1, dtype=torch.float64)).squeeze(-1)
    assert abs(float(x.mean() - mixture.mean)) < 5 * float((mixture.variance / 20_000).sqrt())
    assert abs(float(torch.corrcoef(torch.stack([x[1:], x[:-1]]))[0, 1])) < 5 / 20_000**0.5


def test_invalid_values_are_not_checked_under_transforms() -> None:
    """The control flow of a transform cannot depend on the data; the results are NaN."""
    mixture = random_joint(validate=True)
    assert vmap(mixture.log_prob)(torch.full((3, 2), torch.nan).double()).isnan().all()


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Reset torch.compile, which turns off the validation of all distributions permanently; skip without compiler."""
    if shutil.which("g++") is None:
        pytest.skip("no compiler: torch.compile needs g++")
    monkeypatch.setattr(Distribution, "_validate_args", Distribution._validate_args)
    torch.compiler.reset()
    yield
    torch.compiler.reset()


# The compiler of PyTorch calls deprecated functions of PyTorch.
COMPILED = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:FutureWarning")


def check_compiled(function: Callable[[Tensor, Tensor], Tensor], weights: list[Tensor]) -> None:
    """Check that the compiled function has the values and gradients of the function, without graph breaks."""
    x, y = torch.randn(8, 4), torch.randn(8, 2)
    expected, result = function(x, y), torch.compile(function, fullgraph=True)(x, y)
    torch.testing.assert_close(result, expected)
    gradients, expected_gradients = (torch.autograd.grad(value.sum(), weights) for value in (result, expected))
    for one, other in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@COMPILED
@pytest.mark.usefixtures("compiler")
@EVERY_COVARIANCE
def test_compiled_likelihoods_equal_the_eager_ones(covariance: Covariance) -> None:
    """Head, loss, density and bin probability in one graph."""
    head, bin_width = MixtureHead(4, 2, 3, covariance), BIN_WIDTH.float()

    def function(x: Tensor, y: Tensor) -> Tensor:
        mixture = head(x)
        return head.loss(mixture, y) - mixture.discretized_log_prob(y, bin_width)

    check_compiled(function, list(head.parameters()))


@COMPILED
@pytest.mark.usefixtures("compiler")
def test_a_compiled_step_head_equals_the_eager_one() -> None:
    head = StepHead(4, 2, 3, 5)
    event = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])

    def function(x: Tensor, y: Tensor) -> Tensor:
        motion, events = head(x).nll(Step(y, event), BIN_WIDTH.float())
        return motion + events

    check_compiled(function, list(head.parameters()))


@COMPILED
@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("covariance", ["diagonal", pytest.param("full", marks=pytest.mark.slow)])
def test_compiled_quantiles_modes_and_conditionals_equal_the_eager_ones(covariance: Covariance) -> None:
    head = MixtureHead(4, 2, 3, covariance)

    def function(x: Tensor, y: Tensor) -> Tensor:
        mixture = head(x)
        quantile = mixture.marginal(0).icdf(torch.tensor(0.3)).squeeze(-1)
        return quantile + mixture.mode.sum(-1) + mixture.pit(y).sum(-1) + mixture.condition(1, y[:, 1:]).mean.sum(-1)

    check_compiled(function, list(head.parameters()))


@COMPILED
@pytest.mark.usefixtures("compiler")
def test_compiled_samples_follow_the_distribution() -> None:
    """40,000 samples: mean and standard deviation within 5 standard errors, false-failure probability below 1e-5."""
    mixture = random_joint(d=1).to(torch.float32)
    x = torch.compile(lambda: mixture.rsample((40_000,)), fullgraph=True)()
    assert abs(float(x.mean() - mixture.mean)) < 5 * float(mixture.stddev) / 200
    fourth = float((x - x.mean()).pow(4).mean())
    error = (fourth - float(mixture.variance) ** 2) ** 0.5 / 200
    assert abs(float(x.var() - mixture.variance)) < 5 * error
