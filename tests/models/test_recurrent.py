"""Tests of the MDN-RNN: steps, padding, causality, overfitting, dropout, carried-over state, weighted END events."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mdnrnn.data.batches import Batches, Segments
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.data.training_windows import Windows
from mdnrnn.models.base import Condition, Loss, StepShape, negative_log_likelihood
from mdnrnn.models.configs import Core, MDNRNNConfig
from mdnrnn.models.recurrent import MDNRNN, weighted_event_nll
from mdnrnn.runs.presets import PRESETS
from tests.helpers import each_core, make_batches, make_controls, make_episodes, make_model, random_corpus, to_float64
from tests.models.helpers import flatten_parameters, repeat_step

CORPORA = {
    "plain": random_corpus([5, 9, 2, 7]),
    "labels": random_corpus([5, 9, 2, 7], classes=("a", "b", "c")),
    "inputs": random_corpus([5, 9, 2, 7], inputs=3),
    "streams": make_controls((5, 9, 2, 7)),
    "episodes": make_episodes((5, 9, 2, 7)),
}
CONFIGS: dict[str, dict[str, Any]] = {
    "one layer": {},
    "three layers": {"layers": 3},
    "no position": {"position": False},
    "per-dimension": {"covariance": "per-dimension"},
    "dropout": {"dropout": 0.5},
    "skip": {"layers": 2, "skip": True},
    "gru": {"core": "gru", "layers": 2},
    "gru with skip": {"core": "gru", "layers": 3, "skip": True},
    "transformer": {"core": "transformer", "layers": 2, "dropout": 0.5},
    "short span": {"core": "transformer", "layers": 3, "heads": 2, "span": 3},
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA.keys())
@pytest.mark.parametrize("copies", [1, 40], ids=["small batch", "large batch"])
def test_steps_equal_forward(corpus: Corpus, config: dict[str, Any], copies: int) -> None:
    model = make_model(corpus, **config).eval()
    batch = to_float64(make_batches(corpus).batch(np.arange(4)))
    expected = flatten_parameters(model(batch))
    row = 0
    for b, length in enumerate(batch.lengths.tolist()):
        label = None if batch.label is None else batch.label[b].expand(copies)
        state = model.initial_state(copies, Condition(label))
        for t in range(length):
            steps, state = model.step(repeat_step(batch.previous, row, copies), state)
            torch.testing.assert_close(flatten_parameters(steps)[-1], expected[row], msg=f"sequence {b}, step {t}")
            row += 1
    assert row == batch.points


@each_core
@pytest.mark.parametrize("corpus", CORPORA.values(), ids=CORPORA.keys())
def test_padding_and_other_sequences_do_not_change_likelihoods(corpus: Corpus, core: dict[str, Any]) -> None:
    model, data = make_model(corpus, **{"layers": 2, **core}).eval(), make_batches(corpus)

    def nll(indices: list[int]) -> dict[int, torch.Tensor]:
        batch = to_float64(data.batch(np.array(indices)))
        motion, event = negative_log_likelihood(model(batch), batch)
        return dict(zip(indices, (motion + event).split(batch.lengths.tolist()), strict=True))

    together, reverse, alone = nll([0, 1, 2, 3]), nll([3, 2, 1, 0]), {i: nll([i])[i] for i in range(4)}
    for i in range(4):
        torch.testing.assert_close(together[i], alone[i])
        torch.testing.assert_close(together[i], reverse[i])


@each_core
def test_predictions_do_not_depend_on_later_steps(core: dict[str, Any]) -> None:
    corpus = random_corpus([12])
    model, batch = make_model(corpus, **core).eval(), to_float64(make_batches(corpus).batch(np.array([0])))
    before = flatten_parameters(model(batch))
    motion = batch.previous.motion.clone()
    motion[7] += 1
    after = flatten_parameters(model(replace(batch, previous=batch.previous._replace(motion=motion))))
    torch.testing.assert_close(after[:7], before[:7])
    last = min(12, 7 + core["layers"] * (core["span"] - 1) + 1) if "span" in core else 12  # layers widen the span
    changed = (after != before).any(-1)
    assert changed[7:last].all()


@pytest.mark.parametrize(
    ("core", "learning_rate", "bound"), [("lstm", 3e-2, 2), ("gru", 2e-2, 2.5), ("transformer", 1e-2, 3)]
)
def test_model_overfits_eight_drawings(doodles: Corpus, core: Core, learning_rate: float, bound: float) -> None:
    """The loss falls from over 8 nats per point to under 3; the null model has about 9."""
    torch.manual_seed(0)
    model = MDNRNN(StepShape.from_corpus(doodles), MDNRNNConfig(core=core, hidden=64, components=5, dropout=0.0))
    shortest = np.argsort(doodles.lengths[doodles.indices("train")])[:8]
    batch = Batches(doodles, "train", Normalizer.from_corpus(doodles)).batch(shortest)
    steps = 400
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=steps)
    first = float(model.loss(batch).total.detach())
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model.loss(batch).total
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    assert first > 8
    assert float(loss.detach()) < bound


@each_core
def test_dropout_is_applied_in_training_only(core: dict[str, Any]) -> None:
    corpus = random_corpus([9, 9])
    model, batch = make_model(corpus, dropout=0.5, **core), to_float64(make_batches(corpus).batch(np.array([0, 1])))
    assert not torch.equal(flatten_parameters(model(batch)), flatten_parameters(model(batch)))
    model.eval()
    assert torch.equal(flatten_parameters(model(batch)), flatten_parameters(model(batch)))


@each_core
def test_predictions_depend_on_the_label_and_a_missing_label_is_an_error(core: dict[str, Any]) -> None:
    model = make_model(CORPORA["labels"], **core).eval()
    steps, _ = model.step(model.initial_step(2), model.initial_state(2, Condition(torch.tensor([0, 1]))))
    parameters = flatten_parameters(steps)
    assert not torch.equal(parameters[0], parameters[1])
    with pytest.raises(ValueError, match="received none, expected a label from 0 to 2"):
        model.initial_state(2)


def test_initialization_of_the_lstm() -> None:
    """Recurrent gates are orthogonal, the forget gate's bias is 1, and the mixture is as wide as normalized data."""
    torch.manual_seed(0)
    model = MDNRNN(StepShape(), MDNRNNConfig(hidden=64))
    layer = model.decoder.core.layers[0]
    for gate in layer.get_parameter("weight_hh_l0").chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(64), atol=1e-5, rtol=0)
    bias = layer.get_parameter("bias_ih_l0") + layer.get_parameter("bias_hh_l0")
    assert [float(part.mean().detach()) for part in bias.chunk(4)] == [0, 1, 0, 0]
    steps, _ = model.step(model.initial_step(1), model.initial_state(1))
    assert 0.7 < float(steps.motion.variance.mean().detach().sqrt()) < 1.5
    assert float(steps.motion.means.std().detach()) > 0.4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 0}, "model.hidden: received 0, expected a whole number >= 1"),
        ({"dropout": 1.0}, "model.dropout: received 1.0, expected a number >= 0 and < 1"),
        ({"position": -1.0}, "model.position: received -1.0, expected a number >= 0"),
        ({"scale_floor": 0.0}, "model.scale_floor: received 0.0, expected a positive number"),
        ({"core": "rnn"}, "model.core: received 'rnn', expected one of lstm, gru, transformer"),
        ({"core": "transformer", "hidden": 20}, r"model.hidden: received 20, expected a multiple of 8 \(2 x heads\)"),
        ({"core": "transformer", "skip": True}, "model.skip: received true, expected false for the transformer"),
        ({"span": 0}, "model.span: received 0, expected a whole number >= 1"),
        ({"end_weight": math.inf}, "model.end_weight: received inf, expected a positive number"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_invalid_configs_are_errors(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MDNRNNConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "corpus", [make_controls(), make_episodes(), random_corpus([30, 45])], ids=["streams", "episodes", "strokes"]
)
@each_core
def test_loss_of_windows_with_carried_over_state_equals_that_of_whole_sequences(
    corpus: Corpus, core: dict[str, Any]
) -> None:
    model = make_model(corpus, **{"layers": 2, **core}).eval()
    state, total, points = None, 0.0, 0
    for batch in Windows(make_batches(corpus, 1), 7, carry=True).epoch(0):  # one row: all windows in order
        loss = model.loss_with_state(to_float64(batch), state)
        state, total, points = loss.state, total + loss.total.item() * batch.points, points + batch.points
    assert points == len(corpus.event[corpus.rows("train")])
    whole = model.loss(to_float64(make_batches(corpus).batch(np.asarray(corpus.indices("train")))))
    assert total / points == pytest.approx(whole.total.item(), abs=1e-9)


@each_core
def test_sequence_that_begins_beside_one_that_continues_has_the_loss_of_the_whole_sequence(
    core: dict[str, Any],
) -> None:
    """Row 0 is one sequence in three windows of 7 steps. In row 1, another sequence begins in the third window."""
    corpus = random_corpus([21, 14, 7])
    model, data = make_model(corpus, **core).eval(), make_batches(corpus)

    def loss(sequences: list[int], firsts: list[int], continues: list[bool], state: Any) -> Loss:
        first = np.array(firsts)
        batch = to_float64(data.from_segments(Segments(np.array(sequences), first, first + 7)))
        return model.loss_with_state(replace(batch, continues=torch.tensor(continues)), state)

    first = loss([0, 1], [0, 0], [False, False], None)
    second = loss([0, 1], [7, 7], [True, True], first.state)
    third = loss([0, 2], [14, 0], [True, False], second.state)
    whole = model.loss(to_float64(data.batch(np.arange(3)))).total.item()
    assert (first.total + second.total + third.total).item() / 3 == pytest.approx(whole, abs=1e-9)


@each_core
def test_carried_over_state_is_used_only_by_windows_that_continue_a_sequence(core: dict[str, Any]) -> None:
    corpus = make_controls()
    model = make_model(corpus, **core).eval()
    batch = to_float64(next(iter(Windows(make_batches(corpus, 3), 9, carry=True).epoch(0))))
    state = model.loss_with_state(batch, None).state
    started, continued = (
        model.loss_with_state(replace(batch, continues=torch.full((batch.size,), continues)), state).total
        for continues in (False, True)
    )
    assert started.item() == pytest.approx(model.loss(batch).total.item(), abs=1e-12)
    assert abs(started.item() - continued.item()) > 1e-6


@each_core
def test_carried_over_state_has_no_gradient(core: dict[str, Any]) -> None:
    corpus = make_controls()
    batch = to_float64(next(iter(Windows(make_batches(corpus, 3), 9, carry=True).epoch(0))))
    state = make_model(corpus, **core).loss_with_state(batch, None).state
    assert not any(tensor.requires_grad for part in state for tensor in (part if isinstance(part, tuple) else (part,)))


def test_label_embedding_has_a_gradient_in_windows_that_continue_a_sequence() -> None:
    corpus = random_corpus([40, 50], classes=("a", "b"))
    model, batches = make_model(corpus), list(Windows(make_batches(corpus, 2), 9, carry=True).epoch(0))
    state = model.loss_with_state(to_float64(batches[0]), None).state
    model.loss_with_state(to_float64(batches[1]), state).total.backward()
    assert batches[1].continues is not None
    assert batches[1].continues.any()
    assert model.label.weight is not None
    assert model.label.weight.grad is not None
    assert model.label.weight.grad.abs().sum() > 0


def test_world_model_has_the_published_number_of_parameters() -> None:
    """CarRacing (Ha and Schmidhuber, arXiv:1803.10122): 422,368, plus PyTorch's second bias vector of 4 x 256."""
    shape = StepShape(features=32, events=0, inputs=3, offsets=0)
    model = MDNRNN(shape, PRESETS["world"].model)
    assert sum(parameter.numel() for parameter in model.parameters()) == 422_368 + 4 * 256


@pytest.mark.parametrize("weight", [0.5, 1.0, 10.0])
def test_weighted_event_nll_equals_the_closed_form(weight: float) -> None:
    """One END of probability p and one other event of probability 1 - p."""
    probability = 0.03
    logits = torch.tensor([math.log(1 - probability), -math.inf, math.log(probability)], dtype=torch.float64)
    raised = weight * probability / (weight * probability + 1 - probability)
    expected = -(weight * math.log(raised) + math.log(1 - raised)) / 2
    assert float(weighted_event_nll(logits.expand(2, 3), torch.tensor([2, 0]), weight)) == pytest.approx(expected)


@pytest.mark.parametrize("weight", [1.0, 10.0])
def test_weighted_event_nll_is_minimal_at_the_true_probability(weight: float) -> None:
    """With 300 END events among 10,000, the gradient is 0 at a probability of 0.03."""
    p = torch.tensor(0.03, dtype=torch.float64, requires_grad=True)
    logits = torch.stack([torch.log(1 - p), torch.tensor(-math.inf, dtype=torch.float64), torch.log(p)])
    event = torch.tensor([2] * 300 + [0] * 9700)
    weighted_event_nll(logits.expand(10_000, 3), event, weight).backward()
    assert p.grad is not None
    assert abs(float(p.grad)) < 1e-9


def test_objective_weights_end_events_and_the_reported_loss_does_not() -> None:
    corpus = make_episodes()
    model, batch = make_model(corpus, end_weight=10.0), to_float64(make_batches(corpus).batch(np.arange(4)))
    loss = model.loss(batch)
    assert loss.total == loss.terms["motion"] + loss.terms["event"]
    assert model.objective(loss, batch, 0) == loss.terms["motion"] + loss.terms["weighted_event"]
    assert loss.terms["weighted_event"] > loss.terms["event"]
