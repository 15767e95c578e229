"""Sampling options: their definition, every option on every kind of model and on every path, invalid values."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from mdnrnn.data.batch import to_code_points
from mdnrnn.data.synthetic.corpora import make_pen_text
from mdnrnn.distributions import GaussianMixture, StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.generation import slots
from mdnrnn.generation.loop import generate
from mdnrnn.generation.sampling import Sampling
from mdnrnn.generation.steppers import DecoderStepper, ModelStepper, PackedStepper, Stepper, make_stepper
from mdnrnn.generation.stopping import StepHistory
from mdnrnn.models.base import Condition, SequenceModel, StepShape
from mdnrnn.models.configs import HandwritingConfig, MDNRNNConfig
from mdnrnn.models.handwriting import HandwritingRNN
from mdnrnn.models.recurrent import MDNRNN
from mdnrnn.pen_events import END, UP
from tests.generation.helpers import assert_same_sequences, generate_reference
from tests.generation.test_fast_path import AutoregressiveModel, SharperModel
from tests.generation.test_state import AttentionModel
from tests.helpers import make_sketch_model, random_corpus

N, MAX_STEPS, SEED = 7, 40, 5
LABELS = torch.arange(N) % 2


def leave_circle(history: StepHistory) -> Tensor:
    """End a sequence when its first two features have led out of a circle."""
    return history.position[:, -1, :2].norm(dim=-1) > 4


def end_on_third_lift(history: StepHistory) -> Tensor:
    """End a sequence after three lifted pens or after 25 steps."""
    return ((history.event == UP).sum(1) >= 3) | (history.length >= 25)


OPTIONS = {
    "event temperature": Sampling(event_temperature=0.5),
    "event temperature 0": Sampling(temperature=0.9, event_temperature=0.0),
    "temperature 0": Sampling(temperature=0.0, event_temperature=1.2),
    "top-k": Sampling(top_k=2),
    "top-p": Sampling(top_p=0.6),
    "event top-k": Sampling(event_top_k=2),
    "event top-p": Sampling(event_top_p=0.9),
    "truncated": Sampling(temperature=0.8, bias=0.3, top_k=3, top_p=0.8, event_top_k=2, event_top_p=0.95),
    "stopping rule": Sampling(stop=leave_circle),
    "endless stopping rule": Sampling(endless=True, top_p=0.9, stop=end_on_third_lift),
    "minimum of strokes": Sampling(min_strokes=4),
    "maximum of strokes": Sampling(max_strokes=2),
    "range of strokes": Sampling(event_temperature=0.7, min_strokes=2, max_strokes=3),
    "endless maximum": Sampling(endless=True, max_strokes=3),
    "all": Sampling(temperature=0.9, top_p=0.9, event_top_p=0.99, min_strokes=2, max_strokes=5, stop=leave_circle),
}
STROKE_OPTIONS = [name for name, sampling in OPTIONS.items() if sampling.min_strokes or sampling.max_strokes]


class Case(NamedTuple):
    """A model in float64 with its condition, and the type of its stepper."""

    model: SequenceModel
    condition: Condition
    stepper: type[Stepper]


def make_mdnrnn(model_class: type[MDNRNN] = MDNRNN, events: int = 3, **settings: Any) -> MDNRNN:
    """Make a model with spread outputs and rare END events."""
    torch.manual_seed(0)
    config = MDNRNNConfig(**{"hidden": 12, "components": 4, "dropout": 0.0, **settings})
    model = model_class(StepShape(events=events, classes=2, inputs=1), config).double().eval()
    return lower_end_logit(model)


def lower_end_logit(model: Any) -> Any:
    head = model.decoder.head
    with torch.no_grad():
        torch.nn.init.normal_(head.linear.weight, std=0.5)
        if head.events:
            head.linear.bias[-1] -= 2
    return model


def make_writer() -> Case:
    lines = make_pen_text(4, {"train": 4})
    torch.manual_seed(1)
    model = HandwritingRNN(StepShape.from_corpus(lines), HandwritingConfig(hidden=12, components=3)).double().eval()
    texts = to_code_points([str(lines[i % 4].text)[: 1 + i] for i in range(N)])
    return Case(lower_end_logit(model), Condition(text=texts), DecoderStepper)


DRIVEN = Condition(LABELS, torch.randn(N, MAX_STEPS, 1, generator=torch.Generator().manual_seed(0)).double())
SKETCHES = random_corpus([3], classes=("a", "b"))
CASES: dict[str, Callable[[], Case]] = {
    "MDN-RNN": lambda: Case(make_mdnrnn(), DRIVEN, PackedStepper),
    "full covariance, two layers": lambda: Case(make_mdnrnn(covariance="full", layers=2), DRIVEN, PackedStepper),
    "skip connections": lambda: Case(make_mdnrnn(skip=True, layers=2), DRIVEN, DecoderStepper),
    "GRU": lambda: Case(make_mdnrnn(core="gru"), DRIVEN, DecoderStepper),
    "transformer": lambda: Case(make_mdnrnn(core="transformer", heads=2), DRIVEN, ModelStepper),
    "per dimension": lambda: Case(make_mdnrnn(covariance="per-dimension"), DRIVEN, PackedStepper),
    "Sketch-RNN": lambda: Case(
        lower_end_logit(make_sketch_model(SKETCHES, covariance="full").eval()), Condition(LABELS), PackedStepper
    ),
    "layer norm": lambda: Case(
        lower_end_logit(make_sketch_model(SKETCHES, cell="layer-norm").eval()), Condition(LABELS), DecoderStepper
    ),
    "no z": lambda: Case(
        lower_end_logit(make_sketch_model(SKETCHES, kl_weight=0.0).eval()), Condition(LABELS), PackedStepper
    ),
    "handwriting": make_writer,
    "overridden step": lambda: Case(make_mdnrnn(SharperModel), DRIVEN, ModelStepper),
    "no decoder": lambda: Case(AutoregressiveModel().double(), Condition(), ModelStepper),
    "growing state": lambda: Case(AttentionModel(False).eval(), Condition(), ModelStepper),
}
WITHOUT_STROKES: dict[str, Callable[[], Case]] = {
    "two events": lambda: Case(make_mdnrnn(events=2, covariance="per-dimension"), DRIVEN, PackedStepper),
    "no events": lambda: Case(make_mdnrnn(events=0), DRIVEN, PackedStepper),
}


def make_reference(case: Case, sampling: Sampling) -> list[Any]:
    """Return sequences generated by `model.step`, one step at a time."""
    expected = []
    for i in range(N):
        condition = Condition(*(None if part is None else part[i : i + 1] for part in case.condition))
        expected.append(generate_reference(case.model, i, SEED, MAX_STEPS, condition, sampling=sampling))
    return expected


def check_every_path(case: Case, sampling: Sampling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare three batch sizes and the general path with the reference."""
    used = []

    def spy(*arguments: Any) -> Stepper:
        used.append(make_stepper(*arguments))
        return used[-1]

    monkeypatch.setattr(slots, "make_stepper", spy)
    expected = make_reference(case, sampling)

    def check(batch_size: int) -> None:
        options: dict[str, Any] = {"sampling": sampling, "seed": SEED, "max_steps": MAX_STEPS, "batch_size": batch_size}
        assert_same_sequences(generate(case.model, N, case.condition, **options), expected)

    for batch_size in (1, 3, N):
        check(batch_size)
    assert {type(stepper) for stepper in used} == {case.stepper}
    monkeypatch.setattr(slots, "make_stepper", lambda model, _, previous, state: ModelStepper(model, previous, state))
    check(N)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", CASES)
def test_every_option_on_every_model_and_path(kind: str, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With batch size 3, sequences take the slots of finished ones; with 7, the batch shrinks at the end."""
    check_every_path(CASES[kind](), OPTIONS[option], monkeypatch)


@pytest.mark.parametrize("option", [name for name in OPTIONS if name not in STROKE_OPTIONS])
@pytest.mark.parametrize("kind", WITHOUT_STROKES)
def test_every_option_without_strokes(kind: str, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_every_path(WITHOUT_STROKES[kind](), OPTIONS[option], monkeypatch)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_changes_the_sequences(option: str) -> None:
    """Otherwise the comparison of the paths would show nothing."""
    case, sampling = CASES["MDN-RNN"](), OPTIONS[option]
    without = Sampling(temperature=sampling.temperature, bias=sampling.bias, endless=sampling.endless)
    plain, changed = (
        generate(case.model, N, case.condition, sampling=each, seed=SEED, max_steps=MAX_STEPS)
        for each in (without, sampling)
    )
    pairs = zip(plain, changed, strict=True)
    assert any(one.event.tolist() != other.event.tolist() or (one.motion != other.motion).any() for one, other in pairs)


def random_steps() -> StepDistribution:
    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    generator = torch.Generator().manual_seed(0)
    return StepDistribution(GaussianMixture(draw(6, 5), draw(6, 5, 2), draw(6, 5, 2)), draw(6, 3))


def keep_most_probable(probs: np.ndarray, top_k: int, top_p: float) -> np.ndarray:
    """Return probabilities (B, K) in which only the first `top_k` classes and a total of `top_p` are not 0."""
    result = np.zeros_like(probs)
    for row, kept in zip(probs, result, strict=True):
        order = np.argsort(-row)[:top_k]
        cumulative = np.cumsum(row[order]) / row[order].sum()
        order = order[: np.searchsorted(cumulative, top_p) + 1]
        kept[order] = row[order] / row[order].sum()
    return result


def test_options_apply_in_the_documented_order() -> None:
    """END is excluded, then bias, then temperature, then top-k, then top-p; in NumPy, from the probabilities."""
    steps = random_steps()
    sampling = Sampling(
        temperature=0.7, scale_temperature=0.3, event_temperature=0.5, bias=0.4, top_k=4, top_p=0.8, event_top_k=2,
        event_top_p=0.6, endless=True,
    )  # fmt: skip
    restricted = sampling(steps)
    weights = torch.softmax(steps.motion.logits, -1).numpy() ** (1.4 / 0.7)
    events = torch.softmax(steps.event_logits, -1).numpy()[:, :END] ** (1 / 0.5)
    expected_weights = keep_most_probable(weights / weights.sum(1, keepdims=True), 4, 0.8)
    expected_events = keep_most_probable(events / events.sum(1, keepdims=True), 2, 0.6)
    np.testing.assert_allclose(torch.softmax(restricted.motion.logits, -1), expected_weights, atol=1e-12)
    np.testing.assert_allclose(torch.softmax(restricted.event_logits, -1)[:, :END], expected_events, atol=1e-12)
    assert (restricted.event_logits[:, END] == -torch.inf).all()
    assert len(set((expected_weights > 0).sum(1))) > 1
    scales = steps.motion.log_scales.exp().numpy() * np.exp(-0.4) * np.sqrt(0.3)
    np.testing.assert_allclose(restricted.motion.log_scales.exp(), scales)


def test_first_steps_have_the_probabilities_of_the_options() -> None:
    """4,000 first steps: event frequencies and mean motions are within 5 standard errors; false failure below 1e-4."""
    model, n = make_mdnrnn().float(), 4000
    condition = Condition(torch.zeros(n, dtype=torch.long), torch.zeros(n, 1, 1))
    sampling = Sampling(event_temperature=2.0, top_k=3, event_top_k=2)
    sequences = generate(model, n, condition, sampling=sampling, max_steps=1)
    previous = model.initial_step(1)._replace(inputs=torch.zeros(1, 1))
    with torch.no_grad():
        steps, _ = model.step(previous, model.initial_state(1, Condition(torch.zeros(1, dtype=torch.long))))
    weights = keep_most_probable(torch.softmax(steps.motion.logits, -1).numpy(), 3, 1.0)[0]
    probs = keep_most_probable(torch.softmax(steps.event_logits / 2, -1).numpy(), 2, 1.0)[0]
    mixture = GaussianMixture(torch.from_numpy(weights).log(), steps.motion.means[0], steps.motion.log_scales[0])
    motion = np.stack([sequence.motion[0] for sequence in sequences])
    assert (np.abs(motion.mean(0) - mixture.mean.numpy()) < 5 * np.sqrt(mixture.variance.numpy() / n)).all()
    frequencies = np.bincount([sequence.event[0] for sequence in sequences], minlength=3) / n
    assert (np.abs(frequencies - probs) <= 5 * np.sqrt(probs * (1 - probs) / n)).all()
    assert sorted(frequencies > 0) == [False, True, True]


def test_default_options_return_the_distribution_unchanged() -> None:
    steps = random_steps()
    assert Sampling()(steps) is steps


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "event temperature": ({"event_temperature": -1.0}, "event_temperature: received -1.0, expected a number >= 0"),
    "top-k": ({"top_k": 0}, "top_k: received 0, expected a whole number >= 1"),
    "fractional top-k": ({"event_top_k": 1.5}, "event_top_k: received 1.5, expected a whole number >= 1"),
    "top-p": ({"top_p": 0.0}, "top_p: received 0.0, expected a number above 0 and at most 1"),
    "event top-p": ({"event_top_p": 1.1}, "event_top_p: received 1.1, expected a number above 0 and at most 1"),
    "NaN": ({"top_p": float("nan")}, "top_p: received nan"),
    "no strokes": ({"max_strokes": 0}, "max_strokes: received 0, expected a whole number >= 1"),
    "empty range": (
        {"min_strokes": 3, "max_strokes": 2},
        "min_strokes: received 3, expected at most max_strokes, which is 2",
    ),
    "no function": ({"stop": 3}, "stop: received 3, expected a function of the steps so far"),
}


@pytest.mark.parametrize(("options", "message"), INVALID.values(), ids=INVALID)
def test_invalid_options_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sampling(**options)
