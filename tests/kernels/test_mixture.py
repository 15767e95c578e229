"""The kernel of a step's likelihood against the plain path of the same rows: in Triton's interpreter, or on a GPU."""

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
    # The interpreter computes with NumPy, which warns of forms that are not taken where they overflow.
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton"),
]


DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Case:
    """Rows and what they are asked for. Widths are drawn from 10^low to 10^high; without, densities are."""

    covariance: Covariance = "diagonal"
    components: int = 5
    features: int = 2
    events: int = 3
    steps: int = 37
    widths: tuple[float, float] | None = (-3.0, 2.0)
    spread: float = 1.0
    """Of the means."""
    raw: float = 1.0
    """Spread of the raw log scales."""
    event_spread: float = 1.0
    shifted: bool = False
    dtype: torch.dtype = torch.float32


class Asked(NamedTuple):
    rows: Tensor
    shape: MixtureShape
    step: Step
    width: Tensor | None
    shift: Tensor | None


def asked(case: Case) -> Asked:
    """Every fourth width is 0."""
    torch.manual_seed(0)
    shape = MixtureShape(case.features, case.components, math.log(1e-3), case.covariance)
    rows = torch.randn(case.steps, shape.size + case.events)
    _, means, scales, _, events = rows.split([*shape.sizes, case.events], -1)
    means *= case.spread
    scales *= case.raw
    events *= case.event_spread
    event = torch.randint(0, 3, (case.steps,)) if case.events == 3 else 2 * torch.randint(0, 2, (case.steps,))
    width = None
    if case.widths:
        width = 10 ** torch.empty(case.steps, case.features).uniform_(*case.widths)
        width.view(-1)[::4] = 0
    shift = torch.rand(case.steps).log().to(DEVICE) if case.shifted else None
    step = Step(torch.randn(case.steps, case.features).to(DEVICE), event.to(DEVICE))
    return Asked(rows.to(DEVICE, case.dtype), shape, step, None if width is None else width.to(DEVICE), shift)


class Answer(NamedTuple):
    """NLL (S,), and the gradients of their means times S."""

    motion: Tensor
    event: Tensor
    by_rows: Tensor
    by_shift: Tensor


def answer(given: Asked, events: int, fused: bool, weights: tuple[Any, Any] = (1.0, 1.0)) -> Answer:
    """Of the loss mean(weight motion) + mean(weight event)."""
    rows = given.rows.clone().requires_grad_()
    shift = None if given.shift is None else given.shift.clone().requires_grad_()
    steps = StepParameters(rows, given.shape, events, shift)
    nll = steps.nll if fused else super(StepParameters, steps).nll
    motion, event = nll(given.step, given.width)
    loss = (weights[0] * motion).sum() / max(1, len(rows)) + (weights[1] * event).sum() / max(1, len(rows))
    loss.backward()
    assert rows.grad is not None
    assert rows.grad.dtype == rows.dtype
    by_shift = rows.new_zeros(0) if shift is None else shift.grad
    assert by_shift is not None
    scale = max(1, len(rows))
    return Answer(motion.detach(), event.detach(), scale * rows.grad.float(), scale * by_shift)


@pytest.fixture(autouse=True)
def _anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule as it is where there is a GPU."""
    monkeypatch.setattr(parameters, "kernels_available", lambda tensor: TRITON_INSTALLED)


COVARIANCES: list[Covariance] = ["diagonal", "full", "per-dimension"]
EXTREMES: dict[str, dict[str, Any]] = {
    "far from all components": {"spread": 100.0},
    "scales from the floor to a million": {"raw": 7.0},
    "bin_widths far below the scales": {"widths": (-7.0, -3.0)},
    "bin_widths far above the scales": {"widths": (2.0, 4.0)},
    "twenty components": {"components": 20},
    "one component": {"components": 1},
}
CASES = {
    **{
        f"{covariance}, {'bin_widths' if widths else 'densities'}": Case(covariance, widths=widths)
        for covariance, widths in product(COVARIANCES, (None, (-3.0, 2.0)))
    },
    **{
        f"{covariance}, {name}": Case(covariance, **settings)
        for covariance, (name, settings) in product(COVARIANCES, EXTREMES.items())
    },
    "one feature, full": Case("full", features=1),
    "three features": Case(features=3),
    "five features, each of its own": Case("per-dimension", features=5),
    "eight features": Case(features=8, components=17),
    "many components": Case(components=100),
    "going on and END": Case(events=2),
    "no events": Case(events=0),
    "impossible events": Case(event_spread=1e4),
    "END shifted": Case(shifted=True),
    "END shifted, going on and END": Case(shifted=True, events=2),
    "one step": Case(steps=1),
    "a whole block": Case(steps=64),
    "a step more than a block": Case(steps=33),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_nats_and_gradients_are_those_of_the_plain_path(case: Case) -> None:
    given = asked(case)
    ours, plain = (answer(given, case.events, fused) for fused in (True, False))
    for got, expected in zip(ours, plain, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("widths", [None, (-3.0, 2.0)], ids=["densities", "bin_widths"])
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_nats_and_gradients_are_those_of_float64(covariance: Covariance, widths: tuple[float, float] | None) -> None:
    case = Case(covariance, steps=200, widths=widths)
    given = asked(case)
    wide = Asked(
        given.rows.double(),
        given.shape,
        Step(given.step.motion.double(), given.step.event),
        None if given.width is None else given.width.double(),
        None,
    )
    for got, expected in zip(answer(given, 3, True), answer(wide, 3, False), strict=True):
        torch.testing.assert_close(got, expected.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_narrow_rows_give_wide_nats_and_narrow_gradients(covariance: Covariance) -> None:
    given = asked(Case(covariance, dtype=torch.bfloat16, shifted=True))
    ours, plain = (answer(given, 3, fused) for fused in (True, False))
    torch.testing.assert_close(ours[:2], plain[:2], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours[2:], plain[2:], rtol=2**-7, atol=1e-5)


def test_any_upstream_gradient_counts() -> None:
    """Other weights for every step, of motions alone, and of nothing."""
    given = asked(Case(shifted=True))
    for weights in ((torch.rand(37).to(DEVICE), torch.randn(37).to(DEVICE)), (2.0, 2.0), (1.0, 0.0), (0.0, 3.0)):
        ours, plain = (answer(given, 3, fused, weights) for fused in (True, False))
        torch.testing.assert_close(tuple(ours), tuple(plain), rtol=1e-5, atol=1e-5)


def test_a_term_that_is_not_used_has_no_gradient() -> None:
    given = asked(Case())
    rows = given.rows.clone().requires_grad_()
    motion, _ = StepParameters(rows, given.shape, 3).nll(given.step, given.width)
    motion.mean().backward()
    assert rows.grad is not None
    assert bool((rows.grad[:, -3:] == 0).all())
    assert bool((rows.grad[:, :-3] != 0).any())


def test_no_steps_have_no_nats() -> None:
    empty = answer(asked(Case(steps=0)), 3, True)
    assert empty.motion.shape == empty.event.shape == (0,)
    assert empty.by_rows.shape == (0, 5 + 20 + 3)


@pytest.mark.parametrize("count", [1, 3, 37, 1000, 25_000, 123_457])
def test_a_mean_asks_for_what_was_made(count: int) -> None:
    """Bit for bit 1 / S: what the kernel compares upstream gradients with, to leave the rows alone."""
    nats = torch.zeros(count, requires_grad=True, device=DEVICE)
    nats.mean().backward()
    assert nats.grad is not None
    assert bool((nats.grad == torch.tensor(1 / count, device=DEVICE)).all())


def test_gradients_are_handed_out_once() -> None:
    given = asked(Case())
    rows = given.rows.clone().requires_grad_()
    motion, event = StepParameters(rows, given.shape, 3).nll(given.step, given.width)
    loss = motion.mean() + event.mean()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="twice"):
        loss.backward()


def test_without_gradients_none_are_made() -> None:
    given = asked(Case())
    with torch.no_grad():
        motion, _ = StepParameters(given.rows.clone().requires_grad_(), given.shape, 3).nll(given.step, given.width)
    assert not motion.requires_grad


def test_nothing_is_unpacked_where_the_kernel_takes_the_rows() -> None:
    given = asked(Case())
    steps = StepParameters(given.rows, given.shape, 3)
    steps.nll(given.step, given.width)
    assert steps._unpacked is None


MODELS: dict[str, Callable[[StepShape], SequenceModel]] = {
    "MDN-RNN": lambda shape: MDNRNN(shape, MDNRNNConfig(hidden=8, components=4, dropout=0.0)),
    "MDN-RNN, ends weighed": lambda shape: MDNRNN(
        shape, MDNRNNConfig(hidden=8, components=4, dropout=0.0, end_weight=5.0)
    ),
    "Sketch-RNN": lambda shape: SketchRNN(
        shape, SketchRNNConfig(encoder=8, hidden=8, latent=3, components=4, recurrent_dropout=0.0)
    ),
    "HandwritingRNN": lambda shape: HandwritingRNN(shape, HandwritingConfig(hidden=8, components=4)),
}


@pytest.mark.parametrize("kind", MODELS)
def test_every_model_learns_through_it(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = make_pen_text(2, {"train": 2})
    batch = next(iter(Batches(lines, "train", Normalizer.from_corpus(lines)))).to(DEVICE)
    model = MODELS[kind](StepShape.from_corpus(lines)).to(DEVICE)
    losses, gradients = [], []
    for fused in (True, False):
        monkeypatch.setattr(parameters, "kernels_available", lambda tensor, fused=fused: fused)
        torch.manual_seed(0)
        model.zero_grad()
        loss = model.loss(batch)
        model.objective(loss, batch, 10).backward()
        losses.append({name: float(term.detach()) for name, term in loss.terms.items()})
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


@dataclass(frozen=True)
class Rule:
    """Rows, and whether the kernel takes them on a GPU."""

    fused: bool
    covariance: Covariance = "diagonal"
    components: int = 20
    features: int = 2
    dtype: torch.dtype = torch.float32
    batch: tuple[int, ...] = (3,)
    motion: torch.dtype = torch.float32


RULES = {
    "diagonal": Rule(True),
    "full, of two features": Rule(True, "full"),
    "full, of three": Rule(False, "full", features=3),
    "per dimension, of many": Rule(True, "per-dimension", components=5, features=32),
    "per dimension, of too many": Rule(False, "per-dimension", components=5, features=100),
    "diagonal, of eight features": Rule(True, features=8),
    "diagonal, of nine": Rule(False, components=5, features=9),
    "as many components as fit": Rule(True, components=192),
    "one more": Rule(False, components=193),
    "bfloat16": Rule(True, dtype=torch.bfloat16),
    "float64": Rule(False, dtype=torch.float64),
    "motions in float64": Rule(False, motion=torch.float64),
    "rows in batches": Rule(False, batch=(2, 3)),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_kernel_is_taken_wherever_there_is_one(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = MixtureShape(rule.features, rule.components, 0.0, rule.covariance)
    steps = StepParameters(torch.zeros(*rule.batch, shape.size + 3, dtype=rule.dtype), shape, 3)
    motion = torch.zeros(*rule.batch, rule.features, dtype=rule.motion)
    assert steps.uses_kernel(motion) == rule.fused
    assert not steps.uses_kernel(motion.requires_grad_())
    monkeypatch.setattr(parameters, "kernels_available", lambda tensor: False)
    assert not steps.uses_kernel(motion.detach())


def test_no_gpu_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "kernels_available", kernels_available)
    assert not StepParameters(torch.zeros(3, 23), MixtureShape(2, 4, 0.0), 3).uses_kernel(torch.zeros(3, 2))
