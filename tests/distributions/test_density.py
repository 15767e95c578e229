"""The log density and its hand-written gradient against the formula, torch.distributions and difference quotients."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.func import functional_call, grad, jacrev, vmap

from mdnrnn.distributions import GaussianMixture
from mdnrnn.nn.covariance import Covariance
from mdnrnn.nn.heads import MixtureHead

NAMES = ("logits", "means", "log_scales", "value")


def random_arguments(
    *batch: int, k: int = 3, d: int = 2, seed: int = 0, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    """Return random logits, means, log scales and values."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(*batch, k), (*batch, k, d), (*batch, k, d), (*batch, d)]
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def log_density(logits: Tensor, means: Tensor, log_scales: Tensor, value: Tensor) -> Tensor:
    """Return the log density without validation, which vmap does not support."""
    return GaussianMixture(logits, means, log_scales, validate_args=False).log_prob(value)


def reference(logits: Tensor, means: Tensor, log_scales: Tensor, value: Tensor) -> Tensor:
    components = Independent(Normal(means, log_scales.exp(), validate_args=False), 1, validate_args=False)
    return MixtureSameFamily(Categorical(logits=logits, validate_args=False), components).log_prob(value)


def random_mixture(full: bool = False, *batch: int, d: int = 2, dtype: torch.dtype = torch.float64) -> GaussianMixture:
    logits, means, log_scales, _ = random_arguments(*batch, d=d, dtype=dtype)
    slopes = torch.randn(*means.shape, d, generator=torch.Generator().manual_seed(1), dtype=dtype) if full else None
    return GaussianMixture(logits, means, log_scales, slopes)


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)], ids=str)
@pytest.mark.parametrize(("k", "d"), [(1, 1), (4, 1), (1, 3), (5, 2)], ids=lambda n: str(n))
def test_log_density_equals_the_formula(batch: tuple[int, ...], k: int, d: int) -> None:
    logits, means, log_scales, value = random_arguments(*batch, k=k, d=d)
    scales = log_scales.exp()
    normal = torch.exp(-((value.unsqueeze(-2) - means) ** 2) / (2 * scales**2)) / (scales * math.sqrt(2 * math.pi))
    expected = (torch.softmax(logits, -1) * normal.prod(-1)).sum(-1).log()
    torch.testing.assert_close(log_density(logits, means, log_scales, value), expected)


@pytest.mark.parametrize("sigmas", [0.0, 30.0, 1e3, 1e6])
def test_values_and_gradients_equal_mixture_same_family_at_any_distance(sigmas: float) -> None:
    arguments = random_arguments(6)
    arguments[3] = arguments[3] + sigmas
    leaves, expected_leaves = ([part.clone().requires_grad_() for part in arguments] for _ in range(2))
    log_prob, expected = log_density(*leaves), reference(*expected_leaves)
    torch.testing.assert_close(log_prob, expected)
    gradients = torch.autograd.grad(log_prob.sum(), leaves)
    expected_gradients = torch.autograd.grad(expected.sum(), expected_leaves)
    torch.testing.assert_close(
        dict(zip(NAMES, gradients, strict=True)), dict(zip(NAMES, expected_gradients, strict=True))
    )


def test_gradients_equal_the_formulas_of_bishop() -> None:
    """r - w for the logits, r z / s for the means, r (z^2 - 1) for the log scales."""
    logits, means, log_scales, value = (part.requires_grad_() for part in random_arguments())
    gradients = torch.autograd.grad(log_density(logits, means, log_scales, value), (logits, means, log_scales))
    with torch.no_grad():
        z = (value - means) / log_scales.exp()
        r = torch.softmax(torch.log_softmax(logits, -1) - (0.5 * z**2 + log_scales).sum(-1), -1).unsqueeze(-1)
        expected = (
            r.squeeze(-1) - torch.softmax(logits, -1), r * z / log_scales.exp(), r * (z**2 - 1),
        )  # fmt: skip
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other)


DIFFERENTIABLE = {
    "all": NAMES,
    "parameters": NAMES[:3],
    "logits": NAMES[:1],
    "means": NAMES[1:2],
    "log scales": NAMES[2:3],
    "value": NAMES[3:],
}


@pytest.mark.parametrize("names", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE.keys())
def test_first_and_second_derivatives_equal_difference_quotients(names: tuple[str, ...]) -> None:
    arguments = zip(NAMES, random_arguments(2, k=3, d=2), strict=True)
    inputs = [part.requires_grad_(name in names) for name, part in arguments]
    assert torch.autograd.gradcheck(log_density, inputs)
    assert torch.autograd.gradgradcheck(log_density, inputs)


def test_hessian_equals_mixture_same_family() -> None:
    def hessian(density: Callable[..., Tensor]) -> Tensor:
        inputs = [part.requires_grad_() for part in random_arguments()]
        first = torch.autograd.grad(density(*inputs), inputs, create_graph=True)
        flat = torch.cat([part.flatten() for part in first])
        rows = [torch.cat([g.flatten() for g in torch.autograd.grad(x, inputs, retain_graph=True)]) for x in flat]
        return torch.stack(rows)

    result = hessian(log_density)
    torch.testing.assert_close(result, hessian(reference))
    torch.testing.assert_close(result, result.mT)


AXES = {
    "all": (0, 0, 0, 0),
    "parameters": (0, 0, 0, None),
    "logits": (0, None, None, None),
    "means": (None, 0, None, None),
    "log scales": (None, None, 0, None),
    "value": (None, None, None, 0),
}


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
def test_vmap_equals_a_loop(axes: tuple[int | None, ...]) -> None:
    inputs = [part if axis == 0 else part[0] for part, axis in zip(random_arguments(5), axes, strict=True)]
    gradient = grad(log_density, argnums=(0, 1, 2, 3))
    values, gradients = vmap(log_density, axes)(*inputs), vmap(gradient, axes)(*inputs)
    for i in range(5):
        arguments = [part[i] if axis == 0 else part for part, axis in zip(inputs, axes, strict=True)]
        torch.testing.assert_close(values[i], reference(*arguments))
        leaves = [part.clone().requires_grad_() for part in arguments]
        for one, other in zip(gradients, torch.autograd.grad(reference(*leaves), leaves), strict=True):
            torch.testing.assert_close(one[i], other)


def gradients_by_loop() -> list[Tensor]:
    """Return the gradients of 4 log densities by all arguments, computed one after the other."""
    leaves = [part.requires_grad_() for part in random_arguments(4)]
    rows = [torch.autograd.grad(value, leaves, retain_graph=True) for value in reference(*leaves)]
    return [torch.stack(column) for column in zip(*rows, strict=True)]


def test_jacrev_equals_a_loop() -> None:
    results = jacrev(log_density, argnums=(0, 1, 2, 3))(*random_arguments(4))
    for one, other in zip(results, gradients_by_loop(), strict=True):
        torch.testing.assert_close(one, other)


def test_batched_gradients_equal_a_loop() -> None:
    leaves = [part.requires_grad_() for part in random_arguments(4)]
    results = torch.autograd.grad(log_density(*leaves), leaves, torch.eye(4).double(), is_grads_batched=True)
    for one, other in zip(results, gradients_by_loop(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("covariance", ["diagonal", "full", "shared", "per-dimension"])
def test_per_sample_gradients_equal_a_loop(covariance: Covariance) -> None:
    head = MixtureHead(4, 2, 3, covariance).double()
    weights = {name: weight.detach() for name, weight in head.named_parameters()}
    x, y = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)

    def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return -functional_call(head, weights, (x,)).log_prob(y)

    gradients = vmap(grad(loss), (None, 0, 0))(weights, x, y)
    for i in range(6):
        expected = torch.autograd.grad(-head(x[i]).log_prob(y[i]), list(head.parameters()))
        for (name, _), gradient in zip(head.named_parameters(), expected, strict=True):
            torch.testing.assert_close(gradients[name][i], gradient)


POINTS = torch.randn(7, 4, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

QUANTITIES: dict[str, Callable[[GaussianMixture], Tensor]] = {
    "log_prob": lambda m: m.log_prob(POINTS.to(m.means)),
    "component_posterior": lambda m: m.component_posterior(POINTS.to(m.means)),
    "pit": lambda m: m.pit(POINTS.to(m.means)),
    "mean": lambda m: m.mean,
    "variance": lambda m: m.variance,
    "covariance": lambda m: m.covariance,
    "scale_tril": lambda m: m.scale_tril,
    "mode": lambda m: m.mode,
    "sample": lambda m: m.sample((3,), generator=torch.Generator().manual_seed(0)),
    "rsample": lambda m: m.rsample((3,), generator=torch.Generator().manual_seed(0)),
    "entropy": lambda m: m.entropy(10, generator=torch.Generator().manual_seed(0)),
    "marginal": lambda m: m.marginal([1, 0]).log_prob(POINTS.to(m.means)),
    "condition": lambda m: (
        m.condition(1, POINTS[..., 1:].to(m.means)).log_prob(POINTS[..., :1].to(m.means))
    ),
    "affine": lambda m: (
        m.affine(m.means.new_tensor([1, -2]), m.means.new_tensor([3, 0.1])).log_prob(POINTS.to(m.means))
    ),
    "cdf": lambda m: m.marginal(0).cdf(POINTS[..., :1].to(m.means)),
    "icdf": lambda m: m.marginal(0).icdf(m.means.new_tensor(0.3)),
    "crps": lambda m: m.marginal(0).crps(POINTS[..., :1].to(m.means)),
}  # fmt: skip


@pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])
@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=QUANTITIES.keys())
def test_autocast_does_not_change_results(quantity: Callable[[GaussianMixture], Tensor], full: bool) -> None:
    mixture = random_mixture(full, 4, dtype=torch.float32)
    expected = quantity(mixture)
    with torch.autocast("cpu", torch.bfloat16):
        result = quantity(mixture)
    assert result.dtype == torch.float32
    assert torch.equal(result, expected)


@pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])
@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=QUANTITIES.keys())
def test_float64_parameters_give_float64_results(quantity: Callable[[GaussianMixture], Tensor], full: bool) -> None:
    result = quantity(random_mixture(full, 4))
    assert result.dtype == torch.float64
    assert result.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_arguments_give_float32_results(dtype: torch.dtype) -> None:
    rounded = [part.to(dtype) for part in random_arguments(4, dtype=torch.float32)]
    result = log_density(*rounded)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, reference(*(part.float() for part in rounded)))


def test_a_float64_value_with_float32_parameters_gives_a_float64_result() -> None:
    logits, means, log_scales, value = random_arguments(4, dtype=torch.float32)
    result = log_density(logits, means, log_scales, value.double() + 1e-9)
    assert result.dtype == torch.float64
    expected = reference(logits.double(), means.double(), log_scales.double(), value.double() + 1e-9)
    torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-6)
