"""The log density with its own gradient: against the formula, torch.distributions and difference quotients."""

import math
import shutil
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal
from torch.func import functional_call, grad, jacrev, vmap

from mdnrnn.distributions import GaussianMixture
from mdnrnn.nn.covariance import Covariance
from mdnrnn.nn.heads import MixtureHead

NAMES = ("logits", "means", "log_scales", "value")


def parameters(*batch: int, k: int = 3, d: int = 2, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Logits, means, log scales and a value, random, one for each of the batch."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(*batch, k), (*batch, k, d), (*batch, k, d), (*batch, d)]
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def log_density(logits: Tensor, means: Tensor, log_scales: Tensor, value: Tensor) -> Tensor:
    """Unchecked: checks look at numbers, which vmap does not show."""
    return GaussianMixture(logits, means, log_scales, validate_args=False).log_prob(value)


def theirs(logits: Tensor, means: Tensor, log_scales: Tensor, value: Tensor) -> Tensor:
    components = Independent(Normal(means, log_scales.exp(), validate_args=False), 1, validate_args=False)
    return MixtureSameFamily(Categorical(logits=logits, validate_args=False), components).log_prob(value)


def mixture(full: bool = False, *batch: int, d: int = 2, dtype: torch.dtype = torch.float64) -> GaussianMixture:
    logits, means, log_scales, _ = parameters(*batch, d=d, dtype=dtype)
    slopes = torch.randn(*means.shape, d, generator=torch.Generator().manual_seed(1), dtype=dtype) if full else None
    return GaussianMixture(logits, means, log_scales, slopes)


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)], ids=str)
@pytest.mark.parametrize(("k", "d"), [(1, 1), (4, 1), (1, 3), (5, 2)], ids=lambda n: str(n))
def test_the_value_is_the_plain_formula(batch: tuple[int, ...], k: int, d: int) -> None:
    logits, means, log_scales, value = parameters(*batch, k=k, d=d)
    scales = log_scales.exp()
    normal = torch.exp(-((value.unsqueeze(-2) - means) ** 2) / (2 * scales**2)) / (scales * math.sqrt(2 * math.pi))
    plain = (torch.softmax(logits, -1) * normal.prod(-1)).sum(-1).log()
    torch.testing.assert_close(log_density(logits, means, log_scales, value), plain)


@pytest.mark.parametrize("sigmas", [0.0, 30.0, 1e3, 1e6])
def test_value_and_gradients_are_those_of_mixture_same_family_however_far_the_point(sigmas: float) -> None:
    inputs = parameters(6)
    inputs[3] = inputs[3] + sigmas
    ours, expected = ([part.clone().requires_grad_() for part in inputs] for _ in range(2))
    here, there = log_density(*ours), theirs(*expected)
    torch.testing.assert_close(here, there)
    gradients = (torch.autograd.grad(value.sum(), parts) for value, parts in ((here, ours), (there, expected)))
    mine, known = (dict(zip(NAMES, gradient, strict=True)) for gradient in gradients)
    torch.testing.assert_close(mine, known)


def test_the_gradient_is_that_of_bishop() -> None:
    """r - w for the logits, r z / s for the means, r (z^2 - 1) for the log scales."""
    logits, means, log_scales, value = (part.requires_grad_() for part in parameters())
    found = torch.autograd.grad(log_density(logits, means, log_scales, value), (logits, means, log_scales))
    with torch.no_grad():
        z = (value - means) / log_scales.exp()
        share = torch.softmax(torch.log_softmax(logits, -1) - (0.5 * z**2 + log_scales).sum(-1), -1).unsqueeze(-1)
        expected = (
            share.squeeze(-1) - torch.softmax(logits, -1), share * z / log_scales.exp(), share * (z**2 - 1),
        )  # fmt: skip
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


WANTED = {
    "of everything": NAMES,
    "of the parameters": NAMES[:3],
    "of the logits": NAMES[:1],
    "of the means": NAMES[1:2],
    "of the log scales": NAMES[2:3],
    "of the value": NAMES[3:],
}


@pytest.mark.parametrize("wanted", WANTED.values(), ids=WANTED.keys())
def test_first_and_second_derivatives_are_difference_quotients(wanted: tuple[str, ...]) -> None:
    inputs = [part.requires_grad_(name in wanted) for name, part in zip(NAMES, parameters(2, k=3, d=2), strict=True)]
    assert torch.autograd.gradcheck(log_density, inputs)
    assert torch.autograd.gradgradcheck(log_density, inputs)


def test_the_hessian_is_that_of_mixture_same_family() -> None:
    def hessian(density: Callable[..., Tensor]) -> Tensor:
        inputs = [part.requires_grad_() for part in parameters()]
        first = torch.autograd.grad(density(*inputs), inputs, create_graph=True)
        flat = torch.cat([part.flatten() for part in first])
        rows = [torch.cat([g.flatten() for g in torch.autograd.grad(x, inputs, retain_graph=True)]) for x in flat]
        return torch.stack(rows)

    found = hessian(log_density)
    torch.testing.assert_close(found, hessian(theirs))
    torch.testing.assert_close(found, found.mT)


AXES = {
    "over everything": (0, 0, 0, 0),
    "over the parameters": (0, 0, 0, None),
    "over the logits": (0, None, None, None),
    "over the means": (None, 0, None, None),
    "over the log scales": (None, None, 0, None),
    "over the value": (None, None, None, 0),
}


@pytest.mark.parametrize("axes", AXES.values(), ids=AXES.keys())
def test_vmap_is_the_loop(axes: tuple[int | None, ...]) -> None:
    inputs = [part if axis == 0 else part[0] for part, axis in zip(parameters(5), axes, strict=True)]
    by_all = grad(log_density, argnums=(0, 1, 2, 3))
    values, gradients = vmap(log_density, axes)(*inputs), vmap(by_all, axes)(*inputs)
    for i in range(5):
        own = [part[i] if axis == 0 else part for part, axis in zip(inputs, axes, strict=True)]
        torch.testing.assert_close(values[i], theirs(*own))
        leaves = [part.clone().requires_grad_() for part in own]
        for one, other in zip(gradients, torch.autograd.grad(theirs(*leaves), leaves), strict=True):
            torch.testing.assert_close(one[i], other)


def test_jacrev_is_the_loop() -> None:
    inputs = parameters(4)
    found = jacrev(log_density, argnums=(0, 1, 2, 3))(*inputs)
    leaves = [part.clone().requires_grad_() for part in inputs]
    rows = [torch.autograd.grad(value, leaves, retain_graph=True) for value in theirs(*leaves)]
    for one, other in zip(found, zip(*rows, strict=True), strict=True):
        torch.testing.assert_close(one, torch.stack(other))


def test_several_gradients_taken_at_once_are_the_loop() -> None:
    leaves = [part.requires_grad_() for part in parameters(4)]
    found = torch.autograd.grad(log_density(*leaves), leaves, torch.eye(4).double(), is_grads_batched=True)
    rows = [torch.autograd.grad(value, leaves, retain_graph=True) for value in theirs(*leaves)]
    for one, other in zip(found, zip(*rows, strict=True), strict=True):
        torch.testing.assert_close(one, torch.stack(other))


@pytest.mark.parametrize("covariance", ["diagonal", "full", "shared", "per-dimension"])
def test_gradients_of_each_sample_are_the_loop(covariance: Covariance) -> None:
    head = MixtureHead(4, 2, 3, covariance).double()
    weights = {name: weight.detach() for name, weight in head.named_parameters()}
    x, y = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)

    def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return -functional_call(head, weights, (x,)).log_prob(y)

    each = vmap(grad(loss), (None, 0, 0))(weights, x, y)
    for i in range(6):
        own = torch.autograd.grad(-head(x[i]).log_prob(y[i]), list(head.parameters()))
        for (name, _), expected in zip(head.named_parameters(), own, strict=True):
            torch.testing.assert_close(each[name][i], expected)


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # PyTorch's compiler calls what PyTorch deprecates
@pytest.mark.parametrize(
    "covariance",
    ["diagonal", pytest.param("full", marks=pytest.mark.slow), pytest.param("per-dimension", marks=pytest.mark.slow)],
)
def test_compiled_whole_a_head_and_its_loss_are_what_they_are(
    covariance: Covariance, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("g++") is None:
        pytest.skip("no compiler: torch.compile needs g++")
    # torch.compile switches the checks of all distributions off, for good: they are put back after this test.
    monkeypatch.setattr(Distribution, "_validate_args", Distribution._validate_args)
    head = MixtureHead(4, 2, 3, covariance)
    x, y = torch.randn(8, 4), torch.randn(8, 2)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return head.loss(head(x), y)

    torch.compiler.reset()
    expected, found = loss(x, y), torch.compile(loss, fullgraph=True)(x, y)
    torch.testing.assert_close(found, expected)
    weights = list(head.parameters())
    for one, other in zip(torch.autograd.grad(found, weights), torch.autograd.grad(expected, weights), strict=True):
        torch.testing.assert_close(one, other)


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
    "a sample": lambda m: m.sample((3,), generator=torch.Generator().manual_seed(0)),
    "an rsample": lambda m: m.rsample((3,), generator=torch.Generator().manual_seed(0)),
    "entropy": lambda m: m.entropy(10, generator=torch.Generator().manual_seed(0)).value,
    "log_prob of a marginal": lambda m: m.marginal([1, 0]).log_prob(POINTS.to(m.means)),
    "log_prob of a conditional": lambda m: (
        m.condition(1, POINTS[..., 1:].to(m.means)).log_prob(POINTS[..., :1].to(m.means))
    ),
    "log_prob after an affine map": lambda m: (
        m.affine(m.means.new_tensor([1, -2]), m.means.new_tensor([3, 0.1])).log_prob(POINTS.to(m.means))
    ),
    "cdf": lambda m: m.marginal(0).cdf(POINTS[..., :1].to(m.means)),
    "icdf": lambda m: m.marginal(0).icdf(m.means.new_tensor(0.3)),
    "crps": lambda m: m.marginal(0).crps(POINTS[..., :1].to(m.means)),
}  # fmt: skip


@pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])
@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=QUANTITIES.keys())
def test_autocast_changes_no_digit(quantity: Callable[[GaussianMixture], Tensor], full: bool) -> None:
    distribution = mixture(full, 4, dtype=torch.float32)
    expected = quantity(distribution)
    with torch.autocast("cpu", torch.bfloat16):
        found = quantity(distribution)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])
@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=QUANTITIES.keys())
def test_double_precision_stays_double(quantity: Callable[[GaussianMixture], Tensor], full: bool) -> None:
    found = quantity(mixture(full, 4))
    assert found.dtype == torch.float64
    assert found.isfinite().all()


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_in_is_single_precision_out(narrow: torch.dtype) -> None:
    inputs = parameters(4, dtype=torch.float32)
    rounded = [part.to(narrow) for part in inputs]
    found = log_density(*rounded)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, theirs(*(part.float() for part in rounded)))


def test_a_wide_value_of_narrow_parameters_is_computed_wide() -> None:
    logits, means, log_scales, value = parameters(4, dtype=torch.float32)
    found = log_density(logits, means, log_scales, value.double() + 1e-9)
    assert found.dtype == torch.float64
    expected = theirs(logits.double(), means.double(), log_scales.double(), value.double() + 1e-9)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
