"""The likelihood kernel computes the results of the PyTorch formulas, in Triton's interpreter or on a GPU."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from mdnrnn.data.batches import Batches
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.synthetic.corpora import make_pen_text
from mdnrnn.distributions import Step
from mdnrnn.kernels import TRITON_INSTALLED, kernels_available
from mdnrnn.models.base import SequenceModel, StepShape
from mdnrnn.models.configs import HandwritingConfig, MDNRNNConfig, SketchRNNConfig
from mdnrnn.models.handwriting import HandwritingRNN
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.models.sketch import SketchRNN
from mdnrnn.nn import parameters
from mdnrnn.nn.covariance import Covariance
from mdnrnn.nn.parameters import MixtureShape, StepParameters

pytestmark = [
    pytest.mark.skipif(not TRITON_INSTALLED, reason="no Triton"),
    # The interpreter computes with NumPy, which warns of overflows in the branches that `where` does not select.
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton"),
]


DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Case:
    """Description of random inputs of the kernel."""

    covariance: Covariance = "diagonal"
    components: int = 5
    features: int = 2
    events: int = 3
    steps: int = 20
    bin_widths: tuple[float, float] | None = (-3.0, 2.0)
    """Decimal logarithms of the smallest and largest bin width; None for densities."""
    mean_spread: float = 1.0
    """Standard deviation of the means."""
    scale_spread: float = 1.0
    """Standard deviation of the raw log scales."""
    event_spread: float = 1.0
    """Standard deviation of the event logits."""
    has_shift: bool = False
    """Whether the logit of END is shifted."""
    dtype: torch.dtype = torch.float32


class Inputs(NamedTuple):
    parameters: Tensor
    shape: MixtureShape
    step: Step
    bin_width: Tensor | None
    shift: Tensor | None


def make_inputs(case: Case) -> Inputs:
    """Draw the inputs; every fourth bin width is 0."""
    torch.manual_seed(0)
    shape = MixtureShape(case.features, case.components, math.log(1e-3), case.covariance)
    values = torch.randn(case.steps, shape.size + case.events)
    _, means, scales, _, events = values.split([*shape.sizes, case.events], -1)
    means *= case.mean_spread
    scales *= case.scale_spread
    events *= case.event_spread
    event = torch.randint(0, 3, (case.steps,)) if case.events == 3 else 2 * torch.randint(0, 2, (case.steps,))
    bin_width = None
    if case.bin_widths:
        bin_width = 10 ** torch.empty(case.steps, case.features).uniform_(*case.bin_widths)
        bin_width.view(-1)[::4] = 0
        bin_width = bin_width.to(DEVICE)
    shift = torch.rand(case.steps).log().to(DEVICE) if case.has_shift else None
    step = Step(torch.randn(case.steps, case.features).to(DEVICE), event.to(DEVICE))
    return Inputs(values.to(DEVICE, case.dtype), shape, step, bin_width, shift)


class Results(NamedTuple):
    """Negative log-likelihoods (S,), and S times the gradients of a weighted mean of them."""

    motion: Tensor
    event: Tensor
    by_parameters: Tensor
    by_shift: Tensor


def compute(inputs: Inputs, events: int, kernel: bool, weights: tuple[Any, Any] = (1.0, 1.0)) -> Results:
    """Return the results for the loss mean(weight motion) + mean(weight event), with the kernel or without."""
    values = inputs.parameters.clone().requires_grad_()
    shift = None if inputs.shift is None else inputs.shift.clone().requires_grad_()
    steps = StepParameters(values, inputs.shape, events, shift)
    nll = steps.nll if kernel else super(StepParameters, steps).nll
    motion, event = nll(inputs.step, inputs.bin_width)
    count = max(1, len(values))
    loss = (weights[0] * motion).sum() / count + (weights[1] * event).sum() / count
    loss.backward()
    assert values.grad is not None
    assert values.grad.dtype == values.dtype
    by_shift = values.new_zeros(0) if shift is None else shift.grad
    assert by_shift is not None
    return Results(motion.detach(), event.detach(), count * values.grad.float(), count * by_shift)


@pytest.fixture(autouse=True)
def _enable_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the kernel on every device on which Triton runs."""
    monkeypatch.setattr(parameters, "kernels_available", lambda tensor: TRITON_INSTALLED)


COVARIANCES: list[Covariance] = ["diagonal", "full", "per-dimension"]
EXTREMES: dict[str, dict[str, Any]] = {
    "values far from all components": {"mean_spread": 100.0, "steps": 37},
    "scales from the floor to a million": {"scale_spread": 7.0},
    "bin widths far below the scales": {"bin_widths": (-7.0, -3.0)},
    "bin widths far above the scales": {"bin_widths": (2.0, 4.0)},
    "twenty components": {"components": 20},
    "one component": {"components": 1},
}
CASES = {
    **{
        f"{covariance}, {'bins' if bin_widths else 'densities'}": Case(covariance, bin_widths=bin_widths)
        for covariance, bin_widths in product(COVARIANCES, (None, (-3.0, 2.0)))
    },
    **{
        f"{covariance}, {name}": Case(covariance, **settings)
        for covariance, (name, settings) in product(COVARIANCES, EXTREMES.items())
    },
    "full, one feature": Case("full", features=1),
    "three features": Case(features=3),
    "per-dimension, five features": Case("per-dimension", features=5),
    "eight features": Case(features=8, components=17),
    "100 components": Case(components=100),
    "two events": Case(events=2),
    "no events": Case(events=0),
    "impossible events": Case(event_spread=1e4),
    "shifted END": Case(has_shift=True),
    "shifted END, two events": Case(has_shift=True, events=2),
    "one step": Case(steps=1),
    "two full tiles": Case(steps=64),
    "a tile and one step": Case(steps=33),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_kernel_matches_the_formulas(case: Case) -> None:
    inputs = make_inputs(case)
    results, expected = (compute(inputs, case.events, kernel) for kernel in (True, False))
    for one, other in zip(results, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bin_widths", [None, (-3.0, 2.0)], ids=["densities", "bins"])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_kernel_matches_the_formulas_in_float64(covariance: Covariance, bin_widths: tuple[float, float] | None) -> None:
    inputs = make_inputs(Case(covariance, steps=64, bin_widths=bin_widths))
    double = Inputs(
        inputs.parameters.double(),
        inputs.shape,
        Step(inputs.step.motion.double(), inputs.step.event),
        None if inputs.bin_width is None else inputs.bin_width.double(),
        None,
    )
    for one, other in zip(compute(inputs, 3, True), compute(double, 3, False), strict=True):
        torch.testing.assert_close(one, other.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_bfloat16_parameters_give_float32_likelihoods_and_bfloat16_gradients(covariance: Covariance) -> None:
    inputs = make_inputs(Case(covariance, dtype=torch.bfloat16, has_shift=True))
    results, expected = (compute(inputs, 3, kernel) for kernel in (True, False))
    torch.testing.assert_close(results[:2], expected[:2], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(results[2:], expected[2:], rtol=2**-7, atol=1e-5)


def test_any_upstream_gradient_is_applied() -> None:
    """Different weights for every step, equal weights other than 1, and one weight of 0."""
    inputs = make_inputs(Case(has_shift=True))
    for weights in ((torch.rand(20).to(DEVICE), torch.randn(20).to(DEVICE)), (2.0, 2.0), (1.0, 0.0), (0.0, 3.0)):
        results, expected = (compute(inputs, 3, kernel, weights) for kernel in (True, False))
        torch.testing.assert_close(tuple(results), tuple(expected), rtol=1e-5, atol=1e-5)


def test_an_unused_result_has_no_gradient() -> None:
    inputs = make_inputs(Case())
    values = inputs.parameters.clone().requires_grad_()
    motion, _ = StepParameters(values, inputs.shape, 3).nll(inputs.step, inputs.bin_width)
    motion.mean().backward()
    assert values.grad is not None
    assert bool((values.grad[:, -3:] == 0).all())
    assert bool((values.grad[:, :-3] != 0).any())


def test_no_steps_give_empty_results() -> None:
    results = compute(make_inputs(Case(steps=0)), 3, True)
    assert results.motion.shape == results.event.shape == (0,)
    assert results.by_parameters.shape == (0, 5 + 20 + 3)


@pytest.mark.parametrize("count", [1, 3, 37, 1000, 25_000, 123_457])
def test_the_upstream_gradient_of_a_mean_is_exactly_one_over_s(count: int) -> None:
    """The backward kernel compares bits: it leaves the gradient unchanged if the upstream gradient is 1 / S."""
    nll = torch.zeros(count, requires_grad=True, device=DEVICE)
    nll.mean().backward()
    assert nll.grad is not None
    assert bool((nll.grad == torch.tensor(1 / count, device=DEVICE)).all())


def test_a_second_backward_pass_raises_an_error() -> None:
    inputs = make_inputs(Case())
    values = inputs.parameters.clone().requires_grad_()
    motion, event = StepParameters(values, inputs.shape, 3).nll(inputs.step, inputs.bin_width)
    loss = motion.mean() + event.mean()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="received a second backward pass, expected one"):
        loss.backward()


def test_no_gradient_is_computed_without_grad_mode() -> None:
    inputs = make_inputs(Case())
    values = inputs.parameters.clone().requires_grad_()
    with torch.no_grad():
        motion, _ = StepParameters(values, inputs.shape, 3).nll(inputs.step, inputs.bin_width)
    assert not motion.requires_grad


def test_the_kernel_unpacks_no_parameters() -> None:
    inputs = make_inputs(Case())
    steps = StepParameters(inputs.parameters, inputs.shape, 3)
    steps.nll(inputs.step, inputs.bin_width)
    assert steps._unpacked is None


MODELS: dict[str, Callable[[StepShape], SequenceModel]] = {
    "MDN-RNN": lambda shape: MDNRNN(shape, MDNRNNConfig(hidden=8, components=4, dropout=0.0)),
    "MDN-RNN with weighted END": lambda shape: MDNRNN(
        shape, MDNRNNConfig(hidden=8, components=4, dropout=0.0, end_weight=5.0)
    ),
    "Sketch-RNN": lambda shape: SketchRNN(
        shape, SketchRNNConfig(encoder=8, hidden=8, latent=3, components=4, recurrent_dropout=0.0)
    ),
    "HandwritingRNN": lambda shape: HandwritingRNN(shape, HandwritingConfig(hidden=8, components=4)),
}


@pytest.mark.parametrize("kind", MODELS)
def test_every_model_has_the_same_loss_and_gradients_with_the_kernel(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = make_pen_text(1, {"train": 1})
    batch = next(iter(Batches(line, "train", Normalizer.from_corpus(line)))).to(DEVICE)
    model = MODELS[kind](StepShape.from_corpus(line)).to(DEVICE)
    losses, gradients = [], []
    for kernel in (True, False):
        monkeypatch.setattr(parameters, "kernels_available", lambda tensor, kernel=kernel: kernel)
        torch.manual_seed(0)
        model.zero_grad()
        loss = model.loss(batch)
        model.objective(loss, batch, 10).backward()
        losses.append({name: float(term.detach()) for name, term in loss.terms.items()})
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


@dataclass(frozen=True)
class Support:
    """Whether the kernel supports parameters of the given kind on a GPU."""

    expected: bool
    covariance: Covariance = "diagonal"
    components: int = 20
    features: int = 2
    dtype: torch.dtype = torch.float32
    batch: tuple[int, ...] = (3,)
    motion_dtype: torch.dtype = torch.float32


SUPPORT = {
    "diagonal": Support(True),
    "full, 2 features": Support(True, "full"),
    "full, 3 features": Support(False, "full", features=3),
    "per-dimension, 32 features": Support(True, "per-dimension", components=5, features=32),
    "per-dimension, 100 features": Support(False, "per-dimension", components=5, features=100),
    "diagonal, 8 features": Support(True, features=8),
    "diagonal, 9 features": Support(False, components=5, features=9),
    "192 components": Support(True, components=192),
    "193 components": Support(False, components=193),
    "bfloat16": Support(True, dtype=torch.bfloat16),
    "float64": Support(False, dtype=torch.float64),
    "motions in float64": Support(False, motion_dtype=torch.float64),
    "two batch dimensions": Support(False, batch=(2, 3)),
}


@pytest.mark.parametrize("case", SUPPORT.values(), ids=SUPPORT)
def test_the_kernel_is_used_if_it_supports_the_parameters(case: Support, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = MixtureShape(case.features, case.components, 0.0, case.covariance)
    steps = StepParameters(torch.zeros(*case.batch, shape.size + 3, dtype=case.dtype), shape, 3)
    motion = torch.zeros(*case.batch, case.features, dtype=case.motion_dtype)
    assert steps.uses_kernel(motion) == case.expected
    assert not steps.uses_kernel(motion.requires_grad_())
    monkeypatch.setattr(parameters, "kernels_available", lambda tensor: False)
    assert not steps.uses_kernel(motion.detach())


def test_the_kernel_is_not_used_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "kernels_available", kernels_available)
    assert not StepParameters(torch.zeros(3, 23), MixtureShape(2, 4, 0.0), 3).uses_kernel(torch.zeros(3, 2))
